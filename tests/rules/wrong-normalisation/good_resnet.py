from torchvision import models, transforms

net = models.resnet50(weights="DEFAULT")
transform = transforms.Compose(
    [
        transforms.RandomHorizontalFlip(),
        transforms.ToTensor(),
        transforms.Normalize(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
    ]
)
own = models.resnet18(weights=None)
cifar = transforms.Normalize((0.4914, 0.4822, 0.4465), (0.247, 0.243, 0.261))
