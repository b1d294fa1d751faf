"""Pictures of every kind, made in memory: sound ones with the pixels they show, and hostile ones.

The grid is 3 high and 5 wide, its corners all different, so that a turn or a flip shows.
"""

import io
import struct
import zlib

import numpy as np
from PIL import Image

GREY = np.array(
    [[0, 40, 80, 120, 160], [10, 50, 90, 130, 170], [255, 60, 100, 140, 180]], dtype=np.uint8
)
RGB = np.stack([GREY, GREY[::-1], 255 - GREY], axis=-1)
ALPHA = np.array([[0] * 5, [51] * 5, [255] * 5], dtype=np.uint8)
RGBA = np.dstack([RGB, ALPHA])


def grey(array):
    return np.repeat(np.asarray(array, dtype=np.uint8)[..., None], 3, axis=-1)


def saved(image, kind="PNG", **options):
    file = io.BytesIO()
    if isinstance(image, np.ndarray):
        image = Image.fromarray(image)
    image.save(file, kind, **options)
    return file.getvalue()


def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width, height, data=b"", *, depth=8, colour=0, before=b""):
    """Make a PNG of rows as they stand in the file, each with its filter byte."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    body = chunk(b"IHDR", header) + before + chunk(b"IDAT", zlib.compress(data))
    return b"\x89PNG\r\n\x1a\n" + body + chunk(b"IEND", b"")


def rows16(array):
    """Give rows of a 16-bit PNG: an upper byte, and a lower one that is nearly a step."""
    wide = (array.astype(np.uint16) << 8) + 250
    return b"".join(b"\0" + row.astype(">u2").tobytes() for row in wide)


def tiff(array, tags, order="<", data=None):
    """Make a TIFF of one strip by hand; `tags` are added to what every TIFF has."""
    height, width = array.shape[:2]
    data = array.tobytes() if data is None else data
    known = {256: width, 257: height, 259: 1, 262: 1, 273: 0, 277: 1, 278: height, 279: len(data)}
    known |= tags
    known[273] = 8 + 2 + 12 * len(known) + 4
    text = (b"II" if order == "<" else b"MM") + struct.pack(order + "HLH", 42, 8, len(known))
    for tag, value in sorted(known.items()):
        text += struct.pack(order + "HHLL", tag, 4, 1, value)
    return text + struct.pack(order + "L", 0) + data


def palette(transparency=None):
    """Make a palette PNG of RGB's fifteen colours; Pillow puts transparency in a tRNS chunk."""
    image = Image.fromarray(np.arange(15, dtype=np.uint8).reshape(3, 5), "P")
    image.putpalette(RGB.reshape(-1).tolist())
    options = {} if transparency is None else {"transparency": transparency}
    return saved(image, **options)


def frames(kind, **options):
    """Make an animation whose first picture is RGB and whose second is white."""
    first, second = Image.fromarray(RGB), Image.new("RGB", (5, 3), "white")
    return saved(first, kind, save_all=True, append_images=[second], duration=100, **options)


def solid_jpeg(mode, colour, **options):
    return saved(Image.new(mode, (5, 3), colour), "JPEG", quality=100, **options)


def ycck(stored):
    """Make a JPEG whose CMYK is stored as YCCK: the Adobe marker says so in its last byte."""
    data = bytearray(solid_jpeg("CMYK", tuple(255 - value for value in stored)))
    place = data.index(b"Adobe") + 11
    assert data[place] == 0
    data[place] = 2
    return bytes(data)


def turned(orientation, kind="PNG", **options):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return saved(RGB, kind, exif=exif, **options)


def full(colour):
    return np.broadcast_to(np.array(colour, dtype=np.uint8), (3, 5, 3))


OVER_BLUE = (0, 0, 255)

