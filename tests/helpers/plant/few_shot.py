"""Faults of support sets and queries."""

from __future__ import annotations

import random
import shutil
from collections.abc import Sequence
from pathlib import Path

from plant import plants
from plant._layouts import support_sets


@plants("support-set-short")
def shot_lost(folder: Path, rng: random.Random) -> Sequence[Path]:
    support, _ = support_sets(folder)
    path = rng.choice(support[rng.choice(sorted(support))])
    path.unlink()
    return [path]


@plants("support-set-short")
def folder_of_shots_lost(folder: Path, rng: random.Random) -> Sequence[Path]:
    support, _ = support_sets(folder)
    place = support[rng.choice(sorted(support))][0].parent
    shutil.rmtree(place)
    return [place]


@plants("query-in-support")
def query_copied_from_support(folder: Path, rng: random.Random) -> Sequence[Path]:
    support, query = support_sets(folder)
    name = rng.choice(sorted(support))
    copy = query[name][0]
    shutil.copyfile(rng.choice(support[name]), copy)
    return [copy]


@plants("unknown-query-class")
def support_of_a_class_lost(folder: Path, rng: random.Random) -> Sequence[Path]:
    support, query = support_sets(folder)
    name = rng.choice(sorted(support))
    if len(support) > 2:
        shutil.rmtree(support[name][0].parent.parent)
        return query[name]
    stranger = query[name][0].parent.with_name("Class_stranger")
    stranger.mkdir()
    return [Path(shutil.copyfile(query[name][0], stranger / "one.png"))]
