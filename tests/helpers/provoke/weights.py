"""Failures of the family weights."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import numpy as np
import torch

from provoke.machinery import case


@case("unknown-model")
def timm_has_no_such_model(folder: Path) -> None:
    import timm

    timm.create_model("resnet19", pretrained=True)


@case("unknown-model")
def timm_has_no_such_tag(folder: Path) -> None:
    import timm

    timm.create_model("resnet50.in22k", pretrained=True)


@case("unknown-model")
def torchvision_has_no_such_model(folder: Path) -> None:
    import torchvision

    torchvision.models.get_model("resnet19", weights="DEFAULT")


@case("unknown-model")
def torchvision_has_no_such_factory(folder: Path) -> None:
    import torchvision

    torchvision.models.resnet19(weights="DEFAULT")


@case("unknown-model")
def smp_has_no_such_encoder(folder: Path) -> None:
    import segmentation_models_pytorch

    segmentation_models_pytorch.Unet("resnet19", classes=2)


@case("missing-checkpoint")
def nothing_to_load(folder: Path) -> None:
    torch.load(folder / "checkpoints" / "model.pth", weights_only=True)


@case("missing-checkpoint")
def no_safetensors(folder: Path) -> None:
    from safetensors.torch import load_file

    load_file(folder / "model.safetensors")


@case("silent-random-weights")
def prefixed_keys(folder: Path) -> str:
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Conv2d(4, 4, 3))
    state = {f"module.{key}": value for key, value in model.state_dict().items()}
    return f"=> loading weights\n{model.load_state_dict(state, strict=False)}\nEpoch 1: loss 2.31"


class Small(torch.nn.Module):
    def __init__(self, classes: int = 10, width: int = 8) -> None:
        super().__init__()
        self.conv1 = torch.nn.Conv2d(3, width, 3)
        self.bn1 = torch.nn.BatchNorm2d(width)
        self.fc = torch.nn.Linear(width, classes)


@case("silent-random-weights")
def printed_lists(folder: Path) -> str:
    state = {f"backbone.{key}": value for key, value in Small().state_dict().items()}
    missing, unexpected = Small().load_state_dict(state, strict=False)
    return f"missing keys: {missing}\nunexpected keys: {unexpected}\nEpoch 1: loss 2.30"


@case("state-dict-mismatch")
def wrapped_when_saved(folder: Path) -> None:
    Small().load_state_dict(torch.nn.DataParallel(Small()).state_dict())


@case("state-dict-mismatch")
def loaded_into_wrapped(folder: Path) -> None:
    torch.nn.DataParallel(Small()).load_state_dict(Small().state_dict())


@case("state-dict-mismatch")
def compiled_when_saved(folder: Path) -> None:
    Small().load_state_dict(torch.compile(Small()).state_dict())


@case("state-dict-mismatch")
def other_head(folder: Path) -> None:
    Small(classes=37).load_state_dict(Small(classes=1000).state_dict())


@case("state-dict-mismatch")
def other_width(folder: Path) -> None:
    Small(width=16).load_state_dict(Small(width=8).state_dict())


@case("state-dict-mismatch")
def whole_checkpoint(folder: Path) -> None:
    Small().load_state_dict({"epoch": 3, "state_dict": Small().state_dict(), "optimizer": {}})


@case("state-dict-mismatch")
def model_for_state(folder: Path) -> None:
    Small().load_state_dict(Small())  # type: ignore[arg-type]


@case("state-dict-mismatch")
def other_groups(folder: Path) -> None:
    state = torch.optim.SGD(Small().parameters(), lr=0.1).state_dict()
    torch.optim.SGD(list(Small().parameters())[:2], lr=0.1).load_state_dict(state)


@case("state-dict-mismatch")
def embedding_of_other_size(folder: Path) -> None:
    import timm

    def vit(side: int) -> torch.nn.Module:
        return timm.create_model("vit_tiny_patch16_224", img_size=side, depth=1, embed_dim=32, num_heads=2)

    torch.nn.Module.load_state_dict(vit(384), vit(224).state_dict())


def saved(folder: Path, *, legacy: bool = False) -> Path:
    path = folder / "model.pth"
    torch.save(Small().state_dict(), path, _use_new_zipfile_serialization=not legacy)
    return path


@case("corrupt-checkpoint")
def cut_zip(folder: Path) -> None:
    path = saved(folder)
    path.write_bytes(path.read_bytes()[:-300])
    torch.load(path, weights_only=True)


@case("corrupt-checkpoint")
def cut_large_zip(folder: Path) -> None:
    torch.save({"weight": torch.zeros(10_000)}, folder / "best.pth")
    (folder / "best.pth").write_bytes((folder / "best.pth").read_bytes()[:-500])
    torch.load(folder / "best.pth", weights_only=True)


@case("corrupt-checkpoint")
def cut_legacy(folder: Path) -> None:
    path = saved(folder, legacy=True)
    path.write_bytes(path.read_bytes()[:-40])
    torch.load(path, weights_only=True)


@case("corrupt-checkpoint")
def empty_checkpoint(folder: Path) -> None:
    (folder / "model.pth").touch()
    torch.load(folder / "model.pth", weights_only=True)


@case("corrupt-checkpoint")
def web_page(folder: Path) -> None:
    (folder / "model.pth").write_text("<!DOCTYPE html><html><head><title>Sign in</title>")
    torch.load(folder / "model.pth", weights_only=True)


@case("corrupt-checkpoint")
def web_page_trusted(folder: Path) -> None:
    (folder / "model.pth").write_text("<!DOCTYPE html><html><head><title>Sign in</title>")
    torch.load(folder / "model.pth", weights_only=False)


@case("corrupt-checkpoint")
def lfs_pointer(folder: Path) -> None:
    text = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 4\n"
    (folder / "model.pth").write_text(text)
    torch.load(folder / "model.pth", weights_only=True)


@case("corrupt-checkpoint")
def lfs_safetensors(folder: Path) -> None:
    from safetensors.torch import load_file

    text = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 4\n"
    (folder / "model.safetensors").write_text(text)
    load_file(folder / "model.safetensors")


@case("corrupt-checkpoint")
def cut_safetensors(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    path = folder / "model.safetensors"
    save_file(Small().state_dict(), path)
    path.write_bytes(path.read_bytes()[:-8])
    load_file(path)


@case("weights-only-load")
def numpy_inside(folder: Path) -> None:
    torch.save({"model": Small().state_dict(), "best": np.float64(0.9)}, folder / "last.pt")
    torch.load(folder / "last.pt")


@case("weights-only-load")
def whole_model(folder: Path) -> None:
    torch.save(torch.nn.Sequential(torch.nn.Linear(2, 2)), folder / "model.pt")
    torch.load(folder / "model.pt", map_location="cpu")


@case("weights-only-load")
def settings_inside(folder: Path) -> None:
    torch.save({"model": Small().state_dict(), "args": argparse.Namespace(lr=0.1)}, folder / "last.pt")
    torch.load(folder / "last.pt")


@case("weights-only-load")
def blocked_module(folder: Path) -> None:
    class Runs:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, ("true",)

    torch.save({"model": Runs()}, folder / "last.pt")
    torch.load(folder / "last.pt", weights_only=True)


@case("missing-checkpoint")
def no_path_given(folder: Path) -> None:
    torch.load(None, weights_only=True)  # type: ignore[arg-type]


@case("missing-checkpoint")
def folder_given(folder: Path) -> None:
    (folder / "checkpoints").mkdir()
    torch.load(folder / "checkpoints", weights_only=True)
