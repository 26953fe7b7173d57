"""Predicted peaks of memory against those of real runs on the CPU, measured by the allocator's own events.

    python benchmarks/memory_accuracy.py                 all configurations
    python benchmarks/memory_accuracy.py --only resnet   those whose name holds a text
    python benchmarks/memory_accuracy.py --held-out      those that no rule was found on
    python benchmarks/memory_accuracy.py --json out.json

Each configuration is predicted from fake tensors and then run for two steps in a process of its own. torch-preflight is
asked for the same ones: its estimate without the CUDA context and without its share for fragmentation, which no CPU
has; `unknown` where it says that it could not estimate activations, `refused` where its interface has no such input.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from memory_configurations import FITTED, HELD_OUT, Case, build, inputs
from torch import Tensor, nn

from snellen.estimate.prediction import unseen_bytes
from snellen.estimate.step import NeedsNumbers, Workload, record
from snellen.trace.measured import held_bytes, peak_above_start

MEDIAN, P90 = 0.03, 0.08
"""The bars for the relative error."""

CASES = [*FITTED, *HELD_OUT]
GROUPS = (("those that the rules were found on", False), ("held out", True))


def workload(case: Case) -> Workload:
    """What is predicted and then run."""
    makers: dict[str, Callable[[list[nn.Parameter]], torch.optim.Optimizer]] = {
        "sgd": lambda parameters: torch.optim.SGD(parameters, lr=1e-3, momentum=0.9, foreach=False),
        "adamw": lambda parameters: torch.optim.AdamW(parameters, lr=1e-3, foreach=False),
    }

    return Workload(
        build=lambda: build(case),
        batch=lambda count: inputs(case, count),
        optimiser=makers[case.optimiser],
        batch_size=case.batch,
        accumulate=case.accumulate,
        precision=case.precision,
        cuda=False,
    )


def measure(case: Case) -> int:
    """The peak of a real run: weights and buffers, and every event of the CPU allocator since they were made."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    model = build(case)
    work = workload(case)
    model.train(case.phase == "train")
    held = held_bytes((*model.parameters(), *model.buffers()))
    return held + peak_above_start(lambda: steps(model, work, case))


def steps(model: nn.Module, work: Workload, case: Case) -> None:
    """Two steps, as the prediction goes through them."""
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(case.precision)
    scope = torch.autocast("cpu", dtype=dtype or torch.bfloat16, enabled=dtype is not None)

    if case.phase == "predict":
        with torch.no_grad():
            for _ in range(2):
                with scope:
                    work.outputs(model, work.batch(work.batch_size))
        return
    assert work.optimiser is not None
    optimiser = work.optimiser([parameter for parameter in model.parameters() if parameter.requires_grad])
    for _ in range(2):
        for _ in range(work.accumulate):
            with scope:
                loss: Tensor = work.loss(model, work.batch(work.batch_size))
            (loss / work.accumulate).backward()  # type: ignore[no-untyped-call]
            del loss
        optimiser.step()
        optimiser.zero_grad()


def predict(case: Case) -> dict[str, Any]:
    """The predicted peak, what surely is enough, and how it was found."""
    how = "fake"
    try:
        timeline = record(workload(case), case.phase)
    except NeedsNumbers:
        torch.manual_seed(0)
        timeline, how = record(workload(case), case.phase, real=True), "real numbers"
    return {"bytes": timeline.peak, "high": timeline.peak + unseen_bytes(timeline), "how": how}


def by_position(position: int) -> nn.Module:
    """A factory, as torch-preflight takes one."""
    return build(CASES[position])


def ask_preflight(position: int) -> dict[str, Any]:
    """What torch-preflight says of a case."""
    from torch_preflight.vram import OptimizerKind, PrecisionMode, RunConfig, estimate_config
    from torch_preflight.vram.providers.meta import profile

    case = CASES[position]
    square = len(case.shape) == 3 and case.shape[-1] == case.shape[-2]
    if not square or "detection" in case.model:
        return {"said": "refused: it has square images only"}
    config = RunConfig(
        batch_size=case.batch,
        image_size=case.shape[-1],
        precision=PrecisionMode.FP32 if case.precision == "fp32" else PrecisionMode.AMP,
        optimizer=OptimizerKind.SGD_MOMENTUM if case.optimiser == "sgd" else OptimizerKind.ADAMW,
        gradient_checkpointing=case.checkpointing,
        accumulation_steps=case.accumulate,
        inference_only=case.phase == "predict",
    )
    try:
        report = estimate_config(profile(f"{Path(__file__).stem}:by_position", config, {"position": position}), config)
    except Exception as error:  # noqa: BLE001 - whatever it raises is its answer
        return {"said": f"refused: {type(error).__name__}"}
    if not report.breakdown.activations:
        return {"said": "unknown: no activations"}
    return {"bytes": report.total - report.breakdown.cuda_context - report.breakdown.fragmentation}


