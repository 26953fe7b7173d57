"""The recipe of the task deblur: losses, groups, frozen flow, and a NaN that is found where it was planted."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from safetensors.torch import save_file
from skimage import data as photographs
from torch import Tensor, nn

from panned_clips import Pan, write_panned
from snellen.engine.recipe import Batch, StepOutput
from snellen.engine.settings import TrainSettings
from snellen.engine.train import train
from snellen.errors import NonFiniteError, UsageError, WeightsError
from snellen.guard.watcher import RuleGuard
from snellen.models.vrt import VRT
from snellen.rules.catalogue import catalogue
from snellen.tasks.deblur.config import DeblurRun
from snellen.tasks.deblur.loss import Perceptual, charbonnier
from snellen.tasks.deblur.model import Padded, build_network
from snellen.tasks.deblur.recipe import DeblurRecipe
from snellen.tasks.target import target_of
from snellen.tasks.train import train_settings

FRAMES = 5
CLIPS = FRAMES - 1


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("clips")
    write_panned(root, [photographs.astronaut()], Pan(frames=FRAMES, size=(48, 48), steps=8))
    return root


def config_of(clips: Path, **changes: dict[str, Any]) -> DeblurRun:
    settings: dict[str, Any] = {
        "task": "deblur",
        "data": {"train": str(clips), "image_size": 32, "clip_length": 2, "workers": 0, "cache": False},
        "model": {"name": "light", "shape": {"width": 8, "blocks": 1}, "spikes": "addition", "bins": 4},
        "optim": {"epochs": 3, "accumulate": 1, "lr": 1e-3, "recoveries": 0},
        "track": {"wandb": False, "tensorboard": False},
    }
    for section, values in changes.items():
        settings[section] = {**settings[section], **values} if section in settings else values
    config = target_of(settings).config
    assert isinstance(config, DeblurRun)
    return config


def test_charbonnier_is_the_absolute_error_with_a_finite_slope() -> None:
    error = torch.tensor([0.0, 0.5, -2.0], requires_grad=True)
    loss = charbonnier(error, torch.zeros(3))
    assert loss.item() == pytest.approx(np.mean(np.sqrt(np.array([0.0, 0.25, 4.0]) + 1e-6)), rel=1e-6)
    loss.backward()
    assert torch.isfinite(error.grad).all()  # type: ignore[arg-type]  # it has one


def test_the_perceptual_loss_is_of_relu3_3_of_normalised_images(tmp_path: Path) -> None:
    torch.manual_seed(0)
    whole = torchvision.models.vgg19(weights=None)
    path = tmp_path / "vgg19.safetensors"
    save_file({f"features.{name}": one for name, one in whole.features[:16].state_dict().items()}, path)
    one, other = torch.rand(1, 2, 3, 32, 32) * 1.4 - 0.2, torch.rand(1, 2, 3, 32, 32)
    found = Perceptual(path)(one, other)
    normalise = torchvision.transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    seen = [whole.features[:16](normalise(images.flatten(0, 1).clamp(0, 1))) for images in (one, other)]
    assert found.item() == pytest.approx((seen[0] - seen[1]).abs().mean().item(), rel=1e-5)
    save_file({"features.0.weight": torch.zeros(8, 3, 3, 3)}, tmp_path / "other.safetensors")
    with pytest.raises(WeightsError, match=r"other\.safetensors"):
        Perceptual(tmp_path / "other.safetensors")


def test_without_its_weights_the_perceptual_term_is_left_out_and_said(clips: Path, tmp_path: Path) -> None:
    recipe = DeblurRecipe(config_of(clips))
    assert "perceptual loss is left out" in " ".join(recipe.remarks)
    batch = recipe.collate([recipe.train_dataset()[0]])
    assert "perceptual" not in recipe.training_step(recipe.build_model(), batch).logs
    path = tmp_path / "vgg19.safetensors"
    save_file(torchvision.models.vgg19(weights=None).features[:16].state_dict(), path)
    recipe = DeblurRecipe(config_of(clips, loss={"perceptual": {"weights": str(path)}}))
    assert "perceptual" not in " ".join(recipe.remarks)
    output = recipe.training_step(recipe.build_model(), batch)
    logs = output.logs
    assert output.loss.item() == pytest.approx(float(logs["charbonnier"]) + 0.1 * float(logs["perceptual"]), rel=1e-5)


def test_the_flow_network_stays_at_first_and_is_slow_then(clips: Path, tmp_path: Path) -> None:
    model = {"name": "tiny", "shape": {}, "spikes": "none"}
    config = config_of(clips, model=model, optim={"max_steps": 4, "spynet_frozen": 0.5, "spynet_lr": 0.25})
    recipe = Remembering(config)
    train(recipe, replace(train_settings(config), log_every=1), tmp_path / "run")
    first, second, third, fourth = recipe.flows
    assert torch.equal(first, second)
    assert torch.equal(second, third)
    assert not torch.equal(third, fourth)
    groups = recipe.parameter_groups(recipe.build_model())
    assert {group.get("lr_scale", 1.0) for group in groups} == {1.0, 0.25}


class Remembering(DeblurRecipe):
    """Keeps the flow network's first kernel as it is at each step."""

    def __init__(self, config: DeblurRun) -> None:
        super().__init__(config)
        self.flows: list[Tensor] = []

    def build_model(self) -> nn.Module:
        network = super().build_model()
        assert isinstance(network, VRT)
        # Zero at the start, the last layers would hold the gradients of all others back.
        for level in network.spynet.basic_module:
            nn.init.normal_(list(level.parameters())[-2], std=0.05)
        return network

    def training_step(self, model: nn.Module, batch: Batch) -> StepOutput:
        network = next(one for one in model.modules() if isinstance(one, VRT))
        self.flows.append(network.spynet.basic_module[0].basic_module[0].weight.detach().clone())  # type: ignore[index, union-attr]
        return super().training_step(model, batch)


