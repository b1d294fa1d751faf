"""What goes wrong in a variational autoencoder."""

from benchmarks.testers.bug import Bug

BUGS = (
    Bug(
        "divergence-turned-round",
        edits=(("kl = -0.5 * torch.sum(1 + logvar", "kl = 0.5 * torch.sum(1 + logvar"),),
        kinds=("loss-sign",),
        where=("",),
        needs="nothing",
        source="model-zoo #147",
    ),
    Bug(
        "divergence-of-all-rows",
        edits=(
            (
                "- mu.pow(2) - logvar.exp(), dim=1)",
                "- mu.pow(2) - logvar.exp())",
            ),
        ),
        kinds=("loss-scale", "accumulation"),
        where=("",),
        needs="facts",
        source="GNTPP #4",
    ),
    Bug(
        "samples-in-eval",
        edits=(("        if not self.training:\n            return mu\n", ""),),
        kinds=("eval-noise", "nondeterministic"),
        where=("",),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "sampling-cuts-the-gradient",
        edits=(
            (
                "        eps = torch.randn_like(std)\n        return mu + eps * std",
                "        return torch.normal(mu, std)",
            ),
        ),
        kinds=("detached", "unused-parameter"),
        where=("", "encoder", "encoder.mu", "encoder.logvar"),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "forgets-the-sigmoid",
        edits=(
            ("return torch.sigmoid(self.out(h))", "return self.out(h)"),
            ("F.binary_cross_entropy(output", "F.mse_loss(output"),
        ),
        kinds=("range",),
        where=("", "decoder", "decoder.out"),
        needs="facts",
        source="seeded",
    ),
    Bug(
        "sigmoid-twice",
        edits=(("F.binary_cross_entropy(output", "F.binary_cross_entropy_with_logits(output"),),
        kinds=("loss-input",),
        where=("", "decoder"),
        needs="nothing",
        source="daisyRec #15",
    ),
    Bug(
        "channels-before-rows",
        edits=(
            (
                ".view(-1, 2 * self.channels, 3, 3)",
                ".view(2 * self.channels, -1, 3, 3).transpose(0, 1)",
            ),
        ),
        kinds=("batch-leak",),
        where=("decoder", "decoder.fc", "decoder.up1"),
        needs="nothing",
        source="OpenPSG #56",
    ),
    Bug(
        "decoder-without-gradient",
        edits=(
            (
                "        z = self.reparameterize(mu, logvar)\n"
                '        return {"reconstruction": self.decoder(z)',
                "        z = self.reparameterize(mu, logvar)\n"
                "        with torch.no_grad():\n"
                "            reconstruction = self.decoder(z)\n"
                '        return {"reconstruction": reconstruction',
            ),
        ),
        kinds=("detached", "unused-parameter"),
        where=("", "decoder"),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "spread-far-too-wide",
        edits=(
            (
                "        self.logvar = nn.Linear(2 * channels * 9, latent_dim)\n",
                "        self.logvar = nn.Linear(2 * channels * 9, latent_dim)\n"
                "        nn.init.normal_(self.logvar.weight)\n",
            ),
        ),
        kinds=("init", "exploding", "loss-scale"),
        where=("encoder", "encoder.logvar"),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "averaged-twice",
        edits=(("return (recon + kl).mean()", "return (recon + kl).mean() / len(x)"),),
        kinds=("loss-scale", "accumulation"),
        where=("",),
        needs="facts",
        source="Co-teaching #4",
    ),
    Bug(
        "compared-with-itself",
        edits=(
            (
                'recon = F.binary_cross_entropy(output["reconstruction"], x,',
                'x = output["reconstruction"].detach()\n'
                '    recon = F.binary_cross_entropy(output["reconstruction"], x,',
            ),
        ),
        kinds=("loss-constant", "unused-parameter", "not-learning"),
        where=("", "decoder"),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "logarithm-of-nothing",
        edits=(
            (
                'recon = F.binary_cross_entropy(output["reconstruction"], x, reduction="none")',
                'p = output["reconstruction"]\n'
                "    recon = -(x * p.log() + (1 - x) * (1 - p).log())",
            ),
        ),
        kinds=("non-finite",),
        where=("", "decoder"),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "noise-of-numpy",
        edits=(
            (
                "import torch\nfrom torch import nn",
                "import numpy\nimport torch\nfrom torch import nn",
            ),
            (
                "eps = torch.randn_like(std)",
                "eps = torch.from_numpy(numpy.random.randn(*std.shape)).to(std)",
            ),
        ),
        kinds=("hidden-rng", "nondeterministic"),
        where=("",),
        needs="nothing",
        source="scar #97",
    ),
    Bug(
        "codes-centred-on-the-batch",
        edits=(("return self.mu(h), self", "return self.mu(h - h.mean(0)), self"),),
        kinds=("batch-leak", "collapsed"),
        where=("", "encoder", "encoder.mu"),
        needs="nothing",
        source="seeded",
    ),
)
