"""Features over a Ray cluster: the same parts as in one process, computed by a pool of actors.

Each part is one item of a Ray data set. An actor computes it and writes it under its number into a folder that all
machines see; what an actor did not finish, because it was killed, Ray gives to another.
"""

from __future__ import annotations

import importlib
import itertools
import json
import logging
import os
import platform
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from snellen.data.feature_cache import FeatureCache
from snellen.data.features import Unread, write_part
from snellen.data.sources import ImageRef
from snellen.engine.embedding import EmbedReport, Finished, working_in
from snellen.engine.part_embedder import EmbedSettings, PartEmbedder, rows_of_part
from snellen.engine.signals import StopRequest
from snellen.errors import Interrupted, MissingExtraError, SnellenError, UsageError
from snellen.models.backbones.embedders import Embedder, load_embedder

__all__ = ["embed_on_ray"]


@dataclass(frozen=True, slots=True)
class _Plan:
    """What an actor has to know."""

    backbone: str
    load: Callable[[], Embedder]
    fingerprint: str
    folder: str
    cache: str | None
    settings: EmbedSettings


def embed_on_ray(
    refs: Iterable[ImageRef],
    embedder: Embedder,
    folder: Path,
    *,
    load: Callable[[], Embedder] | None = None,
    settings: EmbedSettings | None = None,
    cache: FeatureCache | None = None,
    progress: Callable[[EmbedReport], None] | None = None,
) -> EmbedReport:
    """As `embed_images`, over the cluster that Ray is connected to; a local one is started when there is none.

    Args:
        refs: The images; their paths must be the same on all machines.
        embedder: The backbone; each actor loads its own.
        folder: Where the parts are written; all machines must see it.
        load: Makes the backbone in each actor; `load_embedder` with its name when it is left out.
        settings: How it is done.
        cache: Its folder must be seen by all machines, too.
        progress: Is told after each part.

    Raises:
        MissingExtraError: Ray is not installed.
        RunFolderError: As `embed_images`.
        Interrupted: Ctrl-C or SIGTERM; parts that are written are kept.
    """
    ray = _ray()
    settings = settings or EmbedSettings()
    folder = folder.absolute()
    with working_in(folder, embedder.fingerprint, embedder.name):
        plan = _Plan(
            embedder.name,
            load or partial(load_embedder, embedder.name),
            embedder.fingerprint,
            str(folder),
            None if cache is None else str(cache.root.absolute()),
            settings,
        )
        return _run(ray, refs, embedder, plan, progress)


def _ray() -> Any:
    # Started by `uv run`, Ray would pack the current folder and start workers by the same command in the unpacked copy,
    # where this environment is not: they end before they have begun, and everything waits for ever.
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    try:
        ray = importlib.import_module("ray")
        importlib.import_module("ray.data")
    except ImportError as error:
        raise MissingExtraError(
            "ray is not installed", hint="pip install 'snellen[ray]'", slug="missing-package"
        ) from error
    return ray


def _run(
    ray: Any, refs: Iterable[ImageRef], embedder: Embedder, plan: _Plan, progress: Callable[[EmbedReport], None] | None
) -> EmbedReport:
    report = EmbedReport(Path(plan.folder))
    started = time.perf_counter()
    items = list(_items(refs, embedder, plan, report))
    try:
        with StopRequest() as stop:
            for row in _results(ray, items, plan):
                report.done += row["done"]
                report.taken += row["done"] + len(json.loads(row["unread"]))
                report.cached += row["cached"]
                report.splits += row["splits"]
                report.conversions.update(json.loads(row["conversions"]))
                report.unread += [Unread(*one) for one in json.loads(row["unread"])]
                report.seconds = time.perf_counter() - started
                report.remember_memory()
                if progress is not None:
                    progress(report)
                if stop.requested:
                    raise KeyboardInterrupt
    except KeyboardInterrupt:
        raise Interrupted(
            f"stopped; the features of {report.done + report.earlier} images are kept in {plan.folder}",
            hint="the same command goes on from there",
        ) from None
    report.seconds = time.perf_counter() - started
    return report


