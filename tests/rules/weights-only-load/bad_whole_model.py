import torch


def detector(path, image):
    model = torch.load(path, map_location="cpu")
    model.eval()
    with torch.no_grad():
        return model(image)


class Service:
    def __init__(self, weights):
        self.network = torch.load(weights).to("cuda").eval()

    def answer(self, batch):
        with torch.inference_mode():
            return self.network(batch)
