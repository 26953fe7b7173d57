"""The folder in which a run leaves everything it did.

run.yaml            the resolved settings, from which the run can be repeated
environment.json    machine, packages, code, seeds
findings.json       what the checks before the run found
events.jsonl        every stop, skip, resume and takeover, with the slug of its rule
metrics.jsonl       one line per logged step or epoch
tensorboard/  checkpoints/  predictions/  captures/
report.html
format.json         version of this layout
lock.json           the process that works in it now; empty when none does
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from snellen.core.files import append_json_line, read_json, read_json_lines, write_json, write_text, writing
from snellen.core.lock import FolderLock
from snellen.errors import RunFolderError

__all__ = ["FORMAT", "RunFolder"]

FORMAT: Final = 1
"""Version of the layout; it grows when an older Snellen could no longer read the folder."""

_FOLDERS = ("tensorboard", "checkpoints", "predictions", "captures")


class RunFolder:
    """A run's folder; made by `create` or `open`, and closed when the work in it is done.

    Args:
        path: The folder, which exists.
        lock: The lock that this process holds on it, `None` for reading only.

    Example:
        >>> import tempfile
        >>> with RunFolder.create(Path(tempfile.mkdtemp()), "first") as folder:
        ...     folder.event("resume", "continued from step 40", step=40)
        ...     [event["slug"] for event in folder.events()]
        ['resume']
    """

    def __init__(self, path: Path, lock: FolderLock | None = None) -> None:
        self.path = path
        self._lock = lock

    @classmethod
    def create(cls, root: str | Path, name: str | None = None) -> RunFolder:
        """Make a new run's folder under `root` and lock it.

        Args:
            root: Folder of all runs; made when missing.
            name: The run's name; without one, the date and time.

        Raises:
            RunFolderError: The name is taken by another run, is no plain name, or the folder cannot be written.
        """
        path = _new_folder(Path(root).absolute(), name)
        lock = FolderLock(path / "lock.json")
        lock.acquire()
        folder = cls(path, lock)
        try:
            # Last of all, so that a folder without it was never finished.
            with writing(path):
                for part in _FOLDERS:
                    (path / part).mkdir()
            write_json(path / "format.json", {"format": FORMAT, "snellen": _own_version()})
        except BaseException:
            folder.close()
            raise
        return folder

    @classmethod
    def open(cls, path: str | Path, *, lock: bool = True, force: bool = False) -> RunFolder:
        """Open an existing run's folder.

        Args:
            path: The folder.
            lock: Take the lock; `False` for reading only.
            force: Take the lock from a process that cannot be asked, for example one of another machine.

        Raises:
            RunFolderError: It is no run's folder, of another version, or another process works in it.
        """
        path = Path(path).absolute()
        _check_format(path)
        if not lock:
            return cls(path)
        folder_lock = FolderLock(path / "lock.json")
        former = folder_lock.acquire(force=force)
        folder = cls(path, folder_lock)
        if former is not None:
            folder.event(
                "stale-lock",
                f"took over the lock of process {former.pid} on {former.host}, which ended without giving it back",
                pid=former.pid,
                host=former.host,
                locked=former.locked,
            )
        return folder

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the lock back."""
        if self._lock is not None:
            self._lock.release()

    @property
    def name(self) -> str:
        """The run's name."""
        return self.path.name

    @property
    def run_file(self) -> Path:
        """The resolved settings."""
        return self.path / "run.yaml"

    @property
    def events_file(self) -> Path:
        """Stops, skips, resumes."""
        return self.path / "events.jsonl"

    @property
    def metrics_file(self) -> Path:
        """One line per logged step or epoch."""
        return self.path / "metrics.jsonl"

    @property
    def tensorboard(self) -> Path:
        """Folder of TensorBoard's event files."""
        return self.path / "tensorboard"

    @property
    def checkpoints(self) -> Path:
        """Folder of checkpoints."""
        return self.path / "checkpoints"

    @property
    def predictions(self) -> Path:
        """Folder of predictions."""
        return self.path / "predictions"

    @property
    def captures(self) -> Path:
        """Folder of batches kept for replay."""
        return self.path / "captures"

    def write_text(self, name: str, text: str) -> None:
        """Write one file of the folder atomically.

        Raises:
            RunFolderError: It cannot be written.
        """
        write_text(self.path / name, text)

    def write_json(self, name: str, data: Any) -> None:
        """Write one JSON file of the folder atomically; NaN becomes `"nan"`.

        Raises:
            RunFolderError: It cannot be written.
        """
        write_json(self.path / name, data)

    def read_json(self, name: str) -> Any:
        """Read one JSON file of the folder.

        Raises:
            RunFolderError: It is missing or torn.
        """
        return read_json(self.path / name)

    def event(self, slug: str, message: str, **data: Any) -> None:
        """Note that something out of the ordinary happened.

        Args:
            slug: The rule, or a plain word such as `resume`.
            message: One sentence for people.
            data: Facts for programs.

        Raises:
            RunFolderError: It cannot be written.
        """
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        append_json_line(self.events_file, {"time": now, "slug": slug, "message": message, **data})

    def events(self) -> Iterator[dict[str, Any]]:
        """All events so far, in order."""
        return read_json_lines(self.events_file)

    def metric(self, **values: Any) -> None:
        """Add one line to `metrics.jsonl`.

        Raises:
            RunFolderError: It cannot be written.
        """
        append_json_line(self.metrics_file, values)

    def metrics(self) -> Iterator[dict[str, Any]]:
        """All lines of `metrics.jsonl`, in order."""
        return read_json_lines(self.metrics_file)


