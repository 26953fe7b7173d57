"""Provoke failures for real, on a CPU, and keep the text that today's libraries print.

    python tests/helpers/provoke.py        write tests/rules/<slug>/fires_today_*.log anew

Every function ends in the failure of its slug, or returns the text of a log that shows it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import textwrap
import traceback
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch.utils.data import DataLoader, Dataset, TensorDataset

CASES: dict[str, tuple[str, Callable[[Path], str | None]]] = {}
"""Name of a case to the rule and the function that provokes it in a folder of its own."""


def case(slug: str) -> Callable[[Callable[[Path], str | None]], Callable[[Path], str | None]]:
    def keep(function: Callable[[Path], str | None]) -> Callable[[Path], str | None]:
        CASES[function.__name__] = (slug, function)
        return function

    return keep


def provoke(name: str, folder: Path) -> str:
    """The log of one case."""
    try:
        return CASES[name][1](folder) or ""
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the log
        # The first frame is this very function, which no user has.
        own = error.__traceback__
        return "".join(traceback.format_exception(error.with_traceback(own.tb_next if own else None)))


@case("half-overflow")
def masked_fill(folder: Path) -> None:
    scores = torch.zeros(2, 2, dtype=torch.float16)
    scores.masked_fill(torch.eye(2, dtype=torch.bool), -1e9)


@case("half-overflow")
def under_autocast(folder: Path) -> None:
    with torch.autocast("cpu", dtype=torch.float16):
        queries = torch.ones(4, 8) @ torch.ones(8, 4)
        queries.masked_fill(torch.eye(4, dtype=torch.bool), float(-(2**30)))


@case("layout-scrambled")
def permuted_features(folder: Path) -> None:
    import timm

    backbone = timm.create_model("vit_tiny_patch16_224", pretrained=False, img_size=64, depth=1).eval()
    decoder = torch.nn.Conv2d(192, 8, 1)
    features = backbone.get_intermediate_layers(torch.zeros(1, 3, 64, 64), n=1, reshape=True)[0]
    decoder(features.permute(0, 3, 1, 2))


@case("padding-not-lcm")
def padded_to_stride(folder: Path) -> None:
    import timm

    backbone = timm.create_model("vit_tiny_patch16_224", patch_size=14, depth=1, dynamic_img_size=True)
    image = torch.zeros(1, 3, 230, 230)
    pad_to = ((230 + 31) // 32) * 32
    backbone(F.pad(image, (0, pad_to - image.shape[3], 0, pad_to - image.shape[2])))


@case("unfold-blowup")
def unfolded(folder: Path) -> None:
    features = torch.zeros(1, 1, 1, 1).expand(64, 4096, 4096, 4096)
    F.unfold(features, kernel_size=64, stride=1)


@case("config-type")
def rate_as_text(folder: Path) -> None:
    torch.optim.AdamW([torch.zeros(1, requires_grad=True)], lr="1e-4")  # type: ignore[arg-type]


@case("config-type")
def scheduler_as_text(folder: Path) -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma="0.9").step()  # type: ignore[arg-type]


@case("config-unknown-key")
def unpacked_settings(folder: Path) -> None:
    class Trainer:
        def __init__(self, lr: float) -> None:
            self.lr = lr

    config = {"lr": 0.1, "epoch": 3}
    Trainer(**config)  # type: ignore[arg-type]


@case("config-unknown-key")
def repeated_key(folder: Path) -> None:
    from ruamel.yaml import YAML

    YAML(typ="safe").load("lr: 0.1\nlr: 0.2\n")


@case("empty-dataset")
def nothing_to_shuffle(folder: Path) -> None:
    DataLoader(TensorDataset(torch.zeros(0, 3)), shuffle=True)


@case("empty-dataset")
def folder_without_classes(folder: Path) -> None:
    from torchvision.datasets import ImageFolder

    ImageFolder(folder)


@case("empty-dataset")
def folder_without_images(folder: Path) -> None:
    from torchvision.datasets import ImageFolder

    (folder / "cat").mkdir()
    ImageFolder(folder)


@case("empty-dataset")
def mean_over_nothing(folder: Path) -> None:
    train_loader = DataLoader(TensorDataset(torch.zeros(0, 3)))
    total = sum(float(batch[0].sum()) for batch in train_loader)
    total / len(train_loader)


class _Pictures(Dataset[Image.Image]):
    def __init__(self, paths: list[Path]) -> None:
        self.paths = paths

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> torch.Tensor:  # type: ignore[override]
        with Image.open(self.paths[index]) as image:
            return torch.from_numpy(np.asarray(image.convert("RGB")).copy())


@case("missing-file")
def listed_but_absent(folder: Path) -> None:
    for _ in DataLoader(_Pictures([folder / "0001.png"])):
        pass


@case("missing-file")
def annotations_absent(folder: Path) -> None:
    np.loadtxt(folder / "labels.csv")


@case("missing-file")
def read_as_nothing(folder: Path) -> str:
    lines = ["import cv2", "image = cv2.imread('0001.png')", "cv2.cvtColor(image, cv2.COLOR_BGR2RGB)"]
    (folder / "train.py").write_text("\n".join(lines))
    return _run(folder, "train.py")


def _photo(path: Path) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path.read_bytes()


@case("corrupt-image")
def cut_short(folder: Path) -> None:
    path = folder / "cut.jpg"
    path.write_bytes(_photo(path)[:1500])
    for _ in DataLoader(_Pictures([path])):
        pass


@case("corrupt-image")
def cut_png(folder: Path) -> None:
    path = folder / "cut.png"
    path.write_bytes(_photo(path)[:1500])
    _Pictures([path])[0]


@case("corrupt-image")
def not_an_image(folder: Path) -> None:
    path = folder / "page.jpg"
    path.write_text("<html>404</html>")
    _Pictures([path])[0]


@case("corrupt-image")
def empty_png(folder: Path) -> None:
    path = folder / "empty.png"
    path.write_bytes(b"")
    _Pictures([path])[0]


@case("nan-loss")
def diverging(folder: Path) -> str:
    weight = torch.tensor([5.0], requires_grad=True)
    optimizer = torch.optim.SGD([weight], lr=2.0)
    lines = []
    for step in range(60):
        loss = (weight**4).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        lines.append(f"step: {step} loss: {loss.item():.4g} lr: 2.0")
    return "\n".join(lines)


@case("nan-loss")
def anomaly(folder: Path) -> None:
    weight = torch.zeros(1, requires_grad=True)
    with torch.autograd.detect_anomaly(check_nan=True):
        (torch.sqrt(weight) * 0).sum().backward()


@case("wrong-project-root")
def started_in_tools(folder: Path) -> str:
    (folder / "utils").mkdir()
    (folder / "tools").mkdir()
    (folder / "utils" / "__init__.py").write_text("")
    (folder / "tools" / "train.py").write_text("from utils import helper\n")
    return _run(folder, "tools/train.py")


@case("wrong-project-root")
def relative_import_in_script(folder: Path) -> str:
    (folder / "train.py").write_text("from .model import build\n")
    return _run(folder, "train.py")


@case("wrong-project-root")
def nested_clone(folder: Path) -> str:
    (folder / "detector" / "detector").mkdir(parents=True)
    (folder / "detector" / "detector" / "__init__.py").write_text("build = 1\n")
    (folder / "train.py").write_text("from detector import build\n")
    return _run(folder, "train.py")


@case("stale-module")
def pulled_after_import(folder: Path) -> str:
    (folder / "model.py").write_text("VERSION = 1\n")
    (folder / "cells.py").write_text(
        textwrap.dedent("""
        import model
        open("model.py", "w").write("VERSION = 2\\ndef build():\\n    return 1\\n")
        print("Updating 1f3c2aa..9be01d4\\nFast-forward\\n model.py | 3 ++-\\n 1 file changed, 2 insertions(+)")
        from model import build
        """)
    )
    return _run(folder, "cells.py")


def _run(folder: Path, script: str) -> str:
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": ""}
    done = subprocess.run(
        [sys.executable, script], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    return done.stdout + done.stderr


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


def _clean(text: str, folder: Path) -> str:
    """The text without this machine's folders."""
    here = Path(__file__).resolve().parents[2]
    text = text.replace(str(Path(__file__).resolve()), "/home/user/project/train.py")
    for path, name in ((folder, "/home/user/project"), (here, "/home/user/project"), (Path(sys.prefix), "/opt/venv")):
        text = text.replace(str(path), name)
    text = text.replace(f"{sys.base_prefix}", "/usr")
    return "\n".join(line.rstrip() for line in text.splitlines()) + "\n"


def main() -> None:
    for name, (slug, _) in CASES.items():
        with tempfile.TemporaryDirectory() as folder:
            text = _clean(provoke(name, Path(folder)), Path(folder))
        if not text.strip():
            raise SystemExit(f"{name} no longer fails")
        target = Path(__file__).parents[1] / "rules" / slug / f"fires_today_{name}.log"
        target.parent.mkdir(exist_ok=True)
        target.write_text(text)
        print(slug, name, text.strip().splitlines()[-1][:110], sep=" | ")


if __name__ == "__main__":
    main()
