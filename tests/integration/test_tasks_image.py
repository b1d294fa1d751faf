"""What sees, on tiny folders made here; what a task computes is compared with its model."""

import numpy as np
import pytest
import torch
from PIL import Image

from zoo import ops
from zoo.checkpoint import CheckpointError
from zoo.evaluate import retrieval
from zoo.images import ImageError, ImageProcessor
from zoo.models import BERT, CLIP, BERTConfig, CLIPConfig, ViT, ViTConfig
from zoo.tasks import TASKS, ImageClassifier, ImageEmbedder, Label, Matcher
from zoo.tokenizers import Tokenizer

SIZE = (12, 10)
TEXTS = ["a photo of a cat.", "a dog in the rain", "red", "the sun over the green hills", "a cat"]
NAMES = ("cat", "dog", "sun")
LABELS = ["cat", "dog", "rain", "hills"]


def pictures(count=5):
    """Make noise of different sizes, from darkest to lightest."""
    draw = np.random.default_rng(0)
    shapes = [(14 + 3 * i, 25 - 2 * i, 3) for i in range(count)]
    return [
        Image.fromarray(draw.integers(10 + 40 * i, 50 + 40 * i, shape).astype(np.uint8))
        for i, shape in enumerate(shapes)
    ]


def loud(model):
    torch.manual_seed(0)
    for parameter in model.parameters():
        if parameter.dim():
            torch.nn.init.normal_(parameter, std=0.3)
    return model


def write_vit(folder, head="image", **changes):
    config = ViTConfig(
        image=SIZE, patch=(3, 5), width=20, depth=2, heads=4, hidden=36, classes=3, **changes
    )
    loud(ViT(config, head)).save_pretrained(folder)
    ImageProcessor.vit(SIZE).save(folder)
    return folder


def write_clip(folder, head="match", **changes):
    tokenizer = Tokenizer.train(TEXTS * 3, "clip", vocab=560)
    numbers = {"vocab": tokenizer.vocab_size, "end": tokenizer.eos_id, "context": 13} | changes
    config = CLIPConfig(
        embed=14,
        image=SIZE,
        patch=(3, 5),
        image_width=20,
        image_depth=2,
        image_heads=4,
        image_hidden=36,
        text_width=18,
        text_depth=1,
        text_heads=3,
        text_hidden=28,
        **numbers,
    )
    loud(CLIP(config, head)).save_pretrained(folder)
    ImageProcessor.clip(SIZE).save(folder)
    tokenizer.save(folder)
    return folder


def write_bert(folder):
    tokenizer = Tokenizer.train(TEXTS * 3, "wordpiece", vocab=90)
    config = BERTConfig(vocab=tokenizer.vocab_size, context=24, width=20, depth=1, heads=4)
    BERT(config, None).save_pretrained(folder)
    tokenizer.save(folder)
    return folder


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    folder = write_vit(tmp_path_factory.mktemp("vit"), labels=NAMES)
    return ImageClassifier.from_folder(folder, dtype=torch.float64)


@pytest.fixture(scope="module")
def matcher(tmp_path_factory):
    return Matcher.from_folder(write_clip(tmp_path_factory.mktemp("clip")), dtype=torch.float64)


def near(a, b, within=1e-12):
    torch.testing.assert_close(a, b, rtol=0, atol=within)


def image_vector(matcher, image):
    with torch.no_grad():
        return matcher.model.encode_image(matcher.processor([image]).double())[0]


def text_vector(matcher, text):
    with torch.no_grad():
        return matcher.model.encode_text(**matcher.tokenizer.batch([text], longest=13))[0]


def table(labels):
    """Give each picture's probabilities by name."""
    return [{label.name: label.probability for label in row} for row in labels]


def same_labels(a, b):
    for one, other in zip(table(a), table(b), strict=True):
        assert one == pytest.approx(other, abs=1e-12)


@pytest.mark.parametrize("at_once", [1, 2, 3, 5, 32])
def test_classes_are_the_models_in_the_order_of_the_pictures(classifier, at_once):
    images = pictures()
    found = classifier.classify(images, top=3, at_once=at_once)
    for image, labels in zip(images, found, strict=True):
        with torch.no_grad():
            logits = classifier.model(classifier.processor([image]).double())[0]
        expected = dict(zip(NAMES, logits.softmax(0).tolist(), strict=True))
        assert {label.name: label.probability for label in labels} == pytest.approx(
            expected, abs=1e-12
        )
        chances = [label.probability for label in labels]
        assert chances == sorted(chances, reverse=True)
    assert len({labels[0].probability for labels in found}) == 5


