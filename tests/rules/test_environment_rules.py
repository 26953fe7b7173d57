"""The rules of environment, compile, hubs and trackers: what the machine says to them, and which rule speaks up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from snellen.check.plan import RunPlan
from snellen.core.facts.machine import MachineFacts
from snellen.core.finding import Level
from snellen.core.plan import NotApplicable
from snellen.core.probe import Answer, Outcome, Ran
from snellen.core.rule import BeforeFacet, LogFacet
from snellen.explain import explain
from snellen.explain.parse import parse
from snellen.rules.catalogue import catalogue

CONFIRMED, REFUTED, UNKNOWN = Outcome.CONFIRMED, Outcome.REFUTED, Outcome.CANNOT_TELL
TRIAGE = [
    ("torchvision-torch-mismatch", "AttributeError: '_OpNamespace' 'torchvision' object has no attribute 'nms'"),
    ("torchvision-torch-mismatch", "WARNING torchvision==0.13 is incompatible with torch==2.0."),
    ("missing-package", "ImportError: libgthread-2.0.so.0: cannot open shared object file: No such file or directory"),
    ("missing-package", "/usr/bin/python3: No module named torch"),
    ("missing-package", "ModuleNotFoundError: No module named 'mmcv._ext'"),
    ("wrong-project-root", "ModuleNotFoundError: No module named 'src'"),
    ("", "ModuleNotFoundError: No module named 'mmcv.runner'"),
    ("", "ModuleNotFoundError: No module named 'models.decoder'"),
    ("", "ImportError: libcudnn.so.8: cannot open shared object file: No such file or directory"),
    ("cuda-arch-unsupported", "nvcc fatal   : Unsupported gpu architecture 'compute_86'"),
    (
        "cuda-arch-unsupported",
        "error in ms_deformable_im2col_cuda: no kernel image is available for execution on the device",
    ),
    ("numpy-abi", "TypeError: expected np.ndarray (got numpy.ndarray)"),
    ("missing-package", "ModuleNotFoundError: No module named 'numpy'"),
    ("disk-full", "safetensors_rust.SafetensorError: Error while serializing: No space left on device (os error 28)"),
    ("hub-offline", "ValueError: Connection error, and we cannot find the requested files in the cached path."),
    ("tracker-network", "wandb: Enter your choice: "),
    ("invalid-device-ordinal", "RuntimeError: No CUDA GPUs are available"),
]


@pytest.mark.parametrize(("slug", "text"), TRIAGE)
def test_neighbours_are_told_apart(slug: str, text: str) -> None:
    answers = explain(text + "\n")
    assert (answers[0].slug if answers else "") == slug


@dataclass
class Here:
    """A machine as the test wants it."""

    root: Path = Path()
    output: str = ""
    code: int | None = 0
    versions: Mapping[str, str] = field(default_factory=dict)
    modules: tuple[str, ...] = ()
    smi: str = ""

    def version(self, package: str) -> str | None:
        return self.versions.get(package)

    def can_import(self, module: str) -> bool:
        return module in self.modules

    def python(self, code: str, seconds: float = 60) -> Ran:
        return Ran(self.code, self.output)

    def command(self, *arguments: str, seconds: float = 20) -> Ran:
        return Ran(0, self.smi) if self.smi else Ran(None, "")


def ask(slug: str, text: str, here: Here) -> Answer:
    facet = catalogue()[slug].log
    assert isinstance(facet, LogFacet)
    assert facet.probe is not None
    return facet.probe(parse(text + "\n"), here)


OPS = "RuntimeError: operator torchvision::nms does not exist"
CAPABILITY = "card|RTX 5080|12|0|sm_80|sm_90\n"
SIZE = (
    'Traceback (most recent call last):\n  File "/opt/venv/lib/python3.11/site-packages/skimage/io.py", line 1\n'
    "    import x\nValueError: numpy.dtype size changed, may indicate binary incompatibility. Expected 96 from C "
    "header, got 88 from PyObject"
)
PAIR = {"torch": "2.4.1+cu124", "torchvision": "0.18.0"}
PROBES = [
    ("torchvision-torch-mismatch", OPS, Here(), UNKNOWN),
    ("torchvision-torch-mismatch", OPS, Here(versions=PAIR, code=1), CONFIRMED),
    ("torchvision-torch-mismatch", OPS, Here(versions=PAIR, output="loaded 0.18.0"), REFUTED),
    ("missing-package", "ModuleNotFoundError: No module named 'timm'", Here(), CONFIRMED),
    ("missing-package", "ModuleNotFoundError: No module named 'timm'", Here(modules=("timm",)), REFUTED),
    ("missing-package", "ImportError: libGL.so.1: cannot open shared object file", Here(output="loaded 4.9"), REFUTED),
    (
        "missing-package",
        "ImportError: libGL.so.1: cannot open shared object file",
        Here(output="libGL.so.1: no"),
        CONFIRMED,
    ),
    ("cpu-only-torch", "Torch not compiled with CUDA enabled", Here(output="build 2.4.1+cpu None False"), CONFIRMED),
    ("cpu-only-torch", "Torch not compiled with CUDA enabled", Here(output="build 2.4.1+cu124 12.4 True"), REFUTED),
    ("cpu-only-torch", "Torch not compiled with CUDA enabled", Here(output="ImportError"), UNKNOWN),
    ("cuda-arch-unsupported", "no kernel image is available", Here(output=CAPABILITY), CONFIRMED),
    ("cuda-arch-unsupported", "no kernel image is available", Here(output=f"{CAPABILITY}computed"), REFUTED),
    ("cuda-arch-unsupported", "no kernel image is available", Here(), UNKNOWN),
    ("numpy-abi", SIZE, Here(versions={"numpy": "2.0.0"}, output="loaded"), REFUTED),
    ("numpy-abi", SIZE, Here(versions={"numpy": "2.0.0"}, output="ValueError: numpy.dtype size changed"), CONFIRMED),
    ("numpy-abi", "Numpy is not available", Here(versions={"numpy": "2.0.0"}), UNKNOWN),
    ("triton-missing", "Cannot find a working triton installation", Here(versions={"torch": "2.6.0"}), CONFIRMED),
    (
        "triton-missing",
        "Cannot find a working triton installation",
        Here(versions={"torch": "2.6.0", "triton": "3.2.0"}, output="loaded 3.2.0"),
        REFUTED,
    ),
    (
        "triton-missing",
        "Cannot find a working triton installation",
        Here(versions={"torch": "2.6.0", "triton": "2.1.0"}, output="loaded 2.1.0"),
        CONFIRMED,
    ),
    ("invalid-device-ordinal", "RuntimeError: No CUDA GPUs are available", Here(output="sees 0"), CONFIRMED),
    ("hub-auth", "huggingface_hub.errors.GatedRepoError: 401 Client Error.", Here(output="token False"), CONFIRMED),
    ("hub-auth", "huggingface_hub.errors.GatedRepoError: 401 Client Error.", Here(output="token True"), UNKNOWN),
    ("hub-offline", "We couldn't connect to 'https://huggingface.co' to load", Here(output="reached"), REFUTED),
    ("hub-offline", "We couldn't connect to 'https://huggingface.co' to load", Here(output="timeout"), CONFIRMED),
    ("tracker-network", "wandb: ERROR api_key not configured (no-tty).", Here(output="key False\nnet True"), CONFIRMED),
    ("tracker-network", "wandb: ERROR api_key not configured (no-tty).", Here(output="key True\nnet True"), REFUTED),
    ("tracker-network", "Comet.ml requires an API key", Here(output="key True\nnet True"), UNKNOWN),
]


@pytest.mark.parametrize(("slug", "text", "here", "outcome"), PROBES)
def test_a_claim_is_confirmed_or_refuted_by_what_the_machine_says(
    slug: str, text: str, here: Here, outcome: Outcome
) -> None:
    answer = ask(slug, text, here)
    assert answer.outcome is outcome
    assert answer.text


def test_the_drivers_cuda_is_held_against_torchs() -> None:
    smi = "| NVIDIA-SMI 470.82  Driver Version: 470.82   CUDA Version: 11.4 |"
    text = "The NVIDIA driver on your system is too old (found version 11040)"
    assert ask("cuda-driver-too-old", text, Here(smi=smi, output="built 12.4 False")).outcome is CONFIRMED
    assert ask("cuda-driver-too-old", text, Here(smi=smi, output="built 11.8 True")).outcome is REFUTED
    assert ask("cuda-driver-too-old", text, Here(output="built 11.8 True")).outcome is UNKNOWN


def test_the_number_that_was_asked_for_is_held_against_the_gpus_here() -> None:
    frame = '  File "/home/user/train.py", line 3, in <module>\n    model.to("cuda:1")\n'
    text = f"Traceback (most recent call last):\n{frame}RuntimeError: CUDA error: invalid device ordinal"
    assert ask("invalid-device-ordinal", text, Here(output="sees 1")).outcome is CONFIRMED
    assert ask("invalid-device-ordinal", text, Here(output="sees 2")).outcome is REFUTED


def test_a_disk_with_space_refutes_a_full_one(tmp_path: Path) -> None:
    text = f"OSError: [Errno 28] No space left on device: '{tmp_path}/a/b.pth'"
    answer = ask("disk-full", text, Here(tmp_path))
    assert answer.outcome is REFUTED
    assert str(tmp_path) in answer.text


def test_the_projects_module_is_looked_for_below_the_root(tmp_path: Path) -> None:
    text = "ModuleNotFoundError: No module named 'utils'"
    assert ask("wrong-project-root", text, Here(tmp_path)).outcome is REFUTED
    (tmp_path / "lib" / "utils").mkdir(parents=True)
    answer = ask("wrong-project-root", text, Here(tmp_path))
    assert answer.outcome is CONFIRMED
    assert str(tmp_path / "lib") in answer.text


def machine(accelerator: str = "cuda", devices: int = 2, free: int | None = None) -> MachineFacts:
    return MachineFacts("here", True, accelerator, devices, bf16=False, disk_free_bytes=free)


def before(slug: str, settings: dict[str, object], facts: MachineFacts) -> list[Level]:
    facet = catalogue()[slug].before
    assert isinstance(facet, BeforeFacet)
    plan = RunPlan(root=Path(), settings=settings, providers={"machine": lambda _: facts})
    return [finding.level for finding in facet.examine(plan)]


def test_more_devices_than_the_machine_has_are_refused() -> None:
    assert before("invalid-device-ordinal", {"devices": 4}, machine()) == [Level.ERROR]
    assert before("invalid-device-ordinal", {"devices": 2}, machine()) == []
    for settings, facts in (({}, machine()), ({"devices": "auto"}, machine()), ({"devices": 4}, machine("cpu", 1))):
        with pytest.raises(NotApplicable):
            before("invalid-device-ordinal", settings, facts)


def test_little_space_where_the_run_writes_is_said_before_it() -> None:
    assert before("disk-full", {}, machine(free=64 << 20)) == [Level.ERROR]
    assert before("disk-full", {}, machine(free=1 << 30)) == [Level.WARNING]
    assert before("disk-full", {}, machine(free=1 << 40)) == []
    with pytest.raises(NotApplicable):
        before("disk-full", {}, machine(free=None))
