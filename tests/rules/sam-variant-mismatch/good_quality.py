from segment_anything_hq import sam_model_registry

sam = sam_model_registry["vit_l"](checkpoint="sam_hq_vit_l.pth")
