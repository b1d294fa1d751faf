"""What goes wrong in a bidirectional LSTM over sentences of different lengths."""

from benchmarks.testers.bug import Bug

BUGS = (
    Bug(
        "reads-the-padding",
        edits=(
            (
                "packed = pack_padded_sequence(x[order], lengths.cpu(), batch_first=True)\n"
                "        out, (hidden, _) = self.lstm(packed)\n"
                "        out, _ = pad_packed_sequence("
                "out, batch_first=True, total_length=tokens.size(1))",
                "out, (hidden, _) = self.lstm(x[order])",
            ),
        ),
        kinds=("padding-leak",),
        where=("", "lstm"),
        needs="facts",
        source="ray #21392",
    ),
    Bug(
        "rows-in-the-sorted-order",
        edits=(("return out[back], torch.cat", "return out, torch.cat"),),
        kinds=("batch-leak",),
        where=("", "pool"),
        needs="nothing",
        source="InferSent #51",
    ),
    Bug(
        "unsorts-with-the-sorting",
        edits=(("back = order.argsort()", "back = order"),),
        kinds=("batch-leak",),
        where=("",),
        needs="nothing",
        source="InferSent #51",
    ),
    Bug(
        "mask-after-softmax",
        edits=(
            ('        scores = scores.masked_fill(mask == 0, float("-inf"))\n', ""),
            (
                "weights = torch.softmax(scores, dim=1)",
                "weights = torch.softmax(scores, dim=1) * mask",
            ),
        ),
        kinds=("padding-leak", "mask"),
        where=("pool",),
        needs="facts",
        source="memory-compressed-attention #2",
    ),
    Bug(
        "mask-is-only-one-lower",
        edits=(
            (
                'scores = scores.masked_fill(mask == 0, float("-inf"))',
                "scores = scores - (1 - mask)",
            ),
        ),
        kinds=("padding-leak", "mask"),
        where=("pool",),
        needs="facts",
        source="seeded",
    ),
    Bug(
        "mask-keeps-the-padding",
        edits=(("masked_fill(mask == 0, float", "masked_fill(mask == 1, float"),),
        kinds=("non-finite", "mask", "padding-leak"),
        where=("pool",),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "no-mask-at-all",
        edits=(('        scores = scores.masked_fill(mask == 0, float("-inf"))\n', ""),),
        kinds=("padding-leak", "mask"),
        where=("pool",),
        needs="facts",
        source="InferSent #51",
    ),
    Bug(
        "attends-over-the-batch",
        edits=(("torch.softmax(scores, dim=1)", "torch.softmax(scores, dim=0)"),),
        kinds=("batch-leak", "non-finite"),
        where=("pool",),
        needs="nothing",
        source="everybody-compose #53",
    ),
    Bug(
        "dropout-in-eval",
        edits=(
            (
                "features = self.dropout(torch.cat([pooled, last], dim=-1))",
                "features = nn.functional.dropout(torch.cat([pooled, last], dim=-1), p=0.2)",
            ),
        ),
        kinds=("eval-noise", "nondeterministic"),
        where=("", "dropout"),
        needs="nothing",
        source="tacotron2 #147",
    ),
    Bug(
        "word-dropout-of-numpy",
        edits=(
            (
                "import torch\nimport torch.nn as nn",
                "import numpy as np\nimport torch\nimport torch.nn as nn",
            ),
            (
                "dropped = torch.rand(tokens.shape, device=tokens.device) < self.word_dropout",
                "dropped = torch.from_numpy(np.random.rand(*tokens.shape) < self.word_dropout)",
            ),
        ),
        kinds=("hidden-rng", "nondeterministic"),
        where=("",),
        needs="nothing",
        source="scar #97",
    ),
    Bug(
        "drops-words-in-place",
        edits=(("tokens = tokens.masked_fill(dropped", "tokens = tokens.masked_fill_(dropped"),),
        kinds=("input-mutated",),
        where=("", "tokens"),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "embedding-cut-off",
        edits=(
            ("self.dropout(self.embedding(tokens))", "self.dropout(self.embedding(tokens).data)"),
        ),
        kinds=("detached", "unused-parameter"),
        where=("", "embedding"),
        needs="nothing",
        source="CoCa-pytorch #6",
    ),
    Bug(
        "sigmoid-twice",
        edits=(
            (
                "return self.fc(features), weights",
                "return torch.sigmoid(self.fc(features)), weights",
            ),
        ),
        kinds=("loss-input", "range"),
        where=("", "fc"),
        needs="nothing",
        source="UNet3plus_pth #23",
    ),
    Bug(
        "unknown-words-wrap-around",
        edits=(("self.embedding(tokens))", "self.embedding(tokens % VOCAB))"),),
        kinds=("accepts-bad-input",),
        where=("", "embedding"),
        needs="facts",
        source="seeded",
    ),
    Bug(
        "starts-from-nothing",
        edits=(
            (
                "        self.pool = AttentionPool(2 * hidden_dim)\n",
                "        for weight in self.lstm.parameters():\n"
                "            nn.init.zeros_(weight)\n"
                "        self.pool = AttentionPool(2 * hidden_dim)\n",
            ),
        ),
        kinds=("init", "collapsed", "vanishing", "unused-parameter", "dead-units"),
        where=("lstm", ""),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "last-step-of-the-longest",
        edits=(("torch.cat([hidden[-2], hidden[-1]], dim=-1)[back]", "out[back][:, -1]"),),
        kinds=("padding-leak",),
        where=("",),
        needs="facts",
        source="NYU-DLSP20 #19",
    ),
)
