"""Accuracy of copy-move detection on folders of real forgeries, and its time against SIFT alone, in one run.

    uv run python benchmarks/forgery_accuracy.py --data ../shared/data --json accuracy.json --gallery worst

Every folder `forgery_*` below `--data` is a set: `forged/`, `authentic/` and `masks/` with the same names. What counts:

- pixel F1: the mean over the images of the sets named by `--full-mask-sets`, whose masks mark source and copy alike;
- detection rate: share of the copy-move images with a non-empty mask, in those sets and in `--copy-move-sets`;
- false-alarm rate: share of ALL authentic images of all sets with a non-empty mask.

A picture pasted in from elsewhere (splicing) has no source to be found; such sets are listed, not counted. In a set
named by `--swapped-sets` the folders are read the other way round: in all nine pairs of `forgery_casia1_from_montage`
it is the picture in `authentic/` that shows the addition, at the place of the mask (three lions for one, a second bird,
two more holes in a lawn). Both readings are reported, the corrected one under the plain keys.

The network and the fusion of both need trained weights: `--detector net --run RUNS/NAME` or `--detector fused ...`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import cv2
import numpy as np
from rich.console import Console
from rich.table import Table

from snellen.data.reading import read_image, read_mask
from snellen.errors import SnellenError
from snellen.models.forgery.detection import BoolMask, Detection, ForgeryDetector, ImageArray
from snellen.models.forgery.keypoint import KeypointDetector

FULL_MASK_SETS = ("forgery_comofod", "forgery_fau", "forgery_grip", "forgery_one_to_many")
COPY_MOVE_SETS = ("forgery_coverage", "forgery_micc_f220")
SWAPPED_SETS = ("forgery_casia1_from_montage",)
SUFFIXES = {".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp"}
DETECTORS = ("keypoint", "net", "fused")


@dataclass(frozen=True, slots=True)
class Sets:
    """Which sets count for what, by folder name."""

    full_masks: tuple[str, ...] = FULL_MASK_SETS
    copy_move: tuple[str, ...] = COPY_MOVE_SETS
    swapped: tuple[str, ...] = SWAPPED_SETS

    def is_copy_move(self, name: str) -> bool:
        """Whether the forged images of a set count for the detection rate."""
        return name in self.full_masks or name in self.copy_move


@dataclass(slots=True)
class Result:
    """One image."""

    set_name: str
    image: Path
    forged: bool
    flagged: bool
    score: float
    seconds: float
    sift_seconds: float
    pixel_f1: float | None = None


@dataclass(slots=True)
class Summary:
    """Figures of one set, or of all."""

    forged: int = 0
    authentic: int = 0
    masks: int = 0
    mean_pixel_f1: float | None = None
    detection_rate: float | None = None
    false_alarm_rate: float | None = None
    sift_time_ratio: float | None = None
    false_alarms: list[str] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)


def make_detector(name: str, run_folder: Path | None = None) -> ForgeryDetector:
    """A detector by its name; all but `keypoint` take their settings and weights from the folder of a trained run."""
    if name not in DETECTORS:
        raise ValueError(f"detector is {name!r}, expected one of {DETECTORS}")
    if name == "keypoint":
        return KeypointDetector()
    if run_folder is None:
        raise ValueError(f"detector {name!r} needs the folder of a trained run: --run DIR")
    # Only these two need torch.
    from snellen.tasks.forgery.config import ForgeryRun
    from snellen.tasks.forgery.model import build_detector
    from snellen.tasks.target import open_target

    target = open_target(run_folder, [f"model.detector={name}"])
    if not isinstance(target.config, ForgeryRun):
        raise ValueError(f"{run_folder} is a run of {type(target.config).__name__}, expected one of the forgery task")
    return build_detector(target.config.model, checkpoints=target.checkpoints)


def pixel_f1(found: BoolMask, truth: BoolMask) -> float:
    """F1 of the altered pixels; 1 where both masks are empty."""
    total = int(found.sum()) + int(truth.sum())
    return 1.0 if total == 0 else 2.0 * int((found & truth).sum()) / total


def images_in(folder: Path) -> list[Path]:
    """The image files of a folder, sorted; none where there is no such folder."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)


