"""Predictions for any number of inputs: streamed, resumable, budgeted."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Protocol

from snellen.data.listing import find_images
from snellen.data.writing import make_folder
from snellen.engine.predict import StreamReport, stream
from snellen.errors import UsageError
from snellen.tasks.target import Target

__all__ = ["ENGINES", "Outcome", "predict_run", "predict_stream", "unique_names"]

ENGINES: Final = ("local", "ray")

LEDGER = "predictions.jsonl"


def unique_names(paths: Sequence[Path]) -> dict[Path, str]:
    """A name for each input: its stem; with its suffix where two share a stem; with a hash of its folder beyond.

    Example:
        >>> list(unique_names([Path("a/1.png"), Path("a/1.jpg"), Path("a/2.png")]).values())
        ['1.png', '1.jpg', '2']
    """
    stems = Counter(path.stem for path in paths)
    files = Counter(path.name for path in paths)
    names = {}
    for path in paths:
        if stems[path.stem] == 1:
            names[path] = path.stem
        elif files[path.name] == 1:
            names[path] = path.name
        else:
            digest = hashlib.sha256(str(path.absolute().parent).encode()).hexdigest()[:8]
            names[path] = f"{path.name}-{digest}"
    return names


def _identity(target: Target) -> str:
    """What predictions depend on: those of another model must not be taken for this one's."""
    where = str(target.checkpoints) if target.checkpoints else "no checkpoints"
    return f"{target.task.name}: {target.config.model.model_dump_json()}: {where}"


class Outcome(Protocol):
    """What a stream of predictions came to."""

    @property
    def failed(self) -> int:
        """Inputs without a prediction."""
        ...

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        ...

    def lines(self, *, limit: int = 10) -> list[str]:
        """For people; names at most so many failures."""
        ...


def predict_stream(
    target: Target, inputs: Sequence[Path], *, out: Path, limit: int | None = None, engine: str = "local",
    quota_hours: float | None = None, quiet: bool = False,
) -> tuple[Outcome, list[Path], list[str]]:  # fmt: skip
    """As `predict_run`, of any task: those that take all inputs in one stream as well.

    Args:
        target: A run file or a run's folder, opened.
        inputs: Images, folders of images, patterns, and whatever else the task reads.
        out: Where everything is written.
        limit: Stop after this many inputs.
        engine: `local`, or `ray` for a cluster.
        quota_hours: The time that all of it may take.
        quiet: Show no progress.

    Raises:
        UsageError: The task cannot do that.
    """
    task = target.task
    if not task.streams:
        if engine != "local":
            raise UsageError(f"the task {task.name} has no engine {engine!r}", hint="--engine local")
        return predict_run(target, inputs, out=out, limit=limit, quota_hours=quota_hours)
    if quota_hours is not None:
        raise UsageError(f"the task {task.name} has no --quota-hours", hint="stop it with Ctrl-C: it is resumable")
    if engine not in ENGINES:
        raise UsageError(f"--engine {engine}, expected {' or '.join(ENGINES)}")
    outcome, files = task.predict_all(
        target.config, inputs, checkpoints=target.checkpoints, out=out, limit=limit, engine=engine, quiet=quiet
    )
    return outcome, files, []


def predict_run(
    target: Target, inputs: Sequence[Path], *, out: Path, limit: int | None = None, quota_hours: float | None = None
) -> tuple[StreamReport, list[Path], list[str]]:
    """Predict files, folders and patterns of files.

    Args:
        target: A run file or a run's folder, opened.
        inputs: Images, folders of images, patterns.
        out: Where everything is written; a second call goes on where the first one ended.
        limit: Stop after this many inputs.
        quota_hours: The time that all of it may take; the report says whether it would fit.

    Returns:
        The report of the stream, the files that concern all inputs, and notes about what was passed over.

    Raises:
        DataError: No input was found.
        RunFolderError: `out` cannot be written.
        Interrupted: Ctrl-C; what was done is kept.
    """
    found = find_images(inputs, recursive=True)
    names = unique_names(found.files)
    make_folder(out)
    predictor = target.task.build_predictor(target.config, checkpoints=target.checkpoints, out=out)

    def predict_one(item: Path) -> dict[str, Any]:
        return predictor.predict(item, names[item])

    report = stream(
        found.files,
        predict_one,
        ledger=out / LEDGER,
        limit=limit,
        quota_hours=quota_hours,
        identity=_identity(target),
    )
    done = {record["name"]: record for record in report.records()}
    chosen = list(names.values())[:limit]
    files = predictor.finish(chosen, done)
    notes = [f"passed over: {count} {reason}" for reason, count in found.skipped.items()]
    return report, files, notes
