"""Bugs of the decoder, of its loss and of its training loop."""

from benchmarks.testers.bug import Bug

ATTENTION = ("h.0.attn", "h.1.attn")
MLPS = ("h.0.mlp", "h.1.mlp")

BUGS = (
    Bug(
        "mask-off-by-one",
        edits=(("dtype=torch.bool))\n", "dtype=torch.bool), 1)\n"),),
        kinds=("causal-leak", "mask"),
        where=ATTENTION,
        needs="facts",
        source="seeded",
    ),
    Bug(
        "mask-after-softmax",
        edits=(
            (
                "        scores = scores.masked_fill(~allowed, torch.finfo(scores.dtype).min)\n"
                "        att = F.softmax(scores, dim=-1)\n",
                "        att = F.softmax(scores, dim=-1)\n"
                "        att = att.masked_fill(~allowed, 0.0)\n",
            ),
        ),
        kinds=("causal-leak", "mask", "padding-leak"),
        where=ATTENTION,
        needs="facts",
        source="seeded",
    ),
    Bug(
        "mask-too-soft",
        edits=(("torch.finfo(scores.dtype).min", "-10.0"),),
        kinds=("causal-leak", "mask", "padding-leak"),
        where=ATTENTION,
        needs="facts",
        source="minGPT #75",
    ),
    Bug(
        "softmax-over-the-queries",
        edits=(("F.softmax(scores, dim=-1)", "F.softmax(scores, dim=-2)"),),
        kinds=("causal-leak", "mask", "padding-leak"),
        where=ATTENTION,
        needs="facts",
        source="llms-from-scratch-rs #30",
    ),
    Bug(
        "padding-never-masked",
        edits=((" & keep[:, None, None, :]", ""),),
        kinds=("padding-leak", "mask"),
        where=ATTENTION,
        needs="facts",
        source="minimind-v #76",
    ),
    Bug(
        "positions-count-the-padding",
        edits=(
            (
                "(keep.long().cumsum(1) - 1).clamp_min(0)",
                "torch.arange(keep.size(1), device=keep.device).expand_as(keep)",
            ),
        ),
        kinds=("padding-leak",),
        where=("", "wpe"),
        needs="facts",
        source="transformers #3021",
    ),
    Bug(
        "heads-merged-without-transpose",
        edits=(("y.transpose(1, 2).reshape(b, t, c)", "y.reshape(b, t, c)"),),
        kinds=("causal-leak", "padding-leak"),
        where=ATTENTION,
        needs="facts",
        source="transformer-from-scratch #6",
    ),
    Bug(
        "keys-split-by-view",
        edits=(
            (
                "k.view(b, t, self.heads, c // self.heads).transpose(1, 2)",
                "k.reshape(b, self.heads, t, c // self.heads)",
            ),
        ),
        kinds=("causal-leak", "padding-leak", "cache"),
        where=ATTENTION,
        needs="facts",
        source="FuxiCTR #30",
    ),
    Bug(
        "head-not-tied",
        edits=(("        self.lm_head.weight = self.wte.weight\n", ""),),
        kinds=("broken-tie",),
        where=("", "lm_head", "wte"),
        needs="facts",
        source="mosaicml/examples #11",
    ),
    Bug(
        "labels-not-shifted",
        edits=(
            (
                "logits, targets = output[:, :-1], shifted(batch)",
                'logits, targets = output, batch["labels"]',
            ),
        ),
        kinds=("loss-targets",),
        where=("",),
        needs="facts",
        source="macrocosm-os/pretraining #64",
    ),
    Bug(
        "labels-shifted-twice",
        edits=(
            (
                "logits, targets = output[:, :-1], shifted(batch)",
                "logits, targets = output[:, :-2], shifted(batch)[:, 1:]",
            ),
        ),
        kinds=("loss-targets",),
        where=("",),
        needs="facts",
        source="transformers #44642",
    ),
    Bug(
        "first-pad-is-a-label",
        edits=(("labels = ids.masked_fill(mask == 0, IGNORE)", "labels = ids.clone()"),),
        kinds=("loss-ignored", "loss-targets"),
        where=("",),
        needs="facts",
        source="mlx-lm #1697",
    ),
    Bug(
        "attention-dropout-in-eval",
        edits=(("F.dropout(att, self.dropout, self.training)", "F.dropout(att, self.dropout)"),),
        kinds=("eval-noise", "train-eval", "nondeterministic"),
        where=ATTENTION,
        needs="nothing",
        source="nanoGPT #240",
    ),
    Bug(
        "cache-position-off-by-one",
        edits=(
            (
                "positions = positions[:, -input_ids.size(1) :]",
                "positions = positions[:, -input_ids.size(1) :] + (cache is not None)",
            ),
        ),
        kinds=("cache",),
        where=("", "wpe"),
        needs="facts",
        source="onnxruntime-genai #2354",
    ),
    Bug(
        "cache-keeps-the-keys-twice",
        edits=(("v = torch.cat([past[1], v], dim=2)", "v = torch.cat([past[0], v], dim=2)"),),
        kinds=("cache",),
        where=("", *ATTENTION),
        needs="facts",
        source="seeded",
    ),
    Bug(
        "positions-not-added",
        edits=(("self.wte(input_ids) + self.wpe(positions)", "self.wte(input_ids)"),),
        kinds=("unused-parameter", "position-blind"),
        where=("", "wpe"),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "one-position-for-all",
        edits=(("self.wpe(positions)", "self.wpe(positions[:, -1:])"),),
        kinds=("position-blind", "causal-leak", "cache", "padding-leak"),
        where=("", "wpe"),
        needs="facts",
        source="DiffPoseTalk #20",
    ),
    Bug(
        "scaled-by-the-whole-width",
        edits=(("math.sqrt(k.size(-1))", "math.sqrt(c)"),),
        kinds=(
            "formula",
            "init",
        ),
        where=ATTENTION,
        needs="reference",
        source="train-llm-from-scratch #3",
    ),
    Bug(
        "no-activation",
        edits=(('F.gelu(self.c_fc(x), approximate="tanh")', "self.c_fc(x)"),),
        kinds=("formula",),
        where=MLPS,
        needs="reference",
        source="seeded",
    ),
    Bug(
        "mlp-without-residual",
        edits=(
            ("x = x + self.drop(self.mlp(self.ln_2(x)))", "x = self.drop(self.mlp(self.ln_2(x)))"),
        ),
        kinds=(
            "formula",
            "vanishing",
            "init",
        ),
        where=("h.0", "h.1"),
        needs="reference",
        source="seeded",
    ),
    Bug(
        "pieces-weigh-the-same",
        edits=(("(value * count / sum(tokens)).backward()", "(value / len(pieces)).backward()"),),
        kinds=("accumulation", "loss-scale"),
        where=("",),
        needs="facts",
        source="transformers #38448",
    ),
    Bug(
        "gradients-zeroed-for-each-piece",
        edits=(
            (
                "            value = loss(model(piece",
                "            optimizer.zero_grad()\n            value = loss(model(piece",
            ),
        ),
        kinds=("accumulation", "zero-grad"),
        where=("",),
        needs="facts",
        source="RAE #67",
    ),
    Bug(
        "train-mode-not-given-back",
        edits=(("        model.train(was_training)\n", ""),),
        kinds=("eval-mode",),
        where=("",),
        needs="facts",
        source="pytorch-fcn #57",
    ),
    Bug(
        "optimizer-not-resumed",
        edits=(
            (
                "parts.items():\n            part.load",
                'parts.items():\n            if name != "optimizer":\n                part.load',
            ),
        ),
        kinds=("resume",),
        where=("",),
        needs="facts",
        source="OneVision-Encoder #65",
    ),
    Bug(
        "scheduler-steps-twice",
        edits=(
            ("        scheduler.step()\n", "        scheduler.step()\n        scheduler.step()\n"),
        ),
        kinds=("scheduler",),
        where=("",),
        needs="facts",
        source="meshed-memory-transformer #71",
    ),
    Bug(
        "final-norm-forgotten",
        edits=(("self.lm_head(self.ln_f(x)), presents", "self.lm_head(x), presents"),),
        kinds=("unused-parameter",),
        where=("", "ln_f"),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "residual-of-the-normed",
        edits=(("        x = x + self.drop(a)\n", "        x = self.ln_1(x) + self.drop(a)\n"),),
        kinds=("formula",),
        where=("h.0", "h.1"),
        needs="reference",
        source="seeded",
    ),
    Bug(
        "keys-read-as-values",
        edits=(("y = att @ v  #", "y = att @ k  #"),),
        kinds=(
            "formula",
            "unused-parameter",
        ),
        where=ATTENTION,
        needs="reference",
        source="seeded",
    ),
    Bug(
        "norm-after-instead-of-before",
        edits=(
            (
                "x = x + self.drop(self.mlp(self.ln_2(x)))",
                "x = self.ln_2(x + self.drop(self.mlp(x)))",
            ),
        ),
        kinds=("formula",),
        where=("h.0", "h.1"),
        needs="reference",
        source="pytorch #55270",
    ),
)
