"""Published forgery sets as they are: every image finds its mask, and every mask can be read at its image's size."""

from __future__ import annotations

from pathlib import Path

import pytest

from snellen.data.layouts.forged_masks import discover
from snellen.data.reading import probe_image, read_mask


def test_every_set_pairs_and_reads(shared: Path) -> None:
    roots = [path for path in sorted((shared / "data").glob("*")) if (path / "forged").is_dir()]
    if not roots:
        pytest.skip(f"no forgery set below {shared / 'data'}")
    for root in roots:
        folder = discover(root)
        assert folder.problems == (), root
        forged = [sample for sample in folder.samples if sample.role == "forged"]
        assert len(forged) == len([path for path in (root / "forged").iterdir() if path.is_file()]), root
        for sample in forged:
            mask = read_mask(sample.masks[0], size=probe_image(sample.image).upright_size).mask
            assert 0 < mask.mean() < 1, sample.masks