def child(position: int, what: str, answers: Connection) -> None:
    """One measurement or prediction."""
    case = CASES[position]
    start = time.perf_counter()
    try:
        if what == "measure":
            answers.send({"bytes": measure(case)})
        else:
            found = predict(case)
            answers.send({**found, "seconds": time.perf_counter() - start, "preflight": ask_preflight(position)})
    except Exception as error:  # noqa: BLE001 - told in the table, and the others go on
        answers.send({"error": f"{type(error).__name__}: {error}".partition("\n")[0]})


def ask(position: int, what: str) -> dict[str, Any]:
    """Ask a process of its own, which has the libraries loaded."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["__main__", "timm", "torchvision", "segmentation_models_pytorch"])
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=child, args=(position, what, sender))
    process.start()
    sender.close()
    try:
        answer: dict[str, Any] = receiver.recv()
    except EOFError:
        answer = {"error": "the process was ended"}
    process.join()
    return answer


def main() -> None:
    """Print predicted against measured, and the errors."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="")
    parser.add_argument("--held-out", action="store_true")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    rows = []
    for position, case in enumerate(CASES):
        if options.only not in case.label or (options.held_out and case not in HELD_OUT):
            continue
        predicted, measured = ask(position, "predict"), ask(position, "measure")
        if "error" in predicted or "error" in measured:
            print(f"{case.label:<70} not measured: {predicted.get('error', measured.get('error'))}")
            continue
        rows.append(row_of(case, predicted, measured["bytes"]))
        print(shown(rows[-1]), flush=True)
    groups = {name: [row for row in rows if row["held_out"] is held] for name, held in GROUPS}
    summaries = {name: summary_of(some) for name, some in groups.items() if some}
    for name, summary in summaries.items():
        print(table(name, groups[name], summary))
    if options.json and rows:
        options.json.write_text(json.dumps({"rows": rows, "summaries": summaries}, indent=2), encoding="utf-8")


def summary_of(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Errors of both, and how often more was measured than the upper end."""
    errors = {name: summed_up(rows, name) for name in ("error", "preflight_error")}
    return {**errors, "too_low": sum(row["measured"] > row["high"] for row in rows)}


def row_of(case: Case, predicted: dict[str, Any], measured: int) -> dict[str, Any]:
    """A line of the table."""
    peer = predicted["preflight"]
    return {
        "case": case.label,
        "held_out": case in HELD_OUT,
        "predicted": predicted["bytes"],
        "high": predicted["high"],
        "measured": measured,
        "error": predicted["bytes"] / measured - 1,
        "how": predicted["how"],
        "seconds": predicted["seconds"],
        "preflight": peer.get("bytes"),
        "preflight_error": peer["bytes"] / measured - 1 if "bytes" in peer else None,
        "preflight_said": peer.get("said", ""),
    }


def shown(row: dict[str, Any]) -> str:
    """A line for people."""
    peer = f"{row['preflight_error']:+8.1%}" if row["preflight"] else row["preflight_said"]
    sizes = f"{row['predicted'] / 2**20:8.1f} of {row['measured'] / 2**20:8.1f} MiB"
    return f"{row['case']:<72} {sizes} {row['error']:+7.1%} {row['how']}  torch-preflight {peer}"


def summed_up(rows: list[dict[str, Any]], name: str) -> dict[str, Any]:
    """Median, ninetieth percentile and worst of the errors."""
    errors = sorted(abs(row[name]) for row in rows if row[name] is not None)
    if not errors:
        return {"answered": 0}
    p90 = errors[min(len(errors) - 1, int(0.9 * len(errors)))]
    return {"answered": len(errors), "median": statistics.median(errors), "p90": p90, "worst": errors[-1]}


def table(group: str, rows: list[dict[str, Any]], summary: dict[str, Any]) -> str:
    """The summaries of a group."""
    lines = [f"\n{group}, {len(rows)} configurations; bars: median {MEDIAN:.0%}, p90 {P90:.0%}"]
    for name, who in (("error", "snellen"), ("preflight_error", "torch-preflight")):
        one = summary[name]
        said = ", ".join(f"{key} {one[key]:.1%}" for key in ("median", "p90", "worst") if key in one)
        lines.append(f"  {who}: {one['answered']} of {len(rows)} answered; {said}")
    return "\n".join([*lines, f"  measured above the upper end of snellen's interval: {summary['too_low']}"])


if __name__ == "__main__":
    main()