def _items(refs: Iterable[ImageRef], embedder: Embedder, plan: _Plan, report: EmbedReport) -> Iterator[dict[str, Any]]:
    """The parts that are not done, numbered as one process would number them.

    Parts end in any order, so those that are missing may lie between others: a part keeps the number of its place
    while that is free.
    """
    finished = Finished(Path(plan.folder))
    further = itertools.count(finished.next_number)
    taken = set(finished.numbers)
    rest = iter(itertools.islice(refs, plan.settings.limit))
    rows = plan.settings.rows or rows_of_part(embedder, plan.settings.device)
    for place in itertools.count():
        chunk = list(itertools.islice(rest, rows))
        if not chunk:
            return
        report.earlier += sum(ref.name in finished.names for ref in chunk)
        missing = [ref for ref in chunk if ref.name not in finished.names]
        again = bool(missing) and all(ref.name in finished.unread for ref in missing)
        if not missing:
            continue
        number = place
        if number in taken:
            number = next(one for one in further if one not in taken)
        taken.add(number)
        yield {
            "number": number,
            "again": again,
            "refs": json.dumps([[ref.name, str(ref.path), ref.offset, ref.length, ref.problem] for ref in missing]),
            "content": [ref.content or b"" for ref in missing],
        }


def _results(ray: Any, items: list[dict[str, Any]], plan: _Plan) -> Iterator[dict[str, Any]]:
    if not items:
        return
    if not ray.is_initialized():
        ray.init(log_to_driver=False, logging_level="ERROR", include_dashboard=False)
    ray.data.DataContext.get_current().enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    on_gpu = plan.settings.device.startswith("cuda")
    amount = int(ray.cluster_resources().get("GPU" if on_gpu else "CPU", 1))
    actors = max(1, min(len(items), amount))
    needs = {"num_gpus": 1} if on_gpu else {"num_cpus": 1}
    data = ray.data.from_items(items, override_num_blocks=len(items)).map_batches(
        _Worker, fn_constructor_args=(plan,), batch_size=1, compute=ray.data.ActorPoolStrategy(size=actors), **needs
    )
    for row in data.iter_rows():
        if row["error"]:
            raise UsageError(row["error"], hint=row["hint"] or None)
        yield row


class _Worker:
    """An actor: loads the backbone once, then computes and writes one part after the other."""

    def __init__(self, plan: _Plan) -> None:
        self._plan = plan
        self._problem, self._embedder = "", None
        try:
            embedder = plan.load()
        except SnellenError as error:
            self._problem = error.message
            return
        if embedder.fingerprint != plan.fingerprint:
            self._problem = (
                f"{plan.backbone} on {platform.node()} has the fingerprint {embedder.fingerprint}, expected "
                f"{plan.fingerprint}: other weights, or other versions of the libraries"
            )
            return
        cache = None if plan.cache is None else FeatureCache(Path(plan.cache), plan.fingerprint, plan.backbone)
        self._embedder = PartEmbedder(embedder, plan.settings, cache=cache)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """One item, as Ray Data passes it: a column for each key."""
        answer: dict[str, Any] = {
            "done": 0,
            "cached": 0,
            "splits": 0,
            "conversions": "{}",
            "unread": "[]",
            "error": self._problem,
            "hint": "",
        }
        if self._embedder is not None:
            try:
                answer |= self._part(self._embedder, {name: column[0] for name, column in batch.items()})
            except SnellenError as error:
                answer |= {"error": error.message, "hint": error.hint or ""}
        return {name: [value] for name, value in answer.items()}

    def _part(self, worker: PartEmbedder, item: dict[str, Any]) -> dict[str, Any]:
        refs = [
            ImageRef(name, Path(path), offset, length, bytes(content) or None, problem)
            for (name, path, offset, length, problem), content in zip(
                json.loads(item["refs"]), item["content"], strict=True
            )
        ]
        cached, splits, conversions = worker.cached, worker.splits, worker.conversions.copy()
        (part,) = worker.parts(refs, rows=len(refs))
        if part.names or not item["again"]:
            known = replace(part, unread=()) if item["again"] else part
            write_part(Path(self._plan.folder), known, number=int(item["number"]))
        return {
            "done": len(part.names),
            "cached": worker.cached - cached,
            "splits": worker.splits - splits,
            "conversions": json.dumps(worker.conversions - conversions),
            "unread": json.dumps([[one.name, one.reason, one.slug] for one in part.unread]),
        }