def _own_version() -> str:
    from snellen import __version__  # noqa: PLC0415 - the package imports this module's siblings lazily, too

    return __version__


def _new_folder(root: Path, name: str | None) -> Path:
    if name is None:
        return _dated_folder(root)
    if name in {"", ".", ".."} or re.search(r'[/\\:*?"<>|\x00-\x1f]', name):
        raise RunFolderError(f"{name!r} cannot be a run's name: expected letters, digits, spaces, '.', '-' and '_'")
    path = root / name
    with writing(path):
        path.mkdir(parents=True, exist_ok=True)
        if any(entry.name != "lock.json" for entry in path.iterdir()):
            raise _taken(path)
    return path


def _dated_folder(root: Path) -> Path:
    stamp = datetime.now().astimezone().strftime("%Y%m%d-%H%M%S")
    with writing(root):
        root.mkdir(parents=True, exist_ok=True)
        for number in itertools.count(1):
            path = root / (stamp if number == 1 else f"{stamp}-{number}")
            try:
                path.mkdir()
            except FileExistsError:
                continue
            return path
    raise AssertionError  # pragma: no cover - the loop has no end


def _taken(path: Path) -> RunFolderError:
    if (path / "format.json").exists():
        return RunFolderError(
            f"{path} already holds a run", hint=f"go on with it: snellen resume {path}; or give this run another name"
        )
    return RunFolderError(f"{path} is not empty and holds no run", hint="give this run another name")


def _check_format(path: Path) -> None:
    if not path.is_dir():
        raise RunFolderError(f"{path} is {'a file' if path.exists() else 'missing'}, expected a run's folder")
    if not (path / "format.json").exists():
        raise RunFolderError(
            f"{path} is no run's folder: it has no format.json", hint="give the folder that `snellen train` printed"
        )
    data = read_json(path / "format.json")
    found = data.get("format") if isinstance(data, dict) else None
    if not isinstance(found, int) or isinstance(found, bool):
        raise RunFolderError(f"{path / 'format.json'} states no format number, expected {FORMAT}")
    if found == FORMAT:
        return
    writer = str(data.get("snellen", ""))
    if found > FORMAT:
        hint = f"pip install --upgrade 'snellen>={writer}'" if writer else "pip install --upgrade snellen"
    else:
        hint = f"pip install 'snellen=={writer}'" if writer else "train it again with this version"
    age = "newer" if found > FORMAT else "older"
    raise RunFolderError(
        f"{path} has the {age} format {found}, this Snellen ({_own_version()}) reads format {FORMAT}", hint=hint
    )
