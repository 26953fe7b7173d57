import cv2
import numpy as np
import torch as t


def embed(image: np.ndarray, model: t.nn.Module) -> t.Tensor:
    small = cv2.resize(image, (224, 224))
    return model(t.from_numpy(small))


WHOLE = True
fast_embed = t.compile(embed, fullgraph=WHOLE)


def train_step(model: t.nn.Module, images: t.Tensor) -> t.Tensor:
    loss = model(images).mean()
    loss.backward()
    return loss


compiled_step = t.compile(train_step, fullgraph=True)
