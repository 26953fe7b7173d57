import io
import pickle
import urllib.request

import requests
import torch
from huggingface_hub import hf_hub_download


def from_hub(repository):
    path = hf_hub_download(repository, "pytorch_model.bin")
    return torch.load(path, map_location="cpu")


def from_address(url):
    answer = requests.get(url, timeout=30)
    return torch.load(io.BytesIO(answer.content), weights_only=False)


def codebook(url):
    return pickle.load(urllib.request.urlopen(url))
