"""What goes wrong in a temporal convolution network."""

from benchmarks.testers.bug import Bug

BLOCKS = tuple(f"network.{i}" for i in range(5))

BUGS = (
    Bug(
        "chomps-one-too-few",
        edits=(
            ("self.chomp = Chomp1d(padding)", "self.chomp = Chomp1d(padding - 1)"),
            (
                "return x + self.mix(self.dropout(y))",
                "return x + self.mix(self.dropout(y[:, :, 1:]))",
            ),
        ),
        kinds=("causal-leak",),
        where=("", *BLOCKS),
        needs="facts",
        source="seeded",
    ),
    Bug(
        "padded-on-both-sides",
        edits=(
            ("padding=padding, dilation=dilation", "padding=dilation, dilation=dilation"),
            ("self.chomp = Chomp1d(padding)", "self.chomp = nn.Identity()"),
        ),
        kinds=("causal-leak",),
        where=("", *BLOCKS),
        needs="facts",
        source="seeded",
    ),
    Bug(
        "chomps-the-past",
        edits=(("return x[:, :, : -self.chomp_size]", "return x[:, :, self.chomp_size :]"),),
        kinds=("causal-leak",),
        where=("", *BLOCKS, "network.0.chomp"),
        needs="facts",
        source="seeded",
    ),
    Bug(
        "dilation-forgotten",
        edits=(("KERNEL, padding=padding, dilation=dilation)", "KERNEL, padding=padding)"),),
        kinds=("shape", "crash"),
        where=("", *BLOCKS),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "every-block-alike-in-reach",
        edits=(("TemporalBlock(channels, 2**i)", "TemporalBlock(channels, 1)"),),
        kinds=("receptive-field",),
        where=("", "network", *BLOCKS),
        needs="facts",
        source="seeded",
    ),
    Bug(
        "reads-time-as-features",
        edits=(
            (
                "x = self.input(series.transpose(1, 2))",
                "x = self.input(series.reshape(len(series), series.size(2), -1))",
            ),
        ),
        kinds=("causal-leak", "receptive-field"),
        where=("", "input"),
        needs="facts",
        source="Speech-Separation #4",
    ),
    Bug(
        "dropout-in-eval",
        edits=(("F.dropout1d(x, self.p, self.training)", "F.dropout1d(x, self.p)"),),
        kinds=("eval-noise", "nondeterministic"),
        where=("network.0.dropout", "network.1.dropout", *BLOCKS),
        needs="nothing",
        source="PyTorchNLPBook #28",
    ),
    Bug(
        "no-way-round-and-too-loud",
        edits=(
            ("return x + self.mix(self.dropout(y))", "return self.mix(self.dropout(y))"),
            ("nn.init.normal_(self.mix.weight, std=0.1)", "nn.init.normal_(self.mix.weight)"),
        ),
        kinds=("exploding", "init", "loss-scale"),
        where=("", *BLOCKS, "network.0.mix", "network.4.mix"),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "no-way-round-and-too-quiet",
        edits=(
            ("return x + self.mix(self.dropout(y))", "return self.mix(self.dropout(y))"),
            (
                "nn.init.normal_(self.mix.weight, std=0.1)",
                "nn.init.normal_(self.mix.weight, std=0.001)\n"
                "        nn.init.zeros_(self.mix.bias)",
            ),
        ),
        kinds=("vanishing", "collapsed", "init"),
        where=("", *BLOCKS, "network.0.mix", "network.4.mix"),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "units-born-dead",
        edits=(
            (
                "        self.conv = weight_norm(conv)\n",
                "        nn.init.constant_(conv.bias, -10.0)\n"
                "        self.conv = weight_norm(conv)\n",
            ),
        ),
        kinds=("dead-units", "unused-parameter", "init"),
        where=(*BLOCKS, "network.0.conv"),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "spread-may-be-zero",
        edits=(
            (
                "scale = F.softplus(self.log_scale(x)).squeeze(-1) + 1e-3",
                "scale = F.relu(self.log_scale(x)).squeeze(-1)",
            ),
        ),
        kinds=("non-finite",),
        where=("", "log_scale"),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "rewards-a-wide-spread",
        edits=(
            ("(scale.log() + 0.5 * z.square()).mean()", "(-scale.log() + 0.5 * z.square()).mean()"),
        ),
        kinds=("loss-sign", "not-learning"),
        where=("",),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "series-centred-with-its-future",
        edits=(
            (
                "        x = self.input(series",
                "        series = series - series.mean(1, keepdim=True)\n"
                "        x = self.input(series",
            ),
        ),
        kinds=("causal-leak", "receptive-field"),
        where=("", "input"),
        needs="facts",
        source="seeded",
    ),
    Bug(
        "level-of-the-first-batch",
        edits=(
            (
                "        x = self.input(series",
                "        if not hasattr(self, 'level'):\n"
                "            self.level = series.mean((0, 1)).detach()\n"
                "        series = series - self.level\n"
                "        x = self.input(series",
            ),
        ),
        kinds=("state-carried", "lost-state", "batch-leak"),
        where=("",),
        needs="nothing",
        source="ccnn #14",
    ),
)
