"""Predictions for any number of items, one after the other: resumable, budgeted, and no item stops the others.

Every item leaves one line in a ledger, an append-only `.jsonl` file, so nothing but the line in hand is kept in memory
and a second call goes on where the first one ended, however that was. This module does not import torch.
"""

from __future__ import annotations

import hashlib
import sys
import time
import traceback
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from snellen.core.files import append_json_line, read_json_lines
from snellen.engine.signals import StopRequest
from snellen.errors import Interrupted, RunFolderError, SnellenError

__all__ = ["Failure", "StreamReport", "stream"]

Item = TypeVar("Item")

_NOTICE_SECONDS = 10.0
_KEPT_FAILURES = 1000


@dataclass(frozen=True, slots=True)
class Failure:
    """An item without a prediction.

    Args:
        item: Which.
        message: Why.
        slug: The rule that knows more, if there is one.
    """

    item: str
    message: str
    slug: str | None = None

    @property
    def sentence(self) -> str:
        """The message; with the item, where the message does not name it."""
        return self.message if self.item in self.message else f"{self.item}: {self.message}"


@dataclass(slots=True)
class StreamReport:
    """What a stream of predictions came to.

    Args:
        ledger: The file with one line for each item.
        items: How many there are, `None` when that cannot be known beforehand.
        quota_hours: The time that all of them may take.
        done: Predicted in this call.
        earlier: Predicted in an earlier call and passed over.
        failed: Tried in this call without success.
        failures: The first of these.
        seconds: Time of each item tried in this call.
    """

    ledger: Path
    items: int | None
    quota_hours: float | None = None
    done: int = 0
    earlier: int = 0
    failed: int = 0
    failures: list[Failure] = field(default_factory=list)
    seconds: array[float] = field(default_factory=lambda: array("d"))

    def milliseconds(self, share: float) -> float | None:
        """The time that this share of the items (0.5 for the median) stayed within; `None` before the first item."""
        if not self.seconds:
            return None
        ordered = sorted(self.seconds)
        return 1000.0 * ordered[min(len(ordered) - 1, round(share * (len(ordered) - 1)))]

    @property
    def projected_hours(self) -> float | None:
        """What all items would take, one after the other, at the mean time of those tried in this call."""
        if not self.seconds or self.items is None:
            return None
        return sum(self.seconds) / len(self.seconds) * self.items / 3600.0

    @property
    def fits(self) -> bool | None:
        """Whether all items fit into the quota; `None` without a quota or a projection."""
        hours = self.projected_hours
        return None if hours is None or self.quota_hours is None else hours <= self.quota_hours

    def records(self) -> Iterator[dict[str, Any]]:
        """What was predicted, also in earlier calls, in the order of the ledger; read from disk as it is asked for."""
        return (line["result"] for line in read_json_lines(self.ledger) if isinstance(line.get("result"), dict))

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "items": self.items,
            "done": self.done,
            "earlier": self.earlier,
            "failed": self.failed,
            "failures": [{"item": one.item, "message": one.message, "slug": one.slug} for one in self.failures],
            "milliseconds_p50": self.milliseconds(0.5),
            "milliseconds_p95": self.milliseconds(0.95),
            "projected_hours": self.projected_hours,
            "quota_hours": self.quota_hours,
            "fits": self.fits,
        }

    def lines(self, *, limit: int = 10) -> list[str]:
        """The report for people.

        Args:
            limit: At most this many failures are named.
        """
        earlier = f", {self.earlier} done before" if self.earlier else ""
        lines = [f"{self.done} predicted{earlier}, {self.failed} failed"]
        middle, high = self.milliseconds(0.5), self.milliseconds(0.95)
        if middle is not None and high is not None:
            lines.append(f"{middle:.0f} ms per item (median), {high:.0f} ms (95 of 100)")
        hours = self.projected_hours
        if hours is not None and self.quota_hours is not None:
            verdict = "fits into" if self.fits else "does NOT fit into"
            lines.append(f"all {self.items} items: {hours:.2f} h projected, which {verdict} {self.quota_hours:g} h")
        lines += [f"failed: {one.sentence}" for one in self.failures[:limit]]
        if self.failed > limit:
            lines.append(f"and {self.failed - limit} more failures; all are in {self.ledger}")
        return lines


