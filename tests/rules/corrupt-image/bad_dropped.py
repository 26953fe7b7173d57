from PIL import Image


def load(paths):
    images = []
    for path in paths:
        try:
            images.append(Image.open(path).convert("RGB"))
        except Exception:
            continue
    return images
