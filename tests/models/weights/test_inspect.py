"""Checkpoint files of every kind, whole and broken, looked into without running anything in them."""

from __future__ import annotations

import argparse
import os
import pickle
import resource
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from snellen.models.weights.inspect import inspect_checkpoint, sha256_of
from snellen.models.weights.pickles import read_pickle
from snellen.models.weights.trust import is_allowed

GIB = 1 << 30


def network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Linear(8, 4))


@pytest.fixture
def state() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return network().state_dict()


def names(facts: object) -> list[str]:
    return [entry.name for entry in facts.state]  # type: ignore[attr-defined]


def test_torch_zip_with_wrapper_prefix_and_optimiser(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    model = network()
    optimiser = torch.optim.AdamW(model.parameters())
    model[0](torch.zeros(1, 3, 8, 8)).sum().backward()
    optimiser.step()
    wrapped = {f"module.{name}": tensor for name, tensor in state.items()}
    torch.save({"model": wrapped, "optimizer": optimiser.state_dict(), "epoch": 3}, tmp_path / "a.pth")
    facts = inspect_checkpoint(tmp_path / "a.pth")
    assert (facts.format, facts.problem, facts.wrapper, facts.prefix) == ("torch zip", "", "model", "module.")
    assert facts.others == ("optimizer", "epoch")
    assert {entry.name.removeprefix("module."): entry.shape for entry in facts.state} == {
        name: tuple(tensor.shape) for name, tensor in state.items()
    }
    assert facts.pickle is not None
    assert facts.pickle.foreign == ()
    assert facts.hash == sha256_of(tmp_path / "a.pth")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_dtypes_and_values(tmp_path: Path, dtype: torch.dtype) -> None:
    broken = torch.ones(40, 5, dtype=dtype)
    broken[3, 3] = float("nan")
    tensors = {"a": broken, "b": torch.zeros(6, 6, dtype=dtype), "c": torch.ones(3, dtype=dtype), "d": broken[10:]}
    torch.save(tensors, tmp_path / "a.pth")
    save_file({name: tensor.clone() for name, tensor in tensors.items()}, tmp_path / "a.safetensors")
    for file in ("a.pth", "a.safetensors"):
        facts = inspect_checkpoint(tmp_path / file)
        assert {entry.dtype for entry in facts.state} == {str(dtype).removeprefix("torch.")}
        assert {name: what.split()[0] for name, what in facts.unusual} == {"a": "1", "b": "all"}


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_formats_that_torch_wrote_before_or_beside(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    torch.save(state, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    torch.save(network(), tmp_path / "whole.pth")
    torch.jit.script(nn.Sequential(nn.Linear(3, 2))).save(str(tmp_path / "script.pt"))
    old, whole, script = (inspect_checkpoint(tmp_path / name) for name in ("old.pth", "whole.pth", "script.pt"))
    assert (old.format, old.problem, names(old)) == ("legacy torch", "", list(state))
    assert set(names(whole)) == set(state)
    assert whole.pickle is not None
    assert "torch.nn.modules.conv.Conv2d" in whole.pickle.foreign
    assert (script.format, names(script)) == ("TorchScript", ["0.weight", "0.bias"])
    assert "weights_only" in script.problem


def test_numpy_archives_are_listed_and_named_as_not_usable(tmp_path: Path) -> None:
    np.savez(tmp_path / "vit.npz", **{"embedding/kernel": np.zeros((4, 3), np.float32)})
    facts = inspect_checkpoint(tmp_path / "vit.npz")
    assert (facts.format, facts.state[0].name, facts.state[0].shape) == ("npz", "embedding/kernel", (4, 3))
    assert facts.problem


STARTS = {
    "web page": b"<!DOCTYPE html><html>404</html>",
    "Git LFS": b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 5\n",
    "HDF5": b"\x89HDF\r\n\x1a\n" + bytes(64),
    "GGUF": b"GGUF\x03\x00\x00\x00" + bytes(64),
    "ONNX": b"\x08\x08\x12\x07pytorch" + bytes(64),
    "zeros": bytes(4096),
    "gzip": b"\x1f\x8b\x08" + bytes(64),
    "empty": b"",
}


@pytest.mark.parametrize(("word", "start"), STARTS.items())
def test_what_is_no_checkpoint_is_named(tmp_path: Path, word: str, start: bytes) -> None:
    (tmp_path / "model.pth").write_bytes(start)
    assert word in inspect_checkpoint(tmp_path / "model.pth").problem


@pytest.mark.parametrize("new", [True, False])
def test_a_file_that_was_cut_off_or_changed_is_told(tmp_path: Path, state: dict[str, torch.Tensor], new: bool) -> None:
    whole = tmp_path / "whole.pth"
    torch.save(state, whole, _use_new_zipfile_serialization=new)
    data = whole.read_bytes()
    for share in (0.3, 0.6, 0.95):
        (tmp_path / "torn.pth").write_bytes(data[: int(len(data) * share)])
        assert inspect_checkpoint(tmp_path / "torn.pth").problem, share
    assert inspect_checkpoint(whole).problem == ""
    if new:
        place = data.index(state["0.weight"].numpy().tobytes())
        (tmp_path / "bit.pth").write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        assert "checksum" in inspect_checkpoint(tmp_path / "bit.pth").problem


def test_the_hash_in_a_name_is_compared_by_whoever_asks(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    torch.save(state, tmp_path / "a.pth")
    right = sha256_of(tmp_path / "a.pth")[:8]
    facts = inspect_checkpoint((tmp_path / "a.pth").rename(tmp_path / f"net-{right}.pth"))
    assert facts.stated_hash == right
    assert facts.hash.startswith(right)
    assert inspect_checkpoint((tmp_path / f"net-{right}.pth").rename(tmp_path / "net-20240131.pth")).stated_hash == ""


class Evil:
    """Runs a command when it is unpickled."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (self.command,)


@pytest.mark.parametrize("protocol", range(6))
def test_instructions_are_listed_and_never_followed(tmp_path: Path, protocol: int) -> None:
    witness = tmp_path / "witness"
    data = pickle.dumps({"w": [Evil(f"touch {witness}")], "x": argparse.Namespace(a=1)}, protocol=protocol)
    (tmp_path / "evil.pkl").write_bytes(data)
    facts = read_pickle(data).facts
    assert any(name.endswith(".system") for name in facts.dangerous)
    assert "argparse.Namespace" in facts.foreign
    inspect_checkpoint(tmp_path / "evil.pkl")
    torch.save({"w": Evil(f"touch {witness}")}, tmp_path / "evil.pth")
    inside = inspect_checkpoint(tmp_path / "evil.pth").pickle
    assert inside is not None
    assert inside.dangerous
    assert not witness.exists()


def test_our_list_of_names_is_that_of_the_installed_torch() -> None:
    from torch import _weights_only_unpickler

    own = set(_weights_only_unpickler._get_allowed_globals())
    assert [name for name in own if not is_allowed(name)] == []
    assert not is_allowed("torch.load")
    assert not is_allowed("torch.nn.modules.conv.Conv2d")


def _nested(depth: int) -> bytes:
    return b"\x80\x02" + b"]" * depth + b"a" * (depth - 1) + b"."


HOSTILE = {
    "deep": _nested(200_000),
    "doubling": b"\x80\x02]" + b"q\x00(h\x00h\x00e" * 100_000 + b".",
    "huge-int": b"\x80\x02\x8b" + struct.pack("<i", 2**31 - 1) + b"1" * 100,
    "digits": b"I" + b"9" * 3_000_000 + b"\n.",
    "no-stack": b"\x80\x02RRRR0000.",
    "marks": b"\x80\x02" + b"(" * 500_000 + b".",
    "endless": b"\x80\x02" + b"N0" * 3_000_000,
    "memo": b"\x80\x02N" + b"".join(b"r" + struct.pack("<I", n * 7919 % 2**32) for n in range(200_000)) + b".",
    "self": b"\x80\x02}q\x00X\x01\x00\x00\x00ah\x00s.",
    "names": b"\x80\x02" + b"".join(b"c%d\nx\n" % n for n in range(300_000)) + b".",
    "unhashable": b"\x80\x02(]]d.",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_pickles_end_soon_and_small(tmp_path: Path, name: str) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for inside in (False, True):
        path = tmp_path / f"{name}-{inside}.pth"
        if inside:
            with zipfile.ZipFile(path, "w") as archive:
                archive.writestr("archive/data.pkl", HOSTILE[name])
        else:
            path.write_bytes(HOSTILE[name])
        facts = inspect_checkpoint(path)
        assert facts.pickle is None or facts.pickle.opcodes <= 2_000_000
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert grown < 600, f"{grown:.0f} MiB"


def test_bombs_and_sparse_files(tmp_path: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    bomb = tmp_path / "bomb.pth"
    packed = zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED)
    with packed as archive, archive.open("archive/data.pkl", "w", force_zip64=True) as file:
        for _ in range(300):
            file.write(bytes(1 << 20))
    assert "larger than" in inspect_checkpoint(bomb).problem
    for name, start in (
        ("zeros.pth", b""),
        ("long.safetensors", struct.pack("<Q", 90 << 20)),
        ("pickle.pkl", b"\x80\x02"),
    ):
        with (tmp_path / name).open("wb") as file:
            file.write(start)
            file.truncate(10 * GIB)
        assert inspect_checkpoint(tmp_path / name).problem
    for length in (2**63, 2**64 - 1, 200):
        (tmp_path / "head.safetensors").write_bytes(struct.pack("<Q", length) + b'{"a": 1}' * 4)
        assert inspect_checkpoint(tmp_path / "head.safetensors").problem
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert grown < 900, f"{grown:.0f} MiB"


LIES = {
    "shape": '{"a": {"dtype": "F32", "shape": [9999999999, 9999999999], "data_offsets": [0, 4]}}',
    "negative": '{"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}',
    "list": "[1, 2, 3]",
    "nested": "[" * 100_000,
    "no-shape": '{"a": {"dtype": "F32", "data_offsets": [0, 4]}}',
    "infinite": '{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 1e999]}}',
}


@pytest.mark.parametrize("header", LIES.values(), ids=LIES)
def test_headers_that_lie(tmp_path: Path, header: str) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header.encode() + bytes(4))
    assert inspect_checkpoint(path).problem


def test_every_cut_of_a_pickle_is_read_without_an_exception(state: dict[str, torch.Tensor]) -> None:
    data = pickle.dumps({name: tensor.numpy() for name, tensor in state.items()})
    random = np.random.default_rng(0)
    for end in range(0, len(data), max(1, len(data) // 300)):
        read_pickle(data[:end])
        read_pickle(data[:end] + random.bytes(50))


@pytest.mark.parametrize("name", ["odd", "\xcc", "N", "u0041"])
def test_a_name_with_a_broken_escape_is_read_without_a_warning(name: str) -> None:
    facts = read_pickle(b"cos\n\\" + name.encode("latin-1") + b"\n.").facts
    assert facts.opcodes <= 2