@pytest.mark.parametrize(("top", "count"), [(1, 1), (2, 2), (3, 3), (5, 3)])
def test_the_best_classes_come_first_and_no_more_than_there_are(classifier, top, count):
    (best,) = classifier.classify(pictures(1), top=top)
    (every,) = classifier.classify(pictures(1), top=3)
    assert best == every[:count]


def test_classes_without_names_are_numbered(tmp_path):
    (labels,) = ImageClassifier.from_folder(write_vit(tmp_path)).classify(pictures(1))
    assert {label.name for label in labels} == {"LABEL_0", "LABEL_1", "LABEL_2"}


def test_a_clip_with_a_classifier_classifies(tmp_path):
    classifier = ImageClassifier.from_folder(write_clip(tmp_path, "image", labels=NAMES, classes=3))
    (labels,) = classifier.classify(pictures(1))
    assert sum(label.probability for label in labels) == pytest.approx(1)


def test_a_picture_is_a_path_bytes_an_open_file_or_pillows(classifier, tmp_path):
    (image,) = pictures(1)
    file = tmp_path / "a.png"
    image.save(file)
    with file.open("rb") as opened:
        every = [file, str(file), file.read_bytes(), opened, image, np.asarray(image)]
        rows = classifier.classify(every)
    # in one batch a row may differ from another in its last bit: alone it may not
    plain = [one for one in every if one is not opened]
    alone = [classifier.classify([one]) for one in plain]
    assert all(row == alone[0] for row in alone)
    for row in rows:
        assert [label.name for label in row] == [label.name for label in rows[0]]
        chances = [label.probability for label in rows[0]]
        assert [label.probability for label in row] == pytest.approx(chances, rel=1e-5)


def test_pictures_are_read_when_their_batch_is_due(classifier):
    asked = []

    def slowly():
        for number, image in enumerate(pictures()):
            asked.append(number)
            yield image

    behind = []
    classifier.classify(slowly(), at_once=2, done=lambda count: behind.append((count, len(asked))))
    assert behind == [(2, 2), (2, 4), (1, 5)]


def test_no_pictures_give_no_answers(classifier, matcher):
    assert classifier.classify([]) == []
    assert matcher.encode_images([]).shape == (0, 14)
    assert matcher.classify([], LABELS) == []
    assert matcher.encode_texts([]).shape == (0, 14)


BROKEN = b"\x89PNG\r\n\x1a\n broken"


@pytest.mark.parametrize("at_once", [1, 2, 16])
def test_pictures_that_cannot_be_read_keep_their_place(matcher, at_once):
    images, heard = pictures(), []
    mixed = [BROKEN, *images[:2], b"text", BROKEN, *images[2:], "no/such.png"]
    answers = matcher.classify(mixed, LABELS, at_once=at_once, unreadable=heard.append)
    vectors = matcher.encode_images(mixed, at_once=at_once, unreadable=lambda bad: None)
    readable = [1, 2, 5, 6, 7]
    same_labels([answers[i] for i in readable], matcher.classify(images, LABELS))
    near(vectors[readable], matcher.encode_images(images))
    assert [bad.index for bad in heard] == [0, 3, 4, 8]
    assert [answers[bad.index] for bad in heard] == [[]] * 4
    assert bool(vectors[[0, 3, 4, 8]].isnan().all())
    assert "no/such.png: No such file" in heard[-1].why


def test_when_nothing_can_be_read_that_is_all_there_is_to_say(matcher):
    heard = []
    assert matcher.classify([BROKEN] * 3, LABELS, at_once=2, unreadable=heard.append) == [[]] * 3
    assert matcher.find("a cat", [BROKEN], unreadable=heard.append) == []
    assert len(heard) == 4


@pytest.mark.parametrize("normalize", [False, True])
def test_vectors_of_a_vit_are_what_a_classifier_would_read(tmp_path, normalize):
    embedder = ImageEmbedder.from_folder(write_vit(tmp_path, None), dtype=torch.float64)
    images = pictures()
    vectors = embedder.embed(images, normalize=normalize, at_once=2)
    for image, vector in zip(images, vectors, strict=True):
        with torch.no_grad():
            (expected,) = embedder.model.embed(embedder.processor([image]).double())
        near(vector, expected / expected.norm() if normalize else expected)


