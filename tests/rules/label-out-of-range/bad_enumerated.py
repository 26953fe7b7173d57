from torchvision.models import resnet34

CATEGORIES = ("rock", "paper", "scissors")


class Hands:
    def __init__(self, names):
        self.class_to_idx = {name: index for index, name in enumerate(names, start=1)}
        self.cat_ids = {name: index + 1 for index, name in enumerate(CATEGORIES)}

    def build(self, names):
        return resnet34(num_classes=len(names)), resnet34(num_classes=len(CATEGORIES))
