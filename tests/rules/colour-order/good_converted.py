import cv2
import numpy as np
import timm
import torch
from PIL import Image, ImageDraw
from torchvision import transforms
from ultralytics import YOLO

preprocess = transforms.Compose(
    [transforms.ToTensor(), transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])]
)
net = timm.create_model("resnet50", pretrained=True)
detector = YOLO("yolov8n.pt")


def load(path):
    image = cv2.imread(path)
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def classify(path):
    return net(preprocess(load(path))[None])


def sliced(path):
    image = cv2.imread(path)[:, :, ::-1].copy()
    return net(torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255)


def modern(path):
    return net(preprocess(cv2.imread(path, cv2.IMREAD_COLOR_RGB))[None])


def swapped_later(path):
    image = cv2.imread(path)
    image = cv2.resize(image, (224, 224))
    tensor = torch.from_numpy(image.transpose(2, 0, 1)[[2, 1, 0]].copy())
    return net(tensor[None].float() / 255)


def detect(path):
    return detector(cv2.imread(path))


def write_text(path, words):
    image = cv2.imread(path)
    picture = Image.fromarray(image)
    ImageDraw.Draw(picture).text((5, 5), words)
    cv2.imwrite(path, np.array(picture))


def mask_of(path):
    mask = cv2.imread(path, cv2.IMREAD_GRAYSCALE)
    return Image.fromarray(mask)


def save_mask(path, target):
    labels = np.array(Image.open(path))
    cv2.imwrite(target, labels)


def copy(source, target):
    cv2.imwrite(target, cv2.resize(cv2.imread(source), (64, 64)))


def from_pil(path):
    return net(preprocess(Image.open(path).convert("RGB"))[None])
