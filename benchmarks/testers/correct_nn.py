"""torch.nn's own modules, each alone: it learns what another module of its kind answers."""

from collections.abc import Callable
from typing import Any

import torch
from benchmarks.testers.sound import Model, Sound, both, mse, taught
from torch import nn
from torch.nn.utils import parametrizations

Inputs = Callable[[int], dict[str, Any]]


def real(*shape: int, name: str = "input", axis: int = 0) -> Inputs:
    """Draw a normal tensor of this shape, with the batch put in at `axis`."""
    return lambda size: {name: torch.randn(*shape[:axis], size, *shape[axis:])}


def ids(*shape: int, high: int = 11, name: str = "input") -> Inputs:
    """Draw whole numbers below `high`."""
    return lambda size: {name: torch.randint(high, (size, *shape))}


def join(*parts: Inputs) -> Inputs:
    """Draw the entries of several."""
    return lambda size: {key: value for part in parts for key, value in part(size).items()}


FLAT, SEQ, LINE, PIC, VOL = real(6), real(5, 6), real(4, 12), real(4, 8, 8), real(4, 5, 6, 4)
COUPLED: dict[str, Any] = {"couples_batch_train": True, "min_batch_train": 2}
NOISY: dict[str, Any] = {"train_noise": True}
TIME_FIRST: dict[str, Any] = {"batch_axis": 1, "output_batch_axis": 1}

Row = tuple[str, Callable[[], nn.Module], Inputs, dict[str, Any]]

