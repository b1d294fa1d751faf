"""Bugs of the diffusion model."""

from benchmarks.testers.bug import Bug

D = "denoiser"
BLOCKS = (f"{D}.block1", f"{D}.block2")

BUGS = (
    Bug(
        "time-not-given",
        edits=(("emb = self.time(t) + self.label(label)", "emb = self.label(label)"),),
        kinds=("unused-parameter",),
        where=(D, f"{D}.time"),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "time-is-a-constant",
        edits=(
            ("angles = t[:, None] * self.freqs", "angles = (t // STEPS)[:, None] * self.freqs"),
        ),
        kinds=("collapsed", "ignored-input", "unused-parameter"),
        where=(f"{D}.time", f"{D}.time.mlp", f"{D}.time.mlp.0"),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "time-of-the-first-row",
        edits=(("emb = self.time(t) + ", "emb = self.time(t[:1]) + "),),
        kinds=("batch-leak",),
        where=(D, f"{D}.time"),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "label-ignored",
        edits=(("self.label(label)", "self.label(torch.full_like(label, CLASSES))"),),
        kinds=("ignored-input",),
        where=("", D, f"{D}.label"),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "label-dropped-only-in-eval",
        edits=(
            (
                "        if self.training:\n            drop = ",
                "        if not self.training:\n            drop = ",
            ),
        ),
        kinds=("eval-noise", "nondeterministic", "no-train-noise", "train-eval"),
        where=("",),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "label-dropped-by-numpy",
        edits=(
            ("import math\n", "import math\n\nimport numpy as np\n"),
            (
                "drop = torch.rand(label.shape, device=label.device) < self.drop_label",
                "drop = torch.as_tensor(np.random.rand(len(label)) < self.drop_label)",
            ),
        ),
        kinds=("hidden-rng", "nondeterministic"),
        where=("",),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "embedding-across-the-batch",
        edits=(
            (
                "[:, :, None].chunk(2, dim=1)",
                ".view(-1, emb.size(0), 1).transpose(0, 1).chunk(2, dim=1)",
            ),
        ),
        kinds=("batch-leak",),
        where=(*BLOCKS, *(f"{b}.emb" for b in BLOCKS)),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "skip-forgotten",
        edits=(("return self.skip(x) + h", "return h"),),
        kinds=("init", "unused-parameter", "vanishing"),
        where=(*BLOCKS, *(f"{b}.skip" for b in BLOCKS)),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "frequencies-not-a-buffer",
        edits=(
            (
                'self.register_buffer("freqs", torch.exp(',
                "self.freqs = (torch.exp(",
            ),
        ),
        kinds=("unregistered", "dtype", "device"),
        where=(f"{D}.time",),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "schedule-not-a-buffer",
        edits=(
            (
                'self.register_buffer("alphas_cumprod", torch.cumprod(1 - betas, dim=0))',
                "self.alphas_cumprod = torch.cumprod(1 - betas, dim=0)",
            ),
        ),
        kinds=("unregistered", "device", "dtype", "lost-state"),
        where=("",),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "trained-towards-the-signal",
        edits=(('(predicted - batch["noise"])', '(predicted - batch["x0"])'),),
        kinds=("loss-targets",),
        where=("",),
        needs="facts",
        source="seeded",
    ),
    Bug(
        "weights-as-a-column",
        edits=(("a = self.alphas_cumprod[t]\n", "a = self.alphas_cumprod[t].unsqueeze(1)\n"),),
        kinds=("loss-shape", "batch-leak"),
        where=("",),
        needs="nothing",
        source="pytorch #19699",
    ),
    Bug(
        "signal-noised-in-place",
        edits=(
            (
                "return a.sqrt() * x0 + (1 - a).sqrt() * noise",
                "return x0.mul_(a.sqrt()).add_((1 - a).sqrt() * noise)",
            ),
        ),
        kinds=("input-mutated",),
        where=("",),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "attention-softmax-over-the-batch",
        edits=(("scores.softmax(dim=-1)", "scores.softmax(dim=0)"),),
        kinds=("batch-leak",),
        where=(f"{D}.attend",),
        needs="nothing",
        source="attention-is-all-you-need-pytorch #52",
    ),
    Bug(
        "attention-heads-share-a-batch",
        edits=(
            (
                "view(b, 3, self.heads, c // self.heads, n)",
                "view(3, b, self.heads, c // self.heads, n).transpose(0, 1)",
            ),
        ),
        kinds=("batch-leak",),
        where=(f"{D}.attend",),
        needs="nothing",
        source="gazelle93/Transformer-Various-Positional-Encoding #1",
    ),
    Bug(
        "embedding-without-gradient",
        edits=(("self.emb(F.silu(emb))", "self.emb(F.silu(emb.detach()))"),),
        kinds=("detached", "unused-parameter"),
        where=(*BLOCKS, f"{D}.time", f"{D}.label", D),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "time-in-float32",
        edits=(("t[:, None] * self.freqs", "t[:, None].float() * self.freqs.float()"),),
        kinds=("dtype", "crash"),
        where=(f"{D}.time", f"{D}.time.mlp.0"),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "loss-summed-over-the-batch",
        edits=(("return (weight * error).mean()", "return (weight * error).sum()"),),
        kinds=("loss-scale", "accumulation"),
        where=("",),
        needs="facts",
        source="seeded",
    ),
)
