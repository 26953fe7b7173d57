import segment_anything as sa


def build():
    return sa.sam_model_registry["default"](checkpoint="models/sam_vit_b_01ec64.pth")


def quality(registry_file="sam_hq_vit_h.pth"):
    model_type = "vit_l"
    return sa.sam_model_registry[model_type]("sam_hq_vit_h.pth")
