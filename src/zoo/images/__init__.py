"""Pictures: reading them, making pixels for a model of them, and drawing (the extra `vision`).

A thin face over Pillow. Pixels are those of Hugging Face's own image processors.
"""

from zoo.images.bounds import ImageError
from zoo.images.draw import contact_sheet, heat, token_heat
from zoo.images.processor import ImageProcessor
from zoo.images.read import read_image

__all__ = ["ImageError", "ImageProcessor", "contact_sheet", "heat", "read_image", "token_heat"]