@pytest.mark.parametrize("head", ["match", "image_features"])
def test_vectors_of_a_clip_are_its_projected_features(tmp_path, head):
    embedder = ImageEmbedder.from_folder(write_clip(tmp_path, head), dtype=torch.float64)
    (image,) = pictures(1)
    with torch.no_grad():
        expected = embedder.model.image_features(embedder.processor([image]).double())
    near(embedder.embed([image]), expected)


@pytest.mark.parametrize("at_once", [1, 2, 64])
def test_texts_get_their_vectors_in_their_order_whatever_shares_a_batch(matcher, at_once):
    expected = torch.stack([text_vector(matcher, text) for text in TEXTS])
    near(matcher.encode_texts(TEXTS, at_once=at_once), expected)


TWO = ("a photo of a {}.", "the {} in the {} rain")


def test_zero_shot_is_the_papers_formula(matcher):
    """softmax(scale * image . unit(mean over templates of unit text features))."""
    images = pictures()
    found = matcher.classify(images, LABELS, templates=TWO, top=4, at_once=2)
    weights = []
    for label in LABELS:
        first = text_vector(matcher, f"a photo of a {label}.")
        second = text_vector(matcher, f"the {label} in the {label} rain")
        mean = (first + second) / 2
        weights.append(mean / mean.norm())
    for image, labels in zip(images, found, strict=True):
        cosines = torch.stack(weights) @ image_vector(matcher, image)
        expected = (matcher.model.scale().detach() * cosines).softmax(0).tolist()
        by_name = {label.name: label.probability for label in labels}
        assert by_name == pytest.approx(dict(zip(LABELS, expected, strict=True)), abs=1e-12)
        assert labels == sorted(labels, key=lambda label: -label.probability)


def test_one_template_is_the_usual_one(matcher):
    usual = matcher.classify(pictures(), LABELS)
    same_labels(usual, matcher.classify(pictures(), LABELS, templates=["a photo of a {}."]))
    bare = table(matcher.classify(pictures(), LABELS, templates=["{}"]))
    assert bare[0]["cat"] != pytest.approx(table(usual)[0]["cat"], abs=1e-6)


def test_two_templates_are_averaged_and_not_one_taken(matcher):
    first, second, both = (
        matcher.encode_labels(LABELS, templates) for templates in (TWO[:1], TWO[1:], TWO)
    )
    near(both, ops.normalize((first + second) / 2))
    near(both.norm(dim=1), torch.ones(4, dtype=torch.float64))
    assert not torch.allclose(both, first, atol=1e-3)
    assert not torch.allclose(both, second, atol=1e-3)


def test_braces_in_a_label_or_template_are_letters(matcher):
    rows = matcher.encode_labels(["{0}"], ["{x} {}"])
    near(rows[0], text_vector(matcher, "{x} {0}"))


def test_pictures_are_ranked_for_a_text_and_texts_for_a_picture(matcher):
    images = pictures()
    vectors = torch.stack([image_vector(matcher, image) for image in images])
    texts = torch.stack([text_vector(matcher, text) for text in TEXTS])
    scale = matcher.model.scale().detach()
    found = (
        (matcher.find(TEXTS[1], images, at_once=2), vectors @ texts[1]),
        (matcher.describe(images[3], TEXTS), texts @ vectors[3]),
    )
    for matches, cosines in found:
        order = cosines.argsort(descending=True).tolist()
        assert [match.index for match in matches] == order
        near(torch.tensor([m.cosine for m in matches], dtype=torch.float64), cosines[order])
        chances = (scale * cosines).softmax(0)[order]
        near(torch.tensor([m.probability for m in matches], dtype=torch.float64), chances)


def test_vectors_that_are_there_are_searched_without_their_pictures(matcher):
    vectors = matcher.encode_images(pictures())
    for text in TEXTS[:2]:
        assert matcher.find(text, vectors) == matcher.find(text, pictures())


def test_a_picture_that_cannot_be_read_is_left_out_of_a_search(matcher):
    images = pictures()
    found = matcher.find("a cat", [images[0], BROKEN, images[1]], unreadable=lambda bad: None)
    whole = matcher.find("a cat", images[:2])
    assert [match.index for match in found] == [2 * match.index for match in whole]
    assert [m.probability for m in found] == pytest.approx([m.probability for m in whole])
    assert [m.cosine for m in found] == pytest.approx([m.cosine for m in whole], abs=1e-12)


