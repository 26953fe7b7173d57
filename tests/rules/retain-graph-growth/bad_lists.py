def train(model, loader, criterion, optimizer, accelerator, epochs):
    history = []
    for epoch in range(epochs):
        losses = list()
        for images, labels in loader:
            optimizer.zero_grad()
            loss = criterion(model(images), labels)
            accelerator.backward(loss)
            optimizer.step()
            losses.append(loss)
        history.append(sum(losses) / len(losses))
    return history
