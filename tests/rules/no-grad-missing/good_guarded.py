import torch


@torch.no_grad()
def validate(model, loader):
    model.eval()
    return sum(model(images).argmax(1).sum().item() for images, _ in loader)


def predict(model, loader):
    model.eval()
    with torch.inference_mode():
        for images, _ in loader:
            yield model(images)


def called_below(model, loader):
    model.eval()
    for images, _ in loader:
        print(model(images).mean().item())


def report(model, loader):
    with torch.no_grad():
        called_below(model, loader)


def attack(model, loader, epsilon):
    model.eval()
    for images, labels in loader:
        images.requires_grad_(True)
        loss = torch.nn.functional.cross_entropy(model(images), labels)
        gradient = torch.autograd.grad(loss, images)[0]
        yield images + epsilon * gradient.sign()


def one_epoch(model, teacher, loader, optimizer):
    teacher.eval()
    for images, _ in loader:
        with torch.no_grad():
            wanted = teacher(images)
        optimizer.zero_grad()
        (model(images) - wanted).square().mean().backward()
        optimizer.step()


def trace(model, loader):
    model.eval()
    for images, _ in loader:
        torch.onnx.export(model, images, "model.onnx")
        print(model(images).shape)
        break


def adapt(model, loader, optimizer, criterion):
    model.train()
    for images, _ in loader:
        model(images).mean().backward()
    model.eval()
    views = []
    for images, _ in loader:
        views.append(model(images))
    optimizer.zero_grad()
    criterion(torch.cat(views)).backward()
    optimizer.step()