def test_pictures_of_one_score_come_in_the_order_given(matcher):
    same = pictures(1) * 4
    found = matcher.find("a cat", same)
    assert [match.index for match in found] == [0, 1, 2, 3]
    assert [match.probability for match in found] == pytest.approx([0.25] * 4)


def test_recall_is_counted_from_the_cosines_in_both_directions(matcher):
    """Five pictures; the first two share a text, the third has two."""
    images = pictures()
    relevant = torch.zeros(5, 5, dtype=torch.bool)
    for image, text in [(0, 0), (1, 0), (2, 1), (2, 2), (3, 3), (4, 4)]:
        relevant[image, text] = True
    cosines = matcher.encode_images(images) @ matcher.encode_texts(TEXTS).T
    to_images, to_texts = matcher.recall(images, TEXTS, relevant, ks=(1, 2, 9))
    assert to_images == retrieval(cosines.T, relevant.T, ks=(1, 2))
    assert to_texts == retrieval(cosines, relevant, ks=(1, 2))
    assert to_images != to_texts


def test_recall_leaves_out_what_cannot_be_read_and_its_texts(matcher):
    images = pictures()
    whole = matcher.recall(images[1:4], TEXTS[1:4], torch.eye(3).bool(), ks=(1, 2))
    mixed = [BROKEN, *images[1:4], BROKEN]
    read = matcher.recall(mixed, TEXTS, torch.eye(5).bool(), ks=(1, 2), unreadable=lambda bad: None)
    assert read == whole
    assert (read[0].queries, read[0].gallery) == (3, 3)


def test_a_text_that_is_too_long_loses_words_and_keeps_its_end_token(matcher):
    """The context is 13: a start, 11 words and an end."""
    long = "cat " * 12
    assert matcher.too_long(["cat", "cat " * 11, long]) == [2]
    near(matcher.encode_texts([long]), matcher.encode_texts(["cat " * 11]))


def test_probabilities_of_a_small_dtype_sum_to_one(tmp_path):
    classifier = ImageClassifier.from_folder(write_vit(tmp_path), dtype=torch.bfloat16)
    for labels in classifier.classify(pictures()):
        assert sum(label.probability for label in labels) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_vectors_have_the_dtype_asked_for_and_probabilities_sum_to_one(tmp_path, dtype):
    matcher = Matcher.from_folder(write_clip(tmp_path), dtype=dtype)
    assert matcher.encode_images(pictures()).dtype == dtype
    assert matcher.encode_texts(TEXTS).dtype == dtype
    (labels,) = matcher.classify(pictures(1), LABELS)
    assert sum(label.probability for label in labels) == pytest.approx(1, abs=1e-6)
    found = matcher.find("cat", pictures())
    assert sum(match.probability for match in found) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize(
    ("act", "error", "sentence"),
    [
        (lambda m: m.classify([], []), ValueError, "no labels"),
        (lambda m: m.classify([], ["a", "b", "a"]), ValueError, "label 'a' stands 2 times"),
        (lambda m: m.classify([], ["a", " "]), ValueError, "label ' ' stands 1 times"),
        (lambda m: m.classify([], "cat"), TypeError, "labels is one string; pass a list"),
        (lambda m: m.classify([], ["a"], templates=[]), ValueError, "no templates"),
        (lambda m: m.classify([], ["a"], templates="{}"), TypeError, "templates is one string"),
        (lambda m: m.classify([], ["a"], templates=["{}", "a photo"]), ValueError, "'a photo' has"),
        (lambda m: m.classify([], ["a"], top=0), ValueError, "top is 0; expected at least 1"),
        (lambda m: m.encode_images("a.png"), TypeError, "one picture; pass a list"),
        (lambda m: m.encode_images(b"..."), TypeError, "one picture; pass a list"),
        (lambda m: m.encode_images(pictures(1)[0]), TypeError, "pass a list|Iterable"),
        (lambda m: m.encode_images(np.zeros((4, 5, 3))), TypeError, "one picture; pass a list"),
        (lambda m: m.encode_images([], at_once=0), ValueError, "at_once is 0"),
        (lambda m: m.encode_texts("a cat"), TypeError, "texts is one string"),
        (lambda m: m.find("a cat", []), ValueError, "nothing to rank"),
        (lambda m: m.describe(pictures(1)[0], []), ValueError, "nothing to rank"),
        (
            lambda m: m.classify([*pictures(2), BROKEN], LABELS),
            ImageError,
            "picture 2: the picture",
        ),
        (lambda m: m.find("a", ["no/such.png"]), ImageError, "^no/such.png: No such"),
    ],
    ids=[
        "no-labels",
        "doubled",
        "blank",
        "one-label",
        "no-templates",
        "one-template",
        "no-place",
        "top",
        "path",
        "bytes",
        "pillow",
        "array",
        "batch",
        "one-text",
        "none-found",
        "none-described",
        "broken",
        "missing",
    ],
)
def test_what_makes_no_sense_is_refused(matcher, act, error, sentence):
    with pytest.raises(error, match=sentence):
        act(matcher)


