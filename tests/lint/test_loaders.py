"""What is known of data sets and of the loaders that draw from them, across the files of a project."""

from __future__ import annotations

from pathlib import Path

from snellen.core.code.classes import class_counts, class_maps
from snellen.core.code.loaders import Loader, dataset_classes, in_workers, loaders, spawns
from snellen.core.source import SourceFile
from source_facts import facts as read


def by_target(file: SourceFile) -> dict[str | None, Loader]:
    return {loader.call.target: loader for loader in loaders(file)}


def test_the_number_of_workers_is_followed_to_where_it_is_set(tmp_path: Path) -> None:
    file = read(
        tmp_path,
        """
        import argparse
        from torch.utils import data
        from torch.utils.data import DataLoader

        parser = argparse.ArgumentParser()
        parser.add_argument("--num-workers", type=int, default=6)
        WORKERS = 2

        def build(dataset, args, workers: int = 3, **options):
            none = DataLoader(dataset)
            given = data.DataLoader(dataset, 8, True, None, None, 4)
            constant = DataLoader(dataset, num_workers=WORKERS)
            option = DataLoader(dataset, num_workers=args.num_workers)
            parameter = DataLoader(dataset, num_workers=workers)
            hidden = DataLoader(dataset, **options)
            asked = DataLoader(dataset, num_workers=args.jobs)
        """,
    )
    numbers = {target: loader.workers for target, loader in by_target(file).items()}
    assert numbers == {
        "none": 0,
        "given": 4,
        "constant": 2,
        "option": 6,
        "parameter": 3,
        "hidden": None,
        "asked": None,
    }


def test_a_data_set_is_recognised_through_splits_and_across_files(tmp_path: Path) -> None:
    file = read(
        tmp_path,
        """
        from torch.utils.data import ConcatDataset, DataLoader, Subset, random_split
        from images import Images

        train, val = random_split(Images("a"), [8, 2])
        first = DataLoader(train)
        second = DataLoader(dataset=Subset(Images("a"), [0]))
        third = DataLoader(unknown)
        """,
        images="""
        import torch

        class Images(torch.utils.data.Dataset):
            def __getitem__(self, index):
                return self._load(index)

            def _load(self, index):
                return index

            def unused(self):
                return 0
        """,
    )
    assert {target: loader.dataset for target, loader in by_target(file).items()} == {
        "first": "Images",
        "second": "Images",
        "third": None,
    }
    (other,) = file.elsewhere
    (block,) = dataset_classes(other)
    assert sorted(method.name for method in in_workers(other, block)) == ["Images.__getitem__", "Images._load"]
    assert not spawns(file)


def test_data_sets_of_other_libraries_are_none_of_torchs(tmp_path: Path) -> None:
    file = read(
        tmp_path,
        """
        import datasets

        class Table(datasets.Dataset):
            def __getitem__(self, index):
                return index

        class Unrelated:
            def __getitem__(self, index):
                return index
        """,
    )
    assert list(dataset_classes(file)) == []


def test_numbers_and_maps_of_classes_are_read(tmp_path: Path) -> None:
    file = read(
        tmp_path,
        """
        import torch

        CLASS_NAMES = ["cat", "dog", "cow"]
        LABELS = {"cat": 0, "dog": 1, "cow": 2}
        class_to_idx = {name: index + 1 for index, name in enumerate(CLASS_NAMES)}
        colours = {"cat": "red"}
        model.fc = torch.nn.Linear(512, 3)
        """,
    )
    assert {count.count for count in class_counts(file)} == {3}
    assert [(found.target, found.values, found.of, found.start) for found in class_maps(file)] == [
        ("LABELS", (0, 1, 2), "", 0),
        ("class_to_idx", (), "CLASS_NAMES", 1),
    ]


def test_a_background_that_is_added_leaves_the_number_open(tmp_path: Path) -> None:
    file = read(tmp_path, "num_classes = 20\nmodel = build(num_classes + 1)\n")
    assert class_counts(file) == ()
