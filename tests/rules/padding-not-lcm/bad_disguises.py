import math

import numpy as np
import timm


def pad_to_multiple(image, multiple=32):
    height = int(np.ceil(image.shape[0] / multiple) * multiple)
    width = image.shape[1] + (-image.shape[1]) % multiple
    return height, width


def pad_side(side):
    stride = 32
    side = stride * math.ceil(side / stride)
    return side


model = timm.create_model("vit_large_patch14_dinov2.lvd142m", dynamic_img_size=True)