# name -> the file, what it shows, and how far a kind that loses may be off
SOUND = {
    "rgb png": (saved(RGB), RGB, 0),
    "grey png": (saved(GREY), grey(GREY), 0),
    "1-bit png": (saved(Image.fromarray(GREY > 99)), grey((GREY > 99) * 255), 0),
    "palette": (palette(), RGB, 0),
    "palette with one colour transparent": (palette(3), RGB, 0),
    "palette with an alpha for each colour": (palette(bytes(range(0, 150, 10))), RGB, 0),
    "rgb png with a transparent colour": (saved(RGB, transparency=(0, 255, 255)), RGB, 0),
    "grey png with a transparent grey": (saved(GREY, transparency=40), grey(GREY), 0),
    "grey and alpha": (saved(np.dstack([GREY, ALPHA])), grey(GREY), 0),
    "rgba": (saved(RGBA), RGB, 0),
    "16-bit grey png": (png(5, 3, rows16(GREY), depth=16), grey(GREY), 0),
    "16-bit rgb png": (png(5, 3, rows16(RGB), depth=16, colour=2), RGB, 0),
    "16-bit rgba png": (png(5, 3, rows16(RGBA), depth=16, colour=6), RGB, 0),
    "bmp": (saved(RGB, "BMP"), RGB, 0),
    "gif": (saved(GREY, "GIF"), grey(GREY), 0),
    "webp": (saved(RGB, "WEBP", lossless=True), RGB, 0),
    "webp with alpha": (saved(RGBA, "WEBP", lossless=True, exact=True), RGB, 0),
    "avif": (saved(Image.new("RGB", (5, 3), (90, 91, 92)), "AVIF"), full((90, 91, 92)), 3),
    "tiff": (saved(RGB, "TIFF", compression="tiff_lzw"), RGB, 0),
    "cmyk tiff": (
        saved(Image.new("CMYK", (5, 3), (255, 0, 0, 51)), "TIFF"),
        full((0, 204, 204)),
        0,
    ),
    "8-bit tiff that counts from white": (tiff(GREY, {258: 8, 262: 0}), grey(255 - GREY), 0),
    "16-bit tiff": (tiff(GREY.astype("<u2") * 256 + 250, {258: 16}), grey(GREY), 0),
    "16-bit tiff, large end first": (
        tiff((GREY * np.uint16(256) + 250).astype(">u2"), {258: 16}, order=">"),
        grey(GREY),
        0,
    ),
    "16-bit tiff that counts from white": (
        tiff(65535 - (GREY.astype("<u2") * 256 + 250), {258: 16, 262: 0}),
        grey(GREY),
        0,
    ),
    "12-bit tiff": (
        tiff(np.zeros((1, 2)), {258: 12}, data=bytes([0xAB, 0xC1, 0x23])),
        grey([[0xAB, 0x12]]),
        0,
    ),
    "tiff in lab": (
        saved(Image.new("LAB", (5, 3), (255, 128, 128)), "TIFF"),
        full((255, 255, 255)),
        1,
    ),
    "jpeg": (solid_jpeg("RGB", (90, 91, 92)), full((90, 91, 92)), 1),
    "grey jpeg": (solid_jpeg("L", 77), full((77, 77, 77)), 1),
    "progressive jpeg": (solid_jpeg("RGB", (9, 9, 9), progressive=True), full((9, 9, 9)), 1),
    "cmyk jpeg, paper": (solid_jpeg("CMYK", (0, 0, 0, 0)), full((255, 255, 255)), 1),
    "cmyk jpeg, cyan": (solid_jpeg("CMYK", (255, 0, 0, 0)), full((0, 255, 255)), 1),
    "cmyk jpeg, key": (solid_jpeg("CMYK", (0, 0, 0, 200)), full((55, 55, 55)), 1),
    "ycck jpeg, paper": (ycck((0, 128, 128, 255)), full((255, 255, 255)), 1),
    "ycck jpeg, key": (ycck((0, 128, 128, 55)), full((55, 55, 55)), 1),
    # luma 76, blue 85, red 255: (255, 0, 0) is stored, and inverted it is ink of everything but red
    "ycck jpeg, ink": (ycck((76, 85, 255, 255)), full((0, 255, 255)), 2),
    "animated gif": (frames("GIF"), RGB, 0),
    "animated png": (frames("PNG"), RGB, 0),
    "animated webp": (frames("WEBP", lossless=True), RGB, 0),
    "two pages of tiff": (frames("TIFF"), RGB, 0),
    "turn 1": (turned(1), RGB, 0),
    "turn 2": (turned(2), RGB[:, ::-1], 0),
    "turn 3": (turned(3), RGB[::-1, ::-1], 0),
    "turn 4": (turned(4), RGB[::-1], 0),
    "turn 5": (turned(5), RGB.swapaxes(0, 1), 0),
    "turn 6": (turned(6), np.rot90(RGB, -1), 0),
    "turn 7": (turned(7), RGB[::-1, ::-1].swapaxes(0, 1), 0),
    "turn 8": (turned(8), np.rot90(RGB), 0),
    "turn 9 is none": (turned(9), RGB, 0),
    "turned webp": (turned(6, "WEBP", lossless=True), np.rot90(RGB, -1), 0),
    "turned tiff": (turned(6, "TIFF"), np.rot90(RGB, -1), 0),
    "turned after its pixels": (
        saved(RGB)[:-12]
        + chunk(b"eXIf", b"MM\0*\0\0\0\x08\0\1\x01\x12\0\3\0\0\0\1\0\6\0\0\0\0\0\0")
        + chunk(b"IEND", b""),
        np.rot90(RGB, -1),
        0,
    ),
    "exif that is none": (saved(RGB, exif=b"Exif\0\0nonsense"), RGB, 0),
}


