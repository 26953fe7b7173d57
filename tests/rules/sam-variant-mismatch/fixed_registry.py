from segment_anything import SamPredictor, sam_model_registry

sam = sam_model_registry["vit_h"](checkpoint="weights/sam_vit_h_4b8939.pth")

MODEL_TYPE = "vit_l"
CHECKPOINT = "sam_vit_l_0b3195.pth"
large = sam_model_registry[MODEL_TYPE](checkpoint=CHECKPOINT).to("cuda")
