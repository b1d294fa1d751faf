"""What goes wrong in a denoising diffusion model."""

from benchmarks.testers.bug import Bug

BLOCKS = ("model.block1", "model.block2", "model.block3")

BUGS = (
    Bug(
        "time-runs-along-the-batch",
        edits=(
            (
                "args = t[:, None] * freqs[None]",
                "args = torch.arange(len(t), device=t.device)[:, None] * freqs[None]",
            ),
        ),
        kinds=("batch-leak", "ignored-input"),
        where=("", "model", "model.time", "t"),
        needs="nothing",
        source="Diffusion_models_from_scratch #10",
    ),
    Bug(
        "first-time-for-all",
        edits=(
            (
                "a = self.alphas_cumprod[t].view(-1, 1, 1, 1)",
                "a = self.alphas_cumprod[t[0]]",
            ),
        ),
        kinds=("batch-leak",),
        where=("",),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "schedule-over-the-columns",
        edits=(
            (
                "self.alphas_cumprod[t].view(-1, 1, 1, 1)",
                "self.alphas_cumprod[t].view(1, 1, 1, -1)",
            ),
        ),
        kinds=("crash", "shape", "batch-leak"),
        where=("",),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "schedule-is-no-buffer",
        edits=(
            (
                'self.register_buffer("alphas_cumprod", cosine_alphas(STEPS))',
                "self.alphas_cumprod = cosine_alphas(STEPS)",
            ),
        ),
        kinds=("unregistered", "device", "dtype"),
        where=("",),
        needs="nothing",
        source="mace #1415",
    ),
    Bug(
        "schedule-of-numpy",
        edits=(
            ("import math\n\nimport torch\n", "import math\n\nimport numpy as np\nimport torch\n"),
            (
                "x = torch.linspace(0, steps, steps + 1)",
                "x = torch.from_numpy(np.linspace(0, steps, steps + 1))",
            ),
        ),
        kinds=("crash", "dtype"),
        where=("",),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "aims-at-the-opposite",
        edits=(("F.mse_loss(output, batch", "F.mse_loss(output, -batch"),),
        kinds=("loss-sign", "loss-targets"),
        where=("",),
        needs="facts",
        source="seeded",
    ),
    Bug(
        "pixels-share-the-queries",
        edits=(("attn = attn.softmax(dim=2)", "attn = attn.softmax(dim=0)"),),
        kinds=("batch-leak",),
        where=("model.attn",),
        needs="nothing",
        source="annotated_deep_learning_paper_implementations #146",
    ),
    Bug(
        "adds-noise-in-place",
        edits=(
            (
                "return a.sqrt() * x0 + (1 - a).sqrt() * noise",
                "return x0.mul_(a.sqrt()).add_((1 - a).sqrt() * noise)",
            ),
        ),
        kinds=("input-mutated",),
        where=("", "x0"),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "draws-its-own-noise",
        edits=(
            (
                "xt = self.q_sample(x0, t, noise)",
                "xt = self.q_sample(x0, t, torch.randn_like(x0))",
            ),
        ),
        kinds=("eval-noise", "ignored-input", "nondeterministic", "not-learning"),
        where=("", "noise"),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "net-is-not-told-the-time",
        edits=(("h = self.norm2(h) * (1 + scale) + shift", "h = self.norm2(h)"),),
        kinds=("unused-parameter", "ignored-input"),
        where=("", "model", "model.time", "model.block1.emb", *BLOCKS),
        needs="nothing",
        source="Diffusion_models_from_scratch #10",
    ),
    Bug(
        "last-steps-are-clamped",
        edits=(("alphas_cumprod[t].view", "alphas_cumprod[t.clamp(max=STEPS - 1)].view"),),
        kinds=("accepts-bad-input",),
        where=("", "t"),
        needs="facts",
        source="seeded",
    ),
    Bug(
        "counts-from-one",
        edits=(("self.alphas_cumprod[t].view", "self.alphas_cumprod[t + 1].view"),),
        kinds=("crash", "shape"),
        where=("", "t"),
        needs="facts",
        source="diffusers #11347",
    ),
    Bug(
        "time-shifts-without-gradient",
        edits=(("self.emb(F.silu(emb))[", "self.emb(F.silu(emb)).data["),),
        kinds=("unused-parameter", "detached"),
        where=(*BLOCKS, "model.block1.emb", "model.time"),
        needs="nothing",
        source="speechbrain #1396",
    ),
    Bug(
        "time-of-another-type",
        edits=(("timestep_embedding(t, self.ch).to(x.dtype)", "timestep_embedding(t, self.ch)"),),
        kinds=("dtype",),
        where=("model", "model.time", ""),
        needs="nothing",
        source="gReLU #26",
    ),
    Bug(
        "doubles-instead-of-fitting",
        edits=(("size=h1.shape[-2:], mode", "scale_factor=2, mode"),),
        kinds=("shape", "crash"),
        where=("", "model", "model.block3"),
        needs="nothing",
        source="seeded",
    ),
)
