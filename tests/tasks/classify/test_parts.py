"""Parts of the task: class maps and settings, what is frozen, calibration, the probe, the cache of decoded images."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.linear_model import RidgeClassifier

from snellen.check import CheckSettings
from snellen.data.cache.arena import Arena
from snellen.errors import DataError, Interrupted, UsageError
from snellen.models.backbones.classifiers import Architecture, build_classifier, freeze, preprocessing_of
from snellen.tasks.check import check_run
from snellen.tasks.classify.config import ClassifyData
from snellen.tasks.classify.data import Augment, Labelled, LabelledImages, class_map, collate, list_labelled
from snellen.tasks.classify.metrics import answers_of, points
from snellen.tasks.classify.transfer import ridge_answers
from snellen.tasks.target import open_target
from snellen.tasks.train import train_run

TINY = {"layers": (1, 1, 1, 1), "channels": (8, 16, 32, 32)}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("images")
    random = np.random.default_rng(0)
    for label in ("a", "b"):
        (root / label).mkdir()
        for number in range(4):
            pixels = random.integers(0, 255, (40, 48, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / label / f"{number}.png")
    return root


def dataset(root: Path, **options: Any) -> LabelledImages:
    data = ClassifyData(train=root)
    samples = list_labelled(data, "train", class_map(data)[0])
    return LabelledImages(samples, preprocessing_of("resnet18", side=32, pretrained=False), **options)


def test_images_come_in_one_size_and_the_cache_changes_nothing(images: Path) -> None:
    plain, cached = dataset(images), dataset(images)
    arena = Arena(10_000, slots=len(cached))
    cached.items.share(arena, first=0)
    for index in (0, 1, 0, 7):
        one, other = plain[index], cached[index]
        assert one["pixels"].shape == (3, 32, 32)
        assert one["pixels"].dtype == torch.uint8
        assert torch.equal(one["pixels"], other["pixels"])
        assert Path(one["file"]).parent.name == "ab"[one["label"]]
    assert arena.counts().hits == 1


@pytest.mark.parametrize("crop", ["none", "shift", "resized"])
def test_variations_follow_from_the_seed_and_mixed_targets_are_shares(images: Path, crop: Any) -> None:
    augment = Augment(crop=crop, flip=True, randaugment=9, erase=0.5)
    varied = dataset(images, augment=augment)
    batches = []
    for _ in range(2):
        torch.manual_seed(3)
        batches.append(collate([varied[index] for index in range(8)]))
    assert batches[0]["pixels"].shape == (8, 3, 32, 32)
    assert torch.equal(batches[0]["pixels"], batches[1]["pixels"])
    from torchvision.transforms import v2

    mixed = collate([varied[index] for index in range(8)], mix=v2.MixUp(alpha=0.8, num_classes=2))
    assert torch.allclose(mixed["target"].sum(1), torch.ones(8))
    assert mixed["label"].tolist() == [0] * 4 + [1] * 4


def test_balanced_sampling_draws_classes_equally_often(images: Path) -> None:
    samples = [Labelled(str(images / "a" / "0.png"), 0)] + [Labelled(str(images / "b" / "0.png"), 1)] * 9
    preprocessing = preprocessing_of("resnet18", side=32, pretrained=False)
    balanced = LabelledImages(samples, preprocessing, augment=Augment(), balanced=True)
    torch.manual_seed(0)
    labels = [balanced[index % 10]["label"] for index in range(200)]
    assert 70 <= sum(labels) <= 130


def test_a_file_that_cannot_be_read_is_replaced_in_training_and_refused_when_asked_for(images: Path) -> None:
    broken = images.parent / "broken.png"
    broken.write_bytes(b"no image")
    samples = [Labelled(str(broken), 0), Labelled(str(images / "b" / "0.png"), 1)]
    preprocessing = preprocessing_of("resnet18", side=32, pretrained=False)
    found = LabelledImages(samples, preprocessing)
    assert found[0]["label"] == 1
    with pytest.raises(DataError):
        found.read(0)


def test_what_is_frozen() -> None:
    network = build_classifier(Architecture("resnet18", 5, 32, small_stem=True, options=TINY))
    everything = freeze(network, "none")
    part, head = freeze(network, "part"), freeze(network, "all")
    assert everything[0] == everything[1] > part[0] > head[0] == 32 * 5 + 5
    assert [name for name, value in network.named_parameters() if value.requires_grad] == ["fc.weight", "fc.bias"]


@pytest.mark.parametrize(
    ("name", "options", "least"),
    [
        ("resnet18", TINY, 16),
        ("resnet10t", {}, 16),
        ("convnext_atto", {}, 16),
        ("vit_tiny_patch16_224", {"depth": 2}, 64),
        ("regnetx_002", {}, 4),
    ],
)
def test_small_images_keep_their_resolution(name: str, options: dict[str, Any], least: int) -> None:
    network: Any = build_classifier(Architecture(name, 3, 32, small_stem=True, options=options)).eval()
    with torch.inference_mode():
        features = network.forward_features(torch.zeros(1, 3, 32, 32))
        assert network(torch.zeros(1, 3, 32, 32)).shape == (1, 3)
    places = features.shape[1] if features.ndim == 3 else features.shape[2] * features.shape[3]
    assert places >= least


def test_options_that_a_network_lacks_are_named() -> None:
    with pytest.raises(UsageError, match="no_such_option"):
        build_classifier(Architecture("resnet18", 3, 32, options={"no_such_option": 1}))


def test_figures_of_a_hand_made_case() -> None:
    probabilities = torch.tensor([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.7, 0.3]])
    found = points(answers_of(probabilities, [0, 1, 1, 0], ["a", "b", "c", "d"]), 2)
    assert found["accuracy"] == 0.75
    assert found["balanced_accuracy"] == 0.75
    # Four bins of one image each: |0.9 - 1|, |0.6 - 0|, |0.8 - 1|, |0.7 - 1|.
    assert found["calibration_error"] == pytest.approx((0.1 + 0.6 + 0.2 + 0.3) / 4)
    assert "top5_accuracy" not in found


def test_the_probe_answers_as_an_independent_ridge_classifier() -> None:
    random = np.random.default_rng(0)
    centres = random.normal(0, 1, (3, 20))
    y, y_new = random.integers(0, 3, 90), random.integers(0, 3, 60)
    x, x_new = (centres[labels] + random.normal(0, 1.5, (len(labels), 20)) for labels in (y, y_new))
    ours = ridge_answers(x, y, x_new, 3)
    peer = RidgeClassifier(alpha=10.0).fit(x, y).predict(x_new)
    assert abs((ours == y_new).mean() - (peer == y_new).mean()) < 0.1
    assert (ours == y_new).mean() > 0.6


def test_a_network_of_one_size_asks_for_that_size_and_a_batch_for_more_images(images: Path, tmp_path: Path) -> None:
    run = tmp_path / "run.yaml"
    run.write_text(
        f"task: classify\ndata: {{train: {images}, image_size: 192}}\n"
        "model: {name: mixer_s32_224, pretrained: false}\n"
    )
    asked = CheckSettings(select=("spatial-mismatch", "patch-multiple", "batch-larger-than-set"))
    by_slug = {finding.slug: finding for finding in check_run(run, settings=asked).findings}
    assert by_slug.keys() == {"spatial-mismatch", "batch-larger-than-set"}
    advised = {key: value for one in by_slug.values() if one.fix for key, value in one.fix.settings}
    assert advised == {"data.image_size": 224, "optim.batch_size": 2}
    mended = [f"{key}={value}" for key, value in advised.items()]
    assert check_run(run, overrides=mended, settings=asked).findings == ()


def test_a_stop_is_said_by_the_error_that_ends_the_run_and_nowhere_else(
    images: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run.yaml"
    run.write_text(
        f"task: classify\nname: x\noutput: {tmp_path}/runs\ndata: {{train: {images}, image_size: 32, workers: 0}}\n"
        "model: {name: resnet18, pretrained: false, options: {layers: [1, 1, 1, 1], channels: [8, 16, 32, 32]}}\n"
        "optim: {epochs: 100000, batch_size: 4}\n"
    )
    started = tmp_path / "runs" / "x" / "metrics.jsonl"

    def stop() -> None:
        for _ in range(1000):
            if started.exists() and started.stat().st_size:
                break
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=stop)
    thread.start()
    with pytest.raises(Interrupted, match="stopped after step"):
        train_run(open_target(run))
    thread.join()
    assert "stopped after step" not in "".join(capfd.readouterr())
