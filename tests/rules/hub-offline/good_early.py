import os

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("HF_HOME", "/data/hub")

import timm  # noqa: E402

os.environ["TORCH_HOME"] = "/data/torch"
os.environ["HF_TOKEN"] = os.environ.get("TOKEN", "")


def offline() -> None:
    os.environ["HF_HUB_OFFLINE"] = "1"


model = timm.create_model("resnet18", pretrained=False)
