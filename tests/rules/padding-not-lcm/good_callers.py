import math

import timm


def round_up(height, multiple=32):
    height = math.ceil(height / multiple) * multiple
    return height


model = timm.create_model("vit_large_patch14_dinov2.lvd142m", dynamic_img_size=True)
padded = round_up(500, multiple=14)
