"""`snellen doctor`: this machine and this environment, without a run."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from snellen.core import environment
from snellen.core.finding import Finding, Fix, Level

__all__ = ["doctor", "register"]

_SHARED = "/dev/shm"  # noqa: S108 - asked for its size only
_SMALL_SHARED_MEMORY = 256 * 2**20
_SMALL_DISK = 2 * 2**30
_PROBE = """
import json, torch
devices = ["cpu"] + [f"cuda:{i}" for i in range(torch.cuda.device_count())]
devices += ["mps"] if torch.backends.mps.is_available() else []
ones = [torch.ones(8, 8, device=device) for device in devices]
wrong = [str(one.device) for one in ones if float((one @ one).sum()) != 512.0]
problem = f"{wrong[0]} multiplies two matrices wrongly" if wrong else None
print(json.dumps({"version": torch.__version__, "cuda": torch.version.cuda, "devices": devices, "problem": problem}))
"""
_NEEDED = ("torch", "torchvision", "timm", "lightning-fabric", "numpy", "pillow", "safetensors")


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command()(doctor)


def doctor(
    *,
    torch: Annotated[bool, typer.Option("--torch", help="Also import torch and compute on every device.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Look at this machine and this environment. Exit code 1 when a run could not start here."""
    facts = environment.collect()
    facts["disk_free_bytes"] = shutil.disk_usage(Path.cwd()).free
    facts["shared_memory_bytes"] = _shared_memory()
    if torch:
        facts["torch"] = _try_torch()
    findings = _findings(facts)
    failed = any(finding.level is Level.ERROR for finding in findings)
    if as_json:
        from snellen.report.json import render

        data = {**facts, "findings": [finding.to_dict() for finding in findings], "exit_code": int(failed)}
        typer.echo(render(data))
    else:
        _print(facts, findings)
    raise typer.Exit(int(failed))


def _shared_memory() -> int | None:
    folder = Path(_SHARED)
    return shutil.disk_usage(folder).total if folder.is_dir() else None


def _findings(facts: dict[str, Any]) -> list[Finding]:
    found: list[Finding] = []
    missing = [name for name in _NEEDED if name not in facts["packages"]]
    if missing:
        fix = Fix("Install what training and prediction need.", command="pip install 'snellen[vision]'")
        found.append(Finding("missing-extra", Level.ERROR, f"not installed: {', '.join(missing)}", fix=fix))
    opencv = [name for name in ("opencv-python", "opencv-python-headless") if name in facts["packages"]]
    if len(opencv) > 1:
        fix = Fix("Keep the headless one.", command="pip uninstall -y opencv-python")
        message = "opencv-python and opencv-python-headless overwrite each other's files"
        found.append(Finding("two-opencv", Level.WARNING, message, fix=fix))
    version = facts["packages"].get("torch", "")
    if facts["gpus"] and version.endswith("+cpu"):
        message = f"{facts['gpus'][0]['name']} is here, but torch {version} is a build without CUDA"
        fix = Fix("Install the build for your driver: https://pytorch.org/get-started/locally/")
        found.append(Finding("cpu-build-of-torch", Level.ERROR, message, fix=fix))
    found += _small(facts)
    problem = facts.get("torch", {}).get("problem") if isinstance(facts.get("torch"), dict) else None
    if problem:
        fix = Fix("Read the reason, or pipe it into `snellen explain -`.")
        found.append(Finding("broken-torch", Level.ERROR, problem, fix=fix))
    return found


def _small(facts: dict[str, Any]) -> list[Finding]:
    found = []
    shared, free = facts["shared_memory_bytes"], facts["disk_free_bytes"]
    if shared is not None and shared < _SMALL_SHARED_MEMORY:
        message = f"{_SHARED} holds {_size(shared)}: data workers hand their batches over in it and die when it is full"
        fix = Fix("Start the container with more, or set data.workers: 0.", command="docker run --shm-size=8g ...")
        found.append(Finding("small-shared-memory", Level.WARNING, message, fix=fix))
    if free < _SMALL_DISK:
        message = f"{_size(free)} are free in {Path.cwd()}: checkpoints may not fit"
        found.append(Finding("disk-nearly-full", Level.WARNING, message, fix=Fix("Free some space.")))
    return found


def _try_torch() -> dict[str, Any]:
    """Multiply two matrices on every device, in another process: a broken library may take its process with it."""
    try:
        ended = subprocess.run([sys.executable, "-c", _PROBE], capture_output=True, text=True, timeout=180, check=False)
    except subprocess.TimeoutExpired:
        return {"problem": "torch did not answer within three minutes"}
    lines = ended.stdout.strip().splitlines()
    if ended.returncode == 0 and lines:
        answer: dict[str, Any] = json.loads(lines[-1])
        return answer
    reasons = ended.stderr.strip().splitlines()
    reason = reasons[-1] if reasons else f"it ended with {ended.returncode}"
    return {"problem": f"torch cannot be used: {reason}"}


def _print(facts: dict[str, Any], findings: list[Finding]) -> None:
    from rich.console import Console

    from snellen.report.text import count_words, findings_text

    console = Console(soft_wrap=True, highlight=False)
    for name, value in _rows(facts):
        console.print(f"{name:14} {value}", markup=False)
    console.print(f"\n{count_words(findings)}", markup=False)
    if findings:
        console.print(findings_text(findings), end="")
    console.print("next: snellen check RUN.yaml" if not findings else "next: mend these, then snellen doctor --torch")


def _rows(facts: dict[str, Any]) -> list[tuple[str, str]]:
    rows = [
        ("python", f"{facts['python']}  {facts['executable']}"),
        ("platform", facts["platform"]),
        ("cores", f"{facts['cpus']} of {os.cpu_count()}"),
        ("memory", _size(facts["memory_bytes"])),
        (_SHARED, _size(facts["shared_memory_bytes"])),
        ("free disk", _size(facts["disk_free_bytes"])),
    ]
    rows += [("gpu", f"{gpu['name']}, {_size(gpu['memory_bytes'])}, driver {gpu['driver']}") for gpu in facts["gpus"]]
    if not facts["gpus"]:
        here = "Apple GPU" if sys.platform == "darwin" and platform.machine() == "arm64" else "no NVIDIA driver answers"
        rows.append(("gpu", here))
    rows.append(("packages", ", ".join(f"{name} {version}" for name, version in facts["packages"].items())))
    if facts["variables"]:
        rows.append(("variables", ", ".join(f"{name}={value}" for name, value in facts["variables"].items())))
    if isinstance(facts.get("torch"), dict) and facts["torch"].get("devices"):
        rows.append(("torch", f"{facts['torch']['version']} computes on {', '.join(facts['torch']['devices'])}"))
    return rows


def _size(count: int | None) -> str:
    return "unknown" if count is None else f"{count / 2**30:.1f} GiB"