def cut(data, share=0.6):
    return data[: int(len(data) * share)]


def noise(side):
    draw = np.random.default_rng(0)
    return draw.integers(0, 256, (side, side, 3), dtype=np.uint8)


def bmp(width, height):
    size = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 1, 1, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54, 0, 0, 54) + size


def gif(width, height):
    return (
        b"GIF89a"
        + struct.pack("<HHBBB", width, height, 0x80, 0, 0)
        + b"\0\0\0\xff\xff\xff"
        + (b"," + struct.pack("<HHHHB", 0, 0, width, height, 0) + b"\2\2\x44\1\0;")
    )


def scans(side, extra):
    """Make a progressive JPEG that paints the same pixels again and again."""
    data = saved(Image.new("L", (side, side)), "JPEG", progressive=True)
    return data[:-2] + data[data.rindex(b"\xff\xc4") : -2] * extra + data[-2:]


def many(tag, count, order="<", kind=4):
    """Make a TIFF with so many numbers under one tag, all of them there."""
    data = tiff(GREY, {258: 8, tag: 0}, order)
    entry = struct.pack(order + "HHL", tag, 4, 1)
    place = data.index(entry)
    named = struct.pack(order + "HHLL", tag, kind, count, len(data))
    return data[:place] + named + data[place + 12 :] + struct.pack(order + "L", 8) * count


def large_tiff(order="<", tags=2**20):
    """Make the head of a BigTIFF with so many tags."""
    name = b"II" if order == "<" else b"MM"
    return name + struct.pack(order + "HHHQQ", 43, 8, 0, 16, tags) + bytes(2000)


def tiles(width, height, kind=4):
    """Make a compressed TIFF in tiles of this size."""
    fmt = {3: "HHLHH", 4: "HHLL"}[kind]
    data = tiff(np.zeros((9, 9), dtype=np.uint8), {258: 8, 259: 8, 322: 0, 323: 0, 324: 0, 325: 9})
    for tag, value in ((322, width), (323, height)):
        place = data.index(struct.pack("<HHL", tag, 4, 1))
        values = (tag, kind, 1, value) + ((7,) if kind == 3 else ())
        data = data[:place] + struct.pack("<" + fmt, *values) + data[place + 12 :]
    return data


SOUND["a tiff with much metadata, in bytes"] = (many(700, 10**6, kind=1), grey(GREY), 0)

TEXT = zlib.compress(b"a" * 2_000_000)
ROW = b"\0" * 6

