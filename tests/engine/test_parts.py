"""The pure parts, each against the independent implementation it could have been."""

from __future__ import annotations

import random
import warnings

import numpy as np
import pytest
import torch
from tiny import Network
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR, LinearLR, OneCycleLR, SequentialLR

from snellen.engine.ema import WeightAverage
from snellen.engine.precision import resolve_precision
from snellen.engine.sampling import SamplePlan, evaluation_batches
from snellen.engine.schedule import learning_rate_factor
from snellen.engine.seeding import keep_random_state, mix, seed_all
from snellen.engine.settings import TrainSettings
from snellen.errors import UsageError

STEPS = 40


def ours(schedule: str, warmup: float) -> list[float]:
    settings = TrainSettings(schedule=schedule, warmup_fraction=warmup)  # type: ignore[arg-type]
    return [learning_rate_factor(settings, step, steps=STEPS) for step in range(STEPS)]


def theirs(make: object) -> list[float]:
    optimiser = torch.optim.SGD([nn.Parameter(torch.zeros(()))], lr=1.0)
    scheduler = make(optimiser)  # type: ignore[operator]
    rates = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(STEPS):
            rates.append(optimiser.param_groups[0]["lr"])
            optimiser.step()
            scheduler.step()
    return rates


def test_cosine_after_a_warm_up() -> None:
    def make(optimiser: torch.optim.Optimizer) -> SequentialLR:
        rise = LinearLR(optimiser, start_factor=1 / 10, end_factor=1.0, total_iters=9)
        return SequentialLR(optimiser, [rise, CosineAnnealingLR(optimiser, STEPS - 10)], milestones=[10])

    assert ours("cosine", 0.25) == pytest.approx(theirs(make))


def test_cosine_without_a_warm_up() -> None:
    assert ours("cosine", 0.0) == pytest.approx(theirs(lambda optimiser: CosineAnnealingLR(optimiser, STEPS)))


@pytest.mark.parametrize("rise", [0.1, 0.3, 0.5])
def test_one_cycle(rise: float) -> None:
    def make(optimiser: torch.optim.Optimizer) -> OneCycleLR:
        return OneCycleLR(optimiser, 1.0, total_steps=STEPS, pct_start=rise, cycle_momentum=False)

    assert ours("one-cycle", rise) == pytest.approx(theirs(make))


def test_constant_after_a_warm_up() -> None:
    expected = theirs(lambda optimiser: LambdaLR(optimiser, lambda step: min((step + 1) / 8, 1)))
    assert ours("constant", 0.2) == pytest.approx(expected)


def test_moving_average_against_torch_s_own() -> None:
    torch.manual_seed(0)
    model = Network()
    average = WeightAverage(model, decay=0.75)
    first = 40  # the ramp has ended
    reference = torch.optim.swa_utils.AveragedModel(
        model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.75), use_buffers=False
    )
    reference.update_parameters(model)  # the first one copies
    for step in range(first, first + 5):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter))
            model.features[1].running_mean.add_(1)
        average.update(step)
        reference.update_parameters(model)
    for mine, expected in zip(average.model.parameters(), reference.module.parameters(), strict=True):
        torch.testing.assert_close(mine, expected)
    assert torch.equal(average.model.features[1].running_mean, model.features[1].running_mean)
    assert not any(parameter.requires_grad for parameter in average.model.parameters())


def test_moving_average_of_a_short_run_is_not_its_beginning() -> None:
    model = nn.Linear(1, 1)
    average = WeightAverage(model, decay=0.9999)
    with torch.no_grad():
        model.weight.fill_(5.0)
    for step in range(1, 30):
        average.update(step)
    assert float(average.model.weight) == pytest.approx(5.0, rel=0.02)


@pytest.mark.parametrize(
    ("samples", "size", "accumulate", "ranks"), [(17, 4, 1, 1), (17, 2, 3, 2), (5, 4, 2, 3), (1, 8, 1, 2)]
)
def test_every_sample_counts_once_and_alike(samples: int, size: int, accumulate: int, ranks: int) -> None:
    plan = SamplePlan(samples, size, accumulate, ranks, seed=3)
    epochs = [plan.epoch(2, rank=rank) for rank in range(ranks)]
    counts = np.zeros(samples)
    for step in range(plan.steps):
        parts = [epoch[step] for epoch in epochs]
        # All ranks take part in each exchange of gradients.
        assert len({len(part) for part in parts}) == 1
        counted = sum(batch.weight > 0 and len(batch.indices) for part in parts for batch in part)
        for batch in (batch for part in parts for batch in part):
            assert 1 <= len(batch.indices) <= size
            if batch.weight:
                counts[list(batch.indices)] += 1
                # Gradients are averaged over the ranks, so this is each sample's share of the step.
                assert batch.weight / len(batch.indices) / ranks == pytest.approx(1 / counted)
    assert (counts == 1).all()


def test_an_epoch_can_begin_at_any_step() -> None:
    plan = SamplePlan(23, 2, 2, 2, seed=1)
    whole = plan.epoch(4, rank=1)
    assert all(plan.epoch(4, rank=1, start=step) == whole[step:] for step in range(plan.steps + 1))


def test_evaluation_takes_every_sample_once() -> None:
    batches = [batch for rank in range(3) for batch in evaluation_batches(10, batch_size=3, rank=rank, ranks=3)]
    assert sorted(index for batch in batches for index in batch) == list(range(10))


def test_seeds_of_neighbours_are_unrelated() -> None:
    seeds = [mix(seed, epoch, index) for seed in range(8) for epoch in range(8) for index in range(64)]
    assert len(set(seeds)) == len(seeds)
    bits = np.array([[value >> bit & 1 for bit in range(32)] for value in seeds])
    # Half of all bits are set, give or take four standard deviations.
    assert np.abs(bits.mean(0) - 0.5).max() < 4 * 0.5 / len(seeds) ** 0.5


def test_seeding_reaches_all_generators_and_can_be_undone() -> None:
    def draw() -> tuple[float, float, float]:
        return random.random(), float(np.random.rand()), float(torch.rand(()))  # noqa: NPY002 - the global one is meant

    random.seed(1), np.random.seed(1), torch.manual_seed(1)  # noqa: NPY002
    expected = draw()
    random.seed(1), np.random.seed(1), torch.manual_seed(1)  # noqa: NPY002
    with keep_random_state():
        seed_all(5, 6)
        first = draw()
        seed_all(5, 6)
        assert draw() == first
    assert draw() == expected


@pytest.mark.parametrize("wanted", ["fp32", "bf16", "fp16"])
def test_precision_as_set(wanted: str) -> None:
    assert resolve_precision(wanted, "cpu").name == wanted  # type: ignore[arg-type]


def test_precision_chosen_on_a_cpu() -> None:
    chosen = resolve_precision("auto", "cpu")
    assert chosen.name == "fp32"
    assert chosen.reason.startswith("auto")


@pytest.mark.parametrize(
    "wrong",
    [{"batch_size": 0}, {"lr": 0.0}, {"lr": float("nan")}, {"ema_decay": 1.5}, {"schedule": "step"}, {"devices": 0}],
)
def test_settings_out_of_range_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(UsageError, match=next(iter(wrong))):
        TrainSettings(**wrong)  # type: ignore[arg-type]
