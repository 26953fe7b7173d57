"""What rules say of a machine and an environment before the run; drivers, packages and folders are really there."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from drivers import Card, nvidia_smi
from snellen.check.facts.code import provide_code, provide_repository
from snellen.check.facts.here import MACHINE_FACTS
from snellen.check.facts.machine import machine_facts
from snellen.check.facts.software import environment_facts
from snellen.check.plan import RunPlan
from snellen.core.facts.machine import Limits, MachineFacts
from snellen.core.facts.memory import CheckpointFacts
from snellen.core.facts.places import HubFacts, PlaceFacts
from snellen.core.finding import Finding, Level
from snellen.core.plan import NotApplicable, Plan
from snellen.core.rule import BeforeFacet
from snellen.rules.catalogue import load

T4, P100, A100 = Card("Tesla T4", "7.5", 15360), Card("Tesla P100-PCIE-16GB", "6.0", 16276), Card("A100", "8.0", 40960)
RTX5090 = Card("NVIDIA GeForce RTX 5090", "12.0", 32607)


def findings(slug: str, plan: Plan) -> list[Finding]:
    facet = load(slug).before
    assert isinstance(facet, BeforeFacet)
    return list(facet.examine(plan))


class Box:
    """A machine with a driver and an environment of its own."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root, self.monkeypatch = root, monkeypatch
        self.site = root / "site"
        self.site.mkdir()
        monkeypatch.setenv("PATH", f"{root}:/usr/bin:/bin")
        for name in ("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "MASTER_PORT"):
            monkeypatch.delenv(name, raising=False)

    def gpu(self, *cards: Card, driver: str = "580.65.06", cuda: str = "13.0") -> Box:
        nvidia_smi(self.root, *cards, driver=driver, cuda=cuda)
        return self

    def install(self, **packages: str) -> Box:
        for module, version in packages.items():
            (self.site / f"{module}-{version.partition('+')[0]}.dist-info").mkdir()
            tag = version.partition("+")[2]
            if tag:
                (self.site / module).mkdir()
                (self.site / module / "__init__.py").touch()
                cuda = f"'{tag[2:-1]}.{tag[-1]}'" if tag.startswith("cu") else "None"
                (self.site / module / "version.py").write_text(f"__version__ = '{version}'\ncuda = {cuda}\n")
        return self

    def plan(self, settings: Mapping[str, Any] | None = None, **facts: Any) -> Any:
        providers = {
            **MACHINE_FACTS,
            "environment": lambda _: environment_facts([str(self.site)]),
            **{name: lambda _, value=value: value for name, value in facts.items()},
        }
        return RunPlan(root=self.root, settings=settings or {}, providers=providers)

    def says(self, slug: str, settings: Mapping[str, Any] | None = None, **facts: Any) -> list[str]:
        return [f"{one.level.value}: {one.message}" for one in findings(slug, self.plan(settings, **facts))]


@pytest.fixture
def box(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Box:
    return Box(tmp_path, monkeypatch)


def test_torchvision_of_another_release_or_for_another_device(box: Box) -> None:
    box.install(torch="2.6.0+cu124", torchvision="0.20.1+cu124")
    (said,) = findings("torchvision-torch-mismatch", box.plan())
    assert "belongs to torch 2.5.1" in said.message
    assert said.fix is not None
    assert said.fix.command == "pip install torchvision==0.21.0 --index-url https://download.pytorch.org/whl/cu124"


@pytest.mark.parametrize(
    ("torch", "vision", "count"),
    [("2.6.0+cu124", "0.21.0+cu124", 0), ("2.6.0+cu124", "0.21.0+cpu", 1), ("2.6.0+cu126", "0.21.0+cu118", 1),
     ("2.6.0+cu126", "0.21.0+cu124", 0), ("2.6.0", "0.21.0", 0)],
)  # fmt: skip
def test_builds_of_torch_and_torchvision(box: Box, torch: str, vision: str, count: int) -> None:
    assert len(box.install(torch=torch, torchvision=vision).says("torchvision-torch-mismatch")) == count


def test_a_library_for_numpy_1_beside_numpy_2(box: Box) -> None:
    box.install(numpy="2.1.0", torch="2.2.2+cu121", opencv_python="4.9.0.80", scipy="1.14.0")
    assert [said.split()[1] for said in box.says("numpy-abi")] == ["torch", "opencv-python"]


def test_a_build_without_cuda_beside_a_gpu(box: Box) -> None:
    box.install(torch="2.6.0+cpu")
    with pytest.raises(NotApplicable, match="has no NVIDIA GPU"):
        box.says("cpu-only-torch")
    (said,) = findings("cpu-only-torch", box.gpu(P100).plan())
    assert said.fix is not None
    assert str(said.fix.command).endswith("/cu126")
    (said,) = findings("cpu-only-torch", box.gpu(RTX5090, driver="570.86.10", cuda="12.8").plan())
    assert said.fix is not None
    assert str(said.fix.command).endswith("/cu128")


@pytest.mark.parametrize(
    ("torch", "card", "wrong"),
    [
        ("2.8.0+cu128", P100, True),
        ("2.8.0+cu126", P100, False),
        ("2.6.0+cu124", RTX5090, True),
        ("2.7.0+cu128", RTX5090, False),
        ("2.13.0+cu130", Card("NVIDIA GB10", "12.1", None), False),
        ("2.13.0+cu130", Card("Tesla V100-SXM2-16GB", "7.0", 16160), True),
        ("2.6.0+cu124", Card("NVIDIA L4", "8.9", 23034), False),
    ],
)
def test_the_gpu_must_be_in_the_build(box: Box, torch: str, card: Card, wrong: bool) -> None:
    plan = box.gpu(card).install(torch=torch).plan()
    if not plan.fact("environment").torch_architectures:
        pytest.skip("what wheels for this processor hold is not known")
    assert bool(findings("cuda-arch-unsupported", plan)) is wrong


def test_a_build_that_is_not_known_is_not_judged(box: Box) -> None:
    box.gpu(P100).install(torch="2.6.0a0+gitabc")
    with pytest.raises(NotApplicable, match="cannot tell"):
        box.says("cuda-arch-unsupported")


@pytest.mark.parametrize(
    ("driver", "cuda", "torch", "wrong"),
    [
        ("470.82.01", "11.4", "2.6.0+cu118", False),
        ("470.82.01", "11.4", "2.6.0+cu124", True),
        ("535.104.05", "12.2", "2.6.0+cu126", False),
        ("570.86.10", "12.8", "2.9.0+cu130", True),
    ],
)
def test_the_driver_must_run_the_builds_cuda(box: Box, driver: str, cuda: str, torch: str, wrong: bool) -> None:
    said = box.gpu(T4, driver=driver, cuda=cuda).install(torch=torch).says("cuda-driver-too-old")
    assert bool(said) is wrong
    assert not said or driver in said[0]


def test_hidden_and_absent_gpus(box: Box) -> None:
    box.gpu(T4, T4)
    for variable, level in (("", "warning"), ("0,5", "error"), ("1", None), ("-1", None)):
        box.monkeypatch.setenv("CUDA_VISIBLE_DEVICES", variable)
        said = box.says("invalid-device-ordinal")
        assert [one.split(":")[0] for one in said] == ([level] if level else []), variable


def test_a_gpu_that_others_use(box: Box) -> None:
    busy = Card("A100", "8.0", 40960, free=20000, processes=((7, "python train.py", 20000),))
    (said,) = box.gpu(busy, A100).says("gpu-occupied")
    assert "held by python train.py (7)" in said
    assert box.gpu(Card("T4", "7.5", 15360, free=14900)).says("gpu-occupied") == []
    assert "not seen from here" in box.gpu(Card("T4", "7.5", 15360, free=5000)).says("gpu-occupied")[0]


def test_packages_that_the_code_imports(box: Box) -> None:
    code = box.root / "code"
    (code / "parts").mkdir(parents=True)
    (code / "parts" / "net.py").write_text(
        "import torch_scatter\nfrom parts import other\nimport mymodule_xyz\nimport os.path\n"
        "try:\n    import apex\nexcept ImportError:\n    apex = None\n"
        "def lazy():\n    import mmcv\n"
    )
    (code / "parts" / "other.py").write_text("def broken(:\n")
    plan = box.plan({"code": ["code"]})
    assert {item.name: item.found for item in provide_code(plan).imports} == {
        "torch_scatter": False, "parts": True, "mymodule_xyz": False, "os": True, "apex": False, "mmcv": False
    }  # fmt: skip
    said = {one.message: one for one in findings("missing-package", plan)}
    assert [one.level for one in said.values()] == [Level.ERROR, Level.WARNING]
    assert len(plan.fact("code").unread) == 1
    (code / "train.py").write_text("from utils import tools\n")
    assert "`import utils` finds nothing" in box.says("wrong-project-root", {"code": ["code"]})[0]
    (box.root / "utils").mkdir()
    assert box.says("wrong-project-root", {"code": ["code"]}) == []


def test_triton_is_needed_where_code_is_compiled(box: Box) -> None:
    (box.root / "net.py").write_text("import torch\nmodel = torch.compile(make())\n")
    box.gpu(A100).install(torch="2.6.0+cu124")
    settings = {"code": ["net.py"]}
    assert "Triton is not installed" in box.says("triton-missing", settings)[0]
    (box.site / "triton-3.1.0.dist-info").mkdir()
    assert "goes with Triton 3.2.0, here is 3.1.0" in box.says("triton-missing", settings)[0]
    (box.site / "triton-3.1.0.dist-info").rename(box.site / "triton-3.2.0.dist-info")
    assert box.says("triton-missing", settings) == []


def test_a_port_that_is_taken(box: Box) -> None:
    with socket.socket() as holder:
        holder.bind(("", 0))
        holder.listen()
        box.monkeypatch.setenv("MASTER_PORT", str(holder.getsockname()[1]))
        (said,) = box.gpu(T4, T4).says("address-in-use", {"devices": 2})
        assert "in use" in said
    assert box.says("address-in-use", {"devices": 2}) == []


def place(key: str = "output", **facts: Any) -> PlaceFacts:
    return PlaceFacts(key, "/somewhere/runs", "/somewhere", **{"writable": True, **facts})


def machine(**facts: Any) -> MachineFacts:
    return MachineFacts("box", True, "cpu", 1, False, **{"cpus": 8, "host_memory_bytes": 16 << 30, **facts})


def test_folders_that_cannot_be_written(box: Box) -> None:
    (box.root / "file").touch()
    said = box.says("cache-permission", {"output": "file/runs"})
    assert not said or "error" in said[0]
    closed = (place(writable=False, problem="Read-only file system"), place("HF_HOME", writable=False, problem="x"))
    assert [one.split(":")[0] for one in box.says("cache-permission", places=closed)] == ["error", "warning"]
    assert len(box.says("cache-permission", {"output": "runs"}, places=closed)) == 1
    dead = (place(answers=False, problem="/mnt does not answer within 3 seconds"),)
    assert "does not answer" in box.says("cache-permission", places=dead)[0]


def test_room_for_checkpoints_files_and_limits(box: Box) -> None:
    facts = machine(disk_free_bytes=5 << 30)
    assert box.says("disk-full", machine=facts, places=()) == []
    kept = CheckpointFacts(last=2 << 30, best=1 << 30, kept=1)
    assert box.says("disk-full", machine=facts, places=(), checkpoint_bytes=kept) == []
    tight = machine(disk_free_bytes=4 << 30)
    (said,) = box.says("disk-full", machine=tight, places=(), checkpoint_bytes=kept)
    assert "take 5.00 GiB; 4.00 GiB are free" in said
    small = machine(disk_free_bytes=50 << 30, limits=Limits(file_size=1 << 20))
    said_of_places = box.says("disk-full", machine=small, places=(place(free_files=10), place("TMPDIR", free_bytes=5)))
    assert len(said_of_places) == 3


def test_results_that_are_lost(box: Box) -> None:
    kaggle = machine(surroundings=("kaggle",))
    assert "only /kaggle/working" in box.says("output-not-kept", machine=kaggle, places=(place(),))[0]
    kept = PlaceFacts("output", "/kaggle/working/runs", "/kaggle/working", writable=True)
    assert box.says("output-not-kept", machine=kaggle, places=(kept,)) == []
    memory = (place(in_memory=True, kind="tmpfs"),)
    assert "main memory" in box.says("output-not-kept", machine=machine(), places=memory)[0]
    assert box.says("output-not-kept", machine=machine(), places=(place(kind="ext4"),)) == []


def test_workers_against_files_and_cores(box: Box) -> None:
    settings = {"data": {"workers": 8, "image_size": 2048}, "optim": {"batch_size": 32}}
    few = machine(limits=Limits(open_files=128, most_open_files=4096))
    assert "about 192" in box.says("too-many-open-files", settings, machine=few)[0]
    assert box.says("too-many-open-files", settings, machine=machine(limits=Limits(open_files=1024))) == []
    quota = machine(cpus=2, seen_cpus=64)
    said_of_threads = box.says("thread-oversubscription", settings, machine=quota)
    assert len(said_of_threads) == 2
    box.monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert box.says("thread-oversubscription", machine=quota) == []


def test_little_shared_memory_without_a_run(box: Box) -> None:
    assert "--ipc=host" in str(
        findings("shm-too-small", box.plan(machine=machine(shared_memory_bytes=64 << 20)))[0].fix
    )
    assert box.says("shm-too-small", machine=machine(shared_memory_bytes=8 << 30)) == []


def test_weights_out_of_reach_or_behind_a_licence(box: Box) -> None:
    hub = HubFacts("facebook/dinov3-vits16", "model.pretrained", "https://hub", reached=False, reason="no answer")
    assert "no answer" in box.says("hub-offline", hub=hub)[0]
    assert "no token" in box.says("hub-auth", hub=hub)[0]
    cached = HubFacts("facebook/dinov3-vits16", "model.pretrained", "https://hub", cached=("x",))
    assert box.says("hub-offline", hub=cached) == box.says("hub-auth", hub=cached) == []
    with pytest.raises(NotApplicable, match="fetches no weights"):
        box.says("hub-offline", {"model": {"pretrained": False}})


def test_installations_that_are_not_whole(box: Box) -> None:
    box.install(torch="2.6.0+cu124", opencv_python="4.10.0.84", opencv_python_headless="4.11.0.86")
    (box.site / "torch" / "__init__.py").unlink()
    assert "no __init__.py" in box.says("broken-torch")[0]
    assert "overwrite each other" in box.says("two-opencv")[0]
    assert "torchvision, timm" in box.says("missing-extra")[0]


def test_variables_for_debugging(box: Box) -> None:
    for name in ("CUDA_LAUNCH_BLOCKING", "PYTORCH_NO_CUDA_MEMORY_CACHING", "TORCHDYNAMO_DISABLE"):
        box.monkeypatch.setenv(name, "1")
    assert len(box.says("debug-variable-left-on", machine=machine())) == 1
    assert len(box.gpu(T4).says("debug-variable-left-on")) == 3


def test_one_memory_without_a_limit(box: Box) -> None:
    spark = Card("NVIDIA GB10", "12.1", None)
    said = box.gpu(spark).says("unified-memory-unguarded")
    assert not said or "hangs the machine" in said[0]
    with pytest.raises(NotApplicable):
        box.gpu(A100).says("unified-memory-unguarded")


def test_code_that_git_does_not_know(box: Box) -> None:
    git = ["git", "-C", str(box.root), "-c", "user.name=a", "-c", "user.email=a@example.org"]
    (box.root / "net.py").write_text("a = 1\n")
    with pytest.raises(NotApplicable, match="no git repository"):
        box.says("code-not-committed", {"code": ["net.py"]})
    subprocess.run([*git, "init", "-q"], check=True)
    assert "1 file of the run's code not known to git (no commit yet): net.py" in box.says(
        "code-not-committed", {"code": ["net.py"]}
    )[0]  # fmt: skip
    subprocess.run([*git, "add", "net.py"], check=True)
    subprocess.run([*git, "-c", "commit.gpgsign=false", "commit", "-qm", "Add"], check=True)
    (box.root / "net.py").write_text("a = 2\n")
    assert box.says("code-not-committed", {"code": ["net.py"]}) == []
    assert provide_repository(box.plan({"code": ["net.py"]})).changed == ("net.py",)
    subprocess.run([*git, "checkout", "-q", "--detach"], check=True)
    assert "HEAD is detached" in box.says("code-not-committed", {"code": ["net.py"]})[0]


def test_a_run_for_another_machine_is_judged_by_its_facts_and_not_by_this_one(box: Box) -> None:
    box.gpu(P100, driver="470.82.01", cuda="11.4").install(torch="2.8.0+cu128")
    plan = box.plan({"machine": "h100", "devices": 4}, environment=None)
    assert plan.fact("machine") == machine_facts("h100", output=box.root / "runs")
    away = RunPlan(root=box.root, settings={"machine": "h100"}, providers=MACHINE_FACTS)
    old = RunPlan(root=box.root, settings={"machine": "kaggle-p100"}, providers=MACHINE_FACTS)
    (note,) = findings("cuda-arch-unsupported", old)
    assert (note.level, "6.0" in note.message) == (Level.NOTE, True)
    assert findings("cuda-arch-unsupported", away) == []
    for slug in ("cuda-driver-too-old", "cpu-only-torch", "cache-permission", "disk-full",
                 "torchvision-torch-mismatch", "gpu-occupied", "missing-extra"):  # fmt: skip
        with pytest.raises(NotApplicable):
            findings(slug, away)
    assert "h100 has 1" in findings("invalid-device-ordinal", plan)[0].message


def test_a_sound_machine_has_no_findings(box: Box) -> None:
    box.gpu(A100).install(
        torch="2.8.0+cu128", torchvision="0.23.0+cu128", numpy="2.2.0", timm="1.0.20", pillow="11.0.0",
        lightning_fabric="2.6.1", safetensors="0.6.0", opencv_python_headless="4.12.0.88", triton="3.4.0",
    )  # fmt: skip
    for slug in ("torchvision-torch-mismatch", "numpy-abi", "cpu-only-torch", "cuda-arch-unsupported", "broken-torch",
                 "cuda-driver-too-old", "missing-extra", "two-opencv", "gpu-occupied", "debug-variable-left-on",
                 "invalid-device-ordinal", "cache-permission"):  # fmt: skip
        assert box.says(slug) == [], slug
