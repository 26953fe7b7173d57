"""The life of a run on fake tensors: training steps with everything that belongs to them, validation, prediction."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import DataDependentOutputException, DynamicOutputShapeException
from torch.optim import Optimizer

from snellen.errors import SnellenError
from snellen.estimate.cuda_rules import CudaRules
from snellen.estimate.eight_bit import EightBitStates
from snellen.estimate.processor_kernels import inside_operator
from snellen.trace.contents import tensors_in
from snellen.trace.fake import build_without_weights, fake_tensors, give_weights, settle_lazy
from snellen.trace.recorder import Recorder
from snellen.trace.shapes import shapes_only
from snellen.trace.timeline import Category, Timeline

__all__ = ["NeedsNumbers", "Phase", "StepFailed", "Workload", "record"]

Phase = Literal["train", "validate", "save", "predict"]
_NUMPY = "numpy() is not supported for tensor subclasses"
"""What a fake tensor says where its numbers are wanted."""
_DTYPES = {"fp32": None, "fp16": torch.float16, "bf16": torch.bfloat16}


class StepFailed(SnellenError):  # noqa: N818 - says what happened
    """The model, its loss or its optimiser raised something when it was gone through."""

    @classmethod
    def because(cls, error: Exception, what: str, *, hint: str | None = None) -> Self:
        """What happened, followed by what was raised, in one line."""
        said = f"{type(error).__name__}: {str(error).strip()}".partition("\n")[0][:300]
        return cls(f"{what}: {said}", hint=hint)


class NeedsNumbers(Exception):  # noqa: N818 - an answer, not a failure
    """The step depends on the values of tensors, such as the number of boxes found: shapes alone do not settle it."""


def _call(model: nn.Module, batch: Any) -> Any:
    """The model's outputs for a tensor, or for a sequence of arguments."""
    return model(*batch) if isinstance(batch, (tuple, list)) else model(batch)


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """What one step does.

    Args:
        build: Makes the model.
        batch: Makes a batch of so many samples.
        loss: The loss of a batch; the mean of all outputs by default, which keeps what any loss keeps of the model and
            nothing of its own.
        outputs: What validation and prediction ask of the model.
        validation: Makes what validation looks at, for so many samples; as `batch` without it.
        prediction: Makes what prediction looks at: its largest input; a batch without it.
        full_outputs: Whether validation and prediction run in float32 whatever the precision.
        one_by_one: Whether validation looks at its samples one after the other, so that their number does not matter.
        optimiser: Makes the optimiser of the trainable parameters; `None` when nothing is trained.
        groups: The groups of a model's parameters that the optimiser gets, as the run has them; one without it.
        running: The optimiser of steps that are really taken, where `optimiser` only takes its memory.
        batch_size: Samples of a micro-batch.
        accumulate: Micro-batches of one optimiser step.
        precision: `fp32`, `fp16` or `bf16`.
        clip: Whether gradients are clipped by their norm.
        average: Whether a moving average of the weights is kept.
        cuda: Whether operators behave as on CUDA.
        assumed: What the prediction takes for granted, for people.
        unreached: Names of parameters that the loss does not reach: they get no gradient, and the optimiser keeps
            nothing of them. A training step that is gone through on shapes finds them by itself.
    """

    build: Callable[[], nn.Module]
    batch: Callable[[int], Any]
    loss: Callable[[nn.Module, Any], Tensor] = field(default=lambda model, batch: _mean(_call(model, batch)))
    outputs: Callable[[nn.Module, Any], Any] = field(default=_call)
    validation: Callable[[int], Any] | None = None
    prediction: Callable[[], Any] | None = None
    full_outputs: bool = False
    one_by_one: bool = False
    optimiser: Callable[[list[Any]], Optimizer] | None = None
    groups: Callable[[nn.Module], list[dict[str, Any]]] | None = None
    running: Callable[[list[Any]], Optimizer] | None = None
    batch_size: int = 1
    accumulate: int = 1
    precision: Literal["fp32", "fp16", "bf16"] = "fp32"
    clip: bool = False
    average: bool = False
    cuda: bool = True
    assumed: tuple[str, ...] = ()
    unreached: frozenset[str] = frozenset()

    def made_optimiser(self, model: nn.Module, *, running: bool = False) -> Optimizer:
        """The optimiser, in the form that torch takes by itself on the device: CUDA works on all tensors at once.

        Args:
            model: What is trained.
            running: For steps that are really taken.

        Raises:
            ValueError: Nothing is trained.
        """
        make = self.running if running and self.running is not None else self.optimiser
        if make is None:
            raise ValueError("the workload has no optimiser, expected one that trains")
        made = make([p for p in model.parameters() if p.requires_grad] if self.groups is None else self.groups(model))
        if isinstance(made, EightBitStates):
            made.fused = self.cuda
        for group in made.param_groups:
            if "foreach" in group and group["foreach"] is None:
                group["foreach"] = self.cuda
        return made


