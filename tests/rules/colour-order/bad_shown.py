import cv2
import matplotlib.pyplot as plt
import numpy as np
from PIL import Image


def look(path):
    image = cv2.imread(path)
    cv2.rectangle(image, (10, 10), (50, 50), (0, 255, 0), 2)
    plt.imshow(image)
    plt.show()


def shrink(source, target):
    with Image.open(source) as picture:
        pixels = np.array(picture.convert("RGB"))
    cv2.imwrite(target, cv2.resize(pixels, (128, 128)))


def store(path, target):
    Image.fromarray(cv2.imread(path)).resize((64, 64)).save(target)
