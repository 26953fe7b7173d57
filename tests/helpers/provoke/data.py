"""Failures of the family data."""

from __future__ import annotations

import signal
import struct
import textwrap
import zlib
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch.utils.data import DataLoader, Dataset, TensorDataset

from provoke.machinery import case, run_script


class _Pictures(Dataset[Image.Image]):
    def __init__(self, paths: list[Path]) -> None:
        self.paths = paths

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> torch.Tensor:  # type: ignore[override]
        with Image.open(self.paths[index]) as image:
            return torch.from_numpy(np.asarray(image.convert("RGB")).copy())


def _photo(path: Path) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path.read_bytes()


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
    return run_script(folder, "train.py")


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


class _Sized(Dataset[torch.Tensor]):
    """Images of the sizes it is given."""

    def __init__(self, *sizes: tuple[int, ...]) -> None:
        self.sizes = sizes

    def __len__(self) -> int:
        return len(self.sizes)

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.zeros(self.sizes[index])


@case("collate-size-mismatch")
def two_sizes(folder: Path) -> None:
    next(iter(DataLoader(_Sized((3, 224, 298), (3, 224, 336)), batch_size=2)))


@case("collate-size-mismatch")
def two_sizes_in_worker(folder: Path) -> None:
    next(iter(DataLoader(_Sized((3, 64, 64), (3, 60, 64)), batch_size=2, num_workers=1)))


@case("collate-size-mismatch")
def boxes_of_each_image(folder: Path) -> None:
    boxes = [(torch.zeros(3, 8, 8), [[0, 0, 1, 1]] * count) for count in (1, 3)]
    next(iter(DataLoader(boxes, batch_size=2)))  # type: ignore[arg-type]


@case("label-out-of-range")
def label_from_one(folder: Path) -> None:
    F.cross_entropy(torch.zeros(2, 10), torch.tensor([1, 10]))


@case("label-out-of-range")
def border_of_mask(folder: Path) -> None:
    F.cross_entropy(torch.zeros(1, 21, 2, 2), torch.tensor([[[0, 3], [255, 20]]]))


@case("label-out-of-range")
def one_hot_too_small(folder: Path) -> None:
    F.one_hot(torch.tensor([0, 4]), num_classes=4)


@case("class-weights-length")
def nine_weights(folder: Path) -> None:
    F.cross_entropy(torch.zeros(2, 10), torch.tensor([0, 1]), weight=torch.ones(9))


@case("class-weights-length")
def weights_of_masks(folder: Path) -> None:
    torch.nn.CrossEntropyLoss(weight=torch.tensor([0.2, 0.8]))(torch.zeros(1, 3, 4, 4), torch.zeros(1, 4, 4).long())


@case("decompression-bomb")
def giant_scan(folder: Path) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 20000, 15000, 8, 2, 0, 0, 0))
    (folder / "scan.png").write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"")))
    Image.open(folder / "scan.png")


_ENDING = """
    import os
    import torch
    from torch.utils.data import DataLoader, Dataset

    class Images(Dataset):
        def __len__(self):
            return 64

        def __getitem__(self, index):
            if index == 9:
                os.kill(os.getpid(), {signal})
            return torch.zeros(3, 8, 8)

    if __name__ == "__main__":
        for images in DataLoader(Images(), batch_size=4, num_workers=2):
            pass
"""


@case("worker-killed")
def killed_in_epoch(folder: Path) -> str:
    (folder / "train.py").write_text(textwrap.dedent(_ENDING.format(signal=int(signal.SIGKILL))))
    return run_script(folder, "train.py")


@case("shm-too-small")
def bus_error_in_epoch(folder: Path) -> str:
    (folder / "train.py").write_text(textwrap.dedent(_ENDING.format(signal=int(signal.SIGBUS))))
    return run_script(folder, "train.py")


@case("too-many-open-files")
def batches_kept(folder: Path) -> str:
    (folder / "evaluate.py").write_text(
        textwrap.dedent("""
        import resource
        import torch
        from torch.utils.data import DataLoader, TensorDataset

        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
        kept = []
        for (labels,) in DataLoader(TensorDataset(torch.arange(400)), batch_size=2, num_workers=2):
            kept.append(labels)
        """)
    )
    return run_script(folder, "evaluate.py")


@case("too-many-open-files")
def files_never_closed(folder: Path) -> str:
    (folder / "dataset.py").write_text(
        textwrap.dedent("""
        import resource

        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
        handles = [open(__file__, "rb") for _ in range(100)]
        """)
    )
    return run_script(folder, "dataset.py")


@case("unpicklable-worker")
def lambda_for_spawned(folder: Path) -> None:
    loader = DataLoader(_Sized((3, 8, 8)), num_workers=1, multiprocessing_context="spawn", collate_fn=lambda b: b)
    iter(loader)


@case("unpicklable-worker")
def lock_in_dataset(folder: Path) -> None:
    import threading

    dataset = _Sized((3, 8, 8))
    dataset.lock = threading.Lock()  # type: ignore[attr-defined]
    iter(DataLoader(dataset, num_workers=1, multiprocessing_context="spawn"))


@case("missing-main-guard")
def loop_at_top_level(folder: Path) -> str:
    (folder / "train.py").write_text(
        textwrap.dedent("""
        import torch
        from torch.utils.data import DataLoader, TensorDataset

        loader = DataLoader(TensorDataset(torch.zeros(4)), num_workers=1, multiprocessing_context="spawn")
        for (images,) in loader:
            pass
        """)
    )
    return run_script(folder, "train.py")


_NOT_MINE = """
    import os
    import torch

    os.chmod({folder!r}, 0o555)
    if os.getuid() == 0:
        os.setuid(65534)
    {line}
"""


@case("cache-permission")
def folder_of_somebody_else(folder: Path) -> str:
    closed = folder / "shared"
    closed.mkdir()
    line = f"os.makedirs({str(closed / 'cache' / 'train')!r}, exist_ok=True)"
    (folder / "train.py").write_text(textwrap.dedent(_NOT_MINE.format(folder=str(closed), line=line)))
    return run_script(folder, "train.py")


@case("cache-permission")
def results_of_somebody_else(folder: Path) -> str:
    closed = folder / "results"
    closed.mkdir()
    line = f"open({str(closed / 'log.txt')!r}, 'w').write('epoch 1')"
    (folder / "train.py").write_text(textwrap.dedent(_NOT_MINE.format(folder=str(closed), line=line)))
    return run_script(folder, "train.py")


@case("cache-never-filled")
def preloaded_nothing(folder: Path) -> str:
    (folder / "Train").mkdir()
    files = sorted((folder / "train").glob("*.png"))
    cache = {path: path.read_bytes() for path in files}
    return f"[VideoDataset] Loading {len(files)} frames...\n[VideoDataset] Cache preloaded: {len(cache)} items, 0.0GB\n"


@case("cache-never-filled")
def size_of_cache_is_nothing(folder: Path) -> str:
    import functools

    @functools.lru_cache(maxsize=0)
    def load(path: str) -> bytes:
        return path.encode()

    for index in range(200):
        load(f"{index % 100}.png")
    return f"Epoch 2/10 done, image cache: {load.cache_info()}\n"
