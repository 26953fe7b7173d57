import os

import timm
from transformers import AutoModel

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("HF_HOME", "/data/hub")

model = timm.create_model("resnet18", pretrained=True)
text = AutoModel.from_pretrained("bert-base-uncased")
