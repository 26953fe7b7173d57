"""Training from a run file, and going on with a run that was interrupted."""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from snellen.config.resolve import Resolution
from snellen.config.schema import CacheConfig, RunConfig
from snellen.config.write import save
from snellen.core.check_report import CheckReport
from snellen.core.environment import collect
from snellen.core.run_folder import RunFolder
from snellen.core.sizes import parse_size
from snellen.core.tracker import why_not_online
from snellen.data.cache.budget import CacheSettings
from snellen.data.listing import find_images, hash_file_list
from snellen.engine.events import Event
from snellen.engine.recipe import PreparedRecipe, Recipe
from snellen.engine.settings import TrainSettings
from snellen.engine.train import TrainResult, train
from snellen.engine.uploading import Uploader
from snellen.errors import RunFolderError, SnellenError
from snellen.explain import explain
from snellen.guard.watcher import RuleGuard
from snellen.report.progress import note
from snellen.rules.catalogue import catalogue
from snellen.tasks.target import Target, open_target

__all__ = ["resume_run", "train_run", "train_settings"]


def train_settings(config: RunConfig) -> TrainSettings:
    """The engine's settings for a resolved run; the only place where the two meet."""
    optim = config.optim
    if config.devices == "auto" or config.data.workers == "auto":
        raise TypeError("expected resolved settings")
    return TrainSettings(
        epochs=optim.epochs,
        max_steps=optim.max_steps,
        batch_size=optim.batch_size,
        accumulate=optim.accumulate,
        clip_norm=optim.clip_norm,
        optimiser=optim.optimiser,
        lr=optim.lr,
        weight_decay=optim.weight_decay,
        schedule=optim.schedule,
        warmup_fraction=optim.warmup,
        ema_decay=optim.ema_decay,
        precision=config.precision,
        devices=config.devices,
        workers=config.data.workers,
        seed=config.seed,
        patience=optim.patience,
        evaluate_every=optim.evaluate_every,
        checkpoint_every=optim.checkpoint_every,
        recoveries=optim.recoveries,
        tensorboard=config.track.tensorboard,
        cache=_cache(config.data.cache),
    )


def _cache(asked: Literal["auto", False] | CacheConfig) -> CacheSettings | None:
    if asked is False:
        return None
    if asked == "auto":
        return CacheSettings()
    return CacheSettings(None if asked.size is None else parse_size(asked.size), asked.ahead)


def train_run(target: Target, *, report: CheckReport | None = None) -> tuple[Path, TrainResult]:
    """Make a run's folder and train in it.

    Args:
        target: A run file, opened.
        report: What the checks said, for the folder.

    Returns:
        The folder, and what came out.

    Raises:
        SnellenError: Of every kind that training may end with; an explanation lies in the folder.
    """
    config = target.config
    # Before the folder, so that a run that has nothing to learn leaves none behind.
    recipe = target.task.build_recipe(config)
    with RunFolder.create(config.output, config.name) as folder:
        save(config, folder.run_file)
        folder.write_json("environment.json", _environment(config, target.settled))
        if report is not None:
            folder.write_json("findings.json", report.to_dict())
        result = _train(recipe, config, folder, resume=False)
        _write_page(target, folder.path)
        return folder.path, result


def resume_run(path: Path, overrides: Sequence[str] = ()) -> tuple[Path, TrainResult]:
    """Go on with a run from its last whole checkpoint.

    Args:
        path: The run's folder.
        overrides: Settings that differ from now on, such as `"optim.epochs=20"`.

    Raises:
        RunFolderError: It is no run's folder, or another process works in it.
    """
    target = open_target(path, overrides)
    if target.folder is None:
        raise RunFolderError(f"{path} is a file, expected the folder of a run", hint=f"snellen train {path}")
    recipe = target.task.build_recipe(target.config)
    with RunFolder.open(target.folder) as folder:
        result = _train(recipe, target.config, folder, resume=True)
        _write_page(target, folder.path)
        return folder.path, result


def _write_page(target: Target, folder: Path) -> None:
    try:
        page = target.task.write_page(target.config, folder)
    except SnellenError as error:
        # The run is done and whole; only its page is not.
        note(f"no report was written: {error.message}")
        return
    if page is not None:
        note(f"wrote {page}")


def _train(recipe: Recipe, config: RunConfig, folder: RunFolder, *, resume: bool) -> TrainResult:
    guard = RuleGuard(catalogue().values())
    if isinstance(recipe, PreparedRecipe):
        recipe.prepare()
    try:
        with _upload(config, folder):
            return train(recipe, train_settings(config), folder, observers=(guard,), resume=resume, on_event=_tell)
    except SnellenError:
        raise
    except Exception as error:
        # The log is the user's; the diagnosis is added to it and replaces nothing.
        diagnoses = explain(traceback.format_exc())
        folder.write_json("explanation.json", [_diagnosis(one) for one in diagnoses])
        for one in diagnoses[:1]:
            error.add_note(f"snellen: {one.title} ({one.slug}): {one.fix.text}\nsnellen explain {one.slug}")
        raise


@contextlib.contextmanager
def _upload(config: RunConfig, folder: RunFolder) -> Iterator[None]:
    """Upload the curves beside the run, when that is possible, and say what is left for later."""
    reason = why_not_online() if config.track.wandb else "track.wandb is false"
    if reason:
        if config.track.wandb and reason != "wandb is not installed":
            note(f"wandb: offline, {reason}; later: snellen sync {folder.path}")
        yield
        return
    uploader = Uploader(folder.path, project=config.track.project)
    with uploader:
        try:
            yield
        finally:
            problem = uploader.close()
            if problem:
                note(f"wandb: not everything was uploaded, {problem}; later: snellen sync {folder.path}")


def _tell(event: Event) -> None:
    # A function of the module, because several devices mean several processes, and it is sent to them.
    if event.slug == "interrupted":
        return  # the error that ends the command says so
    note(event.message)
    if "fix" in event.data:
        note(f"fix: {event.data['fix']} snellen explain {event.slug} says more")


def _environment(config: RunConfig, settled: Sequence[Resolution]) -> dict[str, Any]:
    environment = collect(code=config.code, seed=config.seed)
    environment["settled"] = [{"key": one.key, "value": str(one.value), "why": one.why} for one in settled]
    environment["data"] = {}
    for split in ("train", "val", "test"):
        root = getattr(config.data, split)
        if root is not None and root.is_dir():
            files = find_images([root], recursive=True).files
            environment["data"][split] = {"files": len(files), "sha256": hash_file_list(files, root=root)}
    return environment


def _diagnosis(diagnosis: Any) -> dict[str, Any]:
    return {
        "slug": diagnosis.slug,
        "score": diagnosis.score,
        "cause": diagnosis.cause,
        "fix": diagnosis.fix.text,
        "evidence": [one.text for one in diagnosis.evidence],
    }