# name -> the file, and what the error says of it
HOSTILE = {
    "nothing": (b"", "is empty"),
    "a text": (b"This is no picture.\n" * 9, "is damaged, or no JPEG, PNG"),
    "one byte": (b"\x89", "is damaged, or no JPEG"),
    "the first bytes of a png": (saved(RGB)[:8], "damaged"),
    "the header of a png": (saved(RGB)[:33], "damaged|cannot be read"),
    "a png cut short": (cut(saved(noise(50))), "cut short or damaged"),
    "a jpeg cut short": (cut(saved(noise(50), "JPEG")), "cut short or damaged"),
    "a progressive jpeg cut short": (
        cut(saved(noise(50), "JPEG", progressive=True)),
        "cut short or damaged",
    ),
    "a gif cut short": (cut(saved(GREY, "GIF"), 0.97), "cut short or damaged"),
    "a webp cut short": (cut(saved(noise(50), "WEBP")), "damaged|cannot be read"),
    "an avif cut short": (cut(saved(noise(50), "AVIF")), "damaged|cannot be read"),
    "a tiff cut short": (cut(saved(noise(50), "TIFF")), "damaged|cannot be read"),
    "a compressed tiff cut short": (
        tiff(GREY, {258: 8, 259: 8, 279: 999}, data=b"x"),
        "damaged|cannot be read",
    ),
    "a png with a wrong checksum": (saved(RGB).replace(b"IHDR\0", b"IHDR\1", 1), "damaged|cannot"),
    "a png with damaged pixels": (
        png(5, 3)[:41] + b"\xff" * 8 + png(5, 3)[41:],
        "damaged|cannot be read",
    ),
    "a png of no width": (png(0, 3, ROW), "is damaged"),
    "a png of no height": (png(5, 0, ROW), "is damaged"),
    "a gif of no size": (gif(0, 0), "is damaged"),
    "a bmp of no size": (bmp(0, 0), "is damaged"),
    "a tiff of no size": (tiff(GREY, {256: 0, 258: 8}), "is damaged"),
    "a png of 900 million pixels": (png(30_000, 30_000), "900000000 pixels.* make it smaller"),
    "a png of 144 million pixels": (png(12_000, 12_000), "12000 x 12000, more than 89,478,485 pix"),
    "a bmp of 144 million pixels": (bmp(12_000, 12_000), "12000 x 12000, more than 89,478,485 pix"),
    "a gif of 144 million pixels": (gif(12_000, 12_000), "12000 x 12000, more than 89,478,485 pix"),
    "a tiff of 144 million pixels": (
        tiff(GREY, {256: 12_000, 257: 12_000, 258: 8}),
        "12000 x 12000, more than 89,478,485 pix",
    ),
    "a png with text that swells": (
        png(5, 3, ROW * 3, before=chunk(b"zTXt", b"a\0\0" + TEXT)),
        "cannot be read .*too large",
    ),
    "a png with much text that swells": (
        png(5, 3, ROW * 3, before=chunk(b"zTXt", b"a\0\0" + zlib.compress(b"a" * 10**6)) * 70),
        "cannot be read .*Too much memory",
    ),
    "a png with a profile that swells": (
        png(5, 3, ROW * 3, before=chunk(b"iCCP", b"a\0\0" + TEXT)),
        "cannot be read .*too large",
    ),
    "a png in 100,001 pieces": (
        png(5, 3, ROW * 3, before=chunk(b"abCd", b"") * 100_001),
        "in more than 100,000 pieces",
    ),
    "a png with a megabyte of exif": (
        png(5, 3, ROW * 3, before=chunk(b"eXIf", b"MM\0*" + bytes(2**20))),
        "1,048,58. bytes of EXIF",
    ),
    "a jpeg painted 300 times": (scans(4000, 300), "paints 4000 x 4000 pixels 306 times"),
    "a tiff in a million strips": (many(273, 10**6), "in 1,000,000 pieces"),
    "a tiff with a million numbers": (many(700, 10**6, ">"), "in 1,000,000 pieces"),
    "a tiff with a million tags": (large_tiff(), "has 1,048,576 tags"),
    "a tiff with a million tags, large end first": (large_tiff(">"), "has 1,048,576 tags"),
    "a tiff in tiles of a gigabyte": (tiles(2**15, 2**15), "tiles of 1,073,741,824 pixels"),
    "a tiff in short tiles of a gigabyte": (tiles(2**15, 2**15, kind=3), "tiles of 1,073,741,824"),
    "a tiff of whole numbers": (
        saved(Image.fromarray(GREY.astype(np.int32)), "TIFF"),
        "whole numbers of 32 bits.* scale to 0..255",
    ),
    "a tiff of floats": (
        saved(Image.fromarray(GREY.astype(np.float32)), "TIFF"),
        "floats of 32 bits.* scale to 0..255",
    ),
    "postscript, which would run a program": (b"%!PS-Adobe-3.0 EPSF-3.0\n", "is PostScript"),
    "svg": (b"<svg xmlns='http://www.w3.org/2000/svg'></svg>", "is SVG; save it as PNG or JPEG"),
    "heic": (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "is HEIC; save it as PNG or JPEG"),
    "a netpbm picture": (b"P6 1 1 255\n\0\0\0", "is PPM; save it as PNG or JPEG"),
    "an icon": (saved(RGB, "ICO", sizes=[(5, 3)]), "is an icon; save it as PNG or JPEG"),
    "a movie of Photoshop": (b"8BPS\0\1", "is Photoshop"),
}