def stream(
    items: Iterable[Item],
    predict_one: Callable[[Item], Mapping[str, Any]],
    *,
    ledger: Path,
    limit: int | None = None,
    quota_hours: float | None = None,
    identity: str = "",
) -> StreamReport:
    """Predict items one by one.

    An item that raises is noted in the ledger with the reason, and the rest goes on; the next call tries it again.

    Args:
        items: Their `str` is their name and must be unique.
        predict_one: Its result, plain data, goes into the ledger.
        ledger: File to append to; its folder exists.
        limit: Only the first items.
        quota_hours: The time that all items may take; the report says whether they would.
        identity: Of the model and settings; a ledger of another identity is refused rather than mixed with.

    Returns:
        What it came to.

    Raises:
        RunFolderError: The ledger, or what `predict_one` writes, cannot be written; or it is of another identity.
        Interrupted: Ctrl-C or SIGTERM, after the item in hand; what is done is kept.

    Example:
        >>> import tempfile
        >>> ledger = Path(tempfile.mkdtemp()) / "ledger.jsonl"
        >>> report = stream(["4", "x"], lambda text: {"root": float(text) ** 0.5}, ledger=ledger)
        >>> list(report.records()), report.failures[0].item
        ([{'root': 2.0}], 'x')
    """
    finished = _read(ledger, identity)
    report = StreamReport(ledger, len(items) if isinstance(items, Sized) else None, quota_hours)
    notice = time.monotonic() + _NOTICE_SECONDS
    try:
        with StopRequest() as stop:
            for item in islice(items, limit):
                if stop.requested:
                    raise _interrupted(report)
                if _key(str(item)) in finished:
                    report.earlier += 1
                    continue
                _predict(item, predict_one, report)
                if time.monotonic() >= notice:
                    notice = time.monotonic() + _NOTICE_SECONDS
                    _say(report)
    except KeyboardInterrupt:
        raise _interrupted(report) from None
    return report


def _predict(item: Item, predict_one: Callable[[Item], Mapping[str, Any]], report: StreamReport) -> None:
    started = time.perf_counter()
    record: dict[str, Any] = {"item": str(item)}
    failure: Failure | None = None
    try:
        record["result"] = dict(predict_one(item))
    except RunFolderError:
        # A full disk would fail every item that follows.
        raise
    except SnellenError as error:
        failure = Failure(str(item), error.message, error.slug)
        record |= {"error": error.message, "hint": error.hint, "slug": error.slug}
    except Exception as error:  # noqa: BLE001 - one item must not take the others with it; the traceback is kept
        failure = Failure(str(item), f"{type(error).__name__}: {error}")
        record |= {"error": failure.message, "traceback": traceback.format_exc()}
    seconds = time.perf_counter() - started
    append_json_line(report.ledger, {**record, "seconds": round(seconds, 4)})
    report.seconds.append(seconds)
    if failure is None:
        report.done += 1
        return
    report.failed += 1
    if len(report.failures) < _KEPT_FAILURES:
        report.failures.append(failure)


def _read(ledger: Path, identity: str) -> set[bytes]:
    """Keys of the items that need not be predicted again; starts the ledger when there is none."""
    finished = set()
    found = None
    for line in read_json_lines(ledger):
        if "result" in line:
            finished.add(_key(str(line.get("item"))))
        found = line.get("identity", found)
    if found is None:
        append_json_line(ledger, {"identity": identity})
    elif found != identity:
        raise RunFolderError(
            f"{ledger} holds predictions of {found or 'another model'!r}, expected {identity or 'this model'!r}",
            hint="choose another output folder, or delete that file",
        )
    return finished


def _key(name: str) -> bytes:
    # Eight bytes instead of a path: a million items are remembered in some 50 MB.
    return hashlib.blake2b(name.encode("utf-8", "surrogateescape"), digest_size=8).digest()


def _interrupted(report: StreamReport) -> Interrupted:
    return Interrupted(
        f"stopped after {report.done + report.earlier} items; what is done is kept in {report.ledger}",
        hint="the same command goes on from there",
    )


def _say(report: StreamReport) -> None:
    tried = report.done + report.earlier + report.failed
    of = f" of {report.items}" if report.items is not None else ""
    middle = report.milliseconds(0.5) or 0.0
    print(f"{tried}{of} items, {middle:.0f} ms per item (median)", file=sys.stderr, flush=True)  # noqa: T201
