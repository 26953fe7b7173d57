from mobile_sam import sam_model_registry as mobile_registry
from sam2.build_sam import build_sam2
from segment_anything import build_sam_vit_h, sam_model_registry


def load(model_type, checkpoint):
    return sam_model_registry[model_type](checkpoint=checkpoint)


base = sam_model_registry["vit_b"](checkpoint="sam_vit_b_01ec64.pth")
default = sam_model_registry["default"](checkpoint="sam_vit_h_4b8939.pth")
medical = sam_model_registry["vit_b"](checkpoint="medsam.pth")
mobile = mobile_registry["vit_t"](checkpoint="mobile_sam.pt")
huge = build_sam_vit_h("sam_vit_h_4b8939.pth")
two = build_sam2("configs/sam2.1/sam2.1_hiera_b+.yaml", "checkpoints/sam2.1_hiera_base_plus.pt")