def truth_of(image: Path, size: tuple[int, int]) -> BoolMask | None:
    """The mask with the stem of a forged image, from `masks/` beside its folder."""
    for path in sorted((image.parent.parent / "masks").glob(f"{image.stem}.*")):
        mask: BoolMask = read_mask(path).mask
        if mask.shape != size:
            mask = cv2.resize(mask.astype(np.uint8), size[::-1], interpolation=cv2.INTER_NEAREST) > 0
        return mask
    return None


def sift_seconds(image: ImageArray) -> float:
    """Time of OpenCV's SIFT with its defaults on the same image."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    start = time.perf_counter()
    cv2.SIFT.create().detectAndCompute(grey, None)
    return time.perf_counter() - start


def judge(
    detector: ForgeryDetector, path: Path, *, set_name: str, forged: bool, masks: bool
) -> tuple[Result, Detection]:
    """Detect on one image, and SIFT beside it."""
    image = read_image(path).pixels
    sift = sift_seconds(image)
    start = time.perf_counter()
    detection = detector.detect(image)
    seconds = time.perf_counter() - start
    truth = truth_of(path, detection.image_size) if masks else None
    result = Result(set_name, path, forged, bool(detection.mask.any()), detection.score, seconds, sift)
    result.pixel_f1 = None if truth is None else pixel_f1(detection.mask, truth)
    return result, detection


def work_list(root: Path, sets: Sets) -> Iterator[tuple[str, Path, bool]]:
    """`(set name, image, forged)` for every image of every set, with swapped folders put right."""
    for folder in sorted(root.glob("forgery_*")):
        swapped = folder.name in sets.swapped
        for kind in ("authentic", "forged"):
            for image in images_in(folder / kind):
                yield folder.name, image, (kind == "forged") != swapped


def run(root: Path, detector: ForgeryDetector, sets: Sets, *, gallery: Path | None = None) -> list[Result]:
    """Judge every image; with `gallery`, draw those that went wrong."""
    results = []
    for set_name, image, forged in work_list(root, sets):
        result, detection = judge(
            detector, image, set_name=set_name, forged=forged, masks=forged and set_name in sets.full_masks
        )
        results.append(result)
        if gallery is not None and _is_bad(result, sets):
            _draw(result, detection, gallery)
    return results


def summarise(results: Sequence[Result], sets: Sets) -> Summary:
    """The figures of some results."""
    scores = [result.pixel_f1 for result in results if result.pixel_f1 is not None]
    forged = [result for result in results if result.forged]
    copy_move = [result for result in forged if sets.is_copy_move(result.set_name)]
    authentic = [result for result in results if not result.forged]
    return Summary(
        forged=len(forged),
        authentic=len(authentic),
        masks=len(scores),
        mean_pixel_f1=statistics.fmean(scores) if scores else None,
        detection_rate=_share(copy_move),
        false_alarm_rate=_share(authentic),
        sift_time_ratio=statistics.median(result.seconds / result.sift_seconds for result in results)
        if results
        else None,
        false_alarms=[f"{result.set_name}/{result.image.name}" for result in authentic if result.flagged],
        missed=[f"{result.set_name}/{result.image.name}" for result in copy_move if not result.flagged],
    )


def report(results: Sequence[Result], sets: Sets) -> dict[str, object]:
    """What `--json` writes."""
    names = sorted({result.set_name for result in results})
    per_set = {name: asdict(summarise([r for r in results if r.set_name == name], sets)) for name in names}
    copy_move = [r for r in results if r.forged and sets.is_copy_move(r.set_name)]
    labelled = [r.flagged for r in results if r.image.parent.name == "authentic"]
    return {
        **asdict(summarise(results, sets)),
        "false_alarm_rate_as_labelled": sum(labelled) / len(labelled) if labelled else None,
        "found": f"{sum(r.flagged for r in copy_move)} of {len(copy_move)}",
        "swapped_sets": [name for name in names if name in sets.swapped],
        "opencv": cv2.__version__,
        "threads": cv2.getNumThreads(),
        "sets": per_set,
    }


def show(figures: dict[str, object], console: Console) -> None:
    """A table of all sets."""
    table = Table("set", "forged", "authentic", "pixel F1", "found", "false alarms", "time / SIFT")
    sets = figures["sets"]
    assert isinstance(sets, dict)
    for name, row in [*sets.items(), ("all", figures)]:
        cells = [_cell(row[key]) for key in ("mean_pixel_f1", "detection_rate", "false_alarm_rate", "sift_time_ratio")]
        table.add_row(str(name), str(row["forged"]), str(row["authentic"]), *cells)
    console.print(table)
    console.print(f"missed: {figures['missed']}\nfalse alarms: {figures['false_alarms']}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse, run, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder that holds the sets")
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    parser.add_argument("--gallery", type=Path, help="folder to draw the worst images into")
    parser.add_argument("--detector", choices=DETECTORS, default="keypoint")
    parser.add_argument("--run", type=Path, help="folder of a trained run, for net and fused")
    parser.add_argument(
        "--threads", type=int, default=1, help="of OpenCV, for both sides; OMP_NUM_THREADS does the rest"
    )
    parser.add_argument("--full-mask-sets", nargs="*", default=list(FULL_MASK_SETS))
    parser.add_argument("--copy-move-sets", nargs="*", default=list(COPY_MOVE_SETS))
    parser.add_argument("--swapped-sets", nargs="*", default=list(SWAPPED_SETS))
    options = parser.parse_args(arguments)
    cv2.setNumThreads(options.threads)
    sets = Sets(tuple(options.full_mask_sets), tuple(options.copy_move_sets), tuple(options.swapped_sets))
    try:
        detector = make_detector(options.detector, options.run)
    except (ValueError, SnellenError) as error:
        parser.error(str(error))
    results = run(options.data, detector, sets, gallery=options.gallery)
    console = Console()
    if not results:
        console.print(f"no images below {options.data}/forgery_*/{{forged,authentic}}")
        raise SystemExit(2)
    figures = report(results, sets)
    show(figures, console)
    if options.json is not None:
        options.json.write_text(json.dumps(figures, indent=1), encoding="utf-8")
    following = "--gallery worst" if options.gallery is None else f"look at {options.gallery}"
    console.print(f"next: {'run again with ' if options.gallery is None else ''}{following}")


def _share(results: Sequence[Result]) -> float | None:
    return sum(result.flagged for result in results) / len(results) if results else None


def _cell(value: object) -> str:
    return f"{value:.3f}" if isinstance(value, float) else "-"


def _is_bad(result: Result, sets: Sets) -> bool:
    if not result.forged:
        return result.flagged
    return (
        (result.pixel_f1 or 0.0) < 0.85
        if result.pixel_f1 is not None
        else (sets.is_copy_move(result.set_name) and not result.flagged)
    )


def _draw(result: Result, detection: Detection, folder: Path) -> None:
    """The image darkened outside the mask found, with the true outline in white and the pairs in colours."""
    folder.mkdir(parents=True, exist_ok=True)
    canvas = np.ascontiguousarray(read_image(result.image).pixels[..., ::-1])
    canvas[~detection.mask] = canvas[~detection.mask] // 2
    truth = truth_of(result.image, detection.image_size) if result.forged else None
    if truth is not None:
        outlines = cv2.findContours(truth.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0]
        cv2.drawContours(canvas, outlines, -1, (255, 255, 255), 1)
    colours = ((0, 0, 255), (0, 255, 0), (255, 0, 0), (0, 255, 255), (255, 0, 255), (255, 255, 0))
    for number, region in enumerate(detection.regions):
        for x0, y0, x1, y1 in region.matches.astype(int).tolist():
            cv2.line(canvas, (x0, y0), (x1, y1), colours[number % len(colours)], 1)
    grade = "none" if result.pixel_f1 is None else f"{result.pixel_f1:.2f}"
    cv2.imwrite(str(folder / f"{grade}_{result.set_name}_{result.image.stem}.png"), canvas)


if __name__ == "__main__":
    main()
