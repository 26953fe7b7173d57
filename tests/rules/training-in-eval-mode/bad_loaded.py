import torch
from transformers import AutoModelForImageClassification, get_scheduler


def train(loader, epochs):
    model = AutoModelForImageClassification.from_pretrained("google/vit-base-patch16-224", num_labels=3)
    model.to("cuda")
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-5)
    scheduler = get_scheduler("linear", optimizer, 0, epochs * len(loader))
    for epoch in range(epochs):
        for batch in loader:
            loss = model(**{k: v.to("cuda") for k, v in batch.items()}).loss
            loss.backward()
            optimizer.step()
            scheduler.step()
            optimizer.zero_grad()
