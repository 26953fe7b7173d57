"""What a run ran on and in: Python, packages, machine, code, command line. Nothing heavy is imported to find out."""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

__all__ = ["PACKAGES", "collect", "cpu_count", "gpus", "memory_limit", "package_versions", "repository_state"]

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

_VARIABLES = (
    "CUBLAS_WORKSPACE_CONFIG",
    "CUDA_LAUNCH_BLOCKING",
    "CUDA_VISIBLE_DEVICES",
    "LD_LIBRARY_PATH",
    "LOCAL_RANK",
    "MASTER_ADDR",
    "MKL_NUM_THREADS",
    "NCCL_DEBUG",
    "NCCL_P2P_DISABLE",
    "OMP_NUM_THREADS",
    "PYTHONHASHSEED",
    "PYTHONPATH",
    "PYTORCH_ALLOC_CONF",
    "PYTORCH_CUDA_ALLOC_CONF",
    "PYTORCH_ENABLE_MPS_FALLBACK",
    "RANK",
    "TORCH_HOME",
    "WORLD_SIZE",
)
"""Variables that change how torch behaves; their values hold no secrets."""


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
        "variables": {name: os.environ[name] for name in _VARIABLES if name in os.environ},
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
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _first_words("/sys/fs/cgroup/cpu.max")
    if len(quota) == 2 and quota[0].isdigit() and quota[1].isdigit() and int(quota[1]):
        count = min(count, max(1, int(quota[0]) // int(quota[1])))
    return count


def memory_limit() -> int | None:
    """Memory in bytes that this process may use: the machine's, or the container's limit where it is less."""
    limits = []
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        words = _first_words(path)
        if words and words[0].isdigit():
            limits.append(int(words[0]))
    # Windows has no sysconf.
    with contextlib.suppress(AttributeError, ValueError, OSError):
        limits.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    return min(limits) if limits else None


def gpus() -> list[dict[str, Any]]:
    """NVIDIA GPUs as the driver reports them; empty without a driver."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    query = ["--query-gpu=name,memory.total,driver_version,compute_cap", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(
            [program, *query], capture_output=True, text=True, timeout=10, check=True, errors="replace"
        )
    except (OSError, subprocess.SubprocessError):
        return []
    found = []
    for line in answer.stdout.splitlines():
        name, _, rest = line.partition(",")
        memory, driver, capability = (part.strip() for part in (*rest.split(","), "", "", "")[:3])
        memory_bytes = int(memory) * 2**20 if memory.isdigit() else None
        found.append(
            {"name": name.strip(), "memory_bytes": memory_bytes, "driver": driver, "compute_capability": capability}
        )
    return found


def repository_state(path: str | Path) -> dict[str, Any] | None:
    """State of the git repository that a path lies in.

    Returns:
        `root`, `commit` (`None` before the first one), `dirty`, and `diff_sha256` of what is not committed: changes
        of tracked files, contents of untracked source files, names and sizes of other untracked files; `None`
        outside a repository or without git.
    """
    folder = Path(path).absolute()
    folder = folder if folder.is_dir() else folder.parent
    root = _git(folder, "rev-parse", "--show-toplevel")
    if not root:
        return None
    top = Path(root.decode(errors="replace").strip())
    status = _git(top, "status", "--porcelain", "-z", "--no-renames", "--untracked-files=all")
    commit = _git(top, "rev-parse", "--verify", "-q", "HEAD")
    return {
        "root": str(top),
        "commit": commit.decode().strip() if commit else None,
        "dirty": bool(status),
        "diff_sha256": _hash_changes(top, status, has_commit=bool(commit)) if status else None,
    }


def _hash_changes(top: Path, status: bytes, *, has_commit: bool) -> str:
    digest = hashlib.sha256()
    if has_commit:
        digest.update(_git(top, "diff", "HEAD", "--binary", "--no-ext-diff") or b"")
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


def _git(folder: Path, *arguments: str) -> bytes | None:
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


def _first_words(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="ascii").split()
    except (OSError, UnicodeDecodeError):
        return []
