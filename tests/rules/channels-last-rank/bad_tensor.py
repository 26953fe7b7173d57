import torch

LAYOUT = torch.channels_last

tokens = torch.randn(8, 197, 768).cuda()
tokens = tokens.to(memory_format=LAYOUT)
buffer = torch.empty(64, 3, 3, memory_format=torch.channels_last)
frames = torch.zeros(4, 3, 64, 64).to(memory_format=torch.channels_last_3d)
