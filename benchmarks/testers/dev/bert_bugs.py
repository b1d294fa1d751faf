"""Bugs of the encoder."""

from benchmarks.testers.bug import Bug

ATTENTION = ("layers.0.attention", "layers.1.attention")
LAYERS = ("layers.0", "layers.1")
NORMS = tuple(f"{layer}.{norm}" for layer in LAYERS for norm in ("norm1", "norm2"))
NORMS += ("embeddings.norm", "head.norm")

BUGS = (
    Bug(
        name="mask-inverted",
        edits=(
            (
                "mask = keep[:, None, None, :]  # (b, 1, 1, t): True may be attended to",
                "mask = ~keep[:, None, None, :]  # (b, 1, 1, t)",
            ),
        ),
        kinds=("mask", "padding-leak", "dead-position"),
        where=("", *ATTENTION),
        needs="facts",
        source="torchTextClassifiers #92",
    ),
    Bug(
        name="mask-of-the-queries",
        edits=(("mask = keep[:, None, None, :]", "mask = keep[:, None, :, None]"),),
        kinds=("padding-leak", "mask"),
        where=("", *ATTENTION),
        needs="facts",
        source="hyunwoongko/transformer #40",
    ),
    Bug(
        name="mask-of-numbers-is-added",
        edits=(("attn_mask=mask,", "attn_mask=mask.to(x.dtype),"),),
        kinds=("padding-leak", "mask"),
        where=ATTENTION,
        needs="facts",
        source="diffusers #14342",
    ),
    Bug(
        name="sdpa-dropout-in-eval",
        edits=(
            ("dropout_p=self.dropout_p if self.training else 0.0,", "dropout_p=self.dropout_p,"),
        ),
        kinds=("eval-noise", "train-eval", "nondeterministic"),
        where=ATTENTION,
        needs="nothing",
        source="pytorch #124464",
    ),
    Bug(
        name="norm-over-positions-too",
        edits=(
            ("mean = x.mean(-1, keepdim=True)", "mean = x.mean((1, 2), keepdim=True)"),
            (
                "var = (x - mean).pow(2).mean(-1, keepdim=True)",
                "var = (x - mean).pow(2).mean((1, 2), keepdim=True)",
            ),
        ),
        kinds=("padding-leak",),
        where=NORMS,
        needs="facts",
        source="FuxiCTR #23",
    ),
    Bug(
        name="norm-over-the-batch",
        edits=(("mean = x.mean(-1, keepdim=True)", "mean = x.mean(0, keepdim=True)"),),
        kinds=("batch-leak",),
        where=NORMS,
        needs="nothing",
        source="seeded",
    ),
    Bug(
        name="norm-without-the-mean",
        edits=(("return self.weight * (x - mean) *", "return self.weight * x *"),),
        kinds=(
            "formula",
            "init",
        ),
        where=NORMS,
        needs="reference",
        source="seeded",
    ),
    Bug(
        name="positions-begin-at-one",
        edits=(("(keep.long().cumsum(1) - 1).clamp_min(0)", "keep.long().cumsum(1)"),),
        kinds=("crash", "shape"),
        where=("embeddings", "embeddings.positions", ""),
        needs="facts",
        source="transformers #9116",
    ),
    Bug(
        name="token-types-forgotten",
        edits=(("self.types(token_type_ids)", "self.types(torch.zeros_like(token_type_ids))"),),
        kinds=("ignored-input",),
        where=("embeddings", "embeddings.types", ""),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        name="mean-over-the-padding",
        edits=(("mean = (x * weights[..., None]).sum(1)", "mean = x.mean(1)"),),
        kinds=("padding-leak",),
        where=("", "pooler"),
        needs="facts",
        source="LightRAG #3675",
    ),
    Bug(
        name="other-ignore-index",
        edits=(("ignore_index=IGNORE, reduction", "ignore_index=-1, reduction"),),
        kinds=("crash", "loss-ignored", "bad-input-data"),
        where=("",),
        needs="nothing",
        source="transformers #2759",
    ),
    Bug(
        name="padding-is-a-label",
        edits=(
            (
                '"labels": ids.masked_fill(~chosen, IGNORE)',
                '"labels": ids.masked_fill(~chosen & keep, IGNORE)',
            ),
        ),
        kinds=("loss-ignored", "loss-targets"),
        where=("",),
        needs="facts",
        source="gpt-neo #45",
    ),
    Bug(
        name="labels-shifted-as-in-a-decoder",
        edits=(
            (
                'logits, labels = output["logits"], batch["labels"]',
                'logits, labels = output["logits"][:, :-1], batch["labels"][:, 1:]',
            ),
        ),
        kinds=("loss-targets",),
        where=("",),
        needs="facts",
        source="seeded",
    ),
    Bug(
        name="one-layer-many-times",
        edits=(
            (
                "[Layer(width, heads, dropout) for _ in range(depth)]",
                "[Layer(width, heads, dropout)] * depth",
            ),
        ),
        kinds=("broken-tie",),
        where=("", *LAYERS, "layers"),
        needs="facts",
        source="pytorch-vq-vae #2",
    ),
    Bug(
        name="heads-split-by-view",
        edits=(
            (
                "x.view(b, t, self.heads, d // self.heads).transpose(1, 2)",
                "x.view(b, self.heads, t, d // self.heads)",
            ),
        ),
        kinds=("padding-leak",),
        where=ATTENTION,
        needs="facts",
        source="Chinese-Text-Classification-Pytorch #53",
    ),
    Bug(
        name="scores-not-scaled",
        edits=(("attn_mask=mask,", "attn_mask=mask,\n            scale=1.0,"),),
        kinds=(
            "formula",
            "saturated",
            "init",
        ),
        where=ATTENTION,
        needs="reference",
        source="mlc-llm #3426",
    ),
    Bug(
        name="attention-without-residual",
        edits=(
            (
                "self.norm1(x + self.dropout(self.attention(x, mask)))",
                "self.norm1(self.dropout(self.attention(x, mask)))",
            ),
        ),
        kinds=(
            "formula",
            "vanishing",
            "collapsed",
        ),
        where=LAYERS,
        needs="reference",
        source="seeded",
    ),
    Bug(
        name="relu-for-gelu",
        edits=(("self.down(F.gelu(self.up(x)))", "self.down(F.relu(self.up(x)))"),),
        kinds=("formula",),
        where=LAYERS,
        needs="reference",
        source="seeded",
    ),
    Bug(
        name="loaded-embedding-is-frozen",
        edits=(
            (
                "nn.Embedding(VOCAB, width, padding_idx=PAD)",
                "nn.Embedding.from_pretrained(torch.randn(VOCAB, width), padding_idx=PAD)",
            ),
        ),
        kinds=("frozen",),
        where=("", "embeddings.tokens", "embeddings", "head.decoder"),
        needs="facts",
        source="RecBole #2027",
    ),
    Bug(
        name="unknown-ids-clamped",
        edits=(("self.tokens(input_ids)", "self.tokens(input_ids.clamp(0, VOCAB - 1))"),),
        kinds=("accepts-bad-input",),
        where=("", "embeddings", "embeddings.tokens"),
        needs="facts",
        source="seeded",
    ),
    Bug(
        name="decoder-not-tied",
        edits=(("        self.head.decoder.weight = self.embeddings.tokens.weight\n", ""),),
        kinds=("broken-tie",),
        where=("", "head.decoder", "head", "embeddings.tokens"),
        needs="facts",
        source="transformers #38870",
    ),
    Bug(
        "query-is-the-key",
        edits=(("self.split(self.query(x)),", "self.split(self.key(x)),"),),
        kinds=("unused-parameter",),
        where=(*ATTENTION, "layers.0.attention.query", "layers.1.attention.query"),
        needs="nothing",
        source="seeded",
    ),
    Bug(
        "variance-of-a-sample",
        edits=(
            ("var = (x - mean).pow(2).mean(-1, keepdim=True)", "var = x.var(-1, keepdim=True)"),
        ),
        kinds=("formula",),
        where=NORMS,
        needs="reference",
        source="seeded",
    ),
    Bug(
        "head-without-activation",
        edits=(("self.norm(F.gelu(self.dense(x)))", "self.norm(self.dense(x))"),),
        kinds=("formula",),
        where=("head",),
        needs="reference",
        source="seeded",
    ),
    Bug(
        "no-activation",
        edits=(("self.down(F.gelu(self.up(x)))", "self.down(self.up(x))"),),
        kinds=("formula",),
        where=LAYERS,
        needs="reference",
        source="seeded",
    ),
    Bug(
        "variance-by-cancellation",
        edits=(
            (
                "var = (x - mean).pow(2).mean(-1, keepdim=True)",
                "var = x.pow(2).mean(-1, keepdim=True) - mean.pow(2)",
            ),
        ),
        kinds=("precision", "non-finite"),
        where=NORMS,
        needs="nothing",
        source="seeded",
    ),
)