LAYERS: list[Row] = [
    ("linear", lambda: nn.Linear(6, 3), FLAT, {}),
    ("linear-sequence", lambda: nn.Linear(6, 3, bias=False), SEQ, {}),
    ("identity", nn.Identity, FLAT, {}),
    (
        "bilinear",
        lambda: nn.Bilinear(6, 4, 3),
        join(real(6, name="input1"), real(4, name="input2")),
        {},
    ),
    ("conv1d", lambda: nn.Conv1d(4, 6, 3, padding=1), LINE, {}),
    ("conv2d", lambda: nn.Conv2d(4, 6, 3, padding=1), PIC, {}),
    ("conv2d-circular", lambda: nn.Conv2d(4, 6, 3, padding=1, padding_mode="circular"), PIC, {}),
    ("conv2d-strided", lambda: nn.Conv2d(4, 6, 3, stride=2), PIC, {}),
    ("conv2d-depthwise", lambda: nn.Conv2d(4, 8, 3, groups=4, dilation=2), PIC, {}),
    ("conv3d", lambda: nn.Conv3d(4, 3, 3, padding=1), VOL, {}),
    ("transposed1d", lambda: nn.ConvTranspose1d(4, 3, 4, stride=2, padding=1), LINE, {}),
    ("transposed2d", lambda: nn.ConvTranspose2d(4, 3, 2, stride=2), PIC, {}),
    ("transposed3d", lambda: nn.ConvTranspose3d(4, 2, 2, stride=2), VOL, {}),
    ("unfold", lambda: nn.Unfold(3, padding=1), PIC, {}),
    ("fold", lambda: nn.Fold((8, 8), 2, stride=2), real(12, 16), {}),
    ("max-pool1d", lambda: nn.MaxPool1d(2), LINE, {}),
    ("max-pool2d", lambda: nn.MaxPool2d(3, stride=2, padding=1), PIC, {}),
    ("max-pool2d-indices", lambda: nn.MaxPool2d(2, return_indices=True), PIC, {"output": "0"}),
    ("max-pool3d", lambda: nn.MaxPool3d(2), VOL, {}),
    ("avg-pool1d", lambda: nn.AvgPool1d(2), LINE, {}),
    ("avg-pool2d", lambda: nn.AvgPool2d(2), PIC, {}),
    ("avg-pool3d", lambda: nn.AvgPool3d(2), VOL, {}),
    ("lp-pool2d", lambda: nn.LPPool2d(2, 2), PIC, {}),
    (
        "fractional-pool",
        lambda: nn.FractionalMaxPool2d(3, output_size=4),
        PIC,
        {"train_noise": True, "deterministic": False},
    ),
    ("adaptive-max-pool", lambda: nn.AdaptiveMaxPool2d(3), PIC, {}),
    ("adaptive-avg-pool", lambda: nn.AdaptiveAvgPool2d((1, 2)), PIC, {}),
    ("batch-norm1d", lambda: nn.BatchNorm1d(6), FLAT, COUPLED),
    ("batch-norm1d-sequence", lambda: nn.BatchNorm1d(4), LINE, COUPLED | {"min_batch_train": 1}),
    ("batch-norm2d", lambda: nn.BatchNorm2d(4), PIC, COUPLED | {"min_batch_train": 1}),
    (
        "batch-norm2d-cumulative",
        lambda: nn.BatchNorm2d(4, momentum=None),
        PIC,
        COUPLED | {"min_batch_train": 1},
    ),
    (
        "batch-norm2d-no-stats",
        lambda: nn.BatchNorm2d(4, track_running_stats=False),
        PIC,
        {"couples_batch": True, "couples_batch_train": True},
    ),
    (
        "batch-norm3d-plain",
        lambda: nn.BatchNorm3d(4, affine=False),
        VOL,
        COUPLED | {"min_batch_train": 1},
    ),
    ("layer-norm", lambda: nn.LayerNorm(6), SEQ, {}),
    ("layer-norm-image", lambda: nn.LayerNorm((4, 8, 8)), PIC, {}),
    ("rms-norm", lambda: nn.RMSNorm(6), real(5, 6, name="x"), {}),
    ("group-norm", lambda: nn.GroupNorm(2, 4), PIC, {}),
    ("instance-norm1d", lambda: nn.InstanceNorm1d(4, affine=True), LINE, {}),
    ("instance-norm2d", lambda: nn.InstanceNorm2d(4), PIC, {}),
    (
        "instance-norm2d-tracked",
        lambda: nn.InstanceNorm2d(4, affine=True, track_running_stats=True),
        PIC,
        {"train_eval_same": False},
    ),
    ("local-response-norm", lambda: nn.LocalResponseNorm(2), PIC, {}),
    ("cross-map-lrn", lambda: nn.CrossMapLRN2d(2), PIC, {}),
    ("dropout", lambda: nn.Dropout(0.3), FLAT, NOISY),
    ("dropout2d", lambda: nn.Dropout2d(0.3), PIC, NOISY),
    ("alpha-dropout", lambda: nn.AlphaDropout(0.3), FLAT, NOISY),
    ("feature-alpha-dropout", lambda: nn.FeatureAlphaDropout(0.3), PIC, NOISY),
    ("rrelu", nn.RReLU, FLAT, NOISY),
    ("prelu", lambda: nn.PReLU(4), PIC, {}),
    ("threshold", lambda: nn.Threshold(0.1, 20.0), FLAT, {}),
    ("softmax", lambda: nn.Softmax(-1), FLAT, {"output_kind": "probabilities"}),
    ("log-softmax", lambda: nn.LogSoftmax(-1), FLAT, {"output_kind": "log_probabilities"}),
    ("softmin", lambda: nn.Softmin(-1), FLAT, {}),
    ("softmax2d", nn.Softmax2d, PIC, {}),
    ("glu", lambda: nn.GLU(-1), FLAT, {}),
    ("sigmoid", nn.Sigmoid, FLAT, {"output_range": (0.0, 1.0)}),
    ("tanh", nn.Tanh, FLAT, {"output_range": (-1.0, 1.0)}),
    (
        "rnn",
        lambda: nn.RNN(6, 5),
        real(7, 6, axis=1),
        TIME_FIRST | {"causal": "input", "output": "0"},
    ),
    (
        "rnn-relu-deep",
        lambda: nn.RNN(6, 5, 2, nonlinearity="relu", batch_first=True),
        real(7, 6),
        {"causal": "input", "output": "0"},
    ),
    (
        "lstm",
        lambda: nn.LSTM(6, 5),
        real(7, 6, axis=1),
        TIME_FIRST | {"causal": "input", "output": "0"},
    ),
    (
        "lstm-batch-first",
        lambda: nn.LSTM(6, 5, batch_first=True),
        real(7, 6),
        {"causal": "input", "output": "0"},
    ),
    (
        "lstm-both-ways",
        lambda: nn.LSTM(6, 5, bidirectional=True, batch_first=True),
        real(7, 6),
        {"output": "0"},
    ),
    (
        "lstm-projected",
        lambda: nn.LSTM(6, 5, proj_size=3, batch_first=True),
        real(7, 6),
        {"causal": "input", "output": "0"},
    ),
    (
        "lstm-dropout",
        lambda: nn.LSTM(6, 5, 2, dropout=0.3, batch_first=True),
        real(7, 6),
        {"train_noise": True, "causal": "input", "output": "0"},
    ),
    (
        "gru",
        lambda: nn.GRU(6, 5),
        real(7, 6, axis=1),
        TIME_FIRST | {"causal": "input", "output": "0"},
    ),
    (
        "gru-both-ways",
        lambda: nn.GRU(6, 5, 2, bidirectional=True, batch_first=True),
        real(7, 6),
        {"output": "0"},
    ),
    ("rnn-cell", lambda: nn.RNNCell(6, 5), join(FLAT, real(5, name="hx")), {}),
    ("gru-cell", lambda: nn.GRUCell(6, 5), join(FLAT, real(5, name="hx")), {}),
    ("lstm-cell", lambda: nn.LSTMCell(6, 5), FLAT, {"output": "0"}),
    (
        "encoder-layer",
        lambda: nn.TransformerEncoderLayer(8, 2, 16, batch_first=True),
        real(5, 8, name="src"),
        NOISY | {"permutation_equivariant": "src"},
    ),
    (
        "encoder-layer-pre-norm",
        lambda: nn.TransformerEncoderLayer(8, 2, 16, 0.0, norm_first=True),
        real(5, 8, name="src", axis=1),
        TIME_FIRST | {"train_noise": False},
    ),
    (
        "encoder-layer-gelu",
        lambda: nn.TransformerEncoderLayer(8, 2, 16, 0.0, "gelu", batch_first=True, bias=False),
        real(5, 8, name="src"),
        {},
    ),
    (
        "encoder",
        lambda: nn.TransformerEncoder(
            nn.TransformerEncoderLayer(8, 2, 16, 0.0, batch_first=True),
            2,
            enable_nested_tensor=False,
        ),
        real(5, 8, name="src"),
        {},
    ),
    (
        "decoder-layer",
        lambda: nn.TransformerDecoderLayer(8, 2, 16, 0.0, batch_first=True),
        join(real(5, 8, name="tgt"), real(4, 8, name="memory")),
        {},
    ),
    (
        "decoder",
        lambda: nn.TransformerDecoder(nn.TransformerDecoderLayer(8, 2, 16, batch_first=True), 2),
        join(real(5, 8, name="tgt"), real(4, 8, name="memory")),
        NOISY,
    ),
    (
        "transformer",
        lambda: nn.Transformer(8, 2, 1, 1, 16, 0.0, batch_first=True),
        join(real(5, 8, name="src"), real(4, 8, name="tgt")),
        {},
    ),
    (
        "attention",
        lambda: nn.MultiheadAttention(8, 2, batch_first=True),
        join(real(5, 8, name="query"), real(4, 8, name="key"), real(4, 8, name="value")),
        {"output": "0"},
    ),
    (
        "attention-time-first",
        lambda: nn.MultiheadAttention(8, 2, bias=False),
        join(*(real(5, 8, name=n, axis=1) for n in ("query", "key", "value"))),
        TIME_FIRST | {"output": "0"},
    ),
    (
        "attention-other-widths",
        lambda: nn.MultiheadAttention(
            8, 2, kdim=6, vdim=4, add_bias_kv=True, add_zero_attn=True, batch_first=True
        ),
        join(real(5, 8, name="query"), real(4, 6, name="key"), real(4, 4, name="value")),
        {"output": "0"},
    ),
    ("embedding", lambda: nn.Embedding(11, 6), ids(5), {"tokens": "input", "vocab_size": 11}),
    (
        "embedding-padded",
        lambda: nn.Embedding(11, 6, padding_idx=0),
        ids(5),
        {"tokens": "input", "vocab_size": 11, "pad_id": 0},
    ),
    (
        "embedding-by-frequency",
        lambda: nn.Embedding(11, 6, scale_grad_by_freq=True),
        ids(5),
        {"tokens": "input", "vocab_size": 11, "straight_through": True},
    ),
    (
        "embedding-bag",
        lambda: nn.EmbeddingBag(11, 6),
        ids(5),
        {"tokens": "input", "vocab_size": 11},
    ),
    (
        "embedding-bag-max",
        lambda: nn.EmbeddingBag(11, 6, mode="max"),
        ids(5),
        {"tokens": "input", "vocab_size": 11},
    ),
    ("pixel-shuffle", lambda: nn.PixelShuffle(2), PIC, {}),
    ("pixel-unshuffle", lambda: nn.PixelUnshuffle(2), PIC, {}),
    ("channel-shuffle", lambda: nn.ChannelShuffle(2), PIC, {}),
    ("upsample", lambda: nn.Upsample(scale_factor=2, mode="bilinear"), PIC, {}),
    ("reflection-pad", lambda: nn.ReflectionPad2d(1), PIC, {}),
    ("zero-pad", lambda: nn.ZeroPad2d((1, 0, 0, 2)), PIC, {}),
    ("constant-pad", lambda: nn.ConstantPad1d(2, 3.5), LINE, {}),
    ("circular-pad", lambda: nn.CircularPad2d(1), PIC, {}),
    ("flatten", nn.Flatten, PIC, {}),
    ("unflatten", lambda: nn.Unflatten(1, (2, 3)), FLAT, {}),
    ("cosine-similarity", nn.CosineSimilarity, join(real(6, name="x1"), real(6, name="x2")), {}),
    ("pairwise-distance", nn.PairwiseDistance, join(real(6, name="x1"), real(6, name="x2")), {}),
    ("weight-norm", lambda: parametrizations.weight_norm(nn.Linear(6, 3)), FLAT, {}),
    (
        "spectral-norm",
        lambda: parametrizations.spectral_norm(nn.Linear(6, 3)),
        FLAT,
        {"stateful": True, "stop_gradient": True},
    ),
    ("orthogonal", lambda: parametrizations.orthogonal(nn.Linear(6, 6)), FLAT, {}),
    ("lazy-linear", lambda: nn.LazyLinear(3), FLAT, {}),
    ("lazy-conv", lambda: nn.LazyConv2d(3, 3), PIC, {}),
    ("lazy-batch-norm", lambda: nn.LazyBatchNorm2d(), PIC, COUPLED | {"min_batch_train": 1}),
]

ACTIVATIONS = (
    "ReLU ReLU6 LeakyReLU ELU CELU SELU GELU SiLU Mish Softplus Softshrink Hardshrink Tanhshrink "
    "Softsign Hardtanh Hardsigmoid Hardswish LogSigmoid"
).split()


def rows() -> list[Sound]:
    """List them: with their facts, and the richer ones once more with none."""
    layers = LAYERS + [(n.lower(), getattr(nn, n), FLAT, {}) for n in ACTIVATIONS]
    models = [Model(n, b, taught(b, i), mse, f, bare=bool(f)) for n, b, i, f in layers]
    return both("nn", models)
