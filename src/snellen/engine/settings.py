"""How to train: plain numbers, checked once, the same for every task."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from snellen.data.cache.budget import CacheSettings
from snellen.errors import UsageError

__all__ = ["Optimiser", "TrainSettings"]

Optimiser = Literal["adamw", "adam", "sgd", "adamw-8bit"]
Schedule = Literal["cosine", "one-cycle", "constant"]
PrecisionName = Literal["auto", "fp32", "fp16", "bf16"]
AcceleratorName = Literal["auto", "cpu", "cuda", "mps"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainSettings:
    """Settings of one training run.

    Args:
        epochs: Passes over the training data, at least 1.
        max_steps: Stop after this many optimiser steps, even within an epoch; `None` for no limit.
        batch_size: Samples per device and forward pass; fewer when the dataset is smaller than that.
        accumulate: Forward passes per optimiser step.
        clip_norm: Scale gradients down to this L2 norm; `None` to leave them.
        optimiser: `adamw`, `adam`, `sgd` with `momentum`, or `adamw-8bit`, which needs bitsandbytes.
        lr: Peak learning rate of parameter groups that state none.
        weight_decay: For parameter groups that state none.
        momentum: Of `sgd`.
        schedule: Course of the learning rate; `cosine` and `constant` begin with a warm-up.
        warmup_steps: Steps of linear rise; `None` to take `warmup_fraction` of all steps.
        warmup_fraction: 0 to 1; for `one-cycle` the share of the rising part.
        ema_decay: Decay of the moving average of the weights, for example 0.999; `None` for no average.
        precision: `auto` is bf16 where the hardware has it, else fp16 with loss scaling on CUDA, else fp32.
        accelerator: `auto` is CUDA, else MPS, else CPU.
        devices: Number of devices, or of processes on a CPU.
        workers: Processes that load data, per device; 0 loads in the training process.
        seed: Of everything random.
        patience: Stop after this many evaluations without a better headline metric; `None` to never stop early.
        checkpoint_every: Steps between checkpoints within an epoch; `None` for the end of epochs only.
        checkpoint_seconds: Save as well when this much time has passed since the last; `None` for never.
        keep_last: How many of the newest checkpoints are kept, so that a torn one has one before it.
        evaluate_every: Epochs between evaluations; the last epoch is always evaluated.
        log_every: Steps between lines of `metrics.jsonl`.
        max_overflows: fp16 steps in a row that may overflow, each skipped with a smaller scale, before the run stops.
        recoveries: Steps that are not finite from which the run may go on, see `snellen.engine.recovery`; 0 for none.
        tensorboard: Write TensorBoard events as well.
        cache: Keep decoded samples in memory that all processes share; `None` for none.

    Raises:
        UsageError: A value out of range.

    Example:
        >>> TrainSettings(batch_size=0)
        Traceback (most recent call last):
        ...
        snellen.errors.UsageError: batch_size is 0, expected at least 1
    """

    epochs: int = 10
    max_steps: int | None = None
    batch_size: int = 8
    accumulate: int = 1
    clip_norm: float | None = 1.0
    optimiser: Optimiser = "adamw"
    lr: float = 1e-4
    weight_decay: float = 0.01
    momentum: float = 0.9
    schedule: Schedule = "cosine"
    warmup_steps: int | None = None
    warmup_fraction: float = 0.05
    ema_decay: float | None = None
    precision: PrecisionName = "auto"
    accelerator: AcceleratorName = "auto"
    devices: int = 1
    workers: int = 0
    seed: int = 0
    patience: int | None = None
    checkpoint_every: int | None = 500
    checkpoint_seconds: float | None = 600.0
    keep_last: int = 2
    evaluate_every: int = 1
    log_every: int = 10
    max_overflows: int = 20
    recoveries: int = 0
    tensorboard: bool = True
    cache: CacheSettings | None = None

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "accumulate", "devices", "keep_last", "evaluate_every", "log_every"):
            _at_least(name, getattr(self, name), 1)
        for name in ("max_steps", "patience", "checkpoint_every", "max_overflows"):
            _at_least(name, getattr(self, name), 1)
        for name in ("workers", "seed", "warmup_steps", "recoveries"):
            _at_least(name, getattr(self, name), 0)
        for name in ("lr", "clip_norm", "checkpoint_seconds"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise UsageError(f"{name} is {value}, expected more than 0")
        _within("weight_decay", self.weight_decay, 0.0, float("inf"))
        _within("momentum", self.momentum, 0.0, 1.0)
        _within("warmup_fraction", self.warmup_fraction, 0.0, 1.0)
        _within("ema_decay", self.ema_decay, 0.0, 1.0)
        _one_of("optimiser", self.optimiser, get_args(Optimiser))
        _one_of("schedule", self.schedule, get_args(Schedule))
        _one_of("precision", self.precision, get_args(PrecisionName))
        _one_of("accelerator", self.accelerator, get_args(AcceleratorName))


def _at_least(name: str, value: int | None, least: int) -> None:
    if value is not None and value < least:
        raise UsageError(f"{name} is {value}, expected at least {least}")


def _within(name: str, value: float | None, low: float, high: float) -> None:
    if value is not None and not low <= value <= high:
        raise UsageError(f"{name} is {value}, expected {low} to {high}")


def _one_of(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise UsageError(f"{name} is {value!r}, expected one of {', '.join(choices)}")
