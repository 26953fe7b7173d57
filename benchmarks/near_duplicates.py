"""Search for near-duplicate images among 1,000, 10,000 and 100,000: time, memory, what is found; peers beside it.

    python benchmarks/near_duplicates.py
    python benchmarks/near_duplicates.py --sizes 1000 10000 --json near.json
    python benchmarks/near_duplicates.py --parts 2     a crowd: pairs that look alike grow with the square of the images

The images are thumbnails of 48 x 48 made of scikit-image's photographs (three parts of them mixed, by chance); one in
fifty is a changed copy of another: compressed, scaled, brighter or mirrored. So what there is to find grows with the
number of images, as in a data set. By chance some others show the same parts of the same photographs: `same_part`
counts such pairs (of one part half is common, and they were mixed alike or with sky), `other_pairs` what is left;
`compared` counts the pairs that were decoded once more. Every size is searched in a process of its own. The peers get
the same fingerprints: comparing all with all, and an index of usearch where it is installed; neither looks at the
pictures again, so their pairs hold false ones. CPU seconds, because cores may be shared.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageEnhance, ImageOps

NAMES = ("astronaut", "coffee", "chelsea", "rocket", "motorcycle_left", "hubble_deep_field", "retina", "ihc")
SIDE = 48
EVERY = 50


def main() -> None:
    """Make the images, search each number of them, print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--parts", type=int, default=3, help="parts of photographs that each image is mixed of")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--folder", type=Path, help="where the images are made, and kept for the next time")
    parser.add_argument("--search", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.search:
        print(json.dumps(search(Path(options.search[0]), int(options.search[1]))))
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.folder or Path(scratch)
        make(folder, max(options.sizes), options.parts)
        rows = []
        for size in options.sizes:
            command = [sys.executable, __file__, "--search", str(folder), str(size)]
            row = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
            rows.append(row)
            print(", ".join(f"{name} {value}" for name, value in row.items()), flush=True)
    first, last = rows[0], rows[-1]
    growth = last["images"] / first["images"]
    held = (last["peak_mb"] - first["peak_mb"]) * 2**20 / (last["images"] - first["images"])
    summary = {
        "rows": rows,
        "images_ratio": growth,
        "bytes_per_image": round(held),
        "search_ratio": round(last["search_seconds"] / max(first["search_seconds"], 1e-3), 1),
    }
    print(f"{growth:g} times the images take {summary['search_ratio']} times the time; {held:.0f} bytes an image")
    if options.json:
        options.json.write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")


def make(folder: Path, count: int, mixed: int) -> None:
    """Write so many thumbnails; the name of a changed copy ends with the number of its original.

    What each shows goes into `parts.json` beside them: photograph and place of its parts.
    """
    import skimage

    data = Path(skimage.__file__).parent / "data"
    sources = [path for name in NAMES for path in sorted(data.glob(f"{name}.*"))]
    photos = []
    for path in sources:
        with Image.open(path) as image:
            photos.append(np.asarray(image.convert("RGB")))
    known = folder / "parts.json"
    if known.is_file():
        there = json.loads(known.read_bytes())
        if len(there) >= count and len(there["000000.jpg"]) == mixed:
            return
    parts: dict[str, Any] = {}
    dice = random.Random(0)
    thumb: Image.Image | None = None
    for number in range(count):
        if number % EVERY == EVERY - 1 and thumb is not None:
            name = f"{number:06}-of-{number - 1:06}.jpg"
            parts[name] = parts[f"{number - 1:06}.jpg"]
            _changed(thumb, dice).save(folder / name, quality=dice.choice((40, 70)))
            continue
        shown = [_part(photos, dice) for _ in range(mixed)]
        thumb = Image.fromarray(np.mean([pixels for pixels, _ in shown], axis=0).astype(np.uint8))
        thumb.save(folder / f"{number:06}.jpg", quality=90)
        parts[f"{number:06}.jpg"] = [place for _, place in shown]
    known.write_text(json.dumps(parts), encoding="ascii")


def _part(
    photos: Sequence[npt.NDArray[np.uint8]], dice: random.Random
) -> tuple[npt.NDArray[np.uint8], tuple[int, int, int, int]]:
    which = dice.randrange(len(photos))
    photo = photos[which]
    side = dice.randint(60, min(250, *photo.shape[:2]))
    top, left = dice.randint(0, photo.shape[0] - side), dice.randint(0, photo.shape[1] - side)
    part = Image.fromarray(photo[top : top + side, left : left + side]).resize((SIDE, SIDE))
    turned = part.transpose(Image.Transpose(dice.randint(0, 6)))
    return np.asarray(turned), (which, top, left, side)


def _changed(image: Image.Image, dice: random.Random) -> Image.Image:
    kind = dice.randint(0, 3)
    if kind == 0:
        return image
    if kind == 1:
        return image.resize((SIDE * 2, SIDE * 2))
    return ImageEnhance.Brightness(image).enhance(1.2) if kind == 2 else ImageOps.mirror(image)


def search(folder: Path, count: int) -> dict[str, Any]:
    """Open, measure and search so many images of a folder; run in a process of its own."""
    from snellen.data.audit.pairing import close_pairs
    from snellen.data.audit.scan import scan
    from snellen.data.audit.twins import Image as Known
    from snellen.data.audit.twins import exact_twins, near_twins
    from snellen.data.audit.verifying import Details

    files = sorted(str(path) for path in folder.glob("*.jpg"))[:count]
    started = time.perf_counter()
    found = scan(files, max_measured=count, max_bytes=10**12)
    opened = time.perf_counter() - started
    images = [Known(record) for record in found.images.values()]
    before, peak_before = time.process_time(), _peak()
    exact, apart = exact_twins(images)
    compared: list[bool] = []
    agree = Details.agree

    def counted(self: Details, one: str, other: str, *, mirrored: bool = False) -> bool:
        compared.append(agree(self, one, other, mirrored=mirrored))
        return compared[-1]

    Details.agree = counted  # type: ignore[method-assign]
    twins = near_twins(apart)
    seconds = time.process_time() - before
    peak = _peak()
    planted = {path for path in files if "-of-" in path}
    right = {twin.other for twin in twins if _belong(twin.one, twin.other)}
    parts = json.loads((folder / "parts.json").read_bytes())
    chance = sum(
        _same_part(parts[Path(twin.one).name], parts[Path(twin.other).name])
        for twin in twins
        if not _belong(twin.one, twin.other)
    )
    words = np.array([record.pixels.fingerprint for record in found.images.values() if record.pixels], dtype=np.uint64)
    before = time.process_time()
    for _ in close_pairs(words):
        pass
    return {
        "images": count,
        "open_seconds": round(opened, 2),
        "search_seconds": round(seconds, 2),
        "pairing_seconds": round(time.process_time() - before, 2),
        "peak_mb_before": round(peak_before),
        "peak_mb": round(peak),
        "exact": len(exact),
        "compared": len(compared),
        "found_of_planted": f"{len(right)}/{len(planted)}",
        "same_part": chance,
        "other_pairs": len(twins) - len(right) - chance,
        **_peers(words),
    }


def _belong(one: str, other: str) -> bool:
    return Path(other).stem.endswith(f"-of-{Path(one).stem}")


def _same_part(one: Sequence[Sequence[int]], other: Sequence[Sequence[int]]) -> bool:
    return any(_common(first, second) >= 0.5 for first in one for second in other)


def _common(one: Sequence[int], other: Sequence[int]) -> float:
    """What two squares of one photograph have in common, as a share of what they hold together."""
    (photo, top, left, side), (second, above, beside, length) = one, other
    height = min(top + side, above + length) - max(top, above)
    width = min(left + side, beside + length) - max(left, beside)
    common = max(0, height) * max(0, width) if photo == second else 0
    return common / (side * side + length * length - common)


def _peers(words: npt.NDArray[np.uint64]) -> dict[str, Any]:
    from snellen.data.audit.pairing import MAX_BITS

    before = time.process_time()
    pairs = 0
    for place in range(len(words) - 1):
        pairs += int(np.count_nonzero(np.bitwise_count(words[place + 1 :] ^ words[place]) <= MAX_BITS))
    figures: dict[str, Any] = {"all_with_all_seconds": round(time.process_time() - before, 2), "close_pairs": pairs}
    try:
        from usearch.index import Index
    except ImportError:
        return figures
    before = time.process_time()
    bits = words.view(np.uint8).reshape(-1, 8)
    index = Index(ndim=64, metric="hamming", dtype="b1")
    index.add(np.arange(len(bits)), bits)
    index.search(bits, 8)
    return {**figures, "usearch_seconds": round(time.process_time() - before, 2)}


def _peak() -> float:
    # Not ru_maxrss: a child inherits there what its parent has taken.
    status = Path("/proc/self/status").read_text(encoding="ascii")
    found = re.search(r"VmHWM:\s+(\d+)", status)
    return int(found[1]) / 1024 if found else 0.0


if __name__ == "__main__":
    main()
