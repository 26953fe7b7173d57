import timm
from torchvision.models import vit_b_16

model = timm.create_model("vit_base_patch16_224", pretrained=True, img_size=250)

SIDE = 500
detail = timm.create_model(
    "vit_small_patch14_dinov2.lvd142m",
    img_size=(SIDE, SIDE),
)

reference = vit_b_16(image_size=230)
