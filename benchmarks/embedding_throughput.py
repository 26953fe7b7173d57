"""How fast images are embedded from files, beside the bare model and two common ways of doing it.

    python benchmarks/embedding_throughput.py --model thin --repeats 1      20,000 images: half an hour of two cores
    python benchmarks/embedding_throughput.py --images 320 --repeats 5      the model dominates
    python benchmarks/embedding_throughput.py --model resnet50 --images 96

    bare        the model on tensors in memory: no files, no decoding, nothing written
    bare-last   the same with the channels last in memory, as `embed_images` computes on a CPU
    snellen     `embed_images`: files to Parquet parts, synced to disk
    dataloader  a plain loop: Dataset, DataLoader with processes, model under inference mode, nothing written
    pipeline    transformers' `pipeline("image-feature-extraction")` on its ResNet of the same architecture

The same image files for all: CIFAR-10 files and larger photos of `$SNELLEN_SHARED/data`, repeated to the number asked
for; the same preprocessing parameters, the same batch size, the same random weights (speed does not depend on them),
but each way has a network of its own, as its library leaves it in memory. `thin` is a ResNet of ten layers that costs
about as much as decoding does.
Repetitions are interleaved and ratios are taken within a repetition, since other programs share the cores; their
medians are reported: by the wall clock, which on a shared machine favours whoever starts more processes, and by the
processor time of this process and its children, which does not.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import itertools
import json
import os
import random
import resource
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import timm
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from snellen._env import shared_folder
from snellen.data.sources import ImageRef
from snellen.engine.embedding import EmbedSettings, embed_images
from snellen.models.backbones.embedders import Embedder, embedder_of, load_embedder

BATCH = 32
Times: TypeAlias = dict[str, tuple[float, float]]
"""Wall and processor seconds by the way of doing it."""
BAR = 0.90
"""Of the bare model's throughput, where the model dominates."""
LAYERS: dict[str, Any] = {
    "thin": {"depths": [1, 1, 1, 1], "layer_type": "basic", "hidden_sizes": [16, 32, 64, 128]},
    "resnet18": {"depths": [2, 2, 2, 2], "layer_type": "basic", "hidden_sizes": [64, 128, 256, 512]},
    "resnet34": {"depths": [3, 4, 6, 3], "layer_type": "basic", "hidden_sizes": [64, 128, 256, 512]},
    "resnet50": {"depths": [3, 4, 6, 3], "layer_type": "bottleneck", "hidden_sizes": [256, 512, 1024, 2048]},
}


def files(share: float, most: int) -> list[Path]:
    """CIFAR-10 files and, as a share of all, larger photos."""
    data = shared_folder() / "data"
    small = sorted((data / "cifar10").rglob("*.jpg"))
    large = [path for name in ("coco128", "ants_bees", "clothing") for path in sorted((data / name).rglob("*.jpg"))]
    if not small or not large:
        raise SystemExit(f"the images are not there: {data}")
    chance = random.Random(0)
    chance.shuffle(small)
    chance.shuffle(large)
    count = round(share * most)
    chosen = [*itertools.islice(itertools.cycle(large), count), *itertools.islice(itertools.cycle(small), most - count)]
    chance.shuffle(chosen)
    return chosen


class Clock:
    """Wall and processor time since it was made, that of child processes which have ended included."""

    def __init__(self) -> None:
        self._wall, self._processor = time.perf_counter(), _processor_time()

    def read(self) -> tuple[float, float]:
        """Seconds of both."""
        return time.perf_counter() - self._wall, _processor_time() - self._processor


def _processor_time() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def built(model: str) -> Embedder:
    """A backbone of a way's own."""
    torch.manual_seed(0)
    if model != "thin":
        return load_embedder(model, pretrained=False)
    layers = LAYERS[model]
    network = timm.create_model("resnet18", num_classes=0, layers=layers["depths"], channels=layers["hidden_sizes"])
    return embedder_of(model, network.eval(), load_embedder("resnet18", pretrained=False).preprocessing, weights="")


def bare(embedder: Embedder, paths: list[Path], _folder: Path, _workers: int) -> None:
    """The model alone, on as many images."""
    height, width = embedder.preprocessing.input_size or (224, 224)
    images = torch.randn(BATCH, 3, height, width)
    _all_of(embedder, images, len(paths))


def bare_last(embedder: Embedder, paths: list[Path], _folder: Path, _workers: int) -> None:
    """The same with the channels last."""
    height, width = embedder.preprocessing.input_size or (224, 224)
    embedder.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # the stub lacks it
    _all_of(embedder, torch.randn(BATCH, 3, height, width).to(memory_format=torch.channels_last), len(paths))


def _all_of(embedder: Embedder, images: Tensor, left: int) -> None:
    while left > 0:
        embedder.embed(images[: min(BATCH, left)])
        left -= BATCH


def snellen(embedder: Embedder, paths: list[Path], folder: Path, workers: int) -> None:
    """`embed_images`."""
    refs = (ImageRef(f"{index:08d}-{path.name}", path) for index, path in enumerate(paths))
    report = embed_images(refs, embedder, folder, settings=EmbedSettings(workers=workers))
    assert report.done == len(paths), report.unread[:3]


