"""Self-correlation of a feature map: ours against `torch.nn.functional.unfold`, same machine, same run.

    uv run python benchmarks/self_correlation.py                       # every case, 3 repetitions, about 6 minutes
    uv run python benchmarks/self_correlation.py --case pooled --repetitions 5 --json out.json

Every repetition of every variant is a process of its own. It makes its input, warms up on a small one, gives free
memory back to the system, resets the peak and runs once for the memory, then for a second for the time. "Extra" memory
is the peak of the resident set over what was there before the call, results included. One thread unless told otherwise:
where other programs run, threads that wait for each other measure those programs. Needs 2 GB of free memory.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor

from snellen.ops.self_correlation import dense_patch_correlation, dense_patch_top_k, pooled_self_correlation

TOP_K = 5
EXCLUSION_RADIUS = 2
MIB = 2**20

Outputs = Mapping[str, Tensor]
Variant = Callable[[Tensor, int, int], Outputs]


def top_matches(scores: Tensor, rows: int, columns: int) -> Outputs:
    """Masked top-k of a full matrix of scores, the way the notebooks do it; `scores` is overwritten."""
    index = torch.arange(rows * columns)
    row, column = index // columns, index % columns
    down = (row[:, None] - row).abs()
    right = (column[:, None] - column).abs()
    scores.masked_fill_((down <= EXCLUSION_RADIUS) & (right <= EXCLUSION_RADIUS), torch.finfo(scores.dtype).min)
    best = scores.topk(TOP_K, dim=-1)
    return {"scores": best.values, "indices": best.indices}


def grid_side(features: Tensor, patch: int, stride: int) -> tuple[int, int]:
    """Patches from top to bottom and from left to right."""
    return ((features.shape[2] - patch) // stride + 1, (features.shape[3] - patch) // stride + 1)


def unfold_pooled(features: Tensor, patch: int, stride: int) -> Outputs:
    """Unfold, mean over the patch, cosines, masked top-k."""
    unfolded = F.unfold(features, patch, stride=stride)
    means = unfolded.view(len(features), features.shape[1], patch * patch, -1).mean(dim=2)
    descriptors = F.normalize(means, dim=1)
    return top_matches(descriptors.transpose(1, 2) @ descriptors, *grid_side(features, patch, stride))


def unfold_matrix(features: Tensor, patch: int, stride: int) -> Outputs:
    """Unfold, cosines of whole patches."""
    descriptors = F.unfold(features, patch, stride=stride)
    # In place: `F.normalize` would hold the unfolded tensor twice, which would flatter us.
    descriptors /= torch.linalg.vector_norm(descriptors, dim=1, keepdim=True).clamp_min(1e-12)
    return {"scores": descriptors.transpose(1, 2) @ descriptors}


def unfold_top_k(features: Tensor, patch: int, stride: int) -> Outputs:
    """Unfold, cosines of whole patches, masked top-k."""
    matrix = unfold_matrix(features, patch, stride)["scores"]
    return top_matches(matrix, *grid_side(features, patch, stride))


def our_pooled(features: Tensor, patch: int, stride: int) -> Outputs:
    """Ours, brought into the order of the peer."""
    found = pooled_self_correlation(
        features, patch=patch, stride=stride, top_k=TOP_K, exclusion_radius=EXCLUSION_RADIUS
    )
    return {name: getattr(found, name).flatten(2).transpose(1, 2) for name in ("scores", "indices")}


def our_top_k(features: Tensor, patch: int, stride: int) -> Outputs:
    """Ours, brought into the order of the peer."""
    found = dense_patch_top_k(features, patch=patch, stride=stride, top_k=TOP_K, exclusion_radius=EXCLUSION_RADIUS)
    return {name: getattr(found, name).flatten(2).transpose(1, 2) for name in ("scores", "indices")}


def our_matrix(features: Tensor, patch: int, stride: int) -> Outputs:
    """Ours; the order is that of the peer."""
    return {"scores": dense_patch_correlation(features, patch=patch, stride=stride)}


@dataclass(frozen=True, slots=True)
class Case:
    """One comparison: the shape of the features and the two ways to the same numbers."""

    shape: tuple[int, int, int, int]
    patch: int
    stride: int
    ours: Variant
    unfold: Variant


CASES = {
    "pooled": Case((8, 384, 100, 100), 12, 4, our_pooled, unfold_pooled),
    "dense-top-k": Case((1, 384, 64, 64), 12, 1, our_top_k, unfold_top_k),
    "dense-matrix": Case((1, 384, 64, 64), 12, 1, our_matrix, unfold_matrix),
    "dense-top-k-batch": Case((8, 384, 100, 100), 12, 4, our_top_k, unfold_top_k),
}


def resident_bytes(field: str) -> int:
    """A line of /proc/self/status in bytes; elsewhere the peak that the system keeps for the process."""
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith(field + ":"):
                return int(line.split()[1]) * 1024
    unit = 1 if platform.system() == "Darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def settle_memory() -> None:
    """Hand free heap memory back, then start a new peak: what was freed before must not hide what comes."""
    if platform.system() == "Linux":
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")


def measure(case_name: str, side: str, results: Path) -> dict[str, float]:
    """Run one variant in this process."""
    case = CASES[case_name]
    variant: Variant = getattr(case, side)
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(case.shape, generator=generator)
    variant(torch.randn((1, 8, 40, 40), generator=generator), case.patch, case.stride)
    settle_memory()
    before = resident_bytes("VmRSS")
    outputs = variant(features, case.patch, case.stride)
    extra = resident_bytes("VmHWM") - before
    save_file({name: values.contiguous() for name, values in outputs.items()}, results)
    del outputs
    return {"extra_mib": extra / MIB, "seconds": median_seconds(lambda: variant(features, case.patch, case.stride))}


def median_seconds(call: Callable[[], object]) -> float:
    """Median of as many calls as fit into a second, at least one: a single call of 40 ms would measure chance."""
    durations: list[float] = []
    while not durations or (sum(durations) < 1 and len(durations) < 25):
        start = time.perf_counter()
        call()
        durations.append(time.perf_counter() - start)
    return statistics.median(durations)


def differences(ours: Path, unfold: Path) -> dict[str, float]:
    """How far the two results are apart."""
    left, right = load_file(ours), load_file(unfold)
    found = {"largest_score_difference": float((left["scores"] - right["scores"]).abs().max())}
    if "indices" in left:
        found["indices"] = left["indices"].numel()
        found["indices_differing"] = int((left["indices"] != right["indices"]).sum())
    return found


def compare(case_name: str, repetitions: int, threads: int) -> dict[str, Any]:
    """Both variants of a case in turn, each repetition in a new process."""
    runs: dict[str, list[dict[str, float]]] = {"ours": [], "unfold": []}
    with tempfile.TemporaryDirectory() as folder:
        files = {side: Path(folder) / f"{side}.safetensors" for side in runs}
        for _ in range(repetitions):
            for side, file in files.items():
                command = [sys.executable, __file__, "--threads", str(threads)]
                command += ["--measure", case_name, side, str(file)]
                done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
                runs[side].append(json.loads(done.stdout))
        report: dict[str, Any] = differences(files["ours"], files["unfold"])
    case = CASES[case_name]
    report |= {"shape": case.shape, "patch": case.patch, "stride": case.stride, "runs": runs}
    for key in ("extra_mib", "seconds"):
        ours, unfold = (statistics.median(run[key] for run in runs[side]) for side in ("ours", "unfold"))
        report |= {f"{key}_ours": ours, f"{key}_unfold": unfold, f"{key}_ratio": unfold / ours}
    return report


def summary(name: str, report: Mapping[str, Any]) -> str:
    """A few lines for people."""
    batch, channels, height, width = report["shape"]
    lines = [f"{name}: {batch} x {channels} x {height} x {width}, patch {report['patch']}, stride {report['stride']}"]
    for key, unit, digits, gain in (("extra_mib", "MiB", 1, "less memory"), ("seconds", "s", 3, "faster")):
        ours, unfold = report[f"{key}_ours"], report[f"{key}_unfold"]
        ratio = report[f"{key}_ratio"]
        lines.append(
            f"  ours {ours:9.{digits}f} {unit:3}   unfold {unfold:9.{digits}f} {unit:3}   {ratio:7.1f} x {gain}"
        )
    lines.append(f"  largest score difference {report['largest_score_difference']:.1e}")
    if "indices" in report:
        lines[-1] += f", indices differing {report['indices_differing']} of {report['indices']}"
    return "\n".join(lines)


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", action="append", choices=CASES, help="only this case; may be repeated")
    parser.add_argument("--repetitions", type=int, default=3, help="processes for each variant; medians are reported")
    parser.add_argument("--threads", type=int, default=1, help="threads of both variants")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    parser.add_argument("--measure", nargs=3, metavar=("CASE", "SIDE", "RESULTS"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.measure:
        case_name, side, results = arguments.measure
        print(json.dumps(measure(case_name, side, Path(results))))
        return
    reports = {}
    for name in arguments.case or CASES:
        reports[name] = compare(name, arguments.repetitions, arguments.threads)
        print(summary(name, reports[name]), flush=True)
    if arguments.json:
        machine = {"torch": torch.__version__, "threads": torch.get_num_threads(), "processors": os.cpu_count()}
        arguments.json.write_text(json.dumps({"machine": machine, "cases": reports}, indent=2) + "\n")


if __name__ == "__main__":
    main()
