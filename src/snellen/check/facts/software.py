"""The environment: Python, its packages and the variables, read from files; nothing of it is imported."""

from __future__ import annotations

import io
import os
import platform
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from snellen.core.environment import variables
from snellen.core.facts.environment import EnvironmentFacts
from snellen.core.known.wheels import Build, architectures
from snellen.core.plan import FactUnavailable, Plan

__all__ = ["environment_facts", "provide_environment"]

_METADATA = re.compile(
    r"(?P<name>[A-Za-z0-9][\w.]*?(?:-[\w.]*?)?)-(?P<version>\d[\w.!+]*?)(?:-py[\d.]+)?\.(?:dist|egg)-info"
)
_CONSTANT = re.compile(
    r"^(?P<name>__version__|cuda|hip)\s*(?::[^=\n]{1,40})?=\s*(?P<value>None|'[^'\n]*'|\"[^\"\n]*\")", re.MULTILINE
)
_WITH_VERSION_FILE = ("torch", "torchvision", "torchaudio")
_LARGEST = 1 << 16


def provide_environment(plan: Plan) -> EnvironmentFacts:
    """The fact `environment`; of another machine than this one nothing is known."""
    machine = plan.fact("machine")
    if not machine.here:
        raise FactUnavailable(f"the run is meant for {machine.name}: what is installed there is not known here")
    return environment_facts()


def environment_facts(path: Sequence[str] | None = None) -> EnvironmentFacts:
    """What is installed for this Python.

    Args:
        path: Folders that packages lie in; those of this process by default.

    Example:
        >>> environment_facts(["/nowhere"]).torch_problem
        'torch is not installed'
    """
    folders = [Path(entry or ".") for entry in dict.fromkeys(sys.path if path is None else path)]
    found: dict[str, list[str]] = {}
    for folder in folders:
        for name, version in _distributions(folder):
            # What stands first on the path is what Python imports.
            found.setdefault(name, []).append(version)
    packages = {name: versions[0] for name, versions in found.items()}
    constants = {name: _constants(name, folders) for name in _WITH_VERSION_FILE}
    for name, stated in constants.items():
        if "__version__" in stated and name in packages:
            packages[name] = stated["__version__"]
    torch = constants["torch"]
    build = Build.read(packages.get("torch", ""))
    cuda = _pair(torch.get("cuda", "")) or (build.cuda if build else None)
    held, later = architectures(build, platform.machine()) if build is not None else ((), False)
    notes = (
        [] if held or cuda is None else [f"which GPUs torch {build.text if build else ''} holds code for is unknown"]
    )
    return EnvironmentFacts(
        python=platform.python_version(),
        executable=sys.executable,
        packages=packages,
        doubled=_doubled(folders),
        torch_cuda=cuda,
        torch_build=_flavour(build, torch),
        torch_architectures=held,
        torch_runs_later=later,
        torch_problem=_torch_problem(packages, torch, folders),
        variables=variables(),
        notes=tuple(notes),
    )


def _distributions(folder: Path) -> Iterator[tuple[str, str]]:
    """Name and version as the names of the metadata folders say them: four hundred in a few milliseconds."""
    for entry in _entries(folder):
        match = _METADATA.fullmatch(entry)
        if match is not None:
            yield _normal(match["name"]), match["version"]


def _doubled(folders: Sequence[Path]) -> dict[str, tuple[str, ...]]:
    """Packages of one folder with two sets of metadata: an upgrade that broke off, or two tools that install."""
    found: dict[str, tuple[str, ...]] = {}
    for folder in folders:
        versions: dict[str, set[str]] = {}
        for name, version in _distributions(folder):
            versions.setdefault(name, set()).add(version)
        found.update({name: tuple(sorted(both)) for name, both in versions.items() if len(both) > 1})
    return found


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _entries(folder: Path) -> list[str]:
    try:
        return sorted(entry.name for entry in os.scandir(folder))
    except OSError:
        return []


