"""Florence-2 of the real architecture, tiny: what it is asked, and what its places mean, as transformers has it."""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from florence_at_hand import save_florence
from snellen.errors import UsageError, WeightsError
from snellen.models.captioning.florence import Captioner, load_captioner
from snellen.models.captioning.locations import parse_regions
from snellen.models.captioning.prompts import PROMPTS, Prompt, parse_prompt

REPOSITORY = "florence-community/Florence-2-base"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_florence(tmp_path_factory.mktemp("florence"))


@pytest.fixture(scope="module")
def captioner(folder: Path) -> Captioner:
    return load_captioner(REPOSITORY, weights=folder)


def pictures(count: int = 3) -> list[Image.Image]:
    numbers = np.random.default_rng(0)
    return [Image.fromarray(numbers.integers(0, 255, (48, 80, 3), dtype=np.uint8)) for _ in range(count)]


def prompt_of(name: str) -> Prompt:
    return parse_prompt(f"{name}: a red car" if PROMPTS[name].takes_text else name)


@pytest.mark.parametrize("name", ["caption", "objects", "ground", "ocr-regions"])
def test_answers_are_those_of_the_library(name: str, captioner: Captioner) -> None:
    prompt = prompt_of(name)
    images = pictures()
    processor = captioner.processor
    given = processor(text=[f"{prompt.token}{prompt.text}"] * 3, images=images, return_tensors="pt")
    pixels = torch.stack([captioner.prepare(image) for image in images])
    assert torch.equal(pixels, given["pixel_values"])
    with torch.inference_mode():
        expected = captioner.network.generate(**given, max_new_tokens=24, num_beams=3, do_sample=False)
    found = captioner.ask(captioner.look(pixels), prompt, max_tokens=24, beams=3)
    padding = processor.tokenizer.pad_token_id
    assert found == [[number for number in row if number != padding] for row in expected.tolist()]
    for numbers, row in zip(found, expected, strict=True):
        text = processor.tokenizer.decode(row, skip_special_tokens=False)
        answer = captioner.read(numbers, prompt, (80, 48), max_tokens=24)
        official = processor.post_process_generation(text=text, task=prompt.token, image_size=(80, 48))[prompt.token]
        _same(answer.text, answer.regions, official)


def _same(text: str, regions: Any, official: Any) -> None:
    """Pixels of transformers are cut to whole ones, its labels to ASCII."""
    if isinstance(official, str):
        assert text == official.replace("<pad>", "").strip()
        return
    places = official["quad_boxes"] if "quad_boxes" in official else official["bboxes"]
    assert len(regions) == len(places)
    for region, label, place in zip(regions, official["labels"], places, strict=True):
        assert region.label.encode("ascii", "ignore").decode().strip() == label.encode("ascii", "ignore").decode()
        assert len(region.points) == len(place)
        assert all(whole - 1e-3 <= exact < whole + 1 + 1e-3 for exact, whole in zip(region.points, place, strict=True))


def test_places_are_read_as_transformers_reads_them(captioner: Captioner) -> None:
    chance = random.Random(0)

    def places(count: int) -> str:
        return "".join(f"<loc_{chance.randrange(1000)}>" for _ in range(count))

    for _ in range(300):
        words = ("cat", "a red car", "it", " dog ", "x > y", "line, one", "")
        said = "".join(chance.choice(words) + places(chance.choice((0, 3, 4, 5, 8, 12))) for _ in range(4))
        size = chance.randrange(1, 5000), chance.randrange(1, 5000)
        for name, task in (("boxes", "<OD>"), ("quads", "<OCR_WITH_REGION>"), ("bare-boxes", "<REGION_PROPOSAL>")):
            text = f"</s><s>{said}</s><pad>"
            official = captioner.processor.post_process_generation(text=text, task=task, image_size=size)[task]
            found = parse_regions(text, name, size)  # type: ignore[arg-type]
            if name == "bare-boxes":
                official["labels"] = [""] * len(official["bboxes"])
            _same("", found, official)


