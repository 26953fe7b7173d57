"""What a run ran on and in: Python, packages, machine, code, command line. Nothing heavy is imported to find out."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from snellen.core.control_groups import control_groups
from snellen.core.nvidia import read_driver

__all__ = [
    "PACKAGES",
    "collect",
    "cpu_count",
    "gpus",
    "memory_limit",
    "memory_total",
    "package_versions",
    "repository_state",
    "run_git",
    "seen_cpus",
    "variables",
]

PACKAGES = (
    "snellen",
    "torch",
    "torchvision",
    "lightning-fabric",
    "timm",
    "numpy",
    "pillow",
    "opencv-python-headless",
    "opencv-python",
    "scipy",
    "safetensors",
    "torchmetrics",
    "tensorboard",
    "pydantic",
    "ruamel.yaml",
    "typer",
    "rich",
)
"""Distributions whose versions can change what a run does."""

_NAMES = """
    CUBLAS_WORKSPACE_CONFIG CUDA_DEVICE_ORDER CUDA_LAUNCH_BLOCKING CUDA_VISIBLE_DEVICES HF_DATASETS_OFFLINE
    HF_ENDPOINT HF_HOME HF_HUB_CACHE HF_HUB_OFFLINE HTTPS_PROXY HTTP_PROXY LD_LIBRARY_PATH LD_PRELOAD LOCAL_RANK
    MASTER_ADDR MASTER_PORT MKL_NUM_THREADS NCCL_DEBUG NCCL_P2P_DISABLE NCCL_SOCKET_IFNAME NO_PROXY
    NVIDIA_VISIBLE_DEVICES OMP_NUM_THREADS OPENBLAS_NUM_THREADS PYTHONHASHSEED PYTHONHOME PYTHONNOUSERSITE
    PYTHONPATH PYTORCH_ALLOC_CONF PYTORCH_CUDA_ALLOC_CONF PYTORCH_ENABLE_MPS_FALLBACK
    PYTORCH_MPS_HIGH_WATERMARK_RATIO PYTORCH_NO_CUDA_MEMORY_CACHING RANK SLURM_CPUS_PER_TASK SLURM_JOB_ID
    SLURM_MEM_PER_NODE TMPDIR TORCHDYNAMO_DISABLE TORCH_DISTRIBUTED_DEBUG TORCH_HOME TORCH_SHOW_CPP_STACKTRACES
    TORCH_USE_CUDA_DSA TRANSFORMERS_OFFLINE WANDB_MODE WORLD_SIZE XDG_CACHE_HOME http_proxy https_proxy no_proxy
"""
_VARIABLES = tuple(_NAMES.split())
"""Variables that change how torch and its libraries behave; their values hold no secrets."""
_PASSWORD = re.compile(r"(^|//)[^/@\s]*@")


_CODE_SUFFIXES = frozenset(
    [
        ".c",
        ".cfg",
        ".cpp",
        ".cu",
        ".h",
        ".ini",
        ".ipynb",
        ".json",
        ".py",
        ".pyi",
        ".sh",
        ".toml",
        ".txt",
        ".yaml",
        ".yml",
    ]
)


def collect(*, code: Sequence[str | Path] = (), seed: int | None = None) -> dict[str, Any]:
    """Everything that is needed to tell why the same run went otherwise elsewhere.

    Args:
        code: The user's source files and folders; the state of each repository they lie in is recorded.
        seed: Start of all random numbers.

    Example:
        >>> sorted(collect(seed=0))[:4]
        ['code', 'command', 'cpus', 'cwd']
    """
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "executable": sys.executable,
        "platform": platform.platform(),
        "machine": platform.machine(),
        "host": platform.node(),
        "command": list(sys.argv),
        "cwd": str(Path.cwd()),
        "seed": seed,
        "cpus": cpu_count(),
        "memory_bytes": memory_limit(),
        "gpus": gpus(),
        "packages": package_versions(PACKAGES),
        "variables": variables(),
        "code": _code_state(code),
    }


def package_versions(names: Iterable[str]) -> dict[str, str]:
    """Versions of the distributions that are installed; nothing is imported."""
    versions = {}
    for name in names:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def cpu_count() -> int:
    """Processor cores that this process may use: affinity and the container's quota are respected."""
    quota = control_groups().cpus
    return seen_cpus() if quota is None else min(seen_cpus(), max(1, int(quota)))


