"""Shared arrays: one copy for all processes, whole or absent whatever is killed, never more than the budget."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from arenas import key, picture, read_all
from snellen.data.cache.arena import Arena, stored_bytes
from snellen.data.cache.budget import settle_budget
from snellen.data.cache.items import Items


def in_shared_memory() -> set[str]:
    place = Path("/dev/shm")  # noqa: S108 - looked at, not written to
    return {entry.name for entry in place.iterdir()} if place.is_dir() else set()


@pytest.fixture(params=[True, False], ids=["anonymous", "file"])
def arena(request, tmp_path) -> Iterator[Arena]:
    made = Arena(1 << 20, slots=200, folder=tmp_path / "arenas", anonymous=request.param)
    yield made
    made.close()
    assert not list((tmp_path / "arenas").glob("*")) if (tmp_path / "arenas").is_dir() else True


def test_arrays_come_back_as_they_were_and_cannot_be_spoilt(arena):
    given = (picture(1), np.zeros((0, 3)), np.float32(2).reshape(()), np.arange(6).reshape(2, 3)[:, ::-1] > 2)
    assert arena.put(7, key(7), given)
    found = arena.get(7, key(7))
    for one, other in zip(given, found, strict=True):
        assert (one.dtype, one.shape) == (other.dtype, other.shape)
        np.testing.assert_array_equal(one, other)
        with pytest.raises(ValueError, match="read-only"):
            other[...] = 0
    assert arena.get(7, key(8)) is None
    assert arena.get(6, key(6)) is None
    with pytest.raises(TypeError, match="object"):
        arena.put(8, key(8), (np.array([None]),))


def test_what_is_in_stays_in_and_the_budget_is_the_budget(arena):
    fits = (1 << 20) // stored_bytes((picture(0),))
    for _ in range(3):
        for number in range(200):
            if arena.get(number, key(number)) is None:
                arena.put(number, key(number), (picture(number),))
    held = arena.counts()
    assert held.items == fits
    assert held.bytes <= 1 << 20
    # A cache that puts out the oldest would have found nothing in any of the epochs.
    assert held.hits == 2 * fits
    assert arena.full


def test_processes_share_it_forked_or_started_anew(arena):
    for number in range(50):
        arena.put(number, key(number), (picture(number),))
    for method in ("fork", "spawn"):
        context = multiprocessing.get_context(method)
        with context.Pool(2) as pool:
            assert pool.map(read_all, [arena, arena]) == [50, 50]
    assert arena.counts().hits == 4 * 50


def test_a_copy_that_was_sent_writes_into_the_same_memory(arena):
    other = pickle.loads(pickle.dumps(arena))  # noqa: S301 - made here
    assert other.put(3, key(3), (picture(3),))
    np.testing.assert_array_equal(arena.get(3, key(3))[0], picture(3))


def fill_for_ever(arena: Arena) -> None:
    while True:
        for number in range(200):
            arena.put(number, key(number), (picture(number),))


@pytest.mark.parametrize("seed", range(12))
def test_a_writer_that_is_killed_leaves_whole_items_and_no_lock(seed, tmp_path):
    made = Arena(16 << 20, slots=200, folder=tmp_path, anonymous=seed % 2 == 0)
    before = in_shared_memory()
    writers = [multiprocessing.get_context("fork").Process(target=fill_for_ever, args=(made,)) for _ in range(2)]
    for writer in writers:
        writer.start()
    time.sleep(random.Random(seed).uniform(0.0, 0.05))
    for writer in writers:
        os.kill(writer.pid, signal.SIGKILL)
        writer.join()

    held = 0
    for number in range(200):
        found = made.get(number, key(number))
        if found is not None:
            held += 1
            np.testing.assert_array_equal(found[0], picture(number))
    assert made.counts().items in (held, held - 1)
    for number in range(200):
        assert made.put(number, key(number), (picture(number),))
        np.testing.assert_array_equal(made.get(number, key(number))[0], picture(number))
    made.close()
    assert in_shared_memory() <= before


OWNER = """
import sys, time
from pathlib import Path
import numpy as np
from snellen.data.cache.arena import Arena
arena = Arena(64 << 20, slots=100, folder=Path(sys.argv[1]), anonymous=sys.argv[2] == "True")
for number in range(100):
    arena.put(number, number.to_bytes(16, "little"), (np.full((256, 256, 3), number, np.uint8),))
    if number == 20:
        print("filling", flush=True)
print("full", flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("anonymous", [True, False])
def test_an_owner_that_is_killed_leaves_nothing_behind(anonymous, tmp_path):
    before = in_shared_memory()
    with subprocess.Popen(
        [sys.executable, "-c", OWNER, str(tmp_path), str(anonymous)], stdout=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdout.readline() == "filling\n"
        owner.kill()
    assert in_shared_memory() <= before
    assert len(list(tmp_path.iterdir())) == (0 if anonymous else 1)
    # What a file leaves behind, the next one takes away.
    made = Arena(1 << 20, slots=1, folder=tmp_path, anonymous=anonymous)
    assert len(list(tmp_path.iterdir())) == (0 if anonymous else 1)
    made.close()
    assert not list(tmp_path.iterdir())


def write_until_refused(folder: Path, answers: multiprocessing.SimpleQueue) -> None:
    made = Arena(8 << 20, slots=200, folder=folder, anonymous=False)
    used = made._start  # the limit must lie inside the data
    resource.setrlimit(resource.RLIMIT_FSIZE, (used + (1 << 20), used + (1 << 20)))
    answers.put([made.put(number, key(number), (picture(number),)) for number in range(200)])
    answers.put(sum(made.get(number, key(number)) is not None for number in range(200)))
    made.close()


def test_memory_that_cannot_be_written_ends_the_filling_and_nothing_else(tmp_path):
    context = multiprocessing.get_context("fork")
    answers = context.SimpleQueue()
    process = context.Process(target=write_until_refused, args=(tmp_path, answers))
    process.start()
    kept = answers.get()
    assert any(kept)
    assert not kept[-1]
    assert kept == sorted(kept, reverse=True)
    assert answers.get() == sum(kept)
    process.join()
    assert process.exitcode == 0


def test_a_file_that_changes_is_read_anew(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("1")

    def items() -> Items:
        return Items([[path]], lambda number: (np.array(int(path.read_text())),), how="test")

    made = Arena(1 << 16, slots=1)
    for text in ("1", "22", "22"):
        path.write_text(text)
        fresh = items()
        fresh.share(made, first=0)
        assert int(fresh.read(0)[0]) == int(text)
    # Times of files are coarse: the third may be another file than the second.
    assert made.counts().hits <= 1


def test_the_budget_follows_the_machine():
    gib = 2**30
    assert settle_budget(None, need=gib, free=10 * gib).bytes == gib
    assert settle_budget(None, need=9 * gib, free=10 * gib).bytes == 5 * gib
    assert settle_budget(64 * gib, need=gib, free=10 * gib).bytes == 9 * gib
    assert settle_budget(gib, need=None, free=None).bytes == gib
    assert settle_budget(gib, need=None, free=0).bytes == 0
