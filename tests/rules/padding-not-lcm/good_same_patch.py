import timm


def pad(height):
    return ((height + 31) // 32) * 32


def backbone():
    return timm.create_model("vit_small_patch16_224")
