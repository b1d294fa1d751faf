"""read_image: every sound picture shows what it should, everything else is one ImageError."""

import io
import os
import warnings
from itertools import count

import numpy as np
import pytest
from PIL import Image

from unit.images.pictures import ALPHA, GREY, HOSTILE, OVER_BLUE, RGB, RGBA, SOUND, palette, saved
from zoo.images import ImageError, read_image
from zoo.images.read import QUIET


def pixels(source, **options):
    return np.asarray(read_image(source, **options))


@pytest.mark.parametrize("name", SOUND)
def test_a_sound_picture_is_shown_as_it_is(name):
    data, expected, off = SOUND[name]
    image = read_image(data)
    assert image.mode == "RGB"
    assert image.size == (expected.shape[1], expected.shape[0])
    assert np.abs(np.asarray(image).astype(int) - expected.astype(int)).max() <= off


@pytest.mark.parametrize("name", HOSTILE)
def test_anything_else_is_one_error_that_names_the_file(name, tmp_path):
    data, message = HOSTILE[name]
    file = tmp_path / "picture.png"
    file.write_bytes(data)
    with pytest.raises(ImageError, match=f"^{file}.*({message})"):
        read_image(file)


@pytest.mark.parametrize("name", ["rgb png", "turn 6", "jpeg", "palette", "16-bit grey png"])
def test_no_metadata_is_left_that_could_turn_it_again(name):
    image = read_image(SOUND[name][0])
    assert image.info == {}
    assert not image.getexif()
    assert type(image) is Image.Image


ALPHAS = {
    "rgba": saved(RGBA),
    "grey and alpha": saved(np.dstack([GREY, ALPHA])),
    "palette": palette(bytes(ALPHA.reshape(-1))),
}


@pytest.mark.parametrize("name", ALPHAS)
def test_a_background_shows_through(name):
    data = ALPHAS[name]
    hidden = pixels(data).astype(float)
    share = ALPHA[..., None] / 255
    expected = share * hidden + (1 - share) * np.array(OVER_BLUE)
    # one rounding to a whole number
    assert np.abs(pixels(data, background=OVER_BLUE) - expected).max() <= 0.5 + 1e-9


def test_a_background_does_not_touch_what_is_solid():
    np.testing.assert_array_equal(pixels(saved(RGB), background=OVER_BLUE), RGB)


SOURCES = {
    "path": lambda file: file,
    "text": str,
    "bytes": lambda file: file.read_bytes(),
    "bytearray": lambda file: bytearray(file.read_bytes()),
    "memoryview": lambda file: memoryview(file.read_bytes()),
    "memory file": lambda file: io.BytesIO(file.read_bytes()),
    "open file": lambda file: open(file, "rb"),  # noqa: SIM115
    "trickle": lambda file: Trickle(file.read_bytes()),
    "link": lambda file: linked(file),
}


class Trickle(io.RawIOBase):
    """A file that gives seven bytes at a time, as a socket may."""

    def __init__(self, data):
        self.data = io.BytesIO(data)

    def read(self, size=-1):
        return self.data.read(min(size, 7))


def linked(file):
    link = file.with_name("link")
    link.symlink_to(file)
    return link


@pytest.mark.parametrize("name", SOURCES)
def test_it_reads_from(name, tmp_path):
    file = tmp_path / "picture"
    file.write_bytes(saved(RGB))
    source = SOURCES[name](file)
    np.testing.assert_array_equal(pixels(source), RGB)
    if hasattr(source, "close"):
        source.close()


def device(path):
    path.symlink_to("/dev/zero")


def endless(path):
    path.symlink_to(path)


PLACES = {
    "missing": (lambda path: None, "No such file"),
    "folder": (lambda path: path.mkdir(), "is a folder; name a picture in it"),
    "pipe": (os.mkfifo, "is not a plain file"),
    "device": (device, "is not a plain file"),
    "link-to-itself": (endless, "Too many levels"),
}


