"""Damage by chance: mutants of sound pictures, each of them read or refused."""

import random
import struct
import time
import zlib

import numpy as np
from PIL import Image

from unit.images.pictures import SOUND, saved
from zoo.images import ImageError, read_image

SIDES = (0, 1, 2, 255, 256, 32767, 65535, 2**31 - 1, 2**32 - 1)
PIECES = (b"\0" * 8, b"\xff" * 8, b"\xff\xd8", b"\xff\xda", b"\xff\xd9", b"IDAT", b"IEND", b"fcTL")
LARGEST = 10**6  # pixels: what a mutant may claim, so that a case is quick


def bases():
    """Give small sound pictures of every kind, with something in them to damage."""
    noise = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    image = Image.fromarray(noise)
    made = [saved(image, kind) for kind in ("PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP", "AVIF")]
    made += [saved(image, "JPEG", progressive=True), saved(image, "TIFF", compression="tiff_lzw")]
    made += [saved(image, "TIFF", compression="jpeg"), saved(image.convert("CMYK"), "JPEG")]
    return made + [data for data, _, _ in SOUND.values()]


def mutate(data, draw):
    """Damage a picture one to four times."""
    data = bytearray(data)
    for _ in range(draw.randint(1, 4)):
        at = (
            draw.randrange(len(data)) if draw.random() < 0.5 else draw.randrange(min(80, len(data)))
        )
        kind = draw.randrange(7)
        if kind == 0:
            data[at] ^= 1 << draw.randrange(8)
        elif kind == 1:
            data[at] = draw.randrange(256)
        elif kind == 2:
            size = draw.choice(SIDES)
            order = draw.choice("<>")
            value = (
                struct.pack(order + "L", size) if size > 65535 else struct.pack(order + "H", size)
            )
            data[at : at + len(value)] = value
        elif kind == 3:
            del data[at : at + draw.randrange(1, 40)]
        elif kind == 4:
            data[at:at] = draw.choice(PIECES)
        elif kind == 5:
            end = draw.randrange(len(data))
            data[at:at] = data[end : end + draw.randrange(1, 60)]
        else:
            del data[max(1, at) :]
        if not data:
            data = bytearray(b"\0")
    return summed(bytes(data)) if draw.random() < 0.5 else bytes(data)


def summed(data):
    """Put the checksums of a PNG right, so that the damage is not seen by them alone."""
    if not data.startswith(b"\x89PNG\r\n\x1a\n"):
        return data
    out, at = bytearray(data[:8]), 8
    while at + 12 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        body = data[at + 4 : at + 8 + length]
        out += data[at : at + 4] + body + struct.pack(">I", zlib.crc32(body))
        at += 12 + length
    return bytes(out + data[at:])


def fuzz(cases, seed):
    """Read so many mutants; give how many were read, how many refused, the slowest's seconds."""
    draw = random.Random(seed)
    sound = bases()
    read, refused, slowest = 0, 0, 0.0
    for case in range(cases):
        data = mutate(draw.choice(sound), draw)
        start = time.process_time()
        try:
            image = read_image(data, max_pixels=LARGEST)
        except ImageError:
            refused += 1
        except BaseException as error:
            raise AssertionError(f"case {case} of seed {seed}: {error!r}; {data!r}") from error
        else:
            assert image.mode == "RGB" and image.width * image.height <= LARGEST, (seed, case)
            image.tobytes()
            read += 1
        slowest = max(slowest, time.process_time() - start)
    return read, refused, slowest
