"""What the rules of number formats and of several processes ask of a machine, and say of a plan."""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from snellen.core.facts.machine import MachineFacts
from snellen.core.finding import Finding
from snellen.core.log import Log, LogLine
from snellen.core.logs.messages import frameworks, loop_owner, narrowed, tensor_type
from snellen.core.plan import NotApplicable
from snellen.core.probe import Answer, Outcome, Ran
from snellen.core.rule import BeforeFacet, LogFacet
from snellen.explain import explain
from snellen.explain.here import ThisMachine
from snellen.rules.catalogue import load

CPU = MachineFacts("laptop", here=True, accelerator="cpu", devices=1, bf16=False)
GPUS = MachineFacts("node", here=True, accelerator="cuda", devices=4, bf16=True, shared_memory_bytes=64 << 20)


@dataclass
class Plan:
    """A plan with the facts that are given."""

    facts: Mapping[str, Any]
    settings: Mapping[str, Any] = field(default_factory=dict)
    path: Path | None = None
    root: Path = Path()

    def line_of(self, key: str) -> int | None:
        return 1

    def fact(self, name: str) -> Any:
        return self.facts[name]


@dataclass
class Here:
    """A machine that answers as it is told."""

    output: str = ""
    torch: str | None = None
    root: Path = Path()

    def version(self, package: str) -> str | None:
        return self.torch

    def can_import(self, module: str) -> bool:
        return self.torch is not None

    def python(self, code: str, seconds: float = 60) -> Ran:
        return Ran(0, self.output)

    def command(self, *arguments: str, seconds: float = 20) -> Ran:
        return Ran(0 if self.output else None, self.output)


def log_of(text: str) -> Log:
    return Log(tuple(LogLine(number, line) for number, line in enumerate(text.splitlines(), 1)))


def ask(slug: str, text: str, here: Any) -> Answer:
    facet = load(slug).log
    assert isinstance(facet, LogFacet)
    assert facet.probe is not None
    return facet.probe(log_of(text), here)


def before(slug: str, **facts: Any) -> list[Finding]:
    facet = load(slug).before
    assert isinstance(facet, BeforeFacet)
    return list(facet.examine(Plan(facts)))


@pytest.mark.parametrize(
    ("output", "outcome"),
    [
        ("SNELLEN 1.13.1 False lacks", Outcome.CONFIRMED),
        ("SNELLEN 2.6.0 True works", Outcome.REFUTED),
        ("SNELLEN 2.6.0 False unknown", Outcome.CONFIRMED),
        ("SNELLEN 2.6.0 True unknown", Outcome.CANNOT_TELL),
        ("ModuleNotFoundError: No module named 'torch'", Outcome.CANNOT_TELL),
    ],
)
def test_half_on_a_cpu_is_tried(output: str, outcome: Outcome) -> None:
    text = "RuntimeError: \"slow_conv2d_cpu\" not implemented for 'Half'"
    assert ask("half-on-cpu", text, Here(output)).outcome is outcome


@pytest.mark.parametrize(
    ("torch", "outcome"), [("2.4.0", Outcome.CONFIRMED), ("2.3.1", Outcome.REFUTED), (None, Outcome.CANNOT_TELL)]
)
def test_old_names_are_asked_of_the_installed_version(torch: str | None, outcome: Outcome) -> None:
    text = "train.py:3: FutureWarning: `torch.cuda.amp.autocast(args...)` is deprecated."
    assert ask("deprecated-amp-api", text, Here(torch=torch)).outcome is outcome


@pytest.mark.parametrize(
    ("size", "outcome"), [(65536, Outcome.CONFIRMED), (8 << 20, Outcome.CANNOT_TELL), (None, Outcome.CANNOT_TELL)]
)
def test_shared_memory_is_measured(size: int | None, outcome: Outcome) -> None:
    table = f"Filesystem 1K-blocks Used Available\nshm {size} 0 {size} 0% /dev/shm\n" if size else ""
    text = "RuntimeError: NCCL error in: ProcessGroupNCCL.cpp:825, unhandled system error, NCCL version 2.7.8"
    assert ask("nccl-timeout", text, Here(table)).outcome is outcome


