"""Official key lists of published networks are recognised, under their own names and behind wrappers."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from snellen.core.facts.weights import Architecture, TensorEntry
from snellen.models.weights.inspect import inspect_checkpoint
from snellen.models.weights.recognise import recognise

SHARED = Path(os.environ.get("SNELLEN_SHARED", "../shared")) / "vectors"
FILES = sorted(SHARED.glob("*_keys_*.json"))
PUBLISHED = {"VRT_videosr": "VRT_videosr", "VRT_videodeblurring": "VRT_videodeblurring", "VRT_videofi": "VRT_videofi"}
LICENCES = {"dinov2": "Apache-2.0", "clip": "MIT", "sam": "Apache-2.0", "vrt": "CC-BY-NC-4.0"}

if not FILES:
    pytest.skip(f"no key lists below {SHARED}; set SNELLEN_SHARED", allow_module_level=True)


def expected(path: Path) -> str:
    kind, _, rest = path.stem.partition("_keys_")
    if kind == "vrt":
        return next(name for part, name in PUBLISHED.items() if part in rest)
    return {"dinov2": f"dinov2_{rest}", "clip": f"CLIP {rest}", "sam": f"sam_{rest}"}[kind]


def told(path: Path, prefix: str) -> Architecture:
    listed = json.loads(path.read_text())["state_dict"]
    return recognise(TensorEntry(prefix + entry["key"], tuple(entry["shape"])) for entry in listed)


@pytest.mark.parametrize("prefix", ["", "module.", "model.backbone."])
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_official_names_are_recognised(path: Path, prefix: str) -> None:
    found = told(path, prefix)
    assert found.name == expected(path)
    assert found.licence == LICENCES[path.stem.partition("_keys_")[0]]
    assert found.evidence


@pytest.mark.parametrize("path", sorted(SHARED.glob("*.weights.safetensors")), ids=lambda path: path.stem)
def test_small_networks_are_of_no_published_size(path: Path) -> None:
    facts = inspect_checkpoint(path)
    assert facts.problem == ""
    assert recognise(facts.state).name == ""
