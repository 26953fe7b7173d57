import timm
import torch as t
from PIL import Image
from tqdm import tqdm

net = timm.create_model("resnet18", pretrained=True)


def predict(paths, transform):
    net.eval()
    answers = {}
    for path in tqdm(paths):
        image = transform(Image.open(path)).unsqueeze(0)
        answers[path] = net(image).softmax(1).detach().numpy()
    return answers


def detect_stream(capture, transform):
    net.eval()
    while True:
        good, frame = capture.read()
        if not good:
            break
        with t.autocast("cuda"):
            print(net(transform(frame)).argmax().item())


def embed(encoder, loader):
    encoder.eval()
    return t.cat([encoder(batch.cuda()).cpu() for batch in loader])


@t.no_grad()
def guarded(loader):
    net.eval()
    return [net(batch).cpu() for batch in loader]
