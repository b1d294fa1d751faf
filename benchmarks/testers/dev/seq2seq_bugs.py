"""Bugs of the translator."""

from benchmarks.testers.bug import Bug

ENCODER = ("encoder.0", "encoder.1", "encoder.0.self_attn", "encoder.1.self_attn")
DECODER = ("decoder.0", "decoder.1", "decoder.0.self_attn", "decoder.1.self_attn")
CROSS = ("decoder.0", "decoder.1", "decoder.0.cross_attn", "decoder.1.cross_attn")

BUGS = (
    Bug(
        "future-not-hidden",
        edits=(("y, y, y, attn_mask=hidden, need_weights", "y, y, y, need_weights"),),
        kinds=("causal-leak", "mask"),
        where=DECODER,
        needs="facts",
        source="keras #23038",
    ),
    Bug(
        "one-position-of-the-future",
        edits=(("device=target.device).triu(1)", "device=target.device).triu(2)"),),
        kinds=("causal-leak", "mask"),
        where=("", *DECODER),
        needs="facts",
        source="seeded",
    ),
    Bug(
        "past-hidden-instead",
        edits=(("device=target.device).triu(1)", "device=target.device).tril(-1)"),),
        kinds=("causal-leak", "mask"),
        where=("", *DECODER),
        needs="facts",
        source="seeded",
    ),
    Bug(
        "hidden-kept-from-the-first-length",
        edits=(
            (
                "        hidden = torch.ones(n, n, dtype=torch.bool, device=target.device)",
                '        if not hasattr(self, "hidden"):\n'
                "            self.hidden = torch.ones(n, n, dtype=torch.bool)",
            ),
            (
                "        y = self.positions(",
                "        hidden = self.hidden[:n, :n]\n        y = self.positions(",
            ),
        ),
        kinds=("state-carried", "crash", "shape", "device"),
        where=("", *DECODER),
        needs="facts",
        source="seeded",
    ),
    Bug(
        "source-mask-inverted",
        edits=(("x = layer(x, ~real)", "x = layer(x, real)"),),
        kinds=("mask", "padding-leak", "dead-position"),
        where=("", *ENCODER),
        needs="facts",
        source="seeded",
    ),
    Bug(
        "source-padding-read-by-the-encoder",
        edits=(("x, x, x, key_padding_mask=pad, need_weights", "x, x, x, need_weights"),),
        kinds=("padding-leak", "mask"),
        where=ENCODER,
        needs="facts",
        source="seeded",
    ),
    Bug(
        "source-padding-read-by-the-decoder",
        edits=(
            ("memory, memory, key_padding_mask=pad, need_weights", "memory, memory, need_weights"),
        ),
        kinds=("padding-leak", "mask"),
        where=CROSS,
        needs="facts",
        source="seeded",
    ),
    Bug(
        "memory-not-read",
        edits=(
            (
                "self.cross_attn(y, memory, memory, key_padding_mask=pad, need",
                "self.cross_attn(y, y, y, need",
            ),
        ),
        kinds=("ignored-input", "unused-parameter", "causal-leak"),
        where=("", *CROSS, "encoder", "encoder.0", "encoder.1"),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "memory-without-gradient",
        edits=(
            ("memory = self.encode(source, real)", "memory = self.encode(source, real).detach()"),
        ),
        kinds=("detached", "unused-parameter"),
        where=("", "encoder", "encoder.0", "encoder.1", "source_embed"),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "positions-of-the-rows",
        edits=(("x = x + self.pe[place].squeeze(2)", "x = x + self.pe[: x.size(0)]"),),
        kinds=("batch-leak", "position-blind"),
        where=("positions",),
        needs="nothing",
        source="influenza_transformer #9",
    ),
    Bug(
        "one-position-for-all",
        edits=(("self.pe[place].squeeze(2)", "self.pe[x.size(1) - 1]"),),
        kinds=("position-blind", "causal-leak", "padding-leak"),
        where=("positions",),
        needs="facts",
        source="DiffPoseTalk #20",
    ),
    Bug(
        "positions-count-the-padding",
        edits=(
            (
                "place = (real.long().cumsum(1) - 1).clamp_min(0)",
                "place = torch.arange(x.size(1), device=x.device).expand_as(real)",
            ),
        ),
        kinds=("padding-leak",),
        where=("positions", ""),
        needs="facts",
        source="transformers #21080",
    ),
    Bug(
        "positions-not-returned",
        edits=(
            (
                "        x = x + self.pe[place].squeeze(2)\n",
                "        self.pe[place].squeeze(2) + x\n",
            ),
        ),
        kinds=("position-blind",),
        where=("positions", ""),
        needs="facts",
        source="intro-llm #34",
    ),
    Bug(
        "decoder-is-given-the-answer",
        edits=(('"target": full[:, :-1]', '"target": full[:, 1:]'),),
        kinds=("loss-targets", "bad-input-data"),
        where=("",),
        needs="facts",
        source="seeded",
    ),
    Bug(
        "padding-is-a-label",
        edits=((", ignore_index=PAD, reduction", ", reduction"),),
        kinds=("loss-ignored",),
        where=("",),
        needs="facts",
        source="transformers #7828",
    ),
    Bug(
        "divided-by-all-positions",
        edits=(("total / (labels != PAD).sum().clamp_min(1)", "total / labels.numel()"),),
        kinds=("loss-scale", "loss-ignored"),
        where=("",),
        needs="facts",
        source="transformers #38448",
    ),
    Bug(
        "output-not-tied",
        edits=(("        self.generator.weight = self.target_embed.weight\n", ""),),
        kinds=("broken-tie",),
        where=("", "generator", "target_embed"),
        needs="facts",
        source="pytext #704",
    ),
    Bug(
        "begins-with-the-answer",
        edits=(
            (
                "full = torch.cat([begin, written], dim=1)",
                "full = torch.cat([written[:, :1], written], dim=1)",
            ),
        ),
        kinds=("loss-targets", "bad-input-data"),
        where=("",),
        needs="facts",
        source="seeded",
    ),
)