@pytest.mark.parametrize("name", PLACES)
def test_what_is_no_plain_file_is_refused_at_once(name, tmp_path):
    make, message = PLACES[name]
    path = tmp_path / "picture.png"
    make(path)
    with pytest.raises(ImageError, match=f"^{path}.*{message}"):
        read_image(path)


class Swapped(os.PathLike):
    """A path that leads to a file when it is looked at, and elsewhere when it is opened."""

    def __init__(self, *paths):
        self.paths = list(paths)

    def __str__(self):
        return "picture.png"

    def __fspath__(self):
        return str(self.paths.pop(0))


def test_a_file_that_becomes_a_pipe_is_not_waited_for(tmp_path):
    file, pipe = tmp_path / "picture.png", tmp_path / "pipe"
    file.write_bytes(saved(RGB))
    os.mkfifo(pipe)
    with pytest.raises(ImageError, match=r"picture\.png is not a plain file"):
        read_image(Swapped(file, pipe))
    np.testing.assert_array_equal(pixels(Swapped(file, file)), RGB)


class Broken(io.RawIOBase):
    def read(self, size=-1):
        raise OSError(5, "Input/output error")


def closed():
    file = io.BytesIO(saved(RGB))
    file.close()
    return file


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("no\0name", "embedded null byte"),
        ("long" * 9999, "File name too long"),
        (Broken(), "Input/output error"),
        (closed(), "closed file"),
        (memoryview(b"abc"), "picture of 3 bytes"),
    ],
    ids=count(),
)
def test_what_fails_while_reading_is_the_same_error(source, message):
    with pytest.raises(ImageError, match=message):
        read_image(source)


@pytest.mark.parametrize("source", [3, None, 1.5, [b"x"], io.StringIO("x")], ids=count())
def test_what_is_no_source_is_the_same_error(source):
    read = getattr(read_image, "__wrapped__", read_image)  # below the check of types
    with pytest.raises(ImageError, match=r"expected|not as|mode 'rb'"):
        read(source)


def test_limits_are_the_callers(tmp_path):
    data = saved(RGB)
    with pytest.raises(ImageError, match=r"5 x 3, more than 14 pixels; .* raise max_pixels"):
        read_image(data, max_pixels=14)
    assert read_image(data, max_pixels=15).size == (5, 3)
    file = tmp_path / "picture.png"
    file.write_bytes(data)
    for source in (data, file, io.BytesIO(data)):
        with pytest.raises(ImageError, match=rf"longer than {len(data) - 1} bytes; raise max_byt"):
            read_image(source, max_bytes=len(data) - 1)
    assert read_image(data, max_bytes=len(data)).size == (5, 3)


def test_a_long_file_is_not_read_to_its_end():
    file = io.BytesIO(bytes(1000))
    with pytest.raises(ImageError, match="longer than 10 bytes"):
        read_image(file, max_bytes=10)
    assert file.tell() == 11


def test_filters_of_warnings_are_put_back_when_threads_overlap():
    before = list(warnings.filters)
    QUIET.__enter__()
    QUIET.__enter__()
    QUIET.__exit__()
    warnings.warn("swallowed while one is still reading", stacklevel=1)
    QUIET.__exit__()
    assert list(warnings.filters) == before
    with pytest.raises(UserWarning):
        warnings.warn("heard again", stacklevel=1)


def test_the_picture_is_the_callers_own(tmp_path):
    file = tmp_path / "picture.png"
    file.write_bytes(saved(RGB))
    image = read_image(file)
    file.unlink()
    image.putpixel((0, 0), (1, 2, 3))
    assert image.getpixel((0, 0)) == (1, 2, 3)


@pytest.mark.subproc
def test_without_pillow_it_says_what_to_install(run_python):
    script = """
    import sys
    sys.modules["PIL"] = None
    import zoo
    try:
        import zoo.images
    except ImportError as error:
        print(error)
    """
    assert run_python(script).strip() == 'images need Pillow: pip install "zoo[vision]"'
