import torch
from torchvision.models.video import r3d_18

model = r3d_18(weights=None)
model = model.to(memory_format=torch.channels_last_3d)

clips = torch.randn(2, 3, 16, 112, 112).cuda()
clips = clips.contiguous(memory_format=torch.channels_last_3d)