def record(workload: Workload, phase: Phase = "train", *, real: bool = False) -> Timeline:
    """Go through the steps of a phase and write down every block of memory.

    Args:
        workload: What is done.
        phase: `train`: an optimiser step in the midst of a training; `validate`: a batch without gradients while the
            optimiser keeps its state; `save`: everything that a checkpoint holds; `predict`: an input of a model that
            is not trained.
        real: Compute with real numbers on the CPU, for models whose shapes depend on values.

    Raises:
        NeedsNumbers: The shapes depend on values; `real=True` would do.
        StepFailed: The model, its loss or its optimiser raised something.
    """
    if real:
        return _gone_through(workload, phase, "numbers")
    half = _DTYPES[workload.precision] is not None
    if workload.cuda or not half:  # autocast of the CPU does not look at meta tensors
        with suppress(NeedsNumbers, StepFailed):
            return _gone_through(workload, phase, "meta")
    return _gone_through(workload, phase, "fake")


def _gone_through(workload: Workload, phase: Phase, how: Literal["meta", "fake", "numbers"]) -> Timeline:
    recorder = Recorder(None if workload.cuda else inside_operator)
    half = None if workload.full_outputs and phase != "train" else _DTYPES[workload.precision]
    rules = CudaRules(half) if workload.cuda else _CpuRules(half)
    try:
        with ExitStack() as stack:
            stack.enter_context(_no_collection())
            model = workload.build() if how == "numbers" else build_without_weights(workload.build)
            settle_lazy(model, lambda: workload.loss(model, workload.batch(workload.batch_size)))
            if how != "numbers":
                stack.enter_context(shapes_only() if how == "meta" else fake_tensors())
                give_weights(model, device="meta" if how == "meta" else "cpu")
            run = _Run(workload, model, recorder, rules, phase)
            run.have_trained()
            stack.enter_context(recorder)
            run.go()
            recorder.close()
        if how != "numbers" and run.unreached != workload.unreached:
            return _gone_through(replace(workload, unreached=run.unreached), phase, how)
        recorder.timeline.unreached = run.unreached
    except (DataDependentOutputException, DynamicOutputShapeException) as error:
        raise NeedsNumbers(str(error).partition("\n")[0]) from error
    except SnellenError:
        raise
    except Exception as error:
        if how != "numbers" and _NUMPY in str(error):
            raise NeedsNumbers(str(error).partition("\n")[0]) from error
        samples = "one sample" if workload.batch_size == 1 else f"{workload.batch_size} samples"
        raise StepFailed.because(
            error,
            f"the {phase} step, with {samples} on tensors without numbers, stopped{_module_of(error)}",
            hint="snellen trace MODEL --input ... shows the module that refuses",
        ) from error
    return recorder.timeline


def _module_of(error: BaseException) -> str:
    """Where: the innermost module in whose own code it was raised, by its path in the outermost one."""
    entered: list[nn.Module] = []
    trace = error.__traceback__
    while trace is not None:
        owner = trace.tb_frame.f_locals.get("self")
        if isinstance(owner, nn.Module):
            entered.append(owner)
        trace = trace.tb_next
    if not entered:
        return ""
    name = next((name for name, module in entered[0].named_modules() if module is entered[-1]), "")
    return f" in {name or 'the model itself'} ({type(entered[-1]).__name__})"


