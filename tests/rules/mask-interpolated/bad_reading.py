import cv2
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from scipy import ndimage
from skimage.transform import resize


def with_opencv(path, size):
    mask = cv2.imread(path, cv2.IMREAD_GRAYSCALE)
    return cv2.resize(mask, (size, size))


def with_wrong_place(path, size):
    label_map = cv2.imread(path, cv2.IMREAD_UNCHANGED)
    label_map = cv2.resize(label_map, (size, size), cv2.INTER_NEAREST)
    return torch.from_numpy(label_map).long()


def with_pil(path):
    with Image.open(path) as mask:
        return np.array(mask.resize((256, 256)))


def with_lanczos(path, width, height):
    segmentation = Image.open(path)
    segmentation = segmentation.resize((width, height), resample=Image.LANCZOS)
    return np.asarray(segmentation)


def on_the_gpu(batch):
    masks = batch["masks"].unsqueeze(1).float()
    masks = F.interpolate(masks, size=(128, 128), mode="bilinear", align_corners=False)
    return masks.squeeze(1).long()


def with_scipy(path):
    seg = np.load(path)
    return ndimage.zoom(seg, 0.5)


def with_skimage(mask_path):
    mask = np.array(Image.open(mask_path))
    return resize(mask, (64, 64))


def of_any_name(labels, size):
    return cv2.resize(labels, size, cv2.INTER_NEAREST)