def test_networks_without_a_start_for_the_flow_begin_without_motion(clips: Path) -> None:
    config = config_of(clips, model={"name": "tiny", "shape": {}, "spikes": "none"})
    network = build_network(config.model)
    assert isinstance(network, VRT)
    flows = network.flows(torch.rand(1, 2, 3, 40, 40))
    assert not any(one.any() for one in flows.at(0)[0])


@pytest.mark.parametrize("size", [(21, 13), (40, 50)])
def test_clips_of_any_size_and_of_one_frame_come_back_as_they_were(clips: Path, size: tuple[int, int]) -> None:
    network = Padded(build_network(config_of(clips).model)).eval()
    with torch.no_grad():
        made = network(torch.rand(1, 1, 3, *size), torch.rand(1, 1, 4, *size))
    assert made.shape == (1, 1, 3, *size)


def test_the_8_bit_optimiser_says_what_it_needs(clips: Path, tmp_path: Path) -> None:
    config = config_of(clips, optim={"optimiser": "adamw-8bit"})
    try:
        import bitsandbytes  # noqa: F401
    except ImportError:
        with pytest.raises(UsageError, match="bitsandbytes"):
            train(DeblurRecipe(config), train_settings(config), tmp_path / "run")


# -- a NaN that is planted is found where it was planted ------------------------------------------------------------


class Planted(DeblurRecipe):
    """Plants a fault in the step of a number, counted from 0; a step that is repeated is the same one."""

    def __init__(self, config: DeblurRun, step: int, plant: Callable[[nn.Module, Batch], None]) -> None:
        super().__init__(config)
        self.step, self.plant = step, plant
        self.seen: list[str] = []

    def training_step(self, model: nn.Module, batch: Batch) -> StepOutput:
        # Repeated to find the culprit, a step has the very same frames; no other has.
        mark = f"{hash(batch['blur'].numpy().tobytes())} {batch['files']}"
        if mark not in self.seen:
            self.seen.append(mark)
        if len(self.seen) - 1 == self.step:
            self.plant(model, batch)
        return super().training_step(model, batch)


def in_data(_model: nn.Module, batch: Batch) -> None:
    batch["voxels"][0, 0, 0, 3, 5] = float("nan")


