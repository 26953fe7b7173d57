import torch
from torch.nn.utils import clip_grad_value_

model = torch.nn.Linear(4, 2).cuda()
opt = torch.optim.SGD(model.parameters(), lr=0.1)
scaler = torch.amp.GradScaler("cuda")
accumulate = 4
for i, (x, y) in enumerate(torch.load("batches.pt", weights_only=True)):
    with torch.autocast("cuda", dtype=torch.float16):
        loss = torch.nn.functional.mse_loss(model(x), y) / accumulate
    scaler.scale(loss).backward()
    if (i + 1) % accumulate == 0:
        clip_grad_value_(model.parameters(), clip_value=0.5)
        scaler.step(opt)
        scaler.update()
        opt.zero_grad()
