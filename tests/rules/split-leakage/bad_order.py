import cv2
import numpy as np
from imblearn.over_sampling import SMOTE
from sklearn.model_selection import cross_val_score, train_test_split
from sklearn.preprocessing import StandardScaler
from torch.utils.data import ConcatDataset, random_split
from torchvision.datasets import ImageFolder


def scaled(features, labels):
    scaler = StandardScaler()
    features = scaler.fit_transform(features)
    return train_test_split(features, labels, test_size=0.2)


def balanced(features, labels):
    features, labels = SMOTE().fit_resample(features, labels)
    return train_test_split(features, labels)


def scored(model, features, labels):
    return cross_val_score(model, StandardScaler().fit_transform(features), labels)


def augmented(paths):
    images = []
    for path in paths:
        image = cv2.imread(path)
        images.append(image)
        images.append(np.fliplr(image))
    return train_test_split(images, test_size=0.1)


def joined(root, plain, flipped):
    both = ConcatDataset([ImageFolder(root, transform=plain), ImageFolder(root, transform=flipped)])
    return random_split(both, [0.8, 0.2])


def filmed(path):
    frames = []
    video = cv2.VideoCapture(path)
    while True:
        found, frame = video.read()
        if not found:
            break
        frames.append(frame)
    return train_test_split(frames, test_size=0.2)


def tiled(patches, targets):
    return train_test_split(patches, targets, random_state=0)


def fitted_apart(features, labels):
    scaler = StandardScaler()
    scaler.fit(features)
    features = scaler.transform(features)
    return train_test_split(features, labels)
