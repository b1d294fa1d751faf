"""The one door to Pillow."""

try:
    from PIL import Image, ImageDraw, ImageFont, UnidentifiedImageError
except ImportError as error:
    raise ImportError('images need Pillow: pip install "zoo[vision]"') from error

__all__ = ["Image", "ImageDraw", "ImageFont", "UnidentifiedImageError"]
