"""What the rules of weights and of memory read out of messages, ask of a machine, and say while a run goes on."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
import torch

from snellen.core.logs.memory import keeps_growing, memory_series
from snellen.core.logs.state_dicts import read_misfit, renaming
from snellen.core.probe import Answer, Outcome
from snellen.core.rule import DuringFacet
from snellen.core.step import Step, Verdict
from snellen.explain import explain
from snellen.explain.here import ThisMachine, probe
from snellen.explain.parse import parse
from snellen.rules.catalogue import catalogue
from snellen.rules.memory import cuda_oom, host_oom


def ask(slug: str, text: str, root: Path) -> Answer:
    return probe(catalogue()[slug], parse(f"{text}\n"), ThisMachine(root))


# -- weights -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("missing", "unexpected", "given", "wanted"),
    [
        (["conv1.weight", "fc.bias"], ["module.conv1.weight", "module.fc.bias"], "module.", ""),
        (["_orig_mod.conv1.weight"], ["conv1.weight"], "", "_orig_mod."),
        (
            ["backbone.conv1.weight", "backbone.bn1.bias"],
            ["encoder.conv1.weight", "encoder.bn1.bias"],
            "encoder.",
            "backbone.",
        ),
        # Cut lists whose names do not meet still show the wrapper.
        (["features.0.weight"], ["module.classifier.6.bias", "module.classifier.6.weight"], "module.", ""),
        ([], ["module.features.0.weight"], "module.", ""),
    ],
)
def test_the_prefix_that_differs_is_found(missing: list[str], unexpected: list[str], given: str, wanted: str) -> None:
    found = renaming(tuple(missing), tuple(unexpected))
    assert found is not None
    assert (found.given, found.wanted) == (given, wanted)


@pytest.mark.parametrize(
    ("missing", "unexpected"),
    [(["a.0.weight", "b.0.weight"], ["c.0.weight"]), (["fc.weight"], []), ([], ["head.weight"]), (["x.w"], ["y.b"])],
)
def test_names_that_merely_differ_have_no_prefix(missing: list[str], unexpected: list[str]) -> None:
    assert renaming(tuple(missing), tuple(unexpected)) is None


def differs(name: str, given: list[int], wanted: list[int]) -> str:
    checkpoint = f"copying a param with shape torch.Size({given}) from checkpoint"
    return f"size mismatch for {name}: {checkpoint}, the shape in current model is torch.Size({wanted})."


OLD = (
    'While copying the parameter named "fc.weight", whose dimensions in the model are torch.Size([10, 512]) and whose '
    "dimensions in the checkpoint are torch.Size([1000, 512])."
)
TABLE = "layers.0.blocks.0.attn.relative_position_bias_table"
OTHER_SIDE = 'Missing key(s) in state_dict: "_orig_mod.fc.weight".\n\tUnexpected key(s) in state_dict: "fc.weight".'


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (differs("fc.weight", [1000, 512], [10, 512]), "num_classes=1000"),
        (OLD, "num_classes=1000"),
        (differs("conv1.weight", [64, 3, 7, 7], [64, 4, 7, 7]), "in_chans=3"),
        (differs("pos_embed", [1, 197, 768], [1, 577, 768]), "img_size=224"),
        (differs(TABLE, [169, 4], [529, 4]), "window_size=7"),
        ('Unexpected key(s) in state_dict: "epoch", "state_dict", "optimizer".', 'checkpoint["state_dict"]'),
        ('Unexpected key(s) in state_dict: "layers.0.total_ops", "layers.0.total_params".', "strict=False"),
        (OTHER_SIDE, "model._orig_mod.load_state_dict"),
    ],
)
def test_the_fix_for_weights_that_do_not_fit_is_computed(line: str, words: str) -> None:
    best = explain(f"RuntimeError: Error(s) in loading state_dict for Net:\n\t{line}\n")[0]
    assert best.slug == "state-dict-mismatch"
    assert words in best.fix.text


def test_long_lists_are_read_to_their_end() -> None:
    names = ", ".join(f'"blocks.{number}.weight"' for number in range(100))
    text = f"RuntimeError: Error(s) in loading state_dict for Net:\n\tMissing key(s) in state_dict: {names}. \n"
    misfit = read_misfit(parse(text))
    assert misfit is not None
    assert (len(misfit.missing), misfit.unexpected, misfit.model) == (100, (), "Net")


def write_cut(path: Path) -> None:
    torch.save({"weight": torch.zeros(5000)}, path)
    path.write_bytes(path.read_bytes()[:-600])


@pytest.mark.parametrize(
    ("make", "outcome", "words"),
    [
        (lambda path: path.write_text("<!DOCTYPE html><html>"), Outcome.CONFIRMED, "web page"),
        (lambda path: path.write_text("version https://git-lfs.github.com/spec/v1"), Outcome.CONFIRMED, "git lfs pull"),
        (lambda path: path.touch(), Outcome.CONFIRMED, "empty"),
        (write_cut, Outcome.CONFIRMED, "cut off"),
        (lambda path: torch.save({"weight": torch.zeros(3)}, path), Outcome.REFUTED, "whole"),
        (lambda path: None, Outcome.CANNOT_TELL, "not on this machine"),
    ],
)
def test_a_damaged_file_is_looked_into(
    make: Callable[[Path], None], outcome: Outcome, words: str, tmp_path: Path
) -> None:
    make(tmp_path / "best.pth")
    text = "=> loading best.pth\nRuntimeError: PytorchStreamReader failed reading zip archive: failed finding the end"
    answer = ask("corrupt-checkpoint", text, tmp_path)
    assert answer.outcome is outcome
    assert words in answer.text


def test_a_missing_file_is_looked_for(tmp_path: Path) -> None:
    text = "FileNotFoundError: [Errno 2] No such file or directory: 'runs/best.pth'"
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "best_1.pth").touch()
    answer = ask("missing-checkpoint", text, tmp_path)
    assert (answer.outcome, "best_1.pth" in answer.text) == (Outcome.CONFIRMED, True)
    (tmp_path / "runs" / "best.pth").touch()
    assert ask("missing-checkpoint", text, tmp_path).outcome is Outcome.REFUTED


def test_what_a_checkpoint_holds_is_asked_without_running_it(tmp_path: Path) -> None:
    torch.save({"module.fc.weight": torch.zeros(2), "args": argparse.Namespace()}, tmp_path / "a.pt")
    torch.save({"module.fc.weight": torch.zeros(2)}, tmp_path / "b.pt")
    refused = (
        "loading {}\n_pickle.UnpicklingError: Weights only load failed. Unsupported global: GLOBAL argparse.Namespace"
    )
    misfit = (
        "loading {}\nRuntimeError: Error(s) in loading state_dict for Net:\n"
        '\tMissing key(s) in state_dict: "fc.weight". \n\tUnexpected key(s) in state_dict: "module.fc.weight". '
    )
    answer = ask("weights-only-load", refused.format("a.pt"), tmp_path)
    assert (answer.outcome, "argparse.Namespace" in answer.text) == (Outcome.CONFIRMED, True)
    assert ask("weights-only-load", refused.format("b.pt"), tmp_path).outcome is Outcome.REFUTED
    assert ask("state-dict-mismatch", misfit.format("b.pt"), tmp_path).outcome is Outcome.CONFIRMED
    assert ask("state-dict-mismatch", misfit.format("c.pt"), tmp_path).outcome is Outcome.CANNOT_TELL


# -- memory ------------------------------------------------------------------------------------------------------------

HINT = " If reserved but unallocated memory is large try setting PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True"


def refusal(tried: float, capacity: float, free: float, allocated: float, unused: float = 0.2, others: str = "") -> str:
    """What PyTorch prints today, in GiB."""
    return (
        f"torch.OutOfMemoryError: CUDA out of memory. Tried to allocate {tried:.2f} GiB. GPU 0 has a total capacity of "
        f"{capacity:.2f} GiB of which {free:.2f} GiB is free. {others}Including non-PyTorch memory, this process has "
        f"{allocated + unused + 0.4:.2f} GiB memory in use. Of the allocated memory {allocated:.2f} GiB is allocated "
        f"by PyTorch, and {unused:.2f} GiB is reserved by PyTorch but unallocated.\n"
    )


@pytest.mark.parametrize(
    ("message", "cause", "fix"),
    [
        (refusal(40, 24, 20, 2), "the whole card has 24.00 GiB", "blocks"),
        (
            refusal(2, 24, 1, 6, others="Process 4242 has 15.90 GiB memory in use. "),
            "process 4242 holds 15.90 GiB",
            "nvidia-smi",
        ),
        (refusal(2, 24, 1, 17, 4.5).strip() + HINT, "fragmentation", "expandable_segments:True"),
        (refusal(2, 24, 1, 22), "22.00 GiB of 24.00 GiB", "Halve the batch"),
        (refusal(9, 12, 8, 3.5), "One tensor of 9.00 GiB", "shapes"),
        (refusal(2, 24, 3, 12, 6), "said to be free", "nvidia-smi"),
    ],
)
def test_the_numbers_of_the_message_say_why(message: str, cause: str, fix: str) -> None:
    best = explain(f"{message}\n")[0]
    assert best.slug == "cuda-oom"
    assert cause in best.cause
    assert fix in best.fix.text


def test_a_batch_size_is_computed_from_the_one_that_the_log_names() -> None:
    message = refusal(2, 24, 1, 22)
    assert "batch size 16" in explain(f"batch_size: 32\n{message}")[0].fix.text
    assert "1 already" in explain(f"Namespace(batch_size=1)\n{message}")[0].fix.text


@pytest.mark.parametrize(
    ("memory", "outcome"), [(4, Outcome.CONFIRMED), (30, Outcome.CANNOT_TELL), (640, Outcome.REFUTED)]
)
def test_this_machine_is_compared_with_what_was_needed(
    memory: int, outcome: Outcome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    array = "Unable to allocate 28.0 GiB for an array with shape (50000, 224, 224, 3) and data type float32"
    host = f"numpy._core._exceptions._ArrayMemoryError: {array}"
    monkeypatch.setattr(cuda_oom, "gpus", lambda: [{"memory_bytes": memory << 30}])
    monkeypatch.setattr(host_oom, "memory_limit", lambda: memory << 30)
    monkeypatch.setattr(host_oom, "_EVENTS", ())
    assert ask("cuda-oom", refusal(2, 24, 1, 21), tmp_path).outcome is outcome
    assert ask("host-oom", host, tmp_path).outcome is outcome


@pytest.mark.parametrize(
    ("values", "grows"),
    [
        (range(1000, 2200, 100), True),
        ([1000, 1500, 1800, 1950, 2020, 2050, 2060, 2065, 2068, 2069], False),
        ([1000, 3000] * 6, False),
        ([1000, 1010, 1020, 1030, 1040, 1050, 1060, 1070, 1080, 1090], False),
        ([1000, 1600, 2300, 3000], True),
        ([1000, 2000, 2500, 2600], False),
        ([1000, 3000], False),
    ],
)
def test_growth_that_levels_off_is_no_leak(values: Iterable[float], *, grows: bool) -> None:
    assert keeps_growing(list(values)) is grows


def test_columns_of_memory_are_read_in_the_forms_of_many_programs() -> None:
    text = (
        "Epoch [1][50/8000] lr: 1e-4, memory: 4120, loss: 2.1\n"
        "iter: 79  total_loss: 1.596  max_mem: 3001M\n"
        "      1/100      4.71G      1.021      1.511      1.201         38        640\n"
        "|  30%   60C    P2   100W / 250W |   1906MiB / 11264MiB |     67%      Default |\n"
        "GPU memory usage: 2.50 GB\n"
        "RAM 81% program: 3 params: 4\n"
        "number of live tensors 958\n"
    )
    found = {series.name: series.values[0] for series in memory_series(parse(text))}
    assert found == {
        "memory": 4120,
        "max_mem": 3001 * 2**20,
        "GPU_mem": 4.71 * 2**30,
        "GPU 0 of nvidia-smi": 1906 * 2**20,
        "gpu memory usage": 2.5 * 2**30,
        "tensors": 958,
    }


def watch(memory: Callable[[int], float], steps: int, *, per_epoch: int = 500) -> list[Verdict]:
    facet = catalogue()["memory-leak"].during
    assert isinstance(facet, DuringFacet)
    observe = facet.start()
    said = []
    for number in range(steps):
        step = Step(number // per_epoch, number, 1.0, 1.0, 1e-3, memory_bytes=int(memory(number) * 2**20))
        said.append(observe(step))
    return [verdict for verdict in said if verdict is not None]


def test_a_leak_is_told_once_with_its_pace() -> None:
    said = watch(lambda step: 1000 + step, 3000)
    assert len(said) == 1
    assert "1.00 MiB a step" in said[0].finding.message


@pytest.mark.parametrize(
    "memory",
    [
        lambda step: 4000.0,
        lambda step: 1000 + min(step, 400) * 8.0,
        # A cache that is filled during the first epoch.
        lambda step: 1000 + min(step, 499) * 3.0,
        # Ever rarer records, as with images of many sizes.
        lambda step: 1000 + 200 * (step + 1) ** 0.2,
        # Growth with pauses: epochs of other sizes.
        lambda step: 1000 + 300 * (step // 400),
    ],
)
def test_a_healthy_run_is_left_alone(memory: Callable[[int], float]) -> None:
    assert watch(memory, 5000) == []
