import sys

import PIL.Image
from PIL import Image

Image.MAX_IMAGE_PIXELS = None


def thumbnails(paths):
    for path in paths:
        with Image.open(path) as image:
            yield image.resize((256, 256))


def unlimited():
    PIL.Image.MAX_IMAGE_PIXELS = float("inf")


def nearly_unlimited():
    Image.MAX_IMAGE_PIXELS = sys.maxsize
