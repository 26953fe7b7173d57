"""What the verbs are given: a run file, or the folder of a run that was trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from snellen.check.facts.machine import as_machine, this_machine
from snellen.config.load import load, load_data, read_task
from snellen.config.resolve import Resolution, resolve
from snellen.config.schema import RunConfig
from snellen.core.run_folder import RunFolder
from snellen.data.layouts import reading_once
from snellen.errors import RunFolderError, UsageError
from snellen.tasks.base import Task
from snellen.tasks.catalogue import get

__all__ = ["Target", "open_target", "runs_beside", "target_of"]


@dataclass(frozen=True, slots=True)
class Target:
    """A run file or a run's folder, read and resolved.

    Args:
        task: What is done.
        config: Nothing in it is `auto`, paths are absolute.
        settled: What was `auto`, what it became and why.
        folder: The run's folder, `None` for a run file.
    """

    task: Task
    config: RunConfig
    settled: tuple[Resolution, ...]
    folder: Path | None = None

    @property
    def checkpoints(self) -> Path | None:
        """Where trained weights lie, if this is a folder that has some."""
        if self.folder is None:
            return None
        checkpoints = self.folder / "checkpoints"
        return checkpoints if checkpoints.is_dir() and any(checkpoints.iterdir()) else None


@reading_once()
def open_target(path: Path, overrides: Sequence[str] = ()) -> Target:
    """Read a run file, or the run file of a run's folder.

    Args:
        path: A YAML file or a run's folder.
        overrides: Settings that win over the file, such as `"model.detector=keypoint"`.

    Raises:
        UsageError: There is nothing at the path.
        ConfigError: The settings have problems; all are listed.
        RunFolderError: A folder that is not a run's, or one of another version.
    """
    if not path.exists():
        raise UsageError(f"there is neither a run file nor a run's folder at {path}", hint=runs_beside(path))
    folder = None
    run_file = path
    if path.is_dir():
        folder = RunFolder.open(path, lock=False).path
        run_file = folder / "run.yaml"
        if not run_file.is_file():
            raise RunFolderError(f"{path} holds no run.yaml", hint="give the run file instead")
    task = get(read_task(run_file))
    loaded = load(run_file, task.schema(), overrides=overrides)
    resolved = resolve(loaded.require(), as_machine(this_machine()), root=loaded.root, resolvers=task.resolvers())
    return Target(task, resolved.config, resolved.table, folder)


@reading_once()
def target_of(settings: Mapping[str, Any]) -> Target:
    """A run without a file: settings as a run file would hold them, paths from the current folder.

    Args:
        settings: With the task.

    Raises:
        UsageError: There is no such task.
        ConfigError: The settings have problems; all are listed.
    """
    task = get(str(settings.get("task")))
    loaded = load_data(settings, task.schema())
    resolved = resolve(loaded.require(), as_machine(this_machine()), root=loaded.root, resolvers=task.resolvers())
    return Target(task, resolved.config, resolved.table)


def runs_beside(path: Path) -> str:
    """What to give in place of a path at which there is nothing: run files beside it.

    Args:
        path: What was given.

    Example:
        >>> runs_beside(Path("nowhere/run.yaml"))
        'give a run file, or the folder of a run such as runs/NAME'
    """
    try:
        files = sorted(entry.name for entry in path.parent.iterdir() if entry.suffix in {".yaml", ".yml"})[:5]
    except OSError:
        files = []
    if files:
        return f"in {path.parent}: {', '.join(files)}"
    return "give a run file, or the folder of a run such as runs/NAME"
