import timm
import torch
from torchvision.models import vit_b_32

model = timm.create_model("vit_small_patch16_224", pretrained=True)
logits = model(torch.zeros(1, 3, 256, 256))

dino = timm.create_model("vit_small_patch14_dinov2", num_classes=0)
dino = dino.eval()
example = torch.rand((4, 3, 224, 224))
embedding = dino(example)

large = vit_b_32(image_size=384)
scores = large(torch.ones(1, 3, 224, 224))
