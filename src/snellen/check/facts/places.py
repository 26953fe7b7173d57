"""Folders that a run writes to: on what file system, with how much room, and whether writing works."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from snellen.core.facts.places import PlaceFacts
from snellen.core.plan import FactUnavailable, Plan

__all__ = ["in_time", "look_at_place", "provide_places"]

_SECONDS = 3.0
_FAR = """
    9p afs beegfs ceph cifs davfs drvfs fuse.cephfs fuse.ceph-fuse fuse.gcsfuse fuse.glusterfs fuse.juicefs
    fuse.mfs fuse.rclone fuse.s3fs fuse.sshfs glusterfs gpfs lustre ncpfs nfs nfs4 orangefs smb3 smbfs wekafs
"""
_NETWORK = frozenset(_FAR.split())
_MEMORY = frozenset({"tmpfs", "ramfs", "devtmpfs"})

T = TypeVar("T")


def provide_places(plan: Plan) -> tuple[PlaceFacts, ...]:
    """The fact `places`; each is asked in a thread of its own, so that one dead mount costs a few seconds in all."""
    machine = plan.fact("machine")
    if not machine.here:
        raise FactUnavailable(f"the run is meant for {machine.name}: its disks are not known here")
    wanted = list(_wanted(plan))
    answers: dict[int, PlaceFacts] = {}

    def look(index: int) -> None:
        answers[index] = look_at_place(*wanted[index])

    threads = [threading.Thread(target=look, args=(index,), daemon=True) for index in range(len(wanted))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(2 * _SECONDS)
    return tuple(answers[index] for index in sorted(answers))


def _wanted(plan: Plan) -> Iterator[tuple[str, Path]]:
    output = plan.settings.get("output", "runs")
    yield "output", plan.root / (output if isinstance(output, str) else "runs")
    yield "TMPDIR", Path(os.environ.get("TMPDIR") or tempfile.gettempdir())
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser())
    yield "HF_HOME", Path(os.environ.get("HF_HOME") or cache / "huggingface")
    yield "TORCH_HOME", Path(os.environ.get("TORCH_HOME") or cache / "torch")


def look_at_place(key: str, path: Path, *, seconds: float = _SECONDS) -> PlaceFacts:
    """What a folder, or the nearest one above it that exists, is like; a file is made there and removed.

    Args:
        key: What names it.
        path: The folder.
        seconds: A file system that takes longer to answer is a dead one.
    """
    path = Path(os.path.normpath(path.expanduser().absolute()))
    device, mount, kind, read_only = _mount_of(path)
    about = PlaceFacts(
        key, str(path), str(path), kind=kind, mount=mount, network=kind in _NETWORK, in_memory=kind in _MEMORY
    )
    nearest = in_time(lambda: _nearest(path), seconds)
    sizes = in_time(lambda: os.statvfs(nearest), seconds) if nearest is not None and hasattr(os, "statvfs") else None
    if nearest is None or (sizes is None and hasattr(os, "statvfs")):
        return replace(about, answers=False, problem=f"{mount or path} does not answer within {seconds:.0f} seconds")
    problem = _try(nearest, seconds)
    if read_only and not problem:
        problem = "Read-only file system"
    about = replace(about, nearest=str(nearest), writable=not problem, problem=problem)
    if sizes is None:
        return about
    return replace(
        about,
        total_bytes=sizes.f_frsize * sizes.f_blocks,
        free_bytes=sizes.f_frsize * sizes.f_bavail,
        quota_bytes=_quota(device),
        # File systems that make their entries as they go (btrfs, network mounts) count none.
        free_files=sizes.f_favail if sizes.f_files else None,
    )


def in_time(ask: Callable[[], T], seconds: float) -> T | None:
    """The answer to a question that may hang in the kernel, `None` when it takes too long or fails.

    The thread that asked stays behind; nothing can take it out of the kernel.

    Example:
        >>> in_time(lambda: 21 * 2, 1.0)
        42
    """
    answers: list[T] = []

    def work() -> None:
        try:
            answers.append(ask())
        except (OSError, ValueError):
            return

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(seconds)
    return answers[0] if answers else None


def _nearest(path: Path) -> Path:
    while not path.exists() and path != path.parent:
        path = path.parent
    return path if path.is_dir() else path.parent


def _try(folder: Path, seconds: float) -> str:
    """Why a file cannot be made in a folder; `""` when it can."""

    def work() -> str:
        try:
            number, name = tempfile.mkstemp(prefix=".snellen-", dir=folder)
            try:
                os.write(number, b"\0" * 4096)
            finally:
                os.close(number)
                Path(name).unlink()
        except OSError as error:
            return error.strerror or str(error)
        return ""

    answer = in_time(work, seconds)
    return f"writing a file took more than {seconds:.0f} seconds" if answer is None else answer


def _quota(device: str) -> int | None:
    """What the user's quota on a device leaves, in bytes; only the program `quota` knows it for every file system."""
    program = shutil.which("quota")
    if program is None or not device:
        return None
    try:
        told = subprocess.run(
            [program, "-w", "-p"], capture_output=True, text=True, errors="replace", timeout=_SECONDS, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return None
    for line in told.stdout.splitlines():
        words = line.split()
        if len(words) >= 4 and words[0] == device:
            numbers = [int(word.rstrip("*")) for word in words[1:4] if word.rstrip("*").isdigit()]
            # Blocks of 1 KiB: used, the soft limit, the hard one; 0 is no limit.
            limit = min((number for number in numbers[1:] if number), default=0) if len(numbers) == 3 else 0
            return max(0, limit - numbers[0]) << 10 if limit else None
    return None


def _mount_of(path: Path) -> tuple[str, str, str, bool]:
    """Device, mount point, kind of file system, whether it is for reading only; nothing of it is touched."""
    best = ("", "", "", False)
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as file:  # noqa: PTH123 - a kernel file
            lines = file.read(1 << 20).splitlines()
    except OSError:
        return best
    for line in lines:
        before, _, after = line.partition(" - ")
        words, more = before.split(), after.split()
        if len(words) < 6 or len(more) < 3:
            continue
        mount = words[4].encode().decode("unicode_escape", "replace") if "\\" in words[4] else words[4]
        if (path == Path(mount) or path.is_relative_to(mount)) and len(mount) >= len(best[1]):
            best = (more[1], mount, more[0], "ro" in words[5].split(",") or "ro" in more[2].split(","))
    return best
