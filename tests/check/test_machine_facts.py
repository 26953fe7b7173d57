"""Facts about machine, packages, folders and network, with the faults really there."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from drivers import Card, nvidia_smi
from snellen.check.facts.hub import hub_facts, reach
from snellen.check.facts.machine import machine_facts, this_machine
from snellen.check.facts.places import look_at_place
from snellen.check.facts.software import environment_facts
from snellen.config.machines import MACHINES
from snellen.core.control_groups import control_groups
from snellen.core.facts.machine import MachineFacts
from snellen.core.nvidia import read_driver


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def groups_v2(root: Path, path: str, **limits: str) -> None:
    write(root / "proc/self/cgroup", f"0::{path}\n")
    for name, text in limits.items():
        write(root / "sys/fs/cgroup" / path.strip("/") / name.replace("_", ".", 1), text)


def test_the_tightest_of_nested_groups_wins(tmp_path: Path) -> None:
    groups_v2(tmp_path, "/slurm/job/step", memory_max="max\n", cpu_max="400000 100000\n")
    write(tmp_path / "sys/fs/cgroup/slurm/job/memory.max", f"{8 << 30}\n")
    write(tmp_path / "sys/fs/cgroup/slurm/job/memory.current", f"{3 << 30}\n")
    write(tmp_path / "sys/fs/cgroup/slurm/job/memory.stat", f"anon 5\ninactive_file {1 << 30}\n")
    write(tmp_path / "sys/fs/cgroup/slurm/job/memory.events", "low 0\noom_kill 2\n")
    write(tmp_path / "sys/fs/cgroup/slurm/memory.max", f"{64 << 30}\n")
    write(tmp_path / "sys/fs/cgroup/slurm/cpu.max", "150000 100000\n")
    found = control_groups(tmp_path)
    assert (found.memory_bytes, found.memory_used, found.killed) == (8 << 30, 2 << 30, 2)
    assert found.memory_from.endswith("slurm/job")
    assert (found.cpus, found.cpus_from) == (1.5, str(tmp_path / "sys/fs/cgroup/slurm"))


def test_version_one_and_a_path_of_the_host(tmp_path: Path) -> None:
    write(tmp_path / "proc/self/cgroup", "4:memory:/docker/abc\n2:cpu,cpuacct:/docker/abc\n0::/\n")
    write(tmp_path / "sys/fs/cgroup/memory/memory.limit_in_bytes", f"{2 << 30}\n")
    write(tmp_path / "sys/fs/cgroup/memory/memory.usage_in_bytes", f"{1 << 30}\n")
    write(tmp_path / "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "50000\n")
    write(tmp_path / "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n")
    found = control_groups(tmp_path)
    assert (found.memory_bytes, found.cpus) == (2 << 30, 0.5)
    write(tmp_path / "sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n")
    assert control_groups(tmp_path).memory_bytes is None


def test_a_limit_is_the_machines_memory_and_available_stays_inside(tmp_path: Path) -> None:
    groups_v2(tmp_path, "/box", memory_max=f"{1 << 30}\n", memory_current=f"{1 << 29}\n", cpu_max="100000 100000\n")
    write(tmp_path / "proc/meminfo", "MemTotal: 99 kB\nMemAvailable:   9999999999 kB\n")
    found = this_machine(root=tmp_path)
    assert (found.host_memory_bytes, found.host_available_bytes) == (1 << 30, 1 << 29)
    assert found.memory_limited_by.endswith("/box")
    assert (found.cpus, found.seen_cpus) == (1, len(os.sched_getaffinity(0)))


@pytest.fixture
def driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return tmp_path


@pytest.mark.parametrize(
    ("version", "cuda", "old", "card", "capability", "bf16"),
    [
        ("450.80.02", (11, 0), True, Card("Tesla V100-SXM2-16GB", "", 16160), (7, 0), False),
        ("470.82.01", (11, 4), True, Card("GeForce RTX 3090", "", 24268), (8, 6), True),
        ("535.104.05", (12, 2), False, Card("Tesla T4", "7.5", 15360), (7, 5), False),
        ("550.54.15", (12, 4), False, Card("NVIDIA H100 80GB HBM3", "9.0", 81559), (9, 0), True),
        ("580.65.06", (13, 0), False, Card("NVIDIA GeForce RTX 5090", "12.0", 32607), (12, 0), True),
    ],
)
def test_drivers_old_and_new_are_read(
    driver: Path, version: str, cuda: tuple[int, int], old: bool, card: Card, capability: tuple[int, int], bf16: bool
) -> None:
    nvidia_smi(driver, card, driver=version, cuda=f"{cuda[0]}.{cuda[1]}", old=old)
    found = this_machine()
    assert (found.driver, found.driver_cuda, found.capability, found.bf16) == (version, cuda, capability, bf16)
    assert (found.accelerator, found.devices, found.memory_bytes) == ("cuda", 1, (card.memory or 0) << 20)


def test_hidden_gpus_do_not_count(driver: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nvidia_smi(driver, Card("Tesla T4", "7.5", 15360), Card("NVIDIA L4", "8.9", 23034))
    for variable, devices, accelerator in (
        ("1", 1, "cuda"),
        ("", 1, "cpu"),
        ("GPU-00000001", 1, "cuda"),
        ("0,1", 2, "cuda"),
    ):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", variable)
        found = this_machine()
        assert (found.devices, found.accelerator, len(found.gpus)) == (devices, accelerator, 2)


def test_a_card_that_is_cut_up_gives_one_instance(driver: Path) -> None:
    nvidia_smi(driver, Card("NVIDIA H100 80GB HBM3", "9.0", 81559, instances=(9856, 9856)))
    found = this_machine()
    assert found.gpus[0].mig
    assert found.memory_bytes == 9856 << 20


def test_one_memory_for_host_and_gpu_is_what_the_host_has_left(driver: Path) -> None:
    nvidia_smi(driver, Card("NVIDIA GB10", "12.1", None), driver="580.95.05", cuda="13.0")
    write(driver / "root/proc/meminfo", f"MemAvailable: {90 << 20} kB\n")
    found = this_machine(root=driver / "root")
    assert found.unified
    assert found.memory_bytes == found.host_available_bytes == 90 << 30


@pytest.mark.parametrize(
    "said",
    [
        "Failed to initialize NVML: Driver/library version mismatch",
        "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.",
        "No devices were found",
    ],
)
def test_a_driver_that_fails_says_why(driver: Path, said: str) -> None:
    nvidia_smi(driver, fails=said.replace("'", ""))
    found = this_machine()
    assert found.accelerator == "cpu"
    assert said.replace("'", "") in found.notes[0] or "ended with 9" in found.notes[0]


@pytest.mark.parametrize("text", ["", "<x", "<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>", "\0\xff", "<a>" * 5000])
def test_a_hostile_driver_tool_is_no_gpu(driver: Path, text: str) -> None:
    (driver / "report").write_text(text, encoding="latin-1")
    (driver / "nvidia-smi").write_text(f"#!/bin/sh\ncat {driver}/report\n")
    (driver / "nvidia-smi").chmod(0o755)
    assert read_driver().gpus == ()


def test_a_driver_that_hangs_is_given_up(driver: Path) -> None:
    (driver / "nvidia-smi").write_text("#!/bin/sh\nexec sleep 60\n")
    (driver / "nvidia-smi").chmod(0o755)
    started = time.monotonic()
    found = read_driver(seconds=0.3)
    assert time.monotonic() - started < 10
    assert "the driver hangs" in found.problem


def install(folder: Path, name: str, version: str, files: str | None = None) -> None:
    (folder / f"{name}-{version.partition('+')[0]}.dist-info").mkdir(parents=True)
    if files is not None:
        write(folder / name / "__init__.py", "")
        write(folder / name / "version.py", f"__version__ = '{version}'\n{files}")


def test_versions_come_with_their_local_tags(tmp_path: Path) -> None:
    install(
        tmp_path, "torch", "2.7.1+cu128", "debug = False\ncuda: Optional[str] = '12.8'\nhip: Optional[str] = None\n"
    )
    install(tmp_path, "torchvision", "0.22.1+cu128", "")
    install(tmp_path, "opencv_python", "4.10.0.84")
    found = environment_facts([str(tmp_path)])
    assert found.packages == {"torch": "2.7.1+cu128", "torchvision": "0.22.1+cu128", "opencv-python": "4.10.0.84"}
    assert (found.torch_cuda, found.torch_build, found.torch_problem) == ((12, 8), "cu128", "")


def test_the_architectures_of_a_build_are_told_or_left_open(tmp_path: Path) -> None:
    install(tmp_path, "torch", "2.7.1+cu128", "cuda = '12.8'\n")
    held = environment_facts([str(tmp_path)])
    assert (12, 0) in held.torch_architectures or "unknown" in held.notes[0]
    shutil.rmtree(tmp_path / "torch-2.7.1.dist-info")
    install(tmp_path, "torch", "2.9.0a0+git123", "cuda = '12.9'\n")
    assert "unknown" in environment_facts([str(tmp_path)]).notes[0]


def test_installations_that_broke_off(tmp_path: Path) -> None:
    install(tmp_path, "torch", "2.6.0+cpu", "cuda = None\n")
    assert environment_facts([str(tmp_path)]).torch_build == "cpu"
    (tmp_path / "torch" / "__init__.py").unlink()
    assert "no __init__.py" in environment_facts([str(tmp_path)]).torch_problem
    shutil.rmtree(tmp_path / "torch")
    assert "its folder is not" in environment_facts([str(tmp_path)]).torch_problem
    install(tmp_path, "torch", "2.4.1+cu121", "cuda = '12.1'\n")
    assert environment_facts([str(tmp_path)]).doubled == {"torch": ("2.4.1", "2.6.0")}
    shutil.rmtree(tmp_path / "torch-2.4.1.dist-info")
    assert "its files are those of 2.4.1+cu121" in environment_facts([str(tmp_path)]).torch_problem
    shutil.rmtree(tmp_path / "torch-2.6.0.dist-info")
    (tmp_path / "~orch-2.6.0.dist-info").mkdir()
    assert "broke off" in environment_facts([str(tmp_path)]).torch_problem


def test_libraries_that_torch_asks_for_and_that_are_gone(tmp_path: Path) -> None:
    install(tmp_path, "torch", "2.6.0+cu124", "cuda = '12.4'\n")
    system = 'platform_system == "Linux"'
    write(
        tmp_path / "torch-2.6.0.dist-info/METADATA",
        f"Name: torch\nRequires-Dist: nvidia-cudnn-cu12==9.1.0.70; {system}\n"
        f"Requires-Dist: nvidia-nccl-cu12==2.21.5; {system}\n"
        'Requires-Dist: nvidia-other; platform_machine == "s390x"\n\nRequires-Dist: nvidia-in-the-text\n',
    )
    (tmp_path / "nvidia_nccl_cu12-2.21.5.dist-info").mkdir()
    problem = environment_facts([str(tmp_path)]).torch_problem
    assert problem == "libraries that it loads are not installed: nvidia-cudnn-cu12"


@contextlib.contextmanager
def mounted(folder: Path, options: str) -> Iterator[None]:
    folder.mkdir()
    ended = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True, check=False)
    if ended.returncode:
        pytest.skip("this machine does not let a test mount a file system")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def test_a_full_file_system_and_one_for_reading_only(tmp_path: Path) -> None:
    with mounted(tmp_path / "full", "size=64k"):
        (tmp_path / "full/all").write_bytes(b"x" * 65536)
        found = look_at_place("output", tmp_path / "full/runs")
        assert (found.writable, found.in_memory, found.kind) == (False, True, "tmpfs")
        assert found.free_bytes == 0
        assert "No space left" in found.problem
    with mounted(tmp_path / "closed", "size=64k,ro"):
        found = look_at_place("output", tmp_path / "closed/a/b")
        assert (found.writable, found.problem, found.nearest) == (
            False,
            "Read-only file system",
            str(tmp_path / "closed"),
        )
    with mounted(tmp_path / "few", "nr_inodes=3"):
        assert (look_at_place("output", tmp_path / "few").free_files or 0) <= 2


def test_a_quota_is_asked_of_its_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    device = subprocess.run(["df", "--output=source", tmp_path], capture_output=True, text=True, check=True)
    name = device.stdout.split()[-1]
    lines = "Disk quotas for user me (uid 1000):\\n Filesystem blocks quota limit grace files quota limit grace\\n"
    for used, left in ((900, (1000 - 900) << 10), (1200, 0)):
        write(tmp_path / "quota", f"#!/bin/sh\nprintf '{lines} {name} {used}* 1000 2000 0 7 0 0 0\\n'\n")
        (tmp_path / "quota").chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
        assert look_at_place("output", tmp_path).quota_bytes == left


@contextlib.contextmanager
def dead_mount(folder: Path) -> Iterator[None]:
    """A file system of the kind FUSE whose server never answers, as that of a network mount that is gone."""
    folder.mkdir()
    try:
        server = os.open("/dev/fuse", os.O_RDWR)
    except OSError:
        pytest.skip("this machine has no /dev/fuse")
    system = ctypes.CDLL(None, use_errno=True)
    options = f"fd={server},rootmode=40000,user_id=0,group_id=0".encode()
    if system.mount(b"gone", os.fsencode(folder), b"fuse.sshfs", 0, options):
        os.close(server)
        pytest.skip("this machine does not let a test mount a file system")
    try:
        yield
    finally:
        # The answer that everybody waits for becomes an error.
        os.close(server)
        system.umount2(os.fsencode(folder), 2)


def test_a_dead_mount_is_given_up(tmp_path: Path) -> None:
    with dead_mount(tmp_path / "gone"):
        started = time.monotonic()
        found = look_at_place("output", tmp_path / "gone/runs", seconds=0.3)
        assert time.monotonic() - started < 10
        assert not found.answers
        assert found.network
        assert "does not answer" in found.problem
        assert this_machine(output=tmp_path / "gone/runs").disk_free_bytes is None


def test_a_limit_of_file_size_and_of_open_files_is_read(tmp_path: Path) -> None:
    code = "from snellen.check.facts.machine import this_machine as m; l = m().limits; print(l.open_files, l.file_size)"

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (100, 200))
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))

    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, preexec_fn=limit, check=False
    )
    assert ended.stdout.split() == ["100", str(1 << 20)], ended.stderr


def test_a_server_that_accepts_and_says_nothing_is_out_of_reach() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        started = time.monotonic()
        assert "within" in reach(f"http://127.0.0.1:{listener.getsockname()[1]}", 0.3)
        assert time.monotonic() - started < 10


def test_a_server_that_answers_anything_is_reached_and_asked_for_its_head_only() -> None:
    asked: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            one, _ = listener.accept()
            with one:
                asked.append(one.recv(4096))
                one.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        assert reach(f"http://127.0.0.1:{listener.getsockname()[1]}", 5) == ""
        thread.join(5)
    assert asked[0].startswith(b"HEAD / HTTP")
    assert reach("ftp://x", 1) == "'ftp://x' is no address of a server"
    assert reach("http://127.0.0.1:1", 1)


def test_the_hub_is_left_alone_when_files_are_cached_or_it_is_forbidden(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    assert hub_facts("resnet50", key="k").reached is False
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    found = hub_facts("resnet50", key="k")
    assert (found.offline, found.reached, found.cached, found.token) == ("HF_HUB_OFFLINE", None, (), False)
    write(tmp_path / "hub/models--timm--vit_small_patch14_dinov2.lvd142m/snapshots/abc/model.safetensors", "x")
    write(tmp_path / "token", "hf_secret")
    found = hub_facts("dinov2_vits14", key="k")
    assert len(found.cached) == 1
    assert found.token
    assert "hf_secret" not in repr(found)


def test_a_password_of_a_proxy_is_in_no_fact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://me:secret@127.0.0.1:9")
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HTTP_PROXY", "me:secret@127.0.0.1:9")
    assert "secret" not in repr(environment_facts()) + repr(hub_facts("x", key="k"))
    assert hub_facts("x", key="k").proxy == "127.0.0.1:9"


def test_every_profile_has_what_a_check_needs() -> None:
    wanted = "kaggle-t4 kaggle-t4x2 kaggle-p100 colab-t4 l4 a10g rtx3090 rtx4090 a100-40 a100-80 h100 h200"
    assert {*wanted.split(), "dgx-spark", "mps", "cpu"} <= set(MACHINES)
    for name in MACHINES:
        found = machine_facts(name)
        assert isinstance(found, MachineFacts)
        assert not found.here
        assert (found.capability is not None) == (found.accelerator == "cuda")
        assert found.bf16 == (found.capability is not None and found.capability >= (8, 0))
    assert machine_facts("dgx-spark").unified
    assert machine_facts("kaggle-t4x2").devices == 2
