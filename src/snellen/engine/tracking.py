"""Curves of a run: `metrics.jsonl` and TensorBoard. A tracker that fails is reported once and never ends the run."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from snellen.core.files import read_json_lines, write_text
from snellen.core.run_folder import RunFolder
from snellen.data.writing import make_folder, write_png

__all__ = ["Tracker"]


class Tracker:
    """Writes numbers as they come.

    A NaN cannot hide: in `metrics.jsonl` it is `null` and its name is in the list `non_finite`; in TensorBoard, which
    leaves it out of the curve, `non_finite/NAME` is 1 at that step.

    Args:
        folder: The run's folder.
        tensorboard: Also write TensorBoard's event files.
        report: Told once, in a sentence, of each place that cannot be written to.
        first_step: Step the run goes on from; what lies beyond it is dropped, so that curves do not turn back.
        evaluated: Whether an evaluation after that very step has been done for good, and is not to come yet.
        recoveries: Of the run so far; what was written of these stays, though their steps are done again.
    """

    def __init__(
        self,
        folder: RunFolder,
        *,
        tensorboard: bool,
        report: Callable[[str], None],
        first_step: int = 0,
        evaluated: bool = True,
        recoveries: int = 0,
    ) -> None:
        self._folder = folder
        self._report = report
        self._failed: set[str] = set()
        self._board: Any = None
        self._try("metrics.jsonl", lambda: _drop_after(folder.metrics_file, first_step, evaluated, recoveries))
        if tensorboard:
            self._try("TensorBoard", lambda: self._open_board(first_step))

    def log(self, kind: str, *, epoch: int, step: int, **values: Any) -> None:
        """Write one line.

        Args:
            kind: `train`, `recovery`, or the split that was evaluated.
            epoch: From 0.
            step: Optimiser steps done.
            values: Numbers, or mappings of names to numbers; `None` stands for what was not measured.
        """
        bad: list[str] = []
        cleaned = {name: _clean(value, name, bad) for name, value in values.items()}
        record = {"kind": kind, "epoch": epoch, "step": step, **cleaned}
        if bad:
            record["non_finite"] = bad
        self._try("metrics.jsonl", lambda: self._folder.metric(**record))
        if self._board is not None:
            self._try("TensorBoard", lambda: self._draw(kind, step, cleaned, bad))

    def show(self, pictures: Mapping[str, Any], *, step: int) -> None:
        """Write images: all steps into TensorBoard, the newest into `samples/` of the run's folder.

        Args:
            pictures: `(H, W, 3)` uint8 by name.
            step: Optimiser steps done.
        """
        for name, picture in pictures.items():
            self._try("samples", partial(self._keep, name, picture))
            if self._board is not None:
                draw = partial(self._board.add_image, f"samples/{name}", picture, step, dataformats="HWC")
                self._try("TensorBoard", draw)

    def _keep(self, name: str, picture: Any) -> None:
        place = make_folder(self._folder.path / "samples")
        write_png(place / f"{name}.png", picture)

    def close(self) -> None:
        """Write what is still to be written."""
        if self._board is not None:
            self._failed.discard("TensorBoard")
            self._try("TensorBoard", self._board.close)
            self._board = None

    def _open_board(self, first_step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415 - costs a second that not every run needs

        purge = first_step + 1 if first_step else None
        self._board = SummaryWriter(str(self._folder.tensorboard), purge_step=purge, flush_secs=30)

    def _draw(self, kind: str, step: int, values: Mapping[str, Any], bad: list[str]) -> None:
        for name, value in _flat(values):
            if value is not None:
                self._board.add_scalar(f"{kind}/{name}", value, step)
        for name in bad:
            self._board.add_scalar(f"non_finite/{kind}/{name}", 1.0, step)

    def _try(self, place: str, action: Callable[[], object]) -> None:
        if place in self._failed:
            return
        try:
            action()
        except Exception as error:  # noqa: BLE001 - whatever a tracker does, training goes on
            self._failed.add(place)
            self._report(f"{place} of {self._folder.path} is not written from here on: {error}")


def _clean(value: Any, name: str, bad: list[str]) -> Any:
    if isinstance(value, Mapping):
        return {key: _clean(item, f"{name}.{key}", bad) for key, item in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        bad.append(name)
        return None
    return value


def _flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    pairs = []
    for name, value in values.items():
        if isinstance(value, Mapping):
            pairs += _flat(value, f"{prefix}{name}/")
        elif value is None or isinstance(value, (int, float)):
            pairs.append((prefix + name, value))
    return pairs


def _drop_after(file: Path, step: int, evaluated: bool, recoveries: int) -> None:
    def keep(line: Mapping[str, Any]) -> bool:
        if line.get("kind") == "recovery":
            return int(line.get("number", 0)) <= recoveries
        at = int(line.get("step", 0))
        return at < step or (at == step > 0 and (evaluated or line.get("kind") == "train"))

    if file.exists():
        kept = [line for line in read_json_lines(file) if keep(line)]
        write_text(file, "".join(json.dumps(line) + "\n" for line in kept))
