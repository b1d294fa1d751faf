"""Planted slips of a BERT: the edit, and the step, the place and the words to be told first."""

from unit.testing.family_sources import Row, one

A0, M0 = "attention of block 0", "MLP of block 0"

A0B = "layers.0.attention"
BERT: dict[str, Row] = {
    "no scale": one("* q.shape[-1] ** -0.5", "", A0, A0B, "no scale"),
    "scaled by the width": one("q.shape[-1] **", "x.shape[-1] **", A0, A0B, "sqrt(width)"),
    "causal": one("mask == 0", "torch.ones(7, 7).tril() == 0", A0, A0B, "mask is causal"),
    "the softmax over queries": one("softmax(dim=-1)", "softmax(dim=-2)", A0, A0B, "queries"),
    "heads not transposed back": one(
        "(weights @ v).transpose(1, 2).flatten(2)",
        "(weights @ v).reshape(x.shape)",
        A0,
        A0B,
        "joined by view",
    ),
    "query and key swapped": one(
        "q = self.split(self.query(x))\n        k = self.split(self.key(x))",
        "q = self.split(self.key(x))\n        k = self.split(self.query(x))",
        A0,
        A0B,
        "kqv",
    ),
    "values of the keys": one(
        "self.split(self.value(x))", "self.split(self.key(x))", A0, A0B, "makes more than one"
    ),
    "ReLU": one("F.gelu(self.up(x))", "F.relu(self.up(x))", M0, "layers.0", "ReLU"),
    "no activation": one("F.gelu(self.up(x))", "self.up(x)", M0, "layers.0", "no activation"),
    "norm first": (
        (
            (
                "self.norm1(x + self.drop(self.attention(x, mask)))",
                "x + self.attention(self.norm1(x), mask)",
            ),
            ("F.gelu(self.up(x))", "F.gelu(self.up(self.norm2(x)))"),
            ("return self.norm2(x + self.drop(y))", "return x + y"),
        ),
        "order of norms",
        "layers.0",
        "come first",
    ),
    "no residual around the attention": one(
        "self.norm1(x + self.drop(",
        "self.norm1((",
        "sum after the attention of block 0",
        "layers.0",
        "residual is left out",
    ),
    "no residual around the MLP": one(
        "self.norm2(x + self.drop(y))",
        "self.norm2(y)",
        "sum after the MLP of block 0",
        "layers.0",
        "residual is left out",
    ),
    "no norm after the attention": one(
        "x = self.norm1(x + self.drop(self.attention(x, mask)))",
        "x = x + self.attention(x, mask)",
        "norm after the attention of block 0",
        "layers.0",
        "never run",
    ),
    "no norm after the MLP": one(
        "self.norm2(x + self.drop(y))",
        "x + y",
        "norm after the MLP of block 0",
        "layers.0",
        "never run",
    ),
    "eps far too large": one(
        "self.norm1 = nn.LayerNorm(width, eps=1e-12)",
        "self.norm1 = nn.LayerNorm(width, eps=1.0)",
        "norm after the attention of block 0",
        "layers.0.norm1",
        "eps is 1",
    ),
    "no norm of the embedding": one(
        "x = self.drop(self.norm(x))",
        "x = self.drop(x)",
        "norm of the embedding",
        "tokens",
        "never run",
    ),
    "types left out": one(
        " + self.types(token_type_ids)\n",
        "\n        self.types(token_type_ids)\n",
        "embedding",
        "positions",
        "types.weight is not added",
    ),
    "positions left out": one(
        " + self.positions(places)", "", "positions", "tokens", "no positions"
    ),
    "positions from two on": one(
        "arange(input_ids.shape[1])",
        "arange(2, 2 + input_ids.shape[1])",
        "positions",
        "positions",
        "rows [2, 3",
    ),
    "the mean of the embeddings": one(
        "x = self.drop(self.norm(x))", "x = self.norm(x / 3)", "embedding", "positions", "0.3333"
    ),
    "the head without its norm": one(
        "        y = self.norm(y)\n", "", "norm of the head", "head", "never run"
    ),
    "the head without activation": one(
        "F.gelu(self.dense(x))", "self.dense(x)", "activation of the head", "head", "no activation"
    ),
    "the head with ReLU": one(
        "F.gelu(self.dense(x))", "F.relu(self.dense(x))", "activation of the head", "head", "ReLU"
    ),
    "the decoder reads the stream": one(
        "return self.decoder(y)", "return self.decoder(x)", "decoder", "head.decoder", "the stream"
    ),
    "the decoder reads before the norm": one(
        "y = self.norm(y)", "self.norm(y)", "decoder", "head.decoder", "what the head's norm read"
    ),
    "the pooler reads the last position": one(
        "self.pooler(x[:, 0])", "self.pooler(x[:, -1])", "head", "pooler", "last position"
    ),
    "the pooler reads the second position": one(
        "self.pooler(x[:, 0])", "self.pooler(x[:, 1])", "head", "pooler", "position 1"
    ),
    "the pooler reads features": one(
        "self.pooler(x[:, 0])", "self.pooler(x.sum(1))", "head", "pooler", "sum over positions"
    ),
    "the pooler without tanh": one(
        "torch.tanh(self.pooler(x[:, 0]))",
        "self.pooler(x[:, 0])",
        "activation of the pooler",
        "",
        "no activation",
    ),
    "the pooler with ReLU": one(
        "torch.tanh(self.pooler(x[:, 0]))",
        "F.relu(self.pooler(x[:, 0]))",
        "activation of the pooler",
        "",
        "ReLU",
    ),
    "one layer for all": one(
        "[Layer(width, heads) for _ in range(depth)]",
        "[Layer(width, heads)] * depth",
        "order of blocks",
        "layers.0",
        "again",
    ),
    "the last layer left out": one(
        "for layer in self.layers:",
        "for layer in self.layers[:1]:",
        "order of blocks",
        "layers.1",
        "never run",
    ),
    "the MLP reads before the norm": one(
        "x = self.norm1(x + self.drop(self.attention(x, mask)))\n"
        "        y = self.down(F.gelu(self.up(x)))",
        "z = x + self.attention(x, mask)\n        x = self.norm1(z)\n"
        "        y = self.down(F.gelu(self.up(z)))",
        "input of the MLP of block 0",
        "layers.0.up",
        "norm before it",
    ),
}
