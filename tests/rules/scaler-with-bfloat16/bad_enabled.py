import torch

amp_scaler = torch.amp.GradScaler("cuda", enabled=True)


def step(model, optimizer, x, y):
    optimizer.zero_grad()
    with torch.cuda.amp.autocast(dtype=torch.bfloat16):  # snellen: ignore[deprecated-amp-api]
        loss = torch.nn.functional.l1_loss(model(x), y)
    amp_scaler.scale(loss).backward()
    amp_scaler.step(optimizer)
    amp_scaler.update()
