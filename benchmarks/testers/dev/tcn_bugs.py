"""Bugs of the causal convolutions."""

from benchmarks.testers.bug import Bug

BLOCKS = ("blocks.0", "blocks.1", "blocks.2")
CONVS = tuple(f"{b}.conv" for b in BLOCKS)
NORMS = (*(f"{b}.norm" for b in BLOCKS), "norm")

BUGS = (
    Bug(
        "padded-on-the-right",
        edits=(("F.pad(x, (self.past, 0))", "F.pad(x, (0, self.past))"),),
        kinds=("causal-leak", "receptive-field", "cache"),
        where=CONVS + BLOCKS,
        needs="facts",
        source="seeded",
    ),
    Bug(
        "padded-in-a-circle",
        edits=(("F.pad(x, (self.past, 0))", 'F.pad(x, (self.past, 0), mode="circular")'),),
        kinds=("causal-leak", "receptive-field", "cache"),
        where=CONVS + BLOCKS,
        needs="facts",
        source="nanochat #844",
    ),
    Bug(
        "the-present-is-not-seen",
        edits=(
            (
                "self.conv(F.pad(x, (self.past, 0)))",
                "self.conv(F.pad(x, (self.past + 1, 0))[:, :, :-1])",
            ),
        ),
        kinds=("receptive-field", "cache", "dead-position"),
        where=CONVS + BLOCKS,
        needs="facts",
        source="seeded",
    ),
    Bug(
        "dilation-does-not-grow",
        edits=(("GatedBlock(channels, 2**i, dropout)", "GatedBlock(channels, 1, dropout)"),),
        kinds=("receptive-field",),
        where=("", "blocks", *BLOCKS, *CONVS),
        needs="facts",
        source="seeded",
    ),
    Bug(
        "dilation-grows-too-fast",
        edits=(("GatedBlock(channels, 2**i, dropout)", "GatedBlock(channels, 3**i, dropout)"),),
        kinds=("receptive-field",),
        where=("", "blocks", *BLOCKS, *CONVS),
        needs="facts",
        source="seeded",
    ),
    Bug(
        "reshaped-not-transposed",
        edits=(
            (
                "x = self.enter(series.transpose(1, 2))",
                "x = self.enter(series.reshape(series.size(0), FEATURES, -1))",
            ),
        ),
        kinds=("causal-leak", "receptive-field", "cache"),
        where=("", "enter"),
        needs="facts",
        source="seeded",
    ),
    Bug(
        "norm-over-time",
        edits=(("x.square().mean(1, keepdim=True)", "x.square().mean((1, 2), keepdim=True)"),),
        kinds=("causal-leak", "receptive-field", "cache"),
        where=NORMS,
        needs="facts",
        source="seeded",
    ),
    Bug(
        "norm-over-the-batch",
        edits=(("x.square().mean(1, keepdim=True)", "x.square().mean((0, 1), keepdim=True)"),),
        kinds=("batch-leak",),
        where=NORMS,
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "centred-with-the-future",
        edits=(
            (
                "        x = self.enter(series.transpose(1, 2))\n",
                "        series = series - series.mean(1, keepdim=True)\n"
                "        x = self.enter(series.transpose(1, 2))\n",
            ),
        ),
        kinds=("causal-leak", "receptive-field", "cache"),
        where=("",),
        needs="facts",
        source="seeded",
    ),
    Bug(
        "history-of-the-newest",
        edits=(("self.conv(window), window[:, :, 1:]", "self.conv(window), window[:, :, :-1]"),),
        kinds=("cache",),
        where=("", *CONVS, *BLOCKS),
        needs="facts",
        source="seeded",
    ),
    Bug(
        "history-of-the-wrong-side",
        edits=(
            ("window = torch.cat([history, x], dim=2)", "window = torch.cat([x, history], dim=2)"),
        ),
        kinds=("cache",),
        where=("", *CONVS, *BLOCKS),
        needs="facts",
        source="seeded",
    ),
    Bug(
        "history-without-the-norm",
        edits=(("self.conv.step(self.norm(x), history)", "self.conv.step(x, history)"),),
        kinds=("cache",),
        where=("", *BLOCKS, *CONVS),
        needs="facts",
        source="seeded",
    ),
    Bug(
        "log-std-with-the-wrong-sign",
        edits=(("0.5 * error.square() + log_std +", "0.5 * error.square() - log_std +"),),
        kinds=("loss-sign",),
        where=("",),
        needs="facts",
        source="seeded",
    ),
    Bug(
        "gate-without-value",
        edits=(
            ("torch.tanh(value) * torch.sigmoid(gate)", "torch.tanh(gate) * torch.sigmoid(gate)"),
        ),
        kinds=("unused-parameter",),
        where=(*BLOCKS, *CONVS, *(f"{c}.conv" for c in CONVS)),
        needs="facts",
        source="seeded",
    ),
)