def test_phrases_that_are_no_things_are_left_out() -> None:
    text = "it<loc_1><loc_2><loc_3><loc_4>cat<loc_1><loc_2><loc_3><loc_4>"
    assert [one.label for one in parse_regions(text, "boxes", (10, 10), banned={"it"})] == ["cat"]


@pytest.mark.parametrize(
    "text", ["<loc_" + "9" * 5000 + ">" * 4, "a" * 20_000, "<loc_1>" * 20_001, "\x00<loc_>é<loc_-1>"]
)
def test_hostile_answers_are_read_at_once(text: str) -> None:
    for kind in ("text", "boxes", "bare-boxes", "quads"):
        for region in parse_regions(text, kind, (100, 100)):  # type: ignore[arg-type]
            assert all(0 <= value <= 100 for value in region.points)


def test_the_vector_is_the_mean_of_what_the_language_model_sees(captioner: Captioner) -> None:
    pixels = torch.stack([captioner.prepare(image) for image in pictures()])
    tokens = captioner.look(pixels)
    assert tokens.shape == (3, captioner.processor.num_image_tokens, captioner.width)
    assert torch.equal(captioner.vectors(tokens), tokens.mean(dim=1))
    assert not tokens.requires_grad


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "1", "LA"])
def test_pictures_of_every_mode(mode: str, captioner: Captioner) -> None:
    assert captioner.prepare(pictures(1)[0].convert(mode)).shape == (3, captioner.side, captioner.side)


def test_the_same_weights_have_the_same_fingerprint(folder: Path, captioner: Captioner, tmp_path: Path) -> None:
    assert load_captioner(REPOSITORY, weights=folder).fingerprint == captioner.fingerprint
    other = load_captioner(REPOSITORY, weights=save_florence(tmp_path / "other", seed=1))
    assert other.fingerprint != captioner.fingerprint


def test_random_weights_only_on_purpose(folder: Path) -> None:
    assert load_captioner(REPOSITORY, weights=folder, pretrained=False).width == 32


def test_a_weight_that_is_missing_is_an_error(folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(folder, tmp_path / "copy")
    weights = load_file(copy / "model.safetensors")
    del weights["model.multi_modal_projector.image_projection.weight"]
    save_file(weights, copy / "model.safetensors", {"format": "pt"})
    with pytest.raises(
        WeightsError,
        match=r"1 weights are missing and 0 of another shape, model\.multi_modal_projector\.image_projection",
    ):
        load_captioner(REPOSITORY, weights=copy)


def test_folders_that_are_no_florence(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="is not there, expected a folder"):
        load_captioner(REPOSITORY, weights=tmp_path / "nowhere")
    with pytest.raises(WeightsError, match="no readable config"):
        load_captioner(REPOSITORY, weights=tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(WeightsError, match="of the type bert, expected florence2"):
        load_captioner(REPOSITORY, weights=tmp_path)
    torn = shutil.copytree(folder, tmp_path / "torn")
    (torn / "model.safetensors").write_bytes((torn / "model.safetensors").read_bytes()[:5000])
    with pytest.raises(WeightsError, match="cannot be read as Florence-2"):
        load_captioner(REPOSITORY, weights=torn)


def test_weights_that_cannot_be_fetched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(WeightsError, match="could not be fetched from florence-community/nothing") as error:
        load_captioner("florence-community/nothing")
    assert error.value.slug == "hub-offline"
    assert error.value.hint is not None
    assert "model.weights: FOLDER" in error.value.hint


def test_the_release_with_code_of_its_own_is_named() -> None:
    with pytest.raises(WeightsError, match="needs code of its own") as error:
        load_captioner("microsoft/Florence-2-large")
    assert error.value.hint is not None
    assert error.value.hint.startswith("florence-community/Florence-2-large")


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("objcts", "no prompt 'objcts'"),
        ("ground", "needs a text"),
        ("caption: a cat", "takes no text"),
        ("<OD", "no prompt"),
    ],
)
def test_prompts_that_do_not_exist(said: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_prompt(said)


def test_prompts_of_the_model_itself() -> None:
    assert parse_prompt("<OD>") == parse_prompt("objects")
    assert parse_prompt("<CAPTION_TO_PHRASE_GROUNDING> a red  car") == parse_prompt("ground: a red car")
