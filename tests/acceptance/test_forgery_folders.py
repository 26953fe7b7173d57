"""Published forgery sets as they are: every image finds its mask, and every mask can be read at its image's size."""

from __future__ import annotations

from pathlib import Path

import pytest

from snellen.data.folders import discover
from snellen.data.reading import probe_image, read_mask


def test_every_set_pairs_and_reads(shared: Path) -> None:
    roots = [path for path in sorted((shared / "data").glob("*")) if (path / "forged").is_dir()]
    if not roots:
        pytest.skip(f"no forgery set below {shared / 'data'}")
    for root in roots:
        folder = discover(root)
        assert folder.problems == (), root
        assert list(folder.size_problems()) == [], root
        assert len(folder.pairs) == len([path for path in (root / "forged").iterdir() if path.is_file()]), root
        for pair in folder.pairs:
            mask = read_mask(pair.mask, size=probe_image(pair.image).upright_size).mask
            assert 0 < mask.mean() < 1, pair.mask
