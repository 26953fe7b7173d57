import logging

from PIL import Image


def load(paths, missing):
    images = []
    for path in paths:
        try:
            images.append(Image.open(path).convert("RGB"))
        except OSError as error:
            logging.warning("%s: %s", path, error)
            missing.append(path)
        try:
            missing.remove(path)
        except ValueError:
            pass
    return images