class Files(Dataset[Tensor]):
    """As one would write it down."""

    def __init__(self, embedder: Embedder, paths: list[Path]) -> None:
        self.preprocessing, self.paths = embedder.preprocessing, paths

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Tensor:
        with Image.open(self.paths[index]) as image:
            return self.preprocessing.prepare(image)


def dataloader(embedder: Embedder, paths: list[Path], _folder: Path, workers: int) -> None:
    """A plain loop."""
    loader = DataLoader(Files(embedder, paths), BATCH, num_workers=workers)
    vectors = [embedder.embed(images) for images in loader]
    assert sum(map(len, vectors)) == len(paths)


def pipeline_of(model: str, embedder: Embedder) -> Callable[[Embedder, list[Path], Path, int], None]:
    """The pipeline of transformers on its ResNet of the same depth and width."""
    transformers: Any = importlib.import_module("transformers")

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    network = transformers.ResNetModel(transformers.ResNetConfig(embedding_size=64, **LAYERS[model])).eval()
    size = embedder.preprocessing.input_size or (224, 224)
    processor = transformers.ConvNextImageProcessor(
        size={"shortest_edge": size[0]}, crop_pct=0.95, image_mean=list(embedder.preprocessing.mean),
        image_std=list(embedder.preprocessing.std), resample=3,
    )  # fmt: skip
    pipe = transformers.pipeline("image-feature-extraction", model=network, image_processor=processor, device="cpu")

    def run(_embedder: Embedder, paths: list[Path], _folder: Path, workers: int) -> None:
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            # Its processes would copy the model for every worker; its own default is 0.
            found = pipe([str(path) for path in paths], batch_size=BATCH, num_workers=workers, pool=True)
        assert len(found) == len(paths)

    return run


def main() -> None:
    """Measure and print; write JSON where it is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=20_000, help="of a repetition")
    parser.add_argument("--large", type=float, default=0.2, help="share of larger photos")
    parser.add_argument("--model", default="resnet18", choices=sorted(LAYERS))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--leave-out", nargs="*", default=[], choices=["dataloader", "pipeline"])
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    ways: dict[str, Callable[[Embedder, list[Path], Path, int], None]] = {
        "bare": bare, "bare-last": bare_last, "snellen": snellen, "dataloader": dataloader
    }  # fmt: skip
    embedders = {name: built(chosen.model) for name in ways}
    if "pipeline" not in chosen.leave_out:
        embedders["pipeline"] = embedders["bare"]
        ways["pipeline"] = pipeline_of(chosen.model, embedders["bare"])
    ways = {name: way for name, way in ways.items() if name not in chosen.leave_out}
    paths = files(chosen.large, chosen.images)
    rounds: list[Times] = []
    with tempfile.TemporaryDirectory() as folder:
        for name, way in ways.items():  # so that what is built on first use is built
            way(embedders[name], paths[: 2 * BATCH], Path(folder) / f"warm-{name}", chosen.workers)
        for repetition in range(chosen.repeats):
            names = list(ways)
            random.Random(repetition).shuffle(names)
            times = {}
            for name in names:
                clock = Clock()
                ways[name](embedders[name], paths, Path(folder) / f"{name}-{repetition}", chosen.workers)
                times[name] = clock.read()
            rounds.append({name: times[name] for name in ways})
            print("  ".join(f"{name} {len(paths) / wall:.1f}/s ({1e3 * cpu / len(paths):.1f} ms of processor)"
                            for name, (wall, cpu) in rounds[-1].items()), flush=True)  # fmt: skip
    result = summary(rounds, chosen)
    if chosen.json:
        chosen.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps({name: value for name, value in result.items() if name != "rounds"}, indent=2))


def summary(rounds: list[Times], chosen: argparse.Namespace) -> dict[str, Any]:
    """The figures."""
    ratios = {
        clock: {
            f"snellen / {name}": round(statistics.median(one[name][index] / one["snellen"][index] for one in rounds), 3)
            for name in rounds[0]
            if name != "snellen"
        }
        for index, clock in enumerate(("wall", "processor"))
    }
    return {
        "model": chosen.model,
        "images": chosen.images,
        "share_of_large": chosen.large,
        "repeats": chosen.repeats,
        "threads": chosen.threads,
        "workers": chosen.workers,
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
        "images_per_second": {
            name: round(chosen.images / statistics.median(one[name][0] for one in rounds), 2) for name in rounds[0]
        },
        "processor_ms_per_image": {
            name: round(1e3 / chosen.images * statistics.median(one[name][1] for one in rounds), 2)
            for name in rounds[0]
        },
        "ratios": ratios,
        "bar": BAR,
        "held": {clock: held(found) for clock, found in ratios.items()},
        "rounds": rounds,
    }


def held(ratios: dict[str, float]) -> bool:
    """Whether the bars hold: near the bare model, faster than the others."""
    return ratios["snellen / bare"] >= BAR and all(ratio > 1 for name, ratio in ratios.items() if "bare" not in name)


if __name__ == "__main__":
    main()
