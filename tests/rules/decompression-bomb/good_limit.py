import warnings

from PIL import Image

Image.MAX_IMAGE_PIXELS = 933_120_000
warnings.simplefilter("error", Image.DecompressionBombWarning)


class Settings:
    MAX_IMAGE_PIXELS = 10_000_000


def too_large(width, height):
    return width * height > Image.MAX_IMAGE_PIXELS
