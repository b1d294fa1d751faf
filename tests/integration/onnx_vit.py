"""A ViT read out of an ONNX graph that torch exported from Hugging Face's DINOv2.

Norms, biases and tokens kept their names. Matrices did not (`onnx::MatMul_1966`): whatever is
multiplied before a named bias is added is that bias's weight, transposed. Positions lost theirs as
well, and are found where they are resized; heads, eps and the gelu stand in the graph only.
"""

import math

import onnx
import torch
from onnx import numpy_helper

from zoo.keymap import Ignore, KeyTable, Rename, Reshape, Stack, affine, from_theirs
from zoo.models.vit import ViT
from zoo.models.vit_config import ViTConfig

BODY = "backbone."
LAYER = "encoder.layer.{}"


class Graph:
    """The nodes of an ONNX graph that the last norm of its backbone needs."""

    def __init__(self, path):
        self.model = onnx.load(path)
        nodes = self.model.graph.node
        self.maker = {name: node for node in nodes for name in node.output}
        bias = f"{BODY}layernorm.bias"
        self.last = only((node for node in nodes if bias in node.input), "add the last bias")
        needed, left = set(), [self.last.output[0]]
        while left:
            node = self.maker.get(left.pop())
            if node is not None and node.output[0] not in needed:
                needed.add(node.output[0])
                left.extend(node.input)
        self.nodes = [node for node in nodes if node.output[0] in needed]
        self.weights = {
            entry.name: torch.from_numpy(numpy_helper.to_array(entry).copy())
            for entry in self.model.graph.initializer
        }

    def of_kind(self, kind):
        return [node for node in self.nodes if node.op_type == kind]

    def value(self, name):
        """Give a weight or a constant; None for what is computed from the input."""
        if name in self.weights:
            return self.weights[name]
        node = self.maker.get(name)
        if node is None or node.op_type != "Constant":
            return None
        return torch.from_numpy(numpy_helper.to_array(node.attribute[0].t).copy())

    def origin(self, name):
        """Follow first inputs back to a weight."""
        while name not in self.weights:
            name = self.maker[name].input[0]
        return name


def only(nodes, what):
    found = list(nodes)
    assert len(found) == 1, f"{len(found)} nodes {what}; expected one"
    return found[0]


def state_of(graph):
    """Name every tensor of the backbone as Hugging Face's DINOv2 does."""
    state = {
        name.removeprefix(BODY): tensor
        for name, tensor in graph.weights.items()
        if name.startswith(BODY)
    }
    for add in graph.of_kind("Add"):
        bias = next((name for name in add.input if name.endswith(".bias")), "")
        product = next((graph.maker.get(name) for name in add.input if name != bias), None)
        if bias.startswith(BODY) and product is not None and product.op_type == "MatMul":
            weight = graph.weights[product.input[1]].t()
            state[bias.removeprefix(BODY).removesuffix("bias") + "weight"] = weight
    resize = only(graph.of_kind("Resize"), "resize")
    patches = graph.weights[graph.origin(resize.output[0])]
    # the class token's position stands before those of the patches
    before = only(
        (
            graph.weights[node.input[0]]
            for node in graph.of_kind("Concat")
            if node.input[0] in graph.weights
        ),
        "put a weight before positions",
    )
    state["embeddings.position_embeddings"] = torch.cat([before, patches], 1)
    return state


def config_of(graph, state):
    """Read the sizes off shapes, and off the graph what shapes do not tell."""
    width, channels, *patch = state["embeddings.patch_embeddings.projection.weight"].shape
    side = math.isqrt(state["embeddings.position_embeddings"].shape[1] - 1)
    depth = sum(name.endswith("norm1.weight") for name in state)
    # (b, t, heads, size): the only Concats with two numbers behind two sizes read at run time
    splits = {
        tuple(int(graph.value(name)) for name in node.input[2:])
        for node in graph.of_kind("Concat")
        if len(node.input) == 4 and all(graph.value(name) is not None for name in node.input[2:])
    }
    ((heads, size),) = splits
    assert heads * size == width
    # the square root of a norm is taken of the variance plus eps
    below = [graph.maker[node.input[0]] for node in graph.of_kind("Sqrt")]
    (eps,) = {
        float(value)
        for node in below
        if node.op_type == "Add" and (value := graph.value(node.input[1])) is not None
    }
    assert len(graph.of_kind("Erf")) == depth  # the exact gelu
    return ViTConfig(
        image=(side * patch[0], side * patch[1]),
        patch=tuple(patch),
        channels=channels,
        width=width,
        depth=depth,
        heads=heads,
        hidden=len(state["encoder.layer.0.mlp.fc1.bias"]),
        eps=eps,
        gelu="erf",
        layer_scale=1.0,
        antialias=False,  # as Hugging Face resizes positions
    )


def keys_of(config):
    """Give Hugging Face's names of DINOv2."""
    kernel = (config.channels, *config.patch)
    count = 1 + config.grid[0] * config.grid[1]

    def qkv(part):
        where = f"{LAYER}.attention.attention"
        theirs = tuple(f"{where}.{name}.{part}" for name in ("query", "key", "value"))
        return Stack(theirs, "blocks.{}.attn.qkv." + part)

    conv = "embeddings.patch_embeddings.projection"
    body = (
        Reshape(f"{conv}.weight", "patch.weight", (-1, *kernel), (-1, math.prod(kernel))),
        Rename(f"{conv}.bias", "patch.bias"),
        Reshape("embeddings.cls_token", "class_token", (1, 1, -1), (-1,)),
        Reshape("embeddings.position_embeddings", "positions", (1, count, -1), (count, -1)),
        *affine(f"{LAYER}.norm1", "blocks.{}.norm1"),
        qkv("weight"),
        qkv("bias"),
        *affine(f"{LAYER}.attention.output.dense", "blocks.{}.attn.out"),
        Rename(f"{LAYER}.layer_scale1.lambda1", "blocks.{}.scale1.weight"),
        *affine(f"{LAYER}.norm2", "blocks.{}.norm2"),
        *affine(f"{LAYER}.mlp.fc1", "blocks.{}.mlp.up"),
        *affine(f"{LAYER}.mlp.fc2", "blocks.{}.mlp.down"),
        Rename(f"{LAYER}.layer_scale2.lambda1", "blocks.{}.scale2.weight"),
        *affine("layernorm", "norm"),
        Ignore("embeddings.mask_token"),
    )
    return KeyTable(prefix="", body=body, heads={None: ()})


def read_vit(graph):
    """Build our ViT, as a bare encoder in the file's float32."""
    state = state_of(graph)
    config = config_of(graph, state)
    model = ViT(config, head=None)
    model.pooler = None  # the file has none
    ours = from_theirs(keys_of(config), None, state)
    model.load_state_dict({name: tensor.contiguous() for name, tensor in ours.items()})
    return model.eval()


def with_hidden_states(graph):
    """Give the bytes of a model whose one output is what the last norm of the backbone gives."""
    model = graph.model
    name = graph.last.output[0]
    output = onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)
    del model.graph.output[:]
    model.graph.output.append(output)
    return model.SerializeToString()