def overflow(model: nn.Module, _batch: Batch) -> None:
    network = next(one for one in model.modules() if hasattr(one, "encode"))
    with torch.no_grad():
        network.encode[1][0].one.weight.mul_(1e38)  # type: ignore[index, union-attr]


def run_planted(clips: Path, folder: Path, seed: int, plant: Callable[[nn.Module, Batch], None]) -> tuple[int, str]:
    step = 1 + seed % 5
    config = config_of(clips).model_copy(update={"seed": seed})
    recipe = Planted(config, step, plant)
    settings: TrainSettings = replace(train_settings(config), log_every=1, tensorboard=False)
    with pytest.raises(NonFiniteError) as caught:
        train(recipe, settings, folder, observers=(RuleGuard(catalogue().values()),))
    return step, str(caught.value)


def lines_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("seed", range(10))
def test_a_nan_in_the_data_is_found_with_its_step_its_tensor_and_its_file(
    seed: int, clips: Path, tmp_path: Path
) -> None:
    step, said = run_planted(clips, tmp_path / "run", seed, in_data)
    assert f"before optimiser step {step + 1} " in said
    assert "['voxels'] of the batch (batch): 1 value is nan" in said or "'voxels'" in said
    assert "/blur/0000000" in said
    last = lines_of(tmp_path / "run")[-1]
    assert last["step"] == step + 1
    assert "loss" in last["non_finite"]


@pytest.mark.parametrize("seed", range(10))
def test_an_overflow_is_found_with_its_step_and_its_module(seed: int, clips: Path, tmp_path: Path) -> None:
    step, said = run_planted(clips, tmp_path / "run", seed, overflow)
    assert f"before optimiser step {step + 1} " in said
    assert "encode.1.0" in said
    assert "/blur/0000000" in said


@pytest.mark.parametrize("seed", range(10))
def test_a_learning_rate_that_explodes_is_found_at_the_step_it_ruins(seed: int, clips: Path, tmp_path: Path) -> None:
    config = config_of(clips, optim={"lr": 1e30, "schedule": "constant", "warmup": 0.0, "clip_norm": None})
    config = config.model_copy(update={"seed": seed})
    with pytest.raises(NonFiniteError) as caught:
        train(DeblurRecipe(config), replace(train_settings(config), log_every=1), tmp_path / "run")
    said = str(caught.value)
    last = lines_of(tmp_path / "run")[-1]
    assert f"before optimiser step {last['step']} " in said
    assert last["step"] <= 3
    assert "first not finite: " in said
    assert any(part in said for part in ("first.", "first (", "encode.", "decode.", "down.", "last", "voxels ("))
    assert "/blur/0000000" in said
    assert last["non_finite"]


class PlantedOnce(Planted):
    """The overflow is there in one step alone; the weights are mended when the step has been looked into."""

    def training_step(self, model: nn.Module, batch: Batch) -> StepOutput:
        network = next(one for one in model.modules() if hasattr(one, "encode"))
        weight = network.encode[1][0].one.weight  # type: ignore[index, union-attr]
        kept = weight.detach().clone()
        output = super().training_step(model, batch)
        if len(self.seen) - 1 == self.step:
            # Only the forward pass saw the planted weights; what comes next is the user's own network again.
            weight.data = kept
        return output


@pytest.mark.parametrize(("plant", "action"), [(in_data, "leaves the batch out"), (overflow, "leaves the step out")])
def test_a_run_goes_on_after_a_nan_and_the_page_says_so(
    plant: Callable[[nn.Module, Batch], None], action: str, clips: Path, tmp_path: Path
) -> None:
    config = config_of(clips, optim={"recoveries": 3})
    recipe = PlantedOnce(config, 2, plant)
    result = train(recipe, replace(train_settings(config), log_every=1), tmp_path / "run")
    assert result.steps == 3 * CLIPS
    (found,) = [one for one in lines_of(tmp_path / "run") if one["kind"] == "recovery"]
    assert (found["step"], found["action"]) == (3, action)
    assert all(
        one["loss"] is not None for one in lines_of(tmp_path / "run") if one["kind"] == "train" and one["step"] > 3
    )
