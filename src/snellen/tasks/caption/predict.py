"""Words about images: features of other backbones first, one model on the device at a time, then captions."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import torch

from snellen.config.schema import RunConfig
from snellen.core.files import write_json, write_lines
from snellen.data.captions import read_captions
from snellen.data.feature_cache import FeatureCache
from snellen.data.name_set import NameSet
from snellen.data.sources import ImageSource, open_sources
from snellen.data.writing import make_folder
from snellen.engine.captioning import CaptionSettings, caption_images
from snellen.engine.embedding import EmbedReport, EmbedSettings, embed_images
from snellen.errors import UsageError
from snellen.models.backbones.embedders import load_embedder
from snellen.models.captioning.florence import load_captioner
from snellen.models.captioning.prompts import Prompt, parse_prompt
from snellen.report.progress import Throughput, note
from snellen.tasks.caption.config import CaptionRun
from snellen.tasks.caption.memory import Held, StageMemory, measured, released
from snellen.tasks.embed.config import EmbedModel
from snellen.tasks.streaming import closing_lines, done_before
from snellen.tasks.unread import write_unread

__all__ = ["CAPTIONS", "Captioning", "predict_all"]

CAPTIONS: Final = "captions.jsonl"
FOLDER: Final = "captions"
SUMMARY: Final = "summary.json"
_FEWEST_ROWS: Final = 16
_DTYPES: Final = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


@dataclass(frozen=True, slots=True)
class Captioning:
    """What a stream of captions came to.

    Args:
        report: Of the captions.
        model: Name of the model.
        prompts: What it was asked.
        stages: What each model held, in the order in which they ran; the captions come last.
        remarks: What a reader must know besides.
    """

    report: EmbedReport
    model: str
    prompts: tuple[Prompt, ...]
    stages: tuple[StageMemory, ...] = ()
    remarks: tuple[str, ...] = ()

    @property
    def failed(self) -> int:
        """Images without answers."""
        return len(self.report.unread)

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "model": self.model,
            "prompts": [prompt.name for prompt in self.prompts],
            "failed": self.failed,
            **self.report.to_dict(),
            "stages": [stage.to_dict() for stage in self.stages],
            "remarks": list(self.remarks),
        }

    def lines(self, *, limit: int = 10) -> list[str]:
        """The summary for people.

        Args:
            limit: At most this many images without answers are named.
        """
        report = self.report
        speed = f"{report.seconds:.1f} s ({report.images_per_second:.1f} images/s)"
        asked = f"{len(self.prompts)} prompts ({', '.join(prompt.name for prompt in self.prompts)})"
        lines = [f"{report.done} images asked {asked} in {speed}{done_before(report)}, {self.failed} could not be read"]
        lines += [stage.sentence for stage in self.stages]
        return lines + closing_lines(report, self.remarks, limit=limit)


def predict_all(
    config: RunConfig,
    inputs: Sequence[str | Path],
    *,
    out: Path,
    limit: int | None = None,
    engine: Literal["local", "ray"] = "local",
    quiet: bool = False,
) -> tuple[Captioning, list[Path]]:
    """Ask about whatever was named; features of other backbones first, where the run has such stages.

    Args:
        config: The run.
        inputs: Files, folders, patterns, lists, tables, shards.
        out: Where everything is written; a second call goes on where the first one ended.
        limit: Only the first images.
        engine: Only `local`.
        quiet: Show no progress.

    Returns:
        What it came to, and the file that holds all answers.

    Raises:
        DataError: A source that does not exist or holds no image.
        WeightsError: Weights that cannot be had.
        RunFolderError: `out` cannot be written, is in use, or holds answers of another model.
        UsageError: A prompt that does not exist; an engine that this task has not.
        Interrupted: Ctrl-C; what is done is kept.
    """
    if not isinstance(config, CaptionRun):
        raise TypeError(f"expected a CaptionRun, given {type(config).__name__}")
    if engine != "local":
        raise UsageError(
            f"--engine {engine}: captions are written in this process alone, features go over a cluster",
            hint="leave --engine out; for several machines give each a list of its images: "
            "snellen predict RUN.yaml PART.txt -o OUT-PART",
        )
    prompts = tuple(dict.fromkeys(parse_prompt(said) for said in config.prompts))
    source = open_sources(inputs)
    make_folder(out)
    job = _Job(config, source, out, limit, quiet)
    features = [job.embed(stage) for stage in config.stages]
    report, held = job.caption(prompts)
    remarks = [f"passed over: {count} {reason}" for reason, count in source.skipped.items() if count]
    cut = _write_lines(out)
    remarks += [f"{count} answers to {name} were cut at generation.max_tokens" for name, count in cut.items()]
    done = Captioning(report, config.model.repository, prompts, (*features, held), (*job.remarks, *remarks))
    write_unread(out, report.unread)
    write_json(out / SUMMARY, done.to_dict())
    return done, [out / CAPTIONS]


@dataclass(slots=True)
class _Job:
    """One call; a model lives no longer than the method that loads it."""

    config: CaptionRun
    source: ImageSource
    out: Path
    limit: int | None
    quiet: bool
    remarks: tuple[str, ...] = ()

    def embed(self, stage: EmbedModel) -> StageMemory:
        """The features of one backbone, into a folder of its name."""
        config = self.config
        before = measured(config.device)
        embedder = load_embedder(stage.backbone, weights=stage.weights, pretrained=stage.pretrained)
        held = Held(embedder.network)
        cache = None
        if isinstance(config.cache, Path):
            cache = FeatureCache(config.cache, embedder.fingerprint, embedder.name)
        folder = self.out / f"features-{stage.backbone.replace('/', '-').replace(':', '-')}"
        settings = EmbedSettings(device=config.device, workers=self._workers, limit=self.limit)
        with self._progress(f"embedding with {stage.backbone}") as tell:
            embed_images(self.source, embedder, folder, settings=settings, cache=cache, progress=tell)
        during = measured(config.device)
        if cache is not None and cache.problem:
            self.remarks = (*self.remarks, f"the cache does not help: {cache.problem}")
        del embedder, cache
        return self._told(StageMemory(stage.backbone, before, during, released(config.device), held.alive))

    def caption(self, prompts: Sequence[Prompt]) -> tuple[EmbedReport, StageMemory]:
        """The answers, into `captions/`."""
        config = self.config
        if config.batch_size == "auto" or config.precision == "auto":
            raise TypeError("expected resolved settings")
        before = measured(config.device)
        model = config.model
        captioner = load_captioner(
            model.repository, weights=model.weights, pretrained=model.pretrained, dtype=_DTYPES[config.precision]
        )
        held = Held(captioner.network)
        settings = CaptionSettings(
            device=config.device,
            workers=self._workers,
            limit=self.limit,
            batch_size=config.batch_size,
            rows=max(_FEWEST_ROWS, 4 * config.batch_size),
            max_tokens=config.generation.max_tokens,
            beams=config.generation.beams,
            features=config.features,
        )
        with self._progress("asking") as tell:
            report = caption_images(
                self.source, captioner, prompts, self.out / FOLDER, settings=settings, progress=tell
            )
        during = measured(config.device)
        del captioner
        return report, self._told(StageMemory("captions", before, during, released(config.device), held.alive))

    def _told(self, stage: StageMemory) -> StageMemory:
        if not self.quiet:
            note(stage.sentence)
        return stage

    @property
    def _workers(self) -> int:
        workers = self.config.data.workers
        return max(1, workers) if isinstance(workers, int) else 1

    @contextmanager
    def _progress(self, what: str) -> Iterator[Callable[[EmbedReport], None]]:
        total = self.source.count()
        total = total if total is None or self.limit is None else min(total, self.limit)
        with Throughput(what, total=total, silent=self.quiet) as bar:

            def tell(report: EmbedReport) -> None:
                bar(report.earlier + report.taken, problems=len(report.unread), skipped=report.earlier)

            yield tell


def _write_lines(out: Path) -> dict[str, int]:
    """All answers as JSON lines, in the order of the parts; returns how many answers to each prompt were cut."""
    cut: Counter[str] = Counter()
    seen = NameSet()

    def lines() -> Iterator[str]:
        for row in read_captions(out / FOLDER):
            if not seen.add(row.name):
                continue
            cut.update(name for name, answer in row.answers.items() if not answer["complete"])
            yield json.dumps(
                {"path": row.name, "width": row.size[0], "height": row.size[1], **row.answers}, ensure_ascii=False
            )

    write_lines(out / CAPTIONS, lines())
    return dict(cut)
