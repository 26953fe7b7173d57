import cv2
import numpy as np
import timm
import torch
from PIL import Image
from segment_anything import SamPredictor, sam_model_registry
from torchvision import transforms as T
from transformers import AutoImageProcessor

preprocess = T.Compose(
    [
        T.Resize((224, 224)),
        T.ToTensor(),
        T.Normalize(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225]),
    ]
)
net = timm.create_model("convnext_tiny.fb_in22k", pretrained=True).eval().cuda()
predictor = SamPredictor(sam_model_registry["vit_b"](checkpoint="sam_vit_b_01ec64.pth"))
processor = AutoImageProcessor.from_pretrained("facebook/dinov2-base")


def classify(path):
    picture = Image.fromarray(cv2.imread(path))
    return net(preprocess(picture).unsqueeze(0).cuda())


def segment(path):
    photo = cv2.imread(path, cv2.IMREAD_COLOR)
    predictor.set_image(photo)
    return predictor.predict()


def embed(video):
    capture = cv2.VideoCapture(video)
    frames = []
    while capture.isOpened():
        found, frame = capture.read()
        if not found:
            break
        frames.append(cv2.resize(frame, (224, 224)))
    return processor(images=frames, return_tensors="pt")


def score(paths):
    batch = np.stack([cv2.resize(cv2.imread(path), (224, 224)) for path in paths])
    with torch.no_grad():
        return net(torch.from_numpy(batch).permute(0, 3, 1, 2).float().div(255).cuda())
