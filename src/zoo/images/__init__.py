"""Pictures: reading them, making pixels for a model of them, and drawing (the extra `vision`).

A thin face over Pillow. Pixels are those of Hugging Face's own image processors.
"""

from zoo.images.bounds import ImageError
from zoo.images.processor import ImageProcessor
from zoo.images.read import read_image

__all__ = ["ImageError", "ImageProcessor", "read_image"]
