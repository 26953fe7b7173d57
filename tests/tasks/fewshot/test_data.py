"""Support sets and queries as folders give them, and tables of classes that people edit."""

from __future__ import annotations

from pathlib import Path

import pytest

from few_shot_folders import CLASSES, categories_of_one, category, class_folders, draw
from snellen.core.facts.data import Sample
from snellen.errors import DataError
from snellen.tasks.fewshot.data import Source, read_drawn, read_queries, read_set
from snellen.tasks.fewshot.episodes import UNKNOWN, Episode, available_shots, held_out, taken
from snellen.tasks.fewshot.sampling import EpisodePlan, sample_episodes
from snellen.tasks.fewshot.truth import read_truth, write_truth


def source(folder: Path, **more: object) -> Source:
    return Source(folder, "data.test", **more)  # type: ignore[arg-type]


def test_classes_with_sizes_are_one_episode(tmp_path: Path) -> None:
    data = read_set(source(category(tmp_path / "cells")), validation=0.2, seed=0)
    (episode,) = data.episodes
    assert len(episode.classes) == 3
    assert available_shots(data.episodes, ()) == ([1, 5], [])
    assert len(taken(episode, 5)[0]) == 15
    assert [one.label for one in episode.queries].count(UNKNOWN) == 4


def test_categories_of_one_class_each_are_compared_with_each_other(tmp_path: Path) -> None:
    data = read_set(source(categories_of_one(tmp_path / "data")), validation=0.0, seed=0)
    (episode,) = data.episodes
    assert episode.classes == CLASSES
    assert len(episode.queries) == 18


def test_categories_of_several_classes_are_episodes_of_their_own(tmp_path: Path) -> None:
    for name in ("cells", "leaves"):
        category(tmp_path / "data" / name)
    data = read_set(source(tmp_path / "data"), validation=0.0, seed=0)
    assert [episode.name for episode in data.episodes] == ["cells", "leaves"]
    assert all("cells" in one.image for one in data.episodes[0].supports)


def test_missing_shots_are_said_and_the_others_go_on(tmp_path: Path) -> None:
    folder = category(tmp_path / "cells")
    for number in range(2):
        (folder / "2.support-set" / "Class_blue" / "shot5" / f"{number}.png").unlink()
    data = read_set(source(folder), validation=0.0, seed=0)
    shots, notes = available_shots(data.episodes, (1, 5, 10))
    assert shots == [1, 5]
    assert "no support set of 10 shots" in notes[0]
    assert list(taken(data.episodes[0], 5)[1].values()) == [3]


def test_classes_that_differ_in_case_only_are_refused(tmp_path: Path) -> None:
    class_folders(tmp_path / "s", images=2)
    draw(tmp_path / "s" / "Blue" / "9.png", "blue", 9)
    class_folders(tmp_path / "q", images=2, first=50)
    with pytest.raises(DataError, match="differ in case or blanks only: 'Blue' and 'blue'"):
        read_set(source(tmp_path / "q", support=tmp_path / "s"), validation=0.0, seed=0)


def test_a_single_class_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "cells"
    draw(folder / "2.support-set" / "Class_blue" / "shot1" / "0.png", "blue", 0)
    draw(folder / "6.preprocessed" / "blue" / "1.png", "blue", 1)
    with pytest.raises(DataError, match="single class"):
        read_set(source(folder), validation=0.0, seed=0)


def test_queries_spelled_otherwise_are_refused_and_unknown_ones_counted(tmp_path: Path) -> None:
    support = class_folders(tmp_path / "s", images=2)
    class_folders(tmp_path / "q", ("blue", "green", "violet"), images=2, first=50)
    data = read_set(source(tmp_path / "q", support=support), validation=0.0, seed=0)
    assert any("no support set holds (violet)" in note for note in data.notes)
    (tmp_path / "q" / "blue").rename(tmp_path / "q" / "BLUE")
    with pytest.raises(DataError, match="labelled 'BLUE', the support set has 'blue'"):
        read_set(source(tmp_path / "q", support=support), validation=0.0, seed=0)


