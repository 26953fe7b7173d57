"""What the control groups of Linux leave to a process: containers, Slurm and systemd limit memory and cores by them.

Both versions are read. Groups are nested, and the tightest of all that a process lies in wins.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["ControlGroups", "available_memory", "control_groups"]

_NO_LIMIT = 1 << 60
"""Version 1 writes a number near 2^63 where there is no limit."""
_DEEPEST = 32


@dataclass(frozen=True, slots=True)
class ControlGroups:
    """The tightest limits around a process.

    Args:
        memory_bytes: Memory that all its processes may use together, `None` without a limit.
        memory_from: The group that says so.
        memory_used: What that group uses now, without the cache of files that can be given back.
        cpus: Cores' worth of time, `None` without a limit.
        cpus_from: The group that says so.
        killed: How many processes were killed there for lack of memory.
    """

    memory_bytes: int | None = None
    memory_from: str = ""
    memory_used: int | None = None
    cpus: float | None = None
    cpus_from: str = ""
    killed: int = 0


def control_groups(root: Path = Path("/")) -> ControlGroups:
    """The limits around this process.

    Args:
        root: Where `proc` and `sys` lie.

    Example:
        >>> control_groups(Path("/nowhere"))
        ControlGroups(memory_bytes=None, memory_from='', memory_used=None, cpus=None, cpus_from='', killed=0)
    """
    memory: list[tuple[int, Path]] = []
    cpus: list[tuple[float, Path]] = []
    killed = 0
    for folder in _folders(root, "memory"):
        limit = _number(folder / "memory.max") or _number(folder / "memory.limit_in_bytes")
        if limit is not None and limit < _NO_LIMIT:
            memory.append((limit, folder))
        killed = max(killed, _field(folder / "memory.events", "oom_kill"), _field(_v1_events(folder), "oom_kill"))
    for folder in _folders(root, "cpu"):
        quota = _quota(folder)
        if quota is not None:
            cpus.append((quota, folder))
    limit, where = min(memory, default=(None, None))
    quota, cpu_where = min(cpus, default=(None, None))
    return ControlGroups(
        limit, str(where or ""), _used(where) if where is not None else None, quota, str(cpu_where or ""), killed
    )


def available_memory(root: Path = Path("/"), groups: ControlGroups | None = None) -> int | None:
    """Main memory that is not in use, inside the tightest limit; `None` where the system does not tell.

    Args:
        root: Where `proc` and `sys` lie.
        groups: The limits, if they are at hand.
    """
    groups = groups or control_groups(root)
    found = None
    for line in _text(root / "proc/meminfo").splitlines():
        name, _, rest = line.partition(":")
        if name == "MemAvailable" and rest.split()[:1] and rest.split()[0].isdigit():
            found = int(rest.split()[0]) << 10
    left = groups.memory_bytes - (groups.memory_used or 0) if groups.memory_bytes is not None else None
    return min((max(0, size) for size in (found, left) if size is not None), default=None)


def _folders(root: Path, controller: str) -> Iterator[Path]:
    """The groups that the process lies in, innermost first, of both versions."""
    for line in _text(root / "proc/self/cgroup").splitlines()[:64]:
        _, _, rest = line.partition(":")
        names, _, path = rest.partition(":")
        if names and controller not in names.split(","):
            continue
        mounted = root / "sys/fs/cgroup"
        tops = [mounted / "unified", mounted] if not names else [mounted / controller, mounted / names]
        top = next((one for one in tops if one.is_dir()), None)
        if top is None:
            continue
        # In a container the path is often the host's, which does not exist below its own mount: the top is its group.
        inner = (top / path.lstrip("/")) if ".." not in path.split("/") else top
        for folder in [inner, *inner.parents][:_DEEPEST]:
            if folder.is_relative_to(top) and folder.is_dir():
                yield folder


def _v1_events(folder: Path) -> Path:
    return folder / "memory.oom_control"


def _used(folder: Path) -> int | None:
    used = _number(folder / "memory.current") or _number(folder / "memory.usage_in_bytes")
    if used is None:
        return None
    # Pages of files that were read are given back when memory is asked for.
    return max(0, used - max(_field(folder / "memory.stat", "inactive_file"), 0))


def _quota(folder: Path) -> float | None:
    words = _text(folder / "cpu.max").split()
    if not words:
        words = [_text(folder / "cpu.cfs_quota_us").strip(), _text(folder / "cpu.cfs_period_us").strip()]
    if len(words) == 2 and words[0].isdigit() and words[1].isdigit() and int(words[0]) and int(words[1]):
        return int(words[0]) / int(words[1])
    return None


def _number(path: Path) -> int | None:
    text = _text(path).strip()
    return int(text) if text.isdigit() else None


def _field(path: Path, name: str) -> int:
    for line in _text(path).splitlines():
        key, _, value = line.partition(" ")
        if key == name and value.strip().isdigit():
            return int(value)
    return 0


def _text(path: Path) -> str:
    try:
        with path.open(encoding="ascii", errors="replace") as file:
            return file.read(1 << 16)
    except OSError:
        return ""
