"""Predicted against measured, for steps that really run here; and what follows from predictions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from snellen.estimate.advice import changes_for
from snellen.estimate.cuda_rules import CudaRules
from snellen.estimate.devices import Device
from snellen.estimate.duration import step_duration
from snellen.estimate.prediction import TRAINING, Predictor
from snellen.estimate.processor_kernels import inside_operator
from snellen.estimate.step import NeedsNumbers, StepFailed, Workload, record
from snellen.trace.measured import held_bytes, peak_above_start
from snellen.trace.timeline import Category

MIB = 1 << 20
T4 = Device("t4", 15 * 2**30, {"fp32": 8.1, "half": 65.0}, 320e9, (7, 5))


class Attention(nn.Module):
    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.inner = nn.MultiheadAttention(width, 4, batch_first=True)
        self.norm = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Dropout(0.1), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        normed = self.norm(x)
        x = x + self.inner(normed, normed, normed, need_weights=False)[0]
        return x + self.mlp(x)


def convolutions() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(inplace=True),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10),
    )  # fmt: skip


def workload(kind: str, **changes: object) -> Workload:
    build: Callable[[], nn.Module] = convolutions if kind == "convolutions" else Attention
    shape = (3, 96, 96) if kind == "convolutions" else (512, 64)
    made = Workload(
        build=build,
        batch=lambda count: torch.rand(count, *shape),
        optimiser=lambda parameters: torch.optim.AdamW(parameters, lr=1e-3, foreach=False),
        batch_size=8,
        cuda=False,
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def measured(work: Workload) -> int:
    """Two real steps; every event of the CPU allocator."""
    model = work.build()
    held = held_bytes((*model.parameters(), *model.buffers()))
    make = work.optimiser
    assert make is not None

    def steps() -> None:
        optimiser = make(list(model.parameters()))
        for _ in range(2):
            for _ in range(work.accumulate):
                loss = work.loss(model, work.batch(work.batch_size))
                (loss / work.accumulate).backward()  # type: ignore[no-untyped-call]
                del loss
            optimiser.step()
            optimiser.zero_grad()

    return held + peak_above_start(steps)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["convolutions", "attention"])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_the_peak_of_a_real_step_is_predicted(kind: str, accumulate: int) -> None:
    work = workload(kind, accumulate=accumulate)
    if kind == "attention":
        # What dropout keeps differs between CPU and CUDA; `cuda=False` predicts the CPU.
        assert record(work).at_peak()[Category.ACTIVATIONS] > MIB
    assert record(work).peak == pytest.approx(measured(work), rel=0.03)


def depthwise() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 64, 3, padding=1), nn.Conv2d(64, 64, 5, padding=2, groups=64), nn.Conv2d(64, 8, 1)
    )


def dilated() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 64, 1), nn.Conv2d(64, 64, 3, padding=6, dilation=6), nn.ReLU())


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("build", [depthwise, dilated])
def test_what_kernels_of_a_cpu_hold_inside_is_part_of_the_upper_end(build: Callable[[], nn.Module]) -> None:
    work = workload("convolutions", build=build)
    need = Predictor(work).need(Device("cpu", None), work.batch_size, "train")
    assert need.low * 0.98 < measured(work) < need.high


def test_validation_holds_the_state_of_the_optimiser_and_prediction_does_not() -> None:
    average = workload("convolutions", average=True, validation=lambda count: torch.rand(count, 3, 32, 32))
    parts = {phase: record(average, phase).at_peak() for phase in ("train", "validate", "save", "predict")}
    weights = parts["predict"][Category.PARAMETERS]
    for phase in ("validate", "save"):
        assert 2 * weights <= parts[phase][Category.OPTIMISER] <= 2 * weights + 80
        assert parts[phase][Category.AVERAGE] >= weights
    assert Category.OPTIMISER not in parts["predict"]
    assert Category.GRADIENTS not in parts["validate"]


def test_prediction_looks_at_its_own_largest_input() -> None:
    work = workload("convolutions", prediction=lambda: torch.rand(1, 3, 512, 512))
    small, large = (Predictor(one, ("predict",)).need(T4, 1, "predict") for one in (workload("convolutions"), work))
    assert large.allocated > 10 * small.allocated


def test_parts_add_up_and_states_of_adam_are_two_per_parameter() -> None:
    timeline = record(workload("convolutions"))
    numbers = sum(parameter.numel() for parameter in convolutions().parameters())
    parts = timeline.at_peak()
    assert sum(parts.values()) == timeline.peak
    assert parts[Category.PARAMETERS] == 4 * numbers
    assert 8 * numbers <= parts[Category.OPTIMISER] <= 8 * numbers + 4 * 20


def test_evaluation_keeps_no_activations() -> None:
    trained, evaluated = record(workload("convolutions")), record(workload("convolutions"), "predict")
    assert evaluated.peak < trained.peak / 2


@pytest.mark.parametrize("kind", ["convolutions", "attention"])
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_other_batch_sizes_follow_from_two_and_three_samples(kind: str, precision: str) -> None:
    work = workload(kind, cuda=True, precision=precision)
    grown = Predictor(work).timeline(17, "train")[0]
    gone_through = record(replace(work, batch_size=17))
    assert grown.peak == gone_through.peak
    assert grown.flops == gone_through.flops
    assert [block.size for block in grown.allocations] == [block.size for block in gone_through.allocations]


def test_the_largest_batch_fits_and_half_as_much_memory_takes_a_smaller_one() -> None:
    predictor = Predictor(workload("convolutions", cuda=True))
    batches = [predictor.largest_batch(replace(T4, memory_bytes=memory * MIB)) for memory in (4000, 2000, 100)]
    assert batches[0] > batches[1] > 0 == batches[2]
    small = replace(T4, memory_bytes=2000 * MIB)
    assert predictor.verdict(small, batches[1]).fits == "yes"
    assert predictor.verdict(small, 4 * batches[1]).fits == "no"
    assert predictor.verdict(replace(T4, memory_bytes=None), 1).fits == "unknown"


def test_changes_that_make_it_fit_are_ranked_by_what_they_save() -> None:
    predictor = Predictor(workload("attention", cuda=True))
    batch = 4096
    tight = replace(T4, memory_bytes=int(0.6 * predictor.worst(T4, batch).high))
    changes = changes_for(predictor, tight, batch)
    order = [(change.fits != "yes", -change.saved) for change in changes]
    assert order == sorted(order)
    smaller = next(change for change in changes if change.text.startswith("batch size"))
    assert smaller.fits == "yes"
    assert smaller.high <= (tight.memory_bytes or 0)
    assert any(change.settings == (("precision", "fp16"),) for change in changes)  # a T4 computes no bf16
    assert (smaller.settings[0][1] * dict(smaller.settings)["optim.accumulate"]) == batch


def test_half_precision_needs_less_and_the_interval_holds_what_tensors_take() -> None:
    full = Predictor(workload("attention", cuda=True)).need(T4, 64, "train")
    half = Predictor(workload("attention", cuda=True, precision="fp16")).need(T4, 64, "train")
    assert half.allocated < full.allocated
    assert full.allocated < full.low < full.high


class Selecting(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        kept = self.linear(x)
        return kept[kept > 0]


def test_shapes_that_depend_on_values_are_found_by_a_real_step() -> None:
    work = workload("convolutions", build=Selecting, batch=lambda count: torch.rand(count, 4))
    with pytest.raises(NeedsNumbers):
        record(work)
    need = Predictor(work).need(T4, 8, "train")
    assert need.how == "numbers"
    assert need.allocated > 0


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Sequential(nn.Linear(64, 256), nn.GELU(), nn.Linear(256, 64)) for _ in range(6))
        self.checkpointed = False

    def set_grad_checkpointing(self) -> None:
        self.checkpointed = True

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = x + (checkpoint(layer, x, use_reentrant=False) if self.checkpointed else layer(x))
        return x


def test_recomputation_under_autocast_is_gone_through_and_saves_memory() -> None:
    predictor = Predictor(workload("attention", build=Block, cuda=True, precision="fp16"))
    need = predictor.need(T4, 2048, "train")
    changes = changes_for(predictor, replace(T4, memory_bytes=need.low), 2048)
    recomputed = next(change for change in changes if "checkpointing" in change.text)
    assert recomputed.saved > need.allocated / 3


def test_a_model_that_refuses_its_input_is_one_clear_error() -> None:
    with pytest.raises(StepFailed, match="reduction dim"):
        record(workload("attention", build=lambda: nn.Linear(63, 2)))


@pytest.mark.parametrize(
    ("function", "dtype"),
    [
        (lambda x: x @ x, torch.float16),
        (lambda x: torch.matmul(x, x), torch.float16),
        (lambda x: F.linear(x, nn.Parameter(torch.ones(8, 8))), torch.float16),
        (lambda x: F.conv1d(x, torch.ones(8, 8, 1)), torch.float16),
        (lambda x: torch.einsum("bij,bjk->bik", x, x), torch.float16),
        (lambda x: F.scaled_dot_product_attention(x, x, x), torch.float16),
        (lambda x: torch.softmax(x @ x, -1), torch.float32),
        (lambda x: (x @ x).softmax(-1), torch.float32),
        (lambda x: F.layer_norm(x @ x, (8,)), torch.float32),
        (lambda x: F.mse_loss(x @ x, x), torch.float32),
        (lambda x: (x @ x).sum(), torch.float32),
        (lambda x: F.relu(x @ x), torch.float16),
        (lambda x: (x @ x) + x, torch.float32),
        (lambda x: F.batch_norm(x @ x, None, None, training=True), torch.float16),
    ],
)
def test_what_runs_in_half_precision_is_what_the_documentation_of_autocast_says(
    function: Callable[[Tensor], Tensor], dtype: torch.dtype
) -> None:
    with CudaRules(torch.float16):
        assert function(torch.ones(2, 8, 8)).dtype is dtype


def test_weights_are_cast_once_and_forgotten() -> None:
    rules, weight = CudaRules(torch.bfloat16), nn.Parameter(torch.ones(8, 8))
    with rules:
        F.linear(torch.ones(1, 8), weight)
        F.linear(torch.ones(1, 8), weight)
        assert len(rules._weights) == 1
    rules.forget_weights()
    assert not rules._weights


def test_a_step_takes_longer_on_a_slower_device() -> None:
    operators = record(workload("attention", cuda=True, batch_size=64)).operators
    fast = replace(T4, teraflops={"fp32": 67.0}, bandwidth=3350e9)
    slow = step_duration(operators, T4, half=False)
    quick = step_duration(operators, fast, half=False)
    assert slow is not None
    assert quick is not None
    assert quick.low < slow.low < slow.high
    assert step_duration(operators, Device("cpu", None), half=False) is None


class Packed(nn.Module):
    """Gives its answer in a dataclass, in a mapping."""

    @dataclass
    class Answer:
        logits: Tensor
        name: str = ""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Conv2d(3, 8, 3)

    def forward(self, x: Tensor) -> dict[str, Packed.Answer]:
        return {"out": self.Answer(self.body(x))}


class Lazy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.norm, self.head = nn.LazyConv2d(8, 3), nn.LazyBatchNorm2d(), nn.LazyLinear(4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.norm(self.body(x)).flatten(1))


class ThroughNumpy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Conv2d(3, 8, 3)

    def forward(self, x: Tensor) -> Tensor:
        found = self.body(x)
        return found * torch.from_numpy(found.detach().numpy().copy())


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("build", [Packed, Lazy, ThroughNumpy])
def test_odd_models_are_predicted(build: Callable[[], nn.Module]) -> None:
    work = workload("convolutions", build=build, batch=lambda count: torch.rand(count, 3, 32, 32), batch_size=2)
    model = build()
    with torch.no_grad():
        model(torch.rand(2, 3, 32, 32))  # weights take their shapes
    found = Predictor(work).need(Device("cpu", None), 2, "train")
    assert found.how == ("numbers" if build is ThroughNumpy else "shapes")
    assert found.allocated == pytest.approx(measured(replace(work, build=lambda: model)), rel=0.03)


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (nn.Flatten, "no parameter of the model is to be trained"),
        (lambda: convolutions().requires_grad_(False), "no parameter of the model is to be trained"),
        (lambda: nn.Sequential(convolutions(), Tells()), "gave a list without floating-point tensors"),
    ],
)
def test_what_cannot_be_trained_is_said(build: Callable[[], nn.Module], said: str) -> None:
    with pytest.raises(StepFailed, match=said) as failed:
        record(workload("convolutions", build=build))
    assert "--inference" in (failed.value.hint or "")


class Tells(nn.Module):
    def forward(self, x: Tensor) -> list[object]:
        return [x.argmax(1), "text", None]


def test_operators_of_two_types_take_the_wider_as_autocast_does() -> None:
    with CudaRules(torch.float16):
        made = F.grid_sample(torch.rand(1, 2, 4, 4), torch.rand(1, 3, 3, 2).half(), align_corners=False)
        same = torch.dot(torch.ones(4).half(), torch.ones(4).half())
        mixed = torch.dot(torch.ones(4), torch.ones(4).half())
    assert (made.dtype, same.dtype, mixed.dtype) == (torch.float32, torch.float16, torch.float32)


class Spare(nn.Module):
    """As an encoder whose last stages a decoder does not ask for."""

    def __init__(self) -> None:
        super().__init__()
        self.used, self.spare = nn.Linear(64, 64), nn.Linear(512, 512)

    def forward(self, x: Tensor) -> Tensor:
        return self.used(x)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("cuda", [True, False])
def test_of_what_the_loss_does_not_reach_the_optimiser_keeps_nothing(cuda: bool) -> None:
    work = workload("attention", build=Spare, cuda=cuda)
    predictor = Predictor(work)
    used = sum(one.numel() for one in Spare().used.parameters())
    for phase in TRAINING:
        states = predictor.timeline(5, phase)[0].at_peak()[Category.OPTIMISER]
        assert 2 * 4 * used <= states <= 2 * 4 * used + 64
    if not cuda:
        assert record(work).peak == pytest.approx(measured(work), rel=0.03)


def kernel_bytes(dtype: torch.dtype, samples: int) -> int:
    """Inside the backward pass of a convolution whose windows reach far, 24 steps to each side."""
    with torch.device("meta"):
        given, weight = torch.empty(samples, 64, 14, 20, dtype=dtype), torch.empty(32, 64, 3, 3, dtype=dtype)
        gradient = torch.empty(samples, 32, 14, 20, dtype=dtype)
        settings = ([1, 1], [24, 24], [24, 24], False, [0, 0], 1, [False, True, False])
        return inside_operator("aten.convolution_backward.default", (gradient, given, weight, None, *settings), None)


def test_far_windows_are_written_out_for_one_sample_at_a_time() -> None:
    windows = 14 * 20 * 64 * 9
    assert kernel_bytes(torch.float32, 2) == kernel_bytes(torch.float32, 5) == 4 * windows + 4 * 4 * 32 * 64 * 9


@pytest.mark.skipif(torch.ops.mkldnn._is_mkldnn_fp16_supported(), reason="this processor computes in float16")
def test_a_half_precision_that_the_processor_lacks_is_left_to_torch_which_writes_out_all() -> None:
    assert kernel_bytes(torch.float16, 3) == 3 * 14 * 20 * 64 * 9 * 2


def test_the_weights_of_large_patches_are_summed_up_in_parts() -> None:
    with torch.device("meta"):
        given, weight, gradient = torch.empty(4, 3, 224, 224), torch.empty(512, 3, 32, 32), torch.empty(4, 512, 7, 7)
    settings = ([32, 32], [0, 0], [1, 1], False, [0, 0], 1, [False, True, False])
    held = inside_operator("aten.convolution_backward.default", (gradient, given, weight, None, *settings), None)
    assert held == 4 * weight.nbytes + 4 * 49 * 3 * 32 * 32  # 24.57 MiB, as an allocator was seen to hold
