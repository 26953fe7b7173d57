import segmentation_models_pytorch as smp
from torch.utils.data import DataLoader

BATCH = 1


def fit(dataset, optimizer, loss_function):
    net = smp.DeepLabV3Plus("resnet34", classes=3)
    net.train()
    for image, mask in DataLoader(dataset, BATCH, shuffle=True):
        optimizer.zero_grad()
        loss = loss_function(net(image), mask)
        loss.backward()
        optimizer.step()