@contextmanager
def _no_collection() -> Iterator[None]:
    """Rings of objects are not collected inside, so that the same step is recorded in the same way each time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


class _CpuRules:
    """Autocast of the CPU itself."""

    def __init__(self, dtype: torch.dtype | None) -> None:
        self._dtype = dtype

    def forget_weights(self) -> None:
        """Leaving autocast does that."""

    @contextmanager
    def scope(self) -> Iterator[None]:
        with torch.autocast("cpu", dtype=self._dtype or torch.bfloat16, enabled=self._dtype is not None):
            yield


@dataclass(slots=True)
class _Run:
    workload: Workload
    model: nn.Module
    recorder: Recorder
    rules: CudaRules | _CpuRules
    phase: Phase
    optimiser: Optimizer | None = None
    unreached: frozenset[str] = frozenset()

    def have_trained(self) -> None:
        """Give the optimiser the state that it has in the midst of a training; not recorded."""
        if self.workload.optimiser is None or self.phase == "predict":
            return
        trained = self._trained()
        if not trained:
            raise StepFailed("no parameter of the model is to be trained", hint="--inference looks at prediction alone")
        self.optimiser = self.workload.made_optimiser(self.model)
        self.unreached = self.workload.unreached
        for name, parameter in self.model.named_parameters():
            if parameter.requires_grad and name not in self.unreached:
                parameter.grad = torch.zeros_like(parameter)
        self.optimiser.step()
        self.optimiser.zero_grad()

    def go(self) -> None:
        recorder, model, workload, phase = self.recorder, self.model, self.workload, self.phase
        recorder.follow(model.parameters(), Category.PARAMETERS)
        recorder.follow(model.buffers(), Category.BUFFERS)
        undo = recorder.watch_modules(model)
        training = phase == "train" and workload.optimiser is not None
        model.train(training)
        averaged = workload.average and phase != "predict"
        kept = [torch.empty_like(tensor) for tensor in (*model.parameters(), *model.buffers())] if averaged else []
        recorder.follow(kept, Category.AVERAGE)
        if self.optimiser is not None:
            recorder.follow(tensors_in(list(self.optimiser.state.values())), Category.OPTIMISER)
        try:
            if training:
                self._train()
            elif phase == "save":
                self._save(kept)
            else:
                self._evaluate(self._given(phase))
        finally:
            undo()

    def _trained(self) -> list[nn.Parameter]:
        return [parameter for parameter in self.model.parameters() if parameter.requires_grad]

    def _given(self, phase: Phase) -> Callable[[], Any]:
        """What makes the input of a phase without gradients."""
        workload = self.workload
        if phase == "predict" and workload.prediction is not None:
            return workload.prediction
        make = workload.validation if phase == "validate" and workload.validation is not None else workload.batch
        return lambda: make(workload.batch_size)

    def _save(self, kept: Sequence[Tensor]) -> None:
        """On the device only what has to be made contiguous is copied; the rest goes to the host as it is."""
        self.recorder.phase = Category.UPDATE
        state = [] if self.optimiser is None else list(tensors_in(list(self.optimiser.state.values())))
        for tensor in (*self.model.state_dict().values(), *kept, *state):
            tensor.detach().contiguous()

    @contextmanager
    def _scope(self) -> Iterator[None]:
        with self.rules if isinstance(self.rules, CudaRules) else self.rules.scope():
            yield
        self.rules.forget_weights()

    def _batch(self, make: Callable[[], Any]) -> Any:
        self.recorder.phase = Category.INPUTS
        given = make()
        self.recorder.follow(tensors_in(given), Category.INPUTS)
        self.recorder.phase = Category.ACTIVATIONS
        return given

    def _train(self) -> None:
        workload, recorder = self.workload, self.recorder
        trained, make = self._trained(), self._given("train")
        optimiser = self.optimiser or workload.made_optimiser(self.model)
        for _ in range(workload.accumulate):
            with self._scope():
                loss = workload.loss(self.model, self._batch(make))
            recorder.phase = Category.BACKWARD
            # Gradient checkpointing runs the forward pass again in here, under autocast as the first time.
            with self._scope():
                _backward(loss / workload.accumulate)
            del loss
            recorder.follow((p.grad for p in trained if p.grad is not None), Category.GRADIENTS)
        self.unreached = frozenset(
            name for name, one in self.model.named_parameters() if one.requires_grad and one.grad is None
        )
        recorder.phase = Category.UPDATE
        if workload.clip:
            torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimiser.step()
        optimiser.zero_grad()

    def _evaluate(self, make: Callable[[], Any]) -> None:
        with torch.no_grad(), self._scope():
            self.workload.outputs(self.model, self._batch(make))


def _backward(loss: Tensor) -> None:
    """As `loss.backward()`, which would turn the mode for autocast off while it runs."""
    run: Callable[..., Any] = torch.autograd.graph._engine_run_backward
    run((loss,), (torch.ones_like(loss),), False, False, (), allow_unreachable=True, accumulate_grad=True)


def _mean(outputs: Any) -> Tensor:
    values = [tensor.float().mean() for tensor in tensors_in(outputs) if tensor.is_floating_point()]
    if not values:
        raise StepFailed(
            f"the model gave {_kind(outputs)} without floating-point tensors: there is no loss to go back from",
            hint="estimate a run file, whose task has a loss; or --inference for prediction alone",
        )
    return torch.stack(values).sum()


def _kind(outputs: Any) -> str:
    name = type(outputs).__name__
    return "nothing, that is an answer" if outputs is None else f"{'an' if name[0] in 'AEIOUaeiou' else 'a'} {name}"
