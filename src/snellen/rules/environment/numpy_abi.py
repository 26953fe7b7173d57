"""A compiled library was built for another NumPy than the one that is installed.

What happens
------------
`ValueError: numpy.dtype size changed, may indicate binary incompatibility. Expected 96 from C header, got 88 from
PyObject` (or `numpy.ndarray`, `numpy.ufunc`) from the import of pycocotools, scikit-image, pandas and others. With
NumPy 2: `A module that was compiled using NumPy 1.x cannot be run in NumPy 2.0.0 as it may crash`, and later
`RuntimeError: Numpy is not available` from `tensor.numpy()`. Older: `module compiled against API version 0xe but this
version of numpy is 0xd` and `numpy.core.multiarray failed to import`.

Why
---
Compiled code holds the layout of NumPy's structures as they were when it was built. What was built for NumPy 1 does not
run with NumPy 2, which pip installs wherever nobody forbids it (torch before 2.3, torchvision, old wheels of OpenCV).
What was built for a newer NumPy does not run with an older one: a package that pip compiles in an isolated build takes
the newest NumPy there is, not the one of the environment.

How to confirm
--------------
`python -c "import numpy; print(numpy.__version__, numpy.__file__)"`, then the import that fails, alone. `pip check`
lists packages that ask for another NumPy.

Fix
---
`pip install "numpy<2"` when the library was built for NumPy 1 and there is no newer one; otherwise upgrade the library.
When it was built for a newer NumPy than yours, upgrade NumPy, or build the library for yours: `pip install
--force-reinstall --no-cache-dir --no-build-isolation --no-binary pycocotools pycocotools`. Restart the kernel.

When it is something else
-------------------------
`module 'numpy' has no attribute 'bool'` (`float_`, `in1d`) is old Python code that uses a name that is gone: upgrade
that library, or pin NumPy. The same text as a `RuntimeWarning` is harmless. `No module named 'numpy'` is
`missing-package`.

Sources
-------
- NumPy 2.0 migration guide: https://numpy.org/doc/stable/numpy_2_0_migration_guide.html
- NumPy, troubleshooting import errors: https://numpy.org/doc/stable/user/troubleshooting-importerror.html
- NumPy for downstream authors, binary compatibility: https://numpy.org/doc/stable/dev/depending_on_numpy.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from snellen.core.code.requirements import installations
from snellen.core.finding import Finding, Fix, FixSafety, Level
from snellen.core.known.wheels import Build, stated
from snellen.core.log import Log, LogMatch
from snellen.core.logs.messages import Message, find_message
from snellen.core.plan import Cost, NotApplicable, Plan
from snellen.core.probe import Answer, Here, Outcome
from snellen.core.rule import BeforeFacet, LogFacet, Rule, SourceFacet, absent
from snellen.core.source import Hit, SourceFile

__all__ = ["RULE"]

_SIZE = re.compile(
    r"numpy\.(?P<what>dtype|ndarray|ufunc|\w{1,30}) size changed, may indicate binary incompatibility\. "
    r"Expected (?P<expected>\d{1,4}) from C header, got (?P<got>\d{1,4})"
)
_COMPILED = re.compile(
    r"compiled using NumPy 1\.x cannot be run|Failed to initialize NumPy: _ARRAY_API not found"
    r"|AttributeError: _ARRAY_API not found|RuntimeError: Numpy is not available"
    r"|expected np\.ndarray \(got numpy\.ndarray\)|PyTorch was compiled without NumPy support"
)
_TWO = re.compile(r"^NumPy (?P<version>2\.[\d.]{1,10}\d) as it may crash", re.MULTILINE)
_API = re.compile(
    r"compiled against (?:ABI version 0x[\da-f]{1,8} but|API version (?P<built>0x[\da-f]{1,8})) but this version of "
    r"numpy is (?P<have>0x[\da-f]{1,8})",
    re.IGNORECASE,
)
_CORE = re.compile(r"numpy\.(?:_?core\.)(?:multiarray|umath) failed to import|Importing the numpy C-extensions failed")
_PICKLED = re.compile(r"No module named ['\"]numpy\._core")
_ABSENT = re.compile(r"Failed to initialize NumPy: No module named|No module named ['\"]?numpy['\"]?$")
_LAYOUT = {
    "ndarray": {80: (1, 0), 88: (1, 20), 96: (1, 22)},
    "ufunc": {192: (1, 0), 216: (1, 16), 232: (1, 22), 240: (2, 4)},
    "dtype": {96: (1, 0), 88: (2, 0)},
}
"""Size of each structure, and the NumPy that has had it since."""
_VERSION_OF_API = {
    0x7: "1.7", 0x8: "1.7", 0x9: "1.8", 0xA: "1.10", 0xB: "1.13", 0xC: "1.14", 0xD: "1.16", 0xE: "1.20", 0xF: "1.22",
    0x10: "1.23", 0x11: "1.25", 0x12: "2.0", 0x13: "2.1", 0x14: "2.3", 0x15: "2.4",
}  # fmt: skip
_PACKAGE = re.compile(
    r"[/\\](?:site|dist)-packages[/\\](?P<name>[A-Za-z]\w*)|^(?P<cython>[A-Za-z]\w*)[/\\][\w/\\]*\.pyx$"
)
_FILE = re.compile(r'File "(?P<path>[^"]{1,400})", line')
_INSTALLED_AS = {"skimage": "scikit-image", "sklearn": "scikit-learn", "cv2": "opencv-python-headless"}


def _examine(log: Log) -> LogMatch | None:
    if any(_ABSENT.search(line.text) for line in log.lines):
        return None
    for pattern, explain in (
        (_SIZE, _size_changed),
        (_COMPILED, _for_numpy_1),
        (_API, _api_version),
        (_PICKLED, _pickled),
        (_CORE, _core),
    ):
        said = find_message(log, pattern)
        # As a warning it tells nothing; Python turns the same text into an error where it matters.
        if said is not None and "RuntimeWarning" not in said.evidence.text:
            return explain(log, said)
    return None


def _pickled(_log: Log, said: Message) -> LogMatch:
    cause = "The file was pickled with NumPy 2, whose modules have other names, and is read with an older NumPy."
    fix = Fix('`pip install --upgrade "numpy>=1.26.1"`, or save the file again with NumPy 1.')
    return LogMatch(0.75, said.facts, cause, fix)


def _core(log: Log, said: Message) -> LogMatch:
    package = _package(log, said)
    return LogMatch(0.85, said.facts, f"{_named(package)} cannot use the NumPy that is installed.", _reinstall(package))


_ABOUT = re.compile(r"numpy|_ARRAY_API", re.IGNORECASE)


def _other_cause(log: Log) -> bool:
    return any(not _ABOUT.search(error.text) for error in log.exceptions)


def _size_changed(log: Log, said: Message) -> LogMatch:
    sizes = _LAYOUT.get(said.match["what"], {})
    built, have = sizes.get(int(said.match["expected"])), sizes.get(int(said.match["got"]))
    package = _package(log, said)
    what = f"`numpy.{said.match['what']}` has {said.match['got']} bytes, and {_named(package)} was built for"
    if built is None or have is None:
        return LogMatch(0.94, said.facts, f"{what} {said.match['expected']}: another NumPy.", _reinstall(package))
    cause = f"{what} {said.match['expected']}: {_since(built, sizes)}; installed is {_since(have, sizes)}."
    return LogMatch(0.95, said.facts, cause, _newer(built, package) if built > have else _older(built, have, package))


def _since(version: tuple[int, int], sizes: dict[int, tuple[int, int]]) -> str:
    later = sorted(other for other in sizes.values() if other > version)
    end = f", before {later[0][0]}.{later[0][1]}" if later else ""
    return f"NumPy {version[0]}.{version[1]} or newer{end}" if version != (1, 0) else f"a NumPy{end[1:]}"


def _newer(built: tuple[int, int], package: str) -> Fix:
    command = f'pip install --upgrade "numpy>={built[0]}.{built[1]}"'
    return Fix(
        f"`{command}`, or build {_named(package)} for the NumPy that is there: `{_rebuild(package)}`.", command=command
    )


def _older(built: tuple[int, int], have: tuple[int, int], package: str) -> Fix:
    upgrade = f"pip install --upgrade {package}" if package else "upgrade that library"
    if have >= (2, 0) > built:
        return Fix(f'`{upgrade}`, or `pip install "numpy<2"`.', command='pip install "numpy<2"')
    return Fix(f"`{_rebuild(package)}`, which builds it for the NumPy that is there.", command=_rebuild(package))


def _rebuild(package: str) -> str:
    name = package or "PACKAGE"
    return f"pip install --force-reinstall --no-cache-dir --no-build-isolation --no-deps --no-binary {name} {name}"


def _reinstall(package: str) -> Fix:
    command = f"pip install --upgrade --force-reinstall --no-cache-dir {package or 'PACKAGE'} numpy"
    return Fix(f"`{command}`, then restart Python; `pip check` has to be silent.", command=command)


def _for_numpy_1(log: Log, said: Message) -> LogMatch:
    package, torch = _package(log, said), stated(log, "torch")
    two = next((found for line in log.lines if (found := _TWO.search(line.text))), None)
    version = two["version"] if two else ""
    score = 0.7 if _other_cause(log) else 0.96 if two else 0.9
    old_torch = torch is not None and torch.final and torch.release < (2, 3, 0)
    who = f"torch {torch.text}" if torch and old_torch else _named(package)
    cause = f"{who} was built for NumPy 1, and NumPy {version or '2'} is installed."
    failed = next((error.evidence for error in log.exceptions if _ABOUT.search(error.text)), None)
    facts = (*said.facts, *((failed,) if failed is not None and said.error is None else ()))
    upgrade = (
        "upgrade torch to 2.3 or newer" if old_torch or package == "torch" else f"`pip install --upgrade {package}`"
    )
    instead = f", or {upgrade}" if package or old_torch else ", or upgrade the library of the traceback"
    return LogMatch(score, facts, cause, Fix(f'`pip install "numpy<2"`{instead}.', command='pip install "numpy<2"'))


def _api_version(log: Log, said: Message) -> LogMatch:
    package = _package(log, said)
    built, have = (_VERSION_OF_API.get(int(said.match[part] or "0", 16)) for part in ("built", "have"))
    cause = (
        f"{_named(package)} was built for NumPy {built or 'of another version'}; installed is {have or 'an older one'}."
    )
    command = f'pip install --upgrade "numpy>={built}"' if built else "pip install --upgrade numpy"
    return LogMatch(0.95, said.facts, cause, Fix(f"`{command}`, or `{_rebuild(package)}`.", command=command))


def _package(log: Log, said: Message) -> str:
    """The library whose compiled part was imported: the innermost one that is not NumPy."""
    paths = [frame.path for frame in said.error.frames] if said.error else []
    if not paths:
        paths = [found["path"] for line in log.lines if (found := _FILE.search(line.text))]
    for path in reversed(paths):
        found = _PACKAGE.search(path)
        name = (found["name"] or found["cython"]) if found else ""
        if name and name not in ("numpy", "importlib", "IPython"):
            return _INSTALLED_AS.get(name, name)
    return ""


def _named(package: str) -> str:
    return package or "The compiled library"


def _probe(log: Log, here: Here) -> Answer:
    numpy = here.version("numpy")
    said = next((m for p in (_SIZE, _COMPILED, _API, _CORE) if (m := find_message(log, p))), None)
    package = _package(log, said) if said else ""
    module = {name: key for key, name in _INSTALLED_AS.items()}.get(package, package)
    if numpy is None or not re.fullmatch(r"[A-Za-z_]\w*", module):
        return Answer(Outcome.CANNOT_TELL, f"NumPy here is {numpy}; the log names no library that could be imported")
    code = f"import importlib; importlib.import_module({module!r}); print('loaded')"
    ran = here.python(code if module != "torch" else "import torch; torch.ones(1).numpy(); print('loaded')")
    if "loaded" in ran.output and "compiled using NumPy" not in ran.output:
        return Answer(Outcome.REFUTED, f"{module} works with NumPy {numpy} here")
    broken = re.search(r"size changed|API version|compiled using NumPy|failed to import|not available", ran.output)
    text = ran.output.strip().splitlines()[-1][:200] if ran.output.strip() else "it did not end in time"
    return Answer(Outcome.CONFIRMED if broken else Outcome.CANNOT_TELL, f"NumPy {numpy}: {text}")


def _examine_source(file: SourceFile) -> Iterator[Hit]:
    found = list(installations(file))
    torch = next(
        (i for f in reversed(found) for i in f.requirements if i.name in ("torch", "pytorch") and i.version), None
    )
    build = Build.read(torch.version or "") if torch is not None else None
    if build is None or not (1, 0, 0) <= build.release < (2, 3, 0):
        return
    for command in found:
        for item in command.requirements:
            if item.name == "numpy" and re.match(r"(?:[=~]=?=?|>=?)\s*2(?:\D|$)", item.specifier):
                # In a shell's command `<` would be a redirection.
                new = "numpy<2" if command.exact else "numpy==1.26.4"
                fix = Fix(
                    f"Write `{new}`, or take torch 2.3 or newer.",
                    FixSafety.UNSAFE,
                    "other packages of the environment may need NumPy 2",
                    edits=command.edits(file, item, new),
                )
                yield Hit(f"torch {build.base} was built for NumPy 1, and `{item.code}` is NumPy 2", item.span, fix)


_FOR_NUMPY_2 = {
    "torch": (2, 3, 0),
    "opencv-python": (4, 10, 0),
    "opencv-python-headless": (4, 10, 0),
    "opencv-contrib-python": (4, 10, 0),
    "scipy": (1, 13, 0),
    "pandas": (2, 2, 2),
    "scikit-image": (0, 23, 0),
    "scikit-learn": (1, 4, 2),
    "matplotlib": (3, 8, 4),
    "pycocotools": (2, 0, 8),
    "numba": (0, 60, 0),
    "h5py": (3, 11, 0),
    "pyarrow": (16, 0, 0),
    "pywavelets": (1, 6, 0),
    "contourpy": (1, 2, 1),
}
"""The first release of each that works with NumPy 2: https://github.com/numpy/numpy/issues/26191."""


def _examine_plan(plan: Plan) -> Iterator[Finding]:
    packages = plan.fact("environment").packages
    numpy = Build.read(packages.get("numpy", ""))
    if numpy is None:
        raise NotApplicable("NumPy is not installed")
    if numpy.release < (2, 0, 0):
        return
    for name, first in _FOR_NUMPY_2.items():
        build = Build.read(packages.get(name, ""))
        if build is not None and build.release < first:
            newer = f"pip install '{name}>={'.'.join(map(str, first))}'"
            yield Finding(
                "numpy-abi",
                Level.ERROR,
                f"{name} {build.text} was built for NumPy 1, and NumPy {numpy.text} is installed",
                fix=Fix(f"`{newer}`, or `pip install 'numpy<2'`.", command="pip install 'numpy<2'"),
            )


RULE = Rule(
    slug="numpy-abi",
    family="environment",
    title="A library was built for another NumPy",
    level=Level.ERROR,
    log=LogFacet(("numpy", "_array_api"), _examine, _probe),
    source=SourceFacet(("numpy",), _examine_source),
    before=BeforeFacet(Cost.INSTANT, _examine_plan),
    during=absent("libraries are imported before the first step"),
    module=__name__,
)
