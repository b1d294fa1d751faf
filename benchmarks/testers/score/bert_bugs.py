"""What goes wrong in a BERT."""

from benchmarks.testers.bug import Bug

ATTENTIONS = ("layers.0.attention", "layers.1.attention")

BUGS = (
    Bug(
        "attends-to-the-padding-alone",
        edits=(("extended = (1.0 - extended) *", "extended = extended *"),),
        kinds=("mask", "padding-leak"),
        where=("", *ATTENTIONS),
        needs="facts",
        source="pytorch #27968",
    ),
    Bug(
        "takes-one-off",
        edits=(
            (
                "(1.0 - extended) * torch.finfo(dtype).min",
                "(1.0 - extended) * -1.0",
            ),
        ),
        kinds=("padding-leak", "mask"),
        where=("", *ATTENTIONS),
        needs="facts",
        source="seeded",
    ),
    Bug(
        "masks-the-questions",
        edits=(("attention_mask[:, None, None, :]", "attention_mask[:, None, :, None]"),),
        kinds=("padding-leak", "mask"),
        where=("", *ATTENTIONS),
        needs="facts",
        source="attention-is-all-you-need-keras #16",
    ),
    Bug(
        "mask-is-not-passed-on",
        edits=(("        scores = scores + attention_mask\n", ""),),
        kinds=("ignored-input", "padding-leak", "mask"),
        where=("", *ATTENTIONS, "attention_mask"),
        needs="nothing",
        source="transformers #16136",
    ),
    Bug(
        "segments-left-out",
        edits=(
            (
                "            + self.token_type_embeddings(token_type_ids)\n",
                "",
            ),
        ),
        kinds=("ignored-input", "unused-parameter"),
        where=(
            "",
            "embeddings",
            "embeddings.token_type_embeddings",
            "token_type_ids",
        ),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "places-left-out",
        edits=(("            + self.position_embeddings(position_ids)\n", ""),),
        kinds=("position-blind", "unused-parameter"),
        where=("", "embeddings", "embeddings.position_embeddings"),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "every-place-is-the-first",
        edits=(
            (
                "position_ids.unsqueeze(0).expand_as(input_ids)",
                "position_ids[:1].unsqueeze(0).expand_as(input_ids)",
            ),
        ),
        kinds=("position-blind",),
        where=("", "embeddings", "embeddings.position_embeddings"),
        needs="facts",
        source="annotated_deep_learning_paper_implementations #133",
    ),
    Bug(
        "scores-not-scaled",
        edits=(("        scores = scores / math.sqrt(self.head_size)\n", ""),),
        kinds=("saturated", "exploding"),
        where=ATTENTIONS,
        needs="reference",
        source="mlc-llm #3426",
    ),
    Bug(
        "head-without-gelu",
        edits=(("F.gelu(self.transform(hidden))", "self.transform(hidden)"),),
        kinds=("saturated", "dead-units"),
        where=("", "transform", "transform_norm"),
        needs="reference",
        source="seeded",
    ),
    Bug(
        "relu-for-gelu",
        edits=(("F.gelu(self.intermediate(x))", "F.relu(self.intermediate(x))"),),
        kinds=("dead-units", "saturated"),
        where=("layers.0", "layers.1", "layers.0.intermediate", "layers.1.intermediate"),
        needs="reference",
        source="transformers #14191",
    ),
    Bug(
        "no-residual-at-the-attention",
        edits=(("self.attention_norm(attended + x)", "self.attention_norm(attended)"),),
        kinds=("vanishing", "collapsed"),
        where=("layers.0", "layers.1", "layers.0.attention_norm", "layers.1.attention_norm"),
        needs="reference",
        source="seeded",
    ),
    Bug(
        "normalised-over-the-sentence",
        edits=(
            ("u = x.mean(-1, keepdim=True)", "u = x.mean(1, keepdim=True)"),
            ("(x - u).pow(2).mean(-1, keepdim=True)", "(x - u).pow(2).mean(1, keepdim=True)"),
        ),
        kinds=("padding-leak",),
        where=("embeddings.LayerNorm", "layers.0.attention_norm", "layers.0.output_norm"),
        needs="facts",
        source="seeded",
    ),
    Bug(
        "bias-is-a-tensor",
        edits=(
            (
                "self.bias = nn.Parameter(torch.zeros(config.vocab_size))",
                "self.bias = torch.zeros(config.vocab_size)",
            ),
        ),
        kinds=("unregistered", "device", "dtype"),
        where=("",),
        needs="nothing",
        source="pytorch #632",
    ),
    Bug(
        "decoder-not-tied",
        edits=(
            (
                "        self.decoder.weight = self.embeddings.word_embeddings.weight\n",
                "",
            ),
        ),
        kinds=("broken-tie",),
        where=("", "decoder", "embeddings.word_embeddings"),
        needs="facts",
        source="seeded",
    ),
    Bug(
        "layers-born-alike",
        edits=(
            (
                "self.layers = nn.ModuleList([BertLayer(config) for _ in range("
                "config.num_hidden_layers)])",
                "self.layers = nn.ModuleList()",
            ),
            (
                "        self.decoder.weight = self.embeddings.word_embeddings.weight\n",
                "        self.decoder.weight = self.embeddings.word_embeddings.weight\n"
                "        layer = BertLayer(config)\n"
                "        self.layers.extend(\n"
                "            copy.deepcopy(layer) for _ in range(config.num_hidden_layers)\n"
                "        )\n",
            ),
            ("import math\n", "import copy\nimport math\n"),
        ),
        kinds=("init",),
        where=("", "layers", "layers.0", "layers.1"),
        needs="nothing",
        source="transformers #742",
    ),
    Bug(
        "unmasked-words-are-pads",
        edits=(
            (
                'batch["labels"].view(-1))',
                'batch["labels"].clamp(min=0).view(-1))',
            ),
        ),
        kinds=("loss-ignored",),
        where=("",),
        needs="facts",
        source="seeded",
    ),
    Bug(
        "a-mean-over-all-words",
        edits=(
            (
                'batch["labels"].view(-1))',
                'batch["labels"].view(-1), reduction="none").mean()',
            ),
        ),
        kinds=("loss-scale", "loss-ignored"),
        where=("",),
        needs="facts",
        source="seeded",
    ),
    Bug(
        "no-dropout-after-the-first-evaluation",
        edits=(
            (
                "probs = F.dropout(probs, self.dropout_prob, training=self.training)",
                "if not self.training:\n"
                "            self.dropout_prob = 0.0\n"
                "        probs = F.dropout(probs, self.dropout_prob)",
            ),
        ),
        kinds=("state-carried", "train-eval", "no-train-noise"),
        where=ATTENTIONS,
        needs="nothing",
        source="Megatron-LM #411",
    ),
    Bug(
        "empty-sentence-is-nan",
        edits=(
            (
                "extended = (1.0 - extended) * torch.finfo(dtype).min",
                'extended = torch.zeros_like(extended).masked_fill(extended == 0, float("-inf"))',
            ),
        ),
        kinds=("non-finite",),
        where=("", *ATTENTIONS),
        needs="facts",
        source="pytorch #41508",
    ),
    Bug(
        "softmax-in-single-precision",
        edits=(("probs = F.softmax(scores, dim=-1)", "probs = F.softmax(scores.float(), dim=-1)"),),
        kinds=("dtype",),
        where=ATTENTIONS,
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "scaled-by-the-full-width",
        edits=(
            (
                "math.sqrt(self.head_size)",
                "math.sqrt(self.head_size * self.num_heads)",
            ),
        ),
        kinds=("saturated", "vanishing"),
        where=ATTENTIONS,
        needs="reference",
        source="solving-ml-papers #1",
    ),
    Bug(
        "norm-before-the-residual",
        edits=(("return self.output_norm(inner + x)", "return self.output_norm(inner) + x"),),
        kinds=("exploding", "saturated"),
        where=("layers.0", "layers.1", "layers.0.output_norm", "layers.1.output_norm"),
        needs="reference",
        source="seeded",
    ),
    Bug(
        "norm-with-the-default-eps",
        edits=(("eps=1e-12", "eps=1e-3"),),
        kinds=("precision",),
        where=("embeddings.LayerNorm", "layers.0.attention_norm", "layers.0.output_norm"),
        needs="reference",
        source="keras-hub #642",
    ),
    Bug(
        "spread-without-root",
        edits=(
            (
                "(x - u) / torch.sqrt(s + self.variance_epsilon)",
                "(x - u) / (s + self.variance_epsilon)",
            ),
        ),
        kinds=("saturated", "exploding", "non-finite"),
        where=("embeddings.LayerNorm", "layers.0.attention_norm", "layers.0.output_norm"),
        needs="reference",
        source="seeded",
    ),
    Bug(
        "values-for-keys",
        edits=(
            ("self.transpose_for_scores(self.key(", "self.transpose_for_scores(self.value("),
            (
                "value = self.transpose_for_scores(self.value(",
                "value = self.transpose_for_scores(self.key(",
            ),
        ),
        kinds=("saturated", "mask"),
        where=ATTENTIONS,
        needs="reference",
        source="seeded",
    ),
)
