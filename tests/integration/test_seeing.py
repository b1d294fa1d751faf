"""From files to probabilities: the tasks give what transformers gives for the same folder."""

from pathlib import Path

import pytest
import skimage
import torch
import transformers

from e2e.models import write_all
from zoo.images import read_image
from zoo.tasks import ImageClassifier, Matcher

DATA = Path(skimage.__file__).parent / "data"
FILES = [DATA / name for name in ("astronaut.png", "camera.png", "chelsea.png", "rocket.jpg")]
LABELS = ["cat", "dog", "house", "the red garden"]
TEMPLATES = ["a photo of a {}.", "{} in the sun"]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    place = tmp_path_factory.mktemp("seeing")
    write_all(place)
    return place


def pixels_of(folder):
    images = [read_image(file) for file in FILES]
    processor = transformers.AutoImageProcessor.from_pretrained(folder, backend="pil")
    return processor(images=images, return_tensors="pt")["pixel_values"].double()


def probabilities(found, names):
    by_name = [{label.name: label.probability for label in labels} for labels in found]
    return torch.tensor([[row[name] for name in names] for row in by_name], dtype=torch.float64)


def near(ours, theirs):
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


def test_a_vit_classifies_files_as_transformers_does(models):
    theirs = transformers.ViTForImageClassification.from_pretrained(
        models / "vit", dtype=torch.float64
    ).eval()
    ours = ImageClassifier.from_folder(models / "vit", dtype=torch.float64)
    with torch.no_grad():
        expected = theirs(pixels_of(models / "vit")).logits.softmax(-1)
    near(probabilities(ours.classify(FILES), ours.names), expected)
    assert expected.std(0).min() > 1e-3  # the photographs differ


def test_a_clip_classifies_and_finds_files_as_transformers_does(models):
    """Zero-shot as the paper has it, and the logits of every picture with every text."""
    folder = models / "clip"
    theirs = transformers.CLIPModel.from_pretrained(folder, dtype=torch.float64).eval()
    tokenizer = transformers.CLIPTokenizer.from_pretrained(folder)
    pixels = pixels_of(folder)

    def logits(texts):
        ids = tokenizer(texts, padding=True, return_tensors="pt")
        with torch.no_grad():
            return theirs(pixel_values=pixels, **ids)

    ours = Matcher.from_folder(folder, dtype=torch.float64)
    single = logits([f"a photo of a {label}." for label in LABELS])
    near(probabilities(ours.classify(FILES, LABELS), LABELS), single.logits_per_image.softmax(-1))
    written = [logits([t.replace("{}", label) for label in LABELS]) for t in TEMPLATES]
    mean = sum(answer.text_embeds for answer in written) / 2
    scale = theirs.logit_scale.exp().detach()
    cosines = single.image_embeds @ (mean / mean.norm(dim=1, keepdim=True)).T
    found = ours.classify(FILES, LABELS, templates=TEMPLATES)
    near(probabilities(found, LABELS), (scale * cosines).softmax(-1))
    column = logits(["a red house"]).logits_per_text.softmax(-1)[0]
    matches = ours.find("a red house", FILES)
    near(
        torch.tensor([match.probability for match in matches], dtype=torch.float64),
        column.sort(descending=True).values,
    )
    assert [match.index for match in matches] == column.argsort(descending=True).tolist()
