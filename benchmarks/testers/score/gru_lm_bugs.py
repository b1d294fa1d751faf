"""What goes wrong in a recurrent language model."""

from benchmarks.testers.bug import Bug

BUGS = (
    Bug(
        "time-is-not-second",
        edits=(
            ("num_layers=2, batch_first=True)", "num_layers=2)"),
            ("x.new_zeros(2, len(letters), self.width)", "x.new_zeros(2, x.size(1), self.width)"),
        ),
        kinds=("batch-leak", "cache"),
        where=("", "gru"),
        needs="nothing",
        source="dqn-pytorch #1",
    ),
    Bug(
        "goes-on-from-the-last-batch",
        edits=(
            (
                "        if state is None:\n",
                "        if state is None:\n"
                "            state = getattr(self, 'last', None)\n"
                "        if state is None or state.size(1) != len(letters):\n",
            ),
            (
                "x, state = self.gru(x, state)",
                "x, state = self.gru(x, state)\n        self.last = state.detach()",
            ),
        ),
        kinds=("state-carried", "nondeterministic"),
        where=("", "gru"),
        needs="nothing",
        source="LSTM-Music-Genre-Classification #12",
    ),
    Bug(
        "zeros-of-the-default-type",
        edits=(
            (
                "state = x.new_zeros(2, len(letters), self.width)",
                "state = torch.zeros(2, len(letters), self.width)",
            ),
        ),
        kinds=("dtype", "device"),
        where=("", "gru"),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "letters-tied-by-copy",
        edits=(
            (
                "self.decoder.weight = self.embed.weight",
                "self.decoder.weight.data = self.embed.weight.data.clone()",
            ),
        ),
        kinds=("broken-tie",),
        where=("", "decoder", "embed"),
        needs="facts",
        source="seeded",
    ),
    Bug(
        "predicts-what-it-reads",
        edits=(
            (
                'logits, targets = output.logits[:, :-1], batch["letters"][:, 1:]',
                'logits, targets = output.logits, batch["letters"]',
            ),
        ),
        kinds=("loss-targets",),
        where=("",),
        needs="facts",
        source="transformers #27517",
    ),
    Bug(
        "predicts-the-letter-after-next",
        edits=(
            (
                'output.logits[:, :-1], batch["letters"][:, 1:]',
                'output.logits[:, :-2], batch["letters"][:, 2:]',
            ),
        ),
        kinds=("loss-targets",),
        where=("",),
        needs="facts",
        source="transformers #47394",
    ),
    Bug(
        "learns-to-pad",
        edits=((", targets, ignore_index=PAD)", ", targets)"),),
        kinds=("loss-ignored",),
        where=("",),
        needs="facts",
        source="transformers #2759",
    ),
    Bug(
        "scores-reshaped-not-turned",
        edits=(
            (
                "F.cross_entropy(logits.transpose(1, 2), targets",
                "F.cross_entropy(logits.reshape(len(logits), LETTERS, -1), targets",
            ),
        ),
        kinds=("loss-shape", "loss-targets"),
        where=("",),
        needs="facts",
        source="Informer2020 #59",
    ),
    Bug(
        "reads-both-ways",
        edits=(
            (
                "nn.GRU(width, width, num_layers=2",
                "nn.GRU(width, width // 2, bidirectional=True, num_layers=2",
            ),
            (
                "x.new_zeros(2, len(letters), self.width)",
                "x.new_zeros(4, len(letters), self.width // 2)",
            ),
        ),
        kinds=("causal-leak", "cache"),
        where=("", "gru"),
        needs="facts",
        source="seeded",
    ),
    Bug(
        "centred-over-the-text",
        edits=(
            (
                "x = self.drop(self.norm(x))",
                "x = self.drop(self.norm(x - x.mean(1, keepdim=True)))",
            ),
        ),
        kinds=("causal-leak", "cache"),
        where=("", "norm"),
        needs="facts",
        source="seeded",
    ),
    Bug(
        "writes-without-memory",
        edits=(('out = net(piece["letters"], state)', 'out = net(piece["letters"])'),),
        kinds=("cache",),
        where=("",),
        needs="facts",
        source="seeded",
    ),
    Bug(
        "hands-back-the-old-state",
        edits=(("x, state = self.gru(x, state)", "x, _ = self.gru(x, state)"),),
        kinds=("cache",),
        where=("", "gru"),
        needs="facts",
        source="seeded",
    ),
    Bug(
        "locked-dropout-in-eval",
        edits=(("        if not self.training:\n            return x\n", ""),),
        kinds=("eval-noise", "nondeterministic"),
        where=("drop",),
        needs="nothing",
        source="thinc #355",
    ),
    Bug(
        "dropout-is-not-scaled",
        edits=(("return x * keep / (1 - self.p)", "return x * keep"),),
        kinds=("train-eval",),
        where=("drop",),
        needs="facts",
        source="seeded",
    ),
    Bug(
        "temperature-as-a-number",
        edits=(("torch.exp(self.log_temperature)", "self.log_temperature.exp().item()"),),
        kinds=("unused-parameter", "detached"),
        where=("",),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "letters-too-loud",
        edits=(
            (
                "nn.init.normal_(self.embed.weight, std=0.1)",
                "nn.init.normal_(self.embed.weight, std=5)",
            ),
        ),
        kinds=("init", "loss-scale", "saturated"),
        where=("", "embed", "decoder"),
        needs="nothing",
        source="seeded",
    ),
)
