"""The stages of a run's life, as they run in the process of a rehearsal."""

from __future__ import annotations

import ast
import dataclasses
import importlib.util
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snellen.core.step import Step, Verdict
from snellen.errors import ContractError, SnellenError
from snellen.rehearsal.failing import Absent, Several, failure_of
from snellen.rehearsal.stages import Failure
from snellen.tasks.target import Target, open_target

if TYPE_CHECKING:
    # torch is loaded by the stage `model`: a run whose settings are wrong should hear of that first.
    from torch import nn

    from snellen.engine.settings import TrainSettings
    from snellen.rehearsal.shrinking import Shrunk

__all__ = ["Life"]

STEPS = 3
"""Two before the kill, one after it."""
BATCH = 2
SAMPLES = {"train": 8, "val": 4}
_PATIENCE = 60.0


class Life:
    """What the stages share; each is a method of its name, and says in a sentence what it did.

    Args:
        plan: Run file, overrides, scratch folder, small data folders.
        tell: Tells the parent something.
    """

    def __init__(self, plan: Mapping[str, Any], *, tell: Callable[[str], None]) -> None:
        self._plan = plan
        self._tell = tell
        self._scratch = Path(plan["scratch"])

    @cached_property
    def target(self) -> Target:
        """The run, shrunk: few samples, small batches, everything below the scratch folder."""
        target = open_target(Path(self._plan["run_file"]), self._plan["overrides"])
        config = target.config
        small = {split: Path(one["folder"]) for split, one in self._plan["data"].items()}
        workers = config.data.workers
        data = config.data.model_copy(update={**small, "workers": min(1, workers) if isinstance(workers, int) else 0})
        optim = config.optim.model_copy(
            update={
                "batch_size": min(BATCH, config.optim.batch_size),
                "accumulate": 1,
                "epochs": STEPS,
                "max_steps": STEPS,
                "evaluate_every": STEPS,
                "checkpoint_every": STEPS - 1,
                "patience": None,
            }
        )
        update = {"data": data, "optim": optim, "output": self._scratch / "runs", "name": "rehearsal", "devices": 1}
        return dataclasses.replace(target, config=config.model_copy(update=update))

    @cached_property
    def recipe(self) -> Shrunk:
        """The task's recipe on few samples."""
        from snellen.rehearsal.shrinking import Shrunk  # noqa: PLC0415 - see above

        return Shrunk(self.target.task.build_recipe(self.target.config), SAMPLES)

    @cached_property
    def module(self) -> nn.Module:
        """A model at its start."""
        import torch  # noqa: PLC0415 - see above

        torch.manual_seed(self.target.config.seed)
        return self.recipe.build_model()

    @cached_property
    def train_settings(self) -> TrainSettings:
        """The engine's settings; a CPU has no fp16 worth the name, so that half precision is rehearsed in bf16."""
        import torch  # noqa: PLC0415 - see above

        from snellen.tasks.train import train_settings  # noqa: PLC0415 - see above

        settings = train_settings(self.target.config)
        if settings.precision == "fp16" and not torch.cuda.is_available():
            settings = dataclasses.replace(settings, precision="bf16")
        return dataclasses.replace(settings, log_every=1)

    @property
    def folder(self) -> Path:
        """Where the run is rehearsed."""
        return self._scratch / "runs" / "rehearsal"

    def settings(self) -> str:
        """Read and resolve the run file."""
        config = self.target.config
        return f"{len(self.target.settled)} values resolved; {STEPS} steps of {config.optim.batch_size} samples"

    def code(self) -> str:
        """Compile the run's own code, without running it, and find the modules that it imports."""
        places = self.target.config.code
        if not places:
            raise Absent("the run names no `code`")
        files = [file for place in places for file in (sorted(place.rglob("*.py")) if place.is_dir() else [place])]
        sys.path[:0] = list(dict.fromkeys(str(place if place.is_dir() else place.parent) for place in places))
        failures = [failure for file in files if file.suffix == ".py" for failure in _problems_of(file)]
        if failures:
            raise Several(failures)
        return f"{len(files)} files compiled"

    def model(self) -> str:
        """Build the model."""
        parameters = sum(parameter.numel() for parameter in self.module.parameters())
        return f"{type(self.module).__name__}, {parameters:,} parameters"

    def train_data(self) -> str:
        """Load samples and make a batch of them; every bad sample is told."""
        _ = self.module  # recipes may learn their sizes from the model
        return self._load(self.recipe.train_dataset(), "training")

    def validation_data(self) -> str:
        """The same for validation."""
        _ = self.module
        dataset = self.recipe.evaluation_dataset("val")
        if dataset is None:
            raise Absent("the run has no validation split")
        return self._load(dataset, "validation")

    def _load(self, dataset: Any, what: str) -> str:
        samples, failures = [], []
        for index in range(len(dataset)):
            try:
                samples.append(dataset[index])
            except Exception as error:  # noqa: BLE001 - all bad samples are told, not the first
                failures.append(failure_of(error, about=f"sample {index}"))
        if samples:
            try:
                self.recipe.collate(samples[:BATCH])
            except Exception as error:  # noqa: BLE001 - see above
                failures.append(failure_of(error, about="collate"))
        if failures:
            raise Several(failures)
        if not samples:
            raise SnellenError(f"there is no sample of {what}", slug="empty-dataset")
        return f"{len(samples)} samples of {what} loaded and collated"

    def validate(self) -> str:
        """Validate with the weights at their start, so that an error of training does not hide one of validation."""
        from snellen.engine.evaluate import evaluate  # noqa: PLC0415 - see above

        if self.recipe.evaluation_dataset("val") is None:
            raise Absent("the run has no validation split")
        metrics = evaluate(self.recipe, self.train_settings, self._untrained(), "val")
        if self.recipe.headline not in metrics:
            raise ContractError(f"the metrics have no {self.recipe.headline!r}, the recipe's headline")
        return f"{self.recipe.headline} {metrics[self.recipe.headline]:.3g} with untrained weights"

    def train(self) -> str:
        """Train until the third step, in which the parent kills this process."""
        from snellen.core.run_folder import RunFolder  # noqa: PLC0415 - see above
        from snellen.engine.train import train  # noqa: PLC0415

        config = self.target.config
        with RunFolder.create(config.output, config.name) as folder:
            train(self.recipe, self.train_settings, folder, observers=(*self._guards(), _WaitForKill(self._tell)))
        raise ContractError(f"training ended before its step {STEPS}: it has fewer batches than that")

    def resume(self) -> str:
        """Go on from the checkpoint that the killed process left."""
        from snellen.core.run_folder import RunFolder  # noqa: PLC0415 - see above
        from snellen.engine.train import train  # noqa: PLC0415

        with RunFolder.open(self.folder) as folder:
            result = train(self.recipe, self.train_settings, folder, observers=self._guards(), resume=True)
            resumed = [event for event in folder.events() if event["slug"] == "resume"]
        if not resumed or resumed[-1].get("step") != STEPS - 1:
            raise ContractError(f"it went on after step {resumed[-1:]}, expected {STEPS - 1}: the checkpoint was lost")
        return f"went on after step {STEPS - 1} and finished {result.steps} steps"

    def predict(self) -> str:
        """Predict a few inputs with the checkpoint, or with untrained weights where training failed."""
        from snellen.tasks.predict import predict_run  # noqa: PLC0415 - see above

        inputs = self._inputs()
        target = dataclasses.replace(self.target, folder=self._trained_folder())
        report, _, _ = predict_run(target, inputs, out=self._scratch / "predictions", limit=BATCH)
        if report.failures:
            raise Several([Failure(one.sentence, slug=one.slug or "") for one in report.failures])
        return f"{report.done} inputs predicted"

    def export(self) -> str:
        """Export weights and graph."""
        from snellen.rehearsal.exporting import export_all  # noqa: PLC0415 - see above

        dataset = self.recipe.evaluation_dataset("val") or self.recipe.train_dataset()
        batch = self.recipe.collate([dataset[0]])
        return export_all(self.recipe, self.module, batch, self._scratch)

    def _guards(self) -> tuple[Any, ...]:
        from snellen.guard.watcher import RuleGuard  # noqa: PLC0415 - see above
        from snellen.rules.catalogue import catalogue  # noqa: PLC0415

        return (RuleGuard(catalogue().values()),)

    def _inputs(self) -> list[Path]:
        from snellen.data.listing import find_images  # noqa: PLC0415 - see above

        named = [
            Path(image)
            for split in ("val", "test", "train")
            for image in self._plan["data"].get(split, {}).get("images", ())
        ]
        if named:
            return named
        data = self.target.config.data
        folders = [folder for folder in (data.val, data.test, data.train) if folder is not None]
        return list(find_images(folders[:1], recursive=True).files)[:BATCH]

    def _untrained(self) -> Path:
        """The weights at their start, as a file."""
        from safetensors.torch import save_file  # noqa: PLC0415 - see above

        from snellen.engine.store import savable  # noqa: PLC0415

        path = self._scratch / "untrained.safetensors"
        if not path.exists():
            save_file(savable(self.module.state_dict()), path)
        return path

    def _trained_folder(self) -> Path:
        """The rehearsed run's folder when it came to a best checkpoint, else one with the weights at their start."""
        if (self.folder / "checkpoints" / "best").is_dir() or (self.folder / "checkpoints" / "last").is_dir():
            return self.folder
        from snellen.engine.position import Position  # noqa: PLC0415 - see above
        from snellen.engine.store import CheckpointStore  # noqa: PLC0415

        folder = self._scratch / "stand-in"
        state = {"position": Position().to_dict()}
        CheckpointStore(folder / "checkpoints").write("best", {"model": self.module.state_dict()}, state)
        return folder


class _WaitForKill:
    """Lets two steps pass; in the third it asks to be killed and waits for that."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell

    def observe(self, step: Step) -> Sequence[Verdict]:
        """Called before each optimiser step."""
        if step.step == STEPS - 1:
            self._tell("kill me")
            time.sleep(_PATIENCE)
        return ()


def _problems_of(file: Path) -> Iterator[Failure]:
    try:
        tree = ast.parse(file.read_bytes(), str(file))
    except (OSError, SyntaxError, ValueError, RecursionError) as error:
        yield failure_of(error, about=str(file))
        return
    for node in tree.body:
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [node.module]
        for name in names:
            top = name.partition(".")[0]
            try:
                found = top in sys.modules or importlib.util.find_spec(top) is not None
            except (ImportError, ValueError):
                found = False
            if not found:
                yield Failure(f"{file}:{node.lineno} imports {top}, which is not installed", slug="missing-package")
