import timm
import torch
from torchvision.models import resnet50

model = timm.create_model("convnext_tiny", num_classes=5).eval()
summary = model(torch.randn(1, 1, 224, 224))

other = resnet50(weights=None).cuda()
images = torch.zeros((2, 224, 224, 3)).cuda()
logits = other(images)
