import torch
import torch.nn.functional as F
from torch.amp import GradScaler, autocast
from tqdm import tqdm

from project.models import build_model
from project.data import make_loader

model = build_model("resnet50").cuda()
loader = make_loader("train")
opt = torch.optim.SGD(model.parameters(), lr=0.1)
scaler = GradScaler("cuda")

for epoch in range(90):
    model.train()
    for images, targets in tqdm(loader):
        images, targets = images.cuda(), targets.cuda()
        with autocast("cuda", dtype=torch.float16):
            loss = F.cross_entropy(model(images), targets)
        scaler.scale(loss).backward()
        # opt.zero_grad()
        scaler.step(opt)
        scaler.update()
