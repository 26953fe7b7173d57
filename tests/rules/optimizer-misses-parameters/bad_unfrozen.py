import timm
import torch


def train(loader, epochs, warm=5):
    model = timm.create_model("resnet50", pretrained=True, num_classes=4)
    for p in model.parameters():
        p.requires_grad = False
    for p in model.fc.parameters():
        p.requires_grad = True
    optimizer = torch.optim.AdamW(filter(lambda p: p.requires_grad, model.parameters()), lr=1e-3)
    for epoch in range(epochs):
        model.train()
        if epoch == warm:
            for p in model.layer4.parameters():
                p.requires_grad = True
        for images, labels in loader:
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(model(images), labels)
            loss.backward()
            optimizer.step()