def test_a_port_is_tried_for_real() -> None:
    with socket.socket() as taken:
        taken.bind(("", 0))
        taken.listen()
        port = taken.getsockname()[1]
        text = (
            f"RuntimeError: The server socket has failed to bind to [::]:{port} (errno: 98 - Address already in use)."
        )
        assert ask("address-in-use", text, ThisMachine(Path())).outcome is Outcome.CONFIRMED
    assert ask("address-in-use", text, ThisMachine(Path())).outcome is Outcome.REFUTED
    assert ask("address-in-use", "Address already in use", Here()).outcome is Outcome.CANNOT_TELL


def test_float16_on_a_cpu_is_found_before_the_run() -> None:
    found = before("half-on-cpu", precision="fp16", machine=CPU)
    assert [(finding.slug, finding.fix and finding.fix.settings) for finding in found] == [
        ("half-on-cpu", (("precision", "auto"),))
    ]
    for facts in ({"precision": "fp32", "machine": CPU}, {"precision": "fp16", "machine": GPUS}):
        with pytest.raises(NotApplicable):
            before("half-on-cpu", **facts)


def test_small_shared_memory_is_found_before_several_gpus_meet_in_it() -> None:
    assert "64 MiB" in before("nccl-timeout", machine=GPUS)[0].message
    assert not before("nccl-timeout", machine=replace(GPUS, shared_memory_bytes=8 << 30))
    for machine in (CPU, replace(GPUS, devices=1), replace(GPUS, shared_memory_bytes=None)):
        with pytest.raises(NotApplicable):
            before("nccl-timeout", machine=machine)


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ("Input type (double) and bias type (float) should be the same", "float64"),
        ("Input type (unsigned char) and bias type (float) should be the same", "/ 255"),
        ("expected scalar type Long but found Float", ".long()"),
        ("mat1 and mat2 must have the same dtype, but got Half and Float", "autocast"),
    ],
)
def test_the_dtypes_that_met_decide_what_to_do(message: str, words: str) -> None:
    best = explain(f"RuntimeError: {message}\n")[0]
    assert best.slug == "dtype-mismatch"
    assert words in f"{best.cause} {best.fix.text}"


def test_the_argument_in_brackets_is_on_the_second_device() -> None:
    text = (
        "RuntimeError: Expected all tensors to be on the same device, but found at least two devices, {} and {}! "
        "(when checking argument for argument mat1 in method wrapper_CUDA_addmm)\n"
    )
    model_behind, batch_behind = explain(text.format("cpu", "cuda:0"))[0], explain(text.format("cuda:0", "cpu"))[0]
    assert "model.to(device)" in model_behind.fix.text
    assert ".to('cuda:0')" in batch_behind.fix.text


def test_parameters_are_named_by_module_and_rank() -> None:
    text = (
        "RuntimeError: Expected to have finished reduction in the prior iteration before starting a new one.\n"
        "Parameters which did not receive grad for rank 1: head.mask.0.weight, head.mask.0.bias, head.mask.1.weight\n"
    )
    assert re.search(r"`head\.mask` on rank 1", explain(text)[0].cause)


def test_ranks_that_did_not_report_are_named() -> None:
    line = (
        "[rank{0}]:[E ProcessGroupNCCL.cpp:616] [Rank {0}] Watchdog caught collective operation timeout: WorkNCCL("
        "SeqNum=5, OpType=ALLREDUCE, NumelIn=1, NumelOut=1, Timeout(ms)=600000) ran for 600051 milliseconds.\n"
    )
    best = explain("".join(line.format(rank) for rank in (0, 1, 3)))[0]
    assert best.slug == "nccl-timeout"
    assert "600 s" in best.cause
    assert best.fix.text.startswith("Rank 2 did not report")


def test_names_of_tensor_types_of_all_versions() -> None:
    pairs = [
        ("torch.cuda.HalfTensor", "cuda"),
        ("torch.HalfTensor", "cpu"),
        ("MPSHalfType", "mps"),
        ("c10::Half", None),
    ]
    assert [(tensor_type(name).dtype, tensor_type(name).device) for name, _ in pairs] == [
        ("float16", device) for _, device in pairs
    ]
    assert tensor_type("Tensor").dtype is None
    assert len(narrowed(log_of("one\ntwo\n"), ["two"]).lines) == 1
    assert frameworks([]) == ()
    assert loop_owner([]) is None
