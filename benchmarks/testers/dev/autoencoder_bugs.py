"""Bugs of the variational autoencoder."""

from benchmarks.testers.bug import Bug

ENCODER = ("encoder", "encoder.to_mu", "encoder.to_logvar")

BUGS = (
    Bug(
        "kl-sign",
        edits=(("kl = -0.5 * (1 + logvar", "kl = 0.5 * (1 + logvar"),),
        kinds=("loss-sign",),
        where=("",),
        needs="facts",
        source="FluxML/model-zoo #147",
    ),
    Bug(
        "kl-summed-over-the-batch",
        edits=((".sum(1).mean()", ".sum()"),),
        kinds=("loss-scale", "accumulation"),
        where=("",),
        needs="facts",
        source="GNTPP #4",
    ),
    Bug(
        "reconstruction-summed-over-the-batch",
        edits=(('reduction="sum") / rows', 'reduction="sum")'),),
        kinds=("loss-scale", "accumulation"),
        where=("",),
        needs="facts",
        source="seeded",
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
        "never-samples",
        edits=(("return mu + std * torch.randn_like(std)", "return mu + std"),),
        kinds=("no-train-noise",),
        where=("",),
        needs="facts",
        source="seeded",
    ),
    Bug(
        "sample-detached",
        edits=(("z = self.sample(mu, logvar)", "z = self.sample(mu, logvar).detach()"),),
        kinds=("detached",),
        where=("", *ENCODER),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "sample-through-distributions-without-r",
        edits=(
            (
                "return mu + std * torch.randn_like(std)",
                "return torch.distributions.Normal(mu, std).sample()",
            ),
        ),
        kinds=("detached",),
        where=("", *ENCODER),
        needs="facts",
        source="seeded",
    ),
    Bug(
        "one-head-for-both",
        edits=(("self.to_logvar(h).clamp", "self.to_mu(h).clamp"),),
        kinds=("unused-parameter",),
        where=("encoder", "encoder.to_logvar"),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "halves-of-the-batch",
        edits=(
            (
                "return self.to_mu(h), self.to_logvar(h).clamp(-12.0, 12.0)",
                "return torch.cat([self.to_mu(h), self.to_logvar(h)], 1).chunk(2, dim=0)",
            ),
        ),
        kinds=("crash", "shape"),
        where=("encoder", "decoder", "decoder.lift", ""),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "output-in-the-range-of-tanh",
        edits=(("torch.sigmoid(self.body(self.lift(z)))", "torch.tanh(self.body(self.lift(z)))"),),
        kinds=("range",),
        where=("", "decoder"),
        needs="facts",
        source="seeded",
    ),
    Bug(
        "output-without-sigmoid",
        edits=(("torch.sigmoid(self.body(self.lift(z)))", "self.body(self.lift(z))"),),
        kinds=("range",),
        where=("", "decoder"),
        needs="facts",
        source="seeded",
    ),
    Bug(
        "image-rescaled-in-place",
        edits=(("self.encoder(2 * image - 1)", "self.encoder(image.mul_(2).sub_(1))"),),
        kinds=("input-mutated",),
        where=("",),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "seed-set-while-building",
        edits=(
            (
                "        self.encoder = Encoder(channels, latent)",
                "        torch.manual_seed(42)\n        self.encoder = Encoder(channels, latent)",
            ),
        ),
        kinds=("global-state", "hidden-rng"),
        where=("",),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "encoder-put-to-eval",
        edits=(
            (
                "        mu, logvar = self.encoder(2 * image - 1)",
                "        self.encoder.eval()\n        mu, logvar = self.encoder(2 * image - 1)",
            ),
        ),
        kinds=("train-eval", "global-state", "state-carried"),
        where=("", "encoder", "encoder.body.1", "encoder.body.4"),
        needs="nothing",
        source="LCFCN #20",
    ),
    Bug(
        "counter-not-saved",
        edits=(
            (
                '        self.register_buffer("seen", torch.zeros((), dtype=torch.long))\n',
                "        self.seen = torch.zeros((), dtype=torch.long)\n",
            ),
        ),
        kinds=("lost-state", "unregistered", "device"),
        where=("",),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "counter-runs-in-eval",
        edits=(
            ("        if self.training:\n            self.seen += 1\n", "        self.seen += 1\n"),
        ),
        kinds=("state-carried", "nondeterministic"),
        where=("",),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "compared-with-itself",
        edits=(
            (
                'F.mse_loss(output["image"], batch["image"]',
                'F.mse_loss(output["image"], output["image"].detach()',
            ),
        ),
        kinds=("loss-constant", "not-learning", "loss-targets", "unused-parameter"),
        where=("",),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "decoder-batchnorm-follows-nothing",
        edits=(
            (
                "            nn.BatchNorm2d(channels),\n            nn.LeakyReLU(0.2),\n"
                "            nn.ConvTranspose2d(channels",
                "            nn.BatchNorm2d(channels, track_running_stats=False),\n"
                "            nn.LeakyReLU(0.2),\n            nn.ConvTranspose2d(channels",
            ),
        ),
        kinds=("batch-leak", "train-eval"),
        where=("decoder.body.2", "decoder.body", "decoder"),
        needs="nothing",
        source="seeded",
    ),
)