def _constants(package: str, folders: Sequence[Path]) -> dict[str, str]:
    """The constants of a package's version file, read as text."""
    folder = _folder_of(package, folders)
    try:
        with (folder / "version.py").open(encoding="utf-8", errors="replace") as file:
            text = file.read(_LARGEST)
    except (OSError, TypeError):
        return {}
    return {found["name"]: found["value"].strip("'\"") for found in _CONSTANT.finditer(text)}


def _folder_of(package: str, folders: Sequence[Path]) -> Path:
    return next((folder / package for folder in folders if (folder / package).is_dir()), Path("/nowhere"))


def _pair(text: str) -> tuple[int, int] | None:
    found = re.fullmatch(r"(\d+)\.(\d+)(?:\.\d+)*", text)
    return (int(found[1]), int(found[2])) if found else None


def _flavour(build: Build | None, constants: dict[str, str]) -> str:
    if build is not None and build.local:
        return build.local
    if _pair(constants.get("hip", "")):
        return f"rocm{constants['hip']}"
    return "cpu" if constants.get("cuda") == "None" else ""


def _torch_problem(packages: dict[str, str], constants: dict[str, str], folders: Sequence[Path]) -> str:
    """What can be seen of a torch that will not load: a part of its files is missing, or of another version."""
    if "torch" not in packages:
        left = next((entry for folder in folders for entry in _entries(folder) if entry.startswith("~orch")), None)
        return f"its installation broke off: {left} is what pip left of it" if left else "torch is not installed"
    folder = _folder_of("torch", folders)
    stated = {version for where in folders for name, version in _distributions(where) if name == "torch"}
    base = constants.get("__version__", "").partition("+")[0]
    gone = [name for name in _required_libraries(folders) if name not in packages]
    if not folder.is_dir():
        return "" if _editable(folders) else "its metadata is there, its folder is not"
    missing = [name for name in ("__init__.py", "version.py") if not (folder / name).is_file()]
    if missing:
        return f"{folder} has no {' and no '.join(missing)}: a part of its files is missing"
    if base and base not in {version.partition("+")[0] for version in stated}:
        return f"its metadata says {', '.join(sorted(stated))}, its files are those of {constants['__version__']}"
    return f"libraries that it loads are not installed: {', '.join(gone)}" if gone else ""


def _required_libraries(folders: Sequence[Path]) -> list[str]:
    """NVIDIA's libraries that the metadata of torch asks for on this kind of machine."""
    if platform.system() != "Linux":
        return []
    metadata = next((path for folder in folders for path in folder.glob("torch-*.dist-info/METADATA")), None)
    try:
        with metadata.open(encoding="utf-8", errors="replace") if metadata else io.StringIO() as file:
            # The requirements stand in the head, before the first empty line.
            head = file.read(_LARGEST).partition("\n\n")[0]
    except OSError:
        return []
    wanted = []
    for line in head.splitlines():
        found = re.match(r"Requires-Dist: (?P<name>nvidia-[\w-]+)[^;]*;?(?P<when>.*)", line)
        if found is None or "extra ==" in found["when"] or not _here(found["when"]):
            continue
        wanted.append(_normal(found["name"]))
    return wanted


def _here(marker: str) -> bool:
    """Whether a condition that names systems and processors, as those of torch do, names this one."""
    system = re.search(r"(?:platform_system|sys_platform)\s*==\s*['\"](\w+)", marker)
    processor = re.search(r"platform_machine\s*==\s*['\"](\w+)", marker)
    return (system is None or system[1].lower() == "linux") and (
        processor is None or processor[1] == platform.machine()
    )


def _editable(folders: Sequence[Path]) -> bool:
    """Whether a torch that was built here is imported from elsewhere."""
    return any(
        entry.startswith("__editable__") and "torch" in entry for folder in folders for entry in _entries(folder)
    )
