"""A task as the verbs see it: a name, and a folder whose files have agreed names.

`tasks/<task>/` may hold

    config.py    SCHEMA: the run model                      facts.py    facts(...): what checks may ask; resolvers(...)
    recipe.py    build_recipe(...): for the engine          predict.py  build_predictor(...): for any number of inputs
                                                     or predict_all(...): for all of them in one stream
    evaluate.py  evaluate(...): metrics on a split          data.py model.py loss.py metrics.py: parts of these
    footprint.py inference(...): what one image takes when it is not trained on
                 smaller_parts(...): settings with which it takes less

Nothing is imported before it is asked for, so that listing tasks or checking a run file costs no torch.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from snellen.config.resolve import Resolver
from snellen.config.schema import RunConfig
from snellen.core.plan import Plan
from snellen.errors import UsageError

__all__ = ["Evaluation", "Inference", "Predictor", "Task", "Verb"]

Verb = Literal["train", "evaluate", "predict"]


@dataclass(frozen=True, slots=True)
class Inference:
    """How a task looks at one image of its own size, in validation and prediction.

    Args:
        make: Makes tensors of the shapes that are on the device then.
        call: What the model does with them.
        passes: How often it does that for one image.
        what: For people: `tiles of 1344 x 1344`.
        full: Whether it computes in float32 whatever the precision of training.
    """

    make: Callable[[], Any]
    call: Callable[[Any, Any], Any]
    passes: int
    what: str
    full: bool = False


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Result of an evaluation.

    Args:
        metrics: Numbers by name.
        rows: One mapping for each image, for the table.
        notes: What a reader must know: images left out, and why.
        tables: Further rows by name: `classes` has one for each class.
    """

    metrics: Mapping[str, float]
    rows: Sequence[Mapping[str, Any]] = ()
    notes: Sequence[str] = ()
    tables: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)


class Predictor(Protocol):
    """Turns one input after the other into files below a folder."""

    def predict(self, item: Path, name: str) -> dict[str, Any]:
        """Predict one input, write its files under a name of its own, and return plain data for the ledger."""
        ...

    def finish(self, names: Sequence[str], records: Mapping[str, Mapping[str, Any]]) -> list[Path]:
        """Write what concerns all inputs; an input that failed has a name and no record. Returns the files."""
        ...


@dataclass(frozen=True, slots=True)
class Task:
    """One task.

    Args:
        name: As in `task:` of a run file, and the name of its folder.
        title: One line for people.
    """

    name: str
    title: str

    def schema(self) -> type[RunConfig]:
        """The run model of this task."""
        schema: type[RunConfig] = self._part("config", "SCHEMA")
        return schema

    def facts(self) -> Mapping[str, Callable[[Plan], Any]]:
        """Providers of the facts that only this task knows."""
        facts: Mapping[str, Callable[[Plan], Any]] = self._part("facts", "FACTS")
        return facts

    def resolvers(self) -> Mapping[str, Resolver]:
        """How this task settles its own `auto` values."""
        resolvers: Mapping[str, Resolver] = self._part("facts", "RESOLVERS")
        return resolvers

    @property
    def verbs(self) -> tuple[Verb, ...]:
        """What can be done with a run of it."""
        parts: Mapping[Verb, str] = {"train": "recipe", "evaluate": "evaluate", "predict": "predict"}
        package = f"snellen.tasks.{self.name}"
        return tuple(verb for verb, part in parts.items() if importlib.util.find_spec(f"{package}.{part}") is not None)

    def command(self, verb: Verb, target: str) -> str:
        """What to type for one of its verbs.

        Args:
            verb: One of `verbs`.
            target: The run file, or a run's folder.
        """
        return f"snellen {verb} {target}" + (" IMAGES -o OUT" if verb == "predict" else "")

    def build_recipe(self, config: RunConfig) -> Any:
        """A `snellen.engine.recipe.Recipe`.

        Raises:
            UsageError: These settings have nothing to learn.
        """
        return self._part("recipe", "build_recipe")(config)

    def build_predictor(self, config: RunConfig, *, checkpoints: Path | None, out: Path) -> Predictor:
        """A predictor that writes below `out`, with the weights of a run when there are some."""
        predictor: Predictor = self._part("predict", "build_predictor")(config, checkpoints=checkpoints, out=out)
        return predictor

    @property
    def streams(self) -> bool:
        """Whether it predicts all inputs in one stream rather than one after the other."""
        return hasattr(importlib.import_module(f"snellen.tasks.{self.name}.predict"), "predict_all")

    def predict_all(
        self,
        config: RunConfig,
        inputs: Sequence[Path],
        *,
        checkpoints: Path | None,
        out: Path,
        limit: int | None,
        engine: str,
        quiet: bool,
    ) -> tuple[Any, list[Path]]:
        """Predict all inputs in one stream: what it came to, and the files that concern all of them.

        The weights of a trained run, if there is one, lie in `checkpoints`; a task that does not train takes none.
        """
        found: tuple[Any, list[Path]] = self._part("predict", "predict_all")(
            config,
            inputs,
            out=out,
            limit=limit,
            engine=engine,
            quiet=quiet,
            **({} if checkpoints is None else {"checkpoints": checkpoints}),
        )
        return found

    def evaluate(
        self,
        config: RunConfig,
        *,
        checkpoints: Path | None,
        split: str,
        limit: int | None = None,
        gallery: Path | None = None,
    ) -> Evaluation:
        """Metrics on a split; pictures of the worst errors go into `gallery`, when it is given."""
        evaluation: Evaluation = self._part("evaluate", "evaluate")(
            config, checkpoints=checkpoints, split=split, limit=limit, gallery=gallery
        )
        return evaluation

    def write_page(self, config: RunConfig, folder: Path) -> Path | None:
        """The report of a trained run, `None` where the task has none.

        Raises:
            SnellenError: What it is about cannot be read, or it cannot be written.
        """
        name = f"snellen.tasks.{self.name}.page"
        if importlib.util.find_spec(name) is None or not hasattr(importlib.import_module(name), "write_page"):
            return None
        written: Path = self._part("page", "write_page")(config, folder)
        return written

    def inference(self, config: RunConfig, size: tuple[int, int]) -> Inference | None:
        """How one image of a size `(height, width)` is looked at; `None` where that is as in training."""
        if importlib.util.find_spec(f"snellen.tasks.{self.name}.footprint") is None:
            return None
        found: Inference = self._part("footprint", "inference")(config, size)
        return found

    def smaller_parts(self, config: RunConfig) -> Sequence[tuple[str, Any]]:
        """Key path and value of settings with which one image takes less; none where it is looked at as in training."""
        if importlib.util.find_spec(f"snellen.tasks.{self.name}.footprint") is None:
            return ()
        found: Sequence[tuple[str, Any]] = self._part("footprint", "smaller_parts")(config)
        return found

    def _part(self, module: str, attribute: str) -> Any:
        name = f"snellen.tasks.{self.name}.{module}"
        try:
            return getattr(importlib.import_module(name), attribute)
        except ModuleNotFoundError as error:
            if error.name != name:
                raise
            commands = "; ".join(self.command(verb, "RUN.yaml") for verb in self.verbs)
            raise UsageError(f"the task {self.name} has no {module}", hint=commands or None) from error
