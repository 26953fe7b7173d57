import os

from sam2.build_sam import build_sam2, build_sam2_video_predictor
from segment_anything import build_sam_vit_b


def load(folder):
    path = os.path.join(folder, "sam_vit_l_0b3195.pth")
    return build_sam_vit_b(checkpoint=path)


image = build_sam2("configs/sam2.1/sam2.1_hiera_l.yaml", "checkpoints/sam2.1_hiera_small.pt")
video = build_sam2_video_predictor(config_file="sam2_hiera_t.yaml", ckpt_path="sam2.1_hiera_tiny.pt")
