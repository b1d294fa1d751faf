"""Bugs of the vector-quantised autoencoder."""

from benchmarks.testers.bug import Bug

BOOK = ("quantizer", "quantizer._embedding")
STACKS = ("encoder._stack", "decoder._stack")
RESIDUALS = tuple(f"{s}._layers.{i}" for s in STACKS for i in (0, 1))

BUGS = (
    Bug(
        "book-loss-after-straight-through",
        edits=(
            (
                "        book_loss = F.mse_loss(quantized, inputs.detach())\n",
                "        straight = inputs + (quantized - inputs).detach()\n"
                "        book_loss = F.mse_loss(straight, inputs.detach())\n",
            ),
        ),
        kinds=("unused-parameter", "detached"),
        where=BOOK,
        needs="nothing",
        source="jax-vqvae-gpt #2",
    ),
    Bug(
        "book-loss-of-the-detached",
        edits=(
            (
                "book_loss = F.mse_loss(quantized, inputs.detach())",
                "book_loss = F.mse_loss(quantized.detach(), inputs)",
            ),
        ),
        kinds=("unused-parameter", "detached"),
        where=BOOK,
        needs="nothing",
        source="MishaLaskin/vqvae #20",
    ),
    Bug(
        "nothing-goes-straight-through",
        edits=(
            ("inputs + (quantized - inputs).detach()", "(inputs + (quantized - inputs)).detach()"),
        ),
        kinds=("detached",),
        where=(*BOOK, "encoder"),
        needs="facts",
        source="seeded",
    ),
    Bug(
        "quantizer-losses-forgotten",
        edits=(
            (
                "        return quantized, loss, perplexity",
                "        return quantized, loss.detach(), perplexity",
            ),
        ),
        kinds=("unused-parameter", "detached"),
        where=BOOK,
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "one-residual-many-times",
        edits=(
            (
                "[Residual(channels, hidden) for _ in range(layers)]",
                "[Residual(channels, hidden)] * layers",
            ),
        ),
        kinds=("broken-tie",),
        where=(*RESIDUALS, *STACKS, *(f"{s}._layers" for s in STACKS)),
        needs="facts",
        source="pytorch-vq-vae #2",
    ),
    Bug(
        "book-of-zeros",
        edits=(
            (
                "nn.init.normal_(self._embedding.weight, std=0.5)",
                "nn.init.zeros_(self._embedding.weight)",
            ),
        ),
        kinds=("collapsed", "init", "ignored-input"),
        where=(*BOOK, ""),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "book-not-a-parameter",
        edits=(
            (
                "self._embedding = nn.Embedding(num_embeddings, embedding_dim)",
                "self._book = [nn.Embedding(num_embeddings, embedding_dim)]",
            ),
            ("nn.init.normal_(self._embedding.weight", "nn.init.normal_(self._book[0].weight"),
            ("book = self._embedding.weight", "book = self._book[0].weight"),
        ),
        kinds=("unregistered",),
        where=("quantizer", ""),
        needs="nothing",
        source="pytorch #1053",
    ),
    Bug(
        "centred-over-the-batch",
        edits=(
            (
                "reshape(-1, d)\n        book",
                "reshape(-1, d)\n        flat = flat - flat.mean(0)\n        book",
            ),
        ),
        kinds=("batch-leak",),
        where=("quantizer",),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "nearest-code-of-the-batch",
        edits=(
            (
                "inputs.permute(0, 2, 3, 1).reshape(-1, d)",
                "inputs.permute(2, 3, 0, 1).reshape(-1, d)",
            ),
        ),
        kinds=("batch-leak",),
        where=("quantizer",),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "perplexity-of-unused-codes",
        edits=(("(share + 1e-10).log()", "share.log()"),),
        kinds=("non-finite",),
        where=("quantizer", ""),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "codes-in-float32",
        edits=(("self._num_embeddings).to(flat.dtype)", "self._num_embeddings).float()"),),
        kinds=("dtype", "crash"),
        where=("quantizer",),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "output-without-tanh",
        edits=(
            (
                "torch.tanh(self._up(self._stack(self._in(z))))",
                "self._up(self._stack(self._in(z)))",
            ),
        ),
        kinds=("range",),
        where=("decoder", "", "decoder._up"),
        needs="facts",
        source="seeded",
    ),
    Bug(
        "losses-summed-not-averaged",
        edits=(
            (
                'F.mse_loss(recon, batch["x"]) / DATA',
                'F.mse_loss(recon, batch["x"], reduction="sum") / DATA',
            ),
        ),
        kinds=("loss-scale", "accumulation"),
        where=("",),
        needs="facts",
        source="benchmark_VAE #125",
    ),
    Bug(
        "code-book-frozen",
        edits=(
            (
                "        nn.init.normal_(self._embedding.weight, std=0.5)\n",
                "        nn.init.normal_(self._embedding.weight, std=0.5)\n"
                "        self._embedding.weight.requires_grad = False\n",
            ),
        ),
        kinds=("frozen",),
        where=BOOK,
        needs="facts",
        source="seeded",
        facts={"frozen": ()},
    ),
)