def test_a_folder_without_supports_says_what_to_set(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no support set") as refused:
        read_set(source(class_folders(tmp_path / "q", images=2)), validation=0.0, seed=0)
    assert "data.episodes" in str(refused.value)


def test_frames_of_one_source_never_lie_on_both_sides() -> None:
    samples = [
        Sample(f"{label}/{video}_{frame:04d}.png", label=label, group=f"{video}")
        for label in "abc"
        for video in range(8)
        for frame in range(5)
    ]
    names = [one.image for one in samples]
    drawn = sample_episodes(samples, EpisodePlan(3, 4, 30), shots=5, queries_from=names, seed=[0])
    assert (
        drawn.episodes
        == sample_episodes(samples[::-1], EpisodePlan(3, 4, 30), shots=5, queries_from=names, seed=[0]).episodes
    )
    for supports, queries, _ in drawn.episodes:
        assert queries
        assert not {one.group for one in supports} & {one.group for one in queries}


def test_queries_that_choose_the_threshold_are_no_test_queries(tmp_path: Path) -> None:
    folder = class_folders(tmp_path / "pool", images=12)
    data = read_drawn(source(folder), EpisodePlan(2, 3, 10, 1), shots=[1, 3], validation=0.25, seed=0)
    aside, test = (
        {one.image for episode in data.episodes if episode.validation is part for one in episode.queries}
        for part in (True, False)
    )
    assert aside
    assert test
    assert not aside & test
    assert any(one.label == UNKNOWN for episode in data.episodes for one in episode.queries)


def test_whole_sources_are_held_out() -> None:
    samples = [
        Sample(f"{group}_{number}.png", label="a", group=str(group)) for group in range(10) for number in range(3)
    ]
    held = held_out(samples, 0.3, 0)
    assert len(held) == 9
    assert {one.group for one in samples if one.image in held}.isdisjoint(
        {one.group for one in samples if one.image not in held}
    )


def test_more_shots_are_more_of_the_same() -> None:
    supports = tuple(Sample(f"{label}{number}", label=label) for label in "ab" for number in range(6))
    episode = Episode("", supports, ())
    fewer, more = ({one.image for one in taken(episode, shots)[0]} for shots in (2, 5))
    assert fewer < more


@pytest.mark.parametrize("spreadsheet", ["comma", "semicolon", "utf-16"])
def test_the_table_of_classes_is_written_edited_and_read_back(tmp_path: Path, spreadsheet: str) -> None:
    folder = category(tmp_path / "cells")
    table = tmp_path / "truth.csv"
    queries = read_queries(source(folder))
    assert write_truth(table, queries) >= 0
    text = table.read_text(encoding="utf-8")
    first = next(line for line in text.splitlines() if "/blue/" in line)
    text = text.replace(first, first.rpartition(",")[0] + ",Class_green")
    text = text.replace(",", ";") if spreadsheet == "semicolon" else text
    table.write_text(text.replace("\n", "\r\n"), encoding="utf-16" if spreadsheet == "utf-16" else "utf-8", newline="")
    data = read_set(source(folder, truth=table), validation=0.0, seed=0)
    labels = {one.image: one.label for one in data.episodes[0].queries}
    changed = next(image for image in labels if image.endswith(first.partition(",")[0]))
    assert labels[changed] == "Class_green"
    assert sum(label == "Class_blue" for label in labels.values()) == 5


def test_every_row_of_a_table_that_does_not_hold_is_named(tmp_path: Path) -> None:
    draw(tmp_path / "a.png", "blue", 0)
    table = tmp_path / "truth.csv"
    table.write_text("label,image\nblau,a.png\nBLUE,a.png\nblue,b.png\nblue,a.png\nUnknown,a.png\n", encoding="utf-8")
    with pytest.raises(DataError) as refused:
        read_truth(table, classes={"blue"}, unknown=UNKNOWN)
    for words in ("line 2: 'blau'", "line 3: 'BLUE' is no class, 'blue' is", "line 4: there is no image", "line 6"):
        assert words in str(refused.value)
    table.write_text("picture\na.png\n", encoding="utf-8")
    with pytest.raises(DataError, match="expected image and label"):
        read_truth(table, classes={"blue"}, unknown=UNKNOWN)