def seen_cpus() -> int:
    """Processor cores that libraries count when they start their threads: a container's quota does not show there."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory_limit() -> int | None:
    """Memory in bytes that this process may use: the machine's, or the container's limit where it is less."""
    limits = [size for size in (control_groups().memory_bytes, memory_total()) if size is not None]
    return min(limits) if limits else None


def memory_total() -> int | None:
    """Main memory of the machine, `None` where the system does not tell (Windows)."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def gpus() -> list[dict[str, Any]]:
    """NVIDIA GPUs as the driver reports them; empty without a driver."""
    driver = read_driver()
    return [
        {
            "name": gpu.name,
            "memory_bytes": gpu.memory_bytes,
            "driver": driver.version,
            "compute_capability": ".".join(map(str, gpu.capability or ())),
        }
        for gpu in driver.gpus
    ]


def variables() -> dict[str, str]:
    """Environment variables that change how a run behaves; a password in the address of a proxy is left out."""
    return {name: _PASSWORD.sub(r"\1", os.environ[name]) for name in _VARIABLES if name in os.environ}


def repository_state(path: str | Path) -> dict[str, Any] | None:
    """State of the git repository that a path lies in.

    Returns:
        `root`, `commit` (`None` before the first one), `dirty`, and `diff_sha256` of what is not committed: changes
        of tracked files, contents of untracked source files, names and sizes of other untracked files; `None`
        outside a repository or without git.
    """
    folder = Path(path).absolute()
    folder = folder if folder.is_dir() else folder.parent
    root = run_git(folder, "rev-parse", "--show-toplevel")
    if not root:
        return None
    top = Path(root.decode(errors="replace").strip())
    status = run_git(top, "status", "--porcelain", "-z", "--no-renames", "--untracked-files=all")
    commit = run_git(top, "rev-parse", "--verify", "-q", "HEAD")
    return {
        "root": str(top),
        "commit": commit.decode().strip() if commit else None,
        "dirty": bool(status),
        "diff_sha256": _hash_changes(top, status, has_commit=bool(commit)) if status else None,
    }


def _hash_changes(top: Path, status: bytes, *, has_commit: bool) -> str:
    digest = hashlib.sha256()
    if has_commit:
        digest.update(run_git(top, "diff", "HEAD", "--binary", "--no-ext-diff") or b"")
    for entry in status.split(b"\0"):
        if entry.startswith(b"?? ") or (entry and not has_commit):
            name = entry[3:]
            digest.update(name + b"\0")
            digest.update(_hash_file(top / os.fsdecode(name)))
    return digest.hexdigest()


def _hash_file(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        # A data set that lies untracked in the repository is told by names and sizes; reading it would take hours.
        if path.suffix.lower() not in _CODE_SUFFIXES or size > 2**20:
            return str(size).encode()
        return hashlib.sha256(path.read_bytes()).digest()
    except OSError:
        return b"unreadable"


def run_git(folder: Path, *arguments: str) -> bytes | None:
    """What a git command prints in a folder; `None` when it fails, hangs or git is not installed."""
    # Somebody else's repository may name programs to run in its configuration; none of these may start.
    quiet = ["-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "--no-optional-locks"]
    try:
        answer = subprocess.run(["git", *quiet, *arguments], cwd=folder, capture_output=True, timeout=20, check=False)
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout if answer.returncode == 0 else None


def _code_state(code: Sequence[str | Path]) -> list[Mapping[str, Any]]:
    states: dict[str, Mapping[str, Any]] = {}
    for path in [*code, Path.cwd()]:
        state = repository_state(path) if Path(path).exists() else None
        if state is not None:
            states.setdefault(str(state["root"]), state)
    return list(states.values())
