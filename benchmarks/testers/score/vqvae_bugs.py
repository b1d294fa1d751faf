"""What goes wrong in a VQ-VAE."""

from benchmarks.testers.bug import Bug

BUGS = (
    Bug(
        "straight-through-forgotten",
        edits=(("        quantized = z + (quantized - z).detach()\n", ""),),
        kinds=("detached",),
        where=("", "vq", "encoder"),
        needs="facts",
        source="seeded",
    ),
    Bug(
        "codebook-cut-off",
        edits=(
            (
                "codebook_loss = (quantized - z.detach())",
                "codebook_loss = (quantized.detach() - z.detach())",
            ),
        ),
        kinds=("unused-parameter", "detached"),
        where=("vq", "vq.codebook"),
        needs="nothing",
        source="vqvae #20",
    ),
    Bug(
        "codebook-loss-after-straight-through",
        edits=(
            ("        quantized = z + (quantized - z).detach()\n", ""),
            (
                "        codebook_loss = ",
                "        quantized = z + (quantized - z).detach()\n        codebook_loss = ",
            ),
        ),
        kinds=("unused-parameter", "detached"),
        where=("vq", "vq.codebook"),
        needs="nothing",
        source="jax-vqvae-gpt #2",
    ),
    Bug(
        "codebook-is-a-tensor",
        edits=(
            (
                "self.codebook = nn.Embedding(num_codes, dim)\n"
                "        nn.init.uniform_(self.codebook.weight, -1.0, 1.0)",
                "self.codebook = torch.rand(num_codes, dim) * 2 - 1",
            ),
            ("2 * flat @ self.codebook.weight.t()", "2 * flat @ self.codebook.t()"),
            ("+ self.codebook.weight.pow(2)", "+ self.codebook.pow(2)"),
            ("self.codebook(codes)", "self.codebook[codes]"),
        ),
        kinds=("unregistered", "lost-state"),
        where=("vq", ""),
        needs="nothing",
        source="pytorch #632",
    ),
    Bug(
        "pieces-put-back-across-rows",
        edits=(
            (
                "self.codebook(codes).view(b, t, c).permute(0, 2, 1)",
                "self.codebook(codes).view(t, b, c).permute(1, 2, 0)",
            ),
        ),
        kinds=("batch-leak",),
        where=("vq",),
        needs="nothing",
        source="OpenPSG #56",
    ),
    Bug(
        "gain-is-not-saved",
        edits=(
            (
                'self.register_buffer("gain", torch.tensor(0.5))',
                'self.register_buffer("gain", torch.rand(()) + 0.5, persistent=False)',
            ),
        ),
        kinds=("lost-state",),
        where=("",),
        needs="nothing",
        source="ccnn #14",
    ),
    Bug(
        "codes-set-at-the-first-call",
        edits=(
            (
                "        codes = distance.argmin(dim=1)\n",
                "        if not getattr(self, 'started', False):\n"
                "            self.started = True\n"
                "            with torch.no_grad():\n"
                "                n = min(len(flat), self.codebook.num_embeddings)\n"
                "                self.codebook.weight[:n] = flat[:n]\n"
                "        codes = distance.argmin(dim=1)\n",
            ),
        ),
        kinds=("state-carried", "lost-state", "nondeterministic"),
        where=("vq", "vq.codebook"),
        needs="nothing",
        source="ccnn #14",
    ),
    Bug(
        "louder-than-allowed",
        edits=(("            nn.Tanh(),\n", ""),),
        kinds=("range",),
        where=("", "decoder"),
        needs="facts",
        source="seeded",
    ),
    Bug(
        "codes-all-alike",
        edits=(
            (
                "nn.init.uniform_(self.codebook.weight, -1.0, 1.0)",
                "nn.init.constant_(self.codebook.weight, 1.0)",
            ),
        ),
        kinds=("init", "collapsed", "dead-units", "ignored-input"),
        where=("vq", "vq.codebook"),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "gain-is-adapted-in-eval",
        edits=(
            (
                "        length = signal.size(1)\n",
                "        length = signal.size(1)\n"
                "        with torch.no_grad():\n"
                "            self.gain.lerp_(1 / (signal.std() + 1), 0.1)\n",
            ),
        ),
        kinds=("state-carried", "batch-leak", "nondeterministic"),
        where=("",),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "whole-pieces-only",
        edits=(("padded = F.pad(signal, (0, -length % 4))", "padded = signal"),),
        kinds=("shape", "crash"),
        where=("", "encoder", "decoder"),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "squeezes-a-single-signal",
        edits=((".squeeze(1)[:, :length]", ".squeeze()[..., :length]"),),
        kinds=("shape",),
        where=("", "decoder"),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "signal-scaled-in-place",
        edits=(("padded = F.pad(signal, ", "padded = F.pad(signal.mul_(0.5), "),),
        kinds=("input-mutated",),
        where=("", "signal"),
        needs="nothing",
        source="brevitas #1504",
    ),
    Bug(
        "every-fourth-sample-unread",
        edits=(("nn.Conv1d(1, width, 4, stride=4)", "nn.Conv1d(1, width, 3, stride=4)"),),
        kinds=("dead-position", "ignored-input", "receptive-field"),
        where=("", "encoder", "encoder.0", "signal"),
        needs="nothing",
        source="seeded",
    ),
)