@pytest.mark.parametrize(
    ("task", "write", "sentence"),
    [
        ("classify", write_bert, "holds a BERT with head None; classifying needs a ViT or a CLIP"),
        (
            "classify",
            write_clip,
            "holds a CLIP with head 'match'.*both towers takes labels of your own",
        ),
        ("classify", lambda f: write_vit(f, "masked_image"), "ViT with head 'masked_image'"),
        ("match", write_bert, "holds a BERT with head None; matching with texts needs a CLIP"),
        ("match", write_vit, "holds a ViT with head 'image'; matching with texts needs a CLIP"),
        ("match", lambda f: write_clip(f, "image_features"), "CLIP with head 'image_features'"),
    ],
    ids=["bert", "two-towers", "masked", "match-bert", "match-vit", "one-tower"],
)
def test_a_folder_of_another_kind_is_refused(tmp_path, task, write, sentence):
    with pytest.raises(CheckpointError, match=sentence):
        TASKS[task].from_folder(write(tmp_path))


@pytest.mark.parametrize("task", ["embed", "fill", "generate"])
@pytest.mark.parametrize(
    ("write", "sentence"),
    [(write_vit, "a ViT; .*: zoo classify, or Im"), (write_clip, "a CLIP; .*: zoo match, or Ma")],
    ids=["vit", "clip"],
)
def test_what_is_for_text_points_to_what_is_for_pictures(tmp_path, task, write, sentence):
    with pytest.raises(CheckpointError, match=sentence.replace(";", ".*;")):
        TASKS[task].from_folder(write(tmp_path))


@pytest.mark.parametrize("write", [write_bert, lambda f: write_clip(f, "text_features")])
def test_vectors_of_pictures_need_a_model_that_sees(tmp_path, write):
    with pytest.raises(CheckpointError, match="vectors of pictures need a ViT, or a CLIP that"):
        ImageEmbedder.from_folder(write(tmp_path))


def test_a_folder_without_settings_for_pictures_says_how_to_make_some(tmp_path):
    (write_vit(tmp_path) / "preprocessor_config.json").unlink()
    with pytest.raises(ImageError, match=r"has no preprocessor_config.json; save the settings"):
        ImageClassifier.from_folder(tmp_path)


@pytest.mark.parametrize(
    ("processor", "sentence"),
    [
        (ImageProcessor.vit((10, 12)), r"makes \(10, 12\) pixels in 3 channels, .* \(12, 10\)"),
        (ImageProcessor(size={"shortest_edge": 12}), "makes sizes of all kinds pixels"),
        (
            ImageProcessor(size={"height": 12, "width": 10}, image_mean=(0.5,), image_std=(0.5,)),
            "in 1 channels, the model reads .* in 3",
        ),
    ],
    ids=["turned", "any", "grey"],
)
def test_pixels_of_another_size_than_the_models_are_refused(tmp_path, processor, sentence):
    processor.save(write_vit(tmp_path))
    with pytest.raises(CheckpointError, match=sentence):
        ImageClassifier.from_folder(tmp_path)


@pytest.mark.parametrize("changes", [{"end": 5}, {"vocab": 540, "end": 539}], ids=["end", "few"])
def test_a_tokenizer_of_another_model_is_refused(tmp_path, changes):
    with pytest.raises(CheckpointError, match="use the tokenizer it was trained with"):
        Matcher.from_folder(write_clip(tmp_path, **changes))


def test_a_label_is_a_name_and_a_probability():
    assert Label("cat", 0.5) == Label(name="cat", probability=0.5)


@pytest.mark.parametrize("kind", [ImageClassifier, ImageEmbedder])
def test_a_task_that_sees_is_read_onto_the_device_that_is_named(tmp_path, kind):
    read = kind.from_folder(write_vit(tmp_path), device="meta", dtype=torch.float64)
    assert {(p.device.type, p.dtype) for p in read.model.parameters()} == {("meta", torch.float64)}
