"""A library that the program imports is not installed in the Python that runs it.

What happens
------------
`ModuleNotFoundError: No module named 'timm'`, in old Pythons `ImportError: No module named timm`. Or a library is
there, but one that it needs is not: `ImportError: libGL.so.1: cannot open shared object file: No such file or
directory` from `import cv2` in a container, or `... requires the accelerate library but it was not found in your
environment`.

Why
---
Nobody installed it; it was installed into another Python than the one that runs (`pip` and `python` of different
environments); it is an optional part that a library imports only when it is used; or pip knows it under another name
than Python: `cv2` is `opencv-python-headless`, `PIL` is `pillow`, `skimage` is `scikit-image`, `sklearn` is
`scikit-learn`, `yaml` is `pyyaml`. OpenCV's full build draws windows and needs the system's OpenGL, which slim
containers and servers do not have.

How to confirm
--------------
`python -m pip show NAME` asks the pip of this very Python. `python -c "import sys; print(sys.executable)"` names the
Python; in a notebook `import sys; sys.executable` in a cell.

Fix
---
`python -m pip install NAME` with the Python that runs the program, under the name that pip knows. For `libGL.so.1`
keep the headless build alone (`pip uninstall -y opencv-python opencv-contrib-python`, then `pip install
--force-reinstall opencv-python-headless`), or install the system's library (`apt-get install -y libgl1`).

When it is something else
-------------------------
`models`, `utils`, `config`, `datasets` and the like are folders of the project: `wrong-project-root`. A name with a
dot, `No module named 'torch._six'`, means that the library is there in a version without that part. A missing
`libcudart.so` or `libcudnn.so` belongs to a build for another CUDA. An undefined symbol of torchvision is
`torchvision-torch-mismatch`. Triton is `triton-missing`.

Sources
-------
- Python, `ModuleNotFoundError`: https://docs.python.org/3/library/exceptions.html#ModuleNotFoundError
- pip, which Python it installs for: https://packaging.python.org/en/latest/tutorials/installing-packages/
- opencv-python, the headless packages: https://github.com/opencv/opencv-python#installation-and-usage
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from snellen.core.code.requirements import installations
from snellen.core.facts.environment import CodeFacts
from snellen.core.finding import Evidence, Finding, Fix, FixSafety, Level, Location
from snellen.core.known.packages import OWN_NAMES, install_name, is_package
from snellen.core.log import Log, LogMatch
from snellen.core.logs.messages import Message, find_message
from snellen.core.logs.modules import MissingModule, Owner, missing_modules
from snellen.core.plan import Cost, Plan
from snellen.core.probe import Answer, Here, Outcome
from snellen.core.rule import BeforeFacet, LogFacet, Rule, SourceFacet, absent
from snellen.core.source import Hit, SourceFile

__all__ = ["RULE"]

_LIBRARIES = {
    "libGL": "libgl1",
    "libgthread": "libglib2.0-0",
    "libglib": "libglib2.0-0",
    "libSM": "libsm6",
    "libICE": "libice6",
    "libXext": "libxext6",
    "libXrender": "libxrender1",
    "libX11": "libx11-6",
    "libEGL": "libegl1",
    "libgomp": "libgomp1",
    "libturbojpeg": "libturbojpeg",
    "libsndfile": "libsndfile1",
    "libopenblas": "libopenblas0",
    "libgfortran": "libgfortran5",
    "libtk8": "tk",
    "libxcb": "libxcb1",
    "libusb": "libusb-1.0-0",
    "libmpi": "libopenmpi-dev",
    "libtiff": "libtiff6",
    "libaio": "libaio1",
    "libgeos_c": "libgeos-c1v5",
    "libOpenGL": "libopengl0",
}
"""Shared libraries of the system, and Debian's packages of them."""
_SHARED = re.compile(
    r"(?P<file>(?P<name>lib[A-Za-z_][\w+-]{0,60}?)[\d.]{0,8}\.so(?:\.\d+){0,4}): cannot open shared object"
)
_WINDOWS = re.compile(r"DLL load failed while importing cv2|ImportError: DLL load failed: [^\n]{0,80}cv2")
_TOLD = re.compile(
    r"(?:not (?:found|installed)|requires?|is required|missing|Please install|need to install)"
    r"[\s\S]{0,300}?pip3? install (?:-[-\w]+ )*[`'\"]?(?P<names>[A-Za-z][\w.\[\],=<>~-]{0,60})",
    re.IGNORECASE,
)
_REQUIRED = re.compile(
    r"requires the following packages that were not found in your environment: (?P<names>[\w, -]{1,200})\. Run"
    r"|requires the (?P<one>[\w-]{1,40}) library but it was not found in your environment"
    r"|The '(?P<distribution>[\w.-]{1,60})[^']{0,80}' distribution was not found"
    r"|No package metadata was found for (?P<metadata>[\w.-]{1,60})"
)
_FROM = re.compile(r"[Pp]lease install (?P<name>[\w-]{1,40}) from (?P<url>https?://[^\s'\"]{4,200})")
_AUTO = re.compile(r"requirement \['(?P<name>[\w.-]{1,60})[^']{0,40}'\] not found")
_EXTENSION = re.compile(r"(?:_cuda|_ext|_cpp|_C|_gpu|_kernels?|Attention|nms|DCN\w{0,10}|pointnet\w{0,10}_ops)$")
_BUILT_IN = {
    "_lzma": "liblzma-dev",
    "lzma": "liblzma-dev",
    "_bz2": "libbz2-dev",
    "_ctypes": "libffi-dev",
    "_sqlite3": "libsqlite3-dev",
    "_ssl": "libssl-dev",
    "_curses": "libncurses-dev",
}
"""Parts of Python itself that are left out when it is built without a library."""
_IMPORTS = ("ModuleNotFoundError", "ImportError")
_GIVEN_WAY = frozenset({"triton"})


def _examine_log(log: Log) -> LogMatch | None:
    missing = [module for module in missing_modules(log) if module.top not in _GIVEN_WAY]
    # The last one is what ended the program: `try: import a / except ImportError: import b` prints both.
    for module in reversed(missing):
        if match := _module(log, module):
            return match
    shared = find_message(log, _SHARED)
    if shared is not None and shared.match["name"].rstrip("-") in _LIBRARIES:
        return _shared(shared)
    if said := find_message(log, _WINDOWS):
        cause = "OpenCV is installed, and Windows lacks a library that it is linked against."
        text = "Install the Visual C++ Redistributable, on Windows N also the Media Feature Pack."
        return LogMatch(0.65, said.facts, cause, Fix(text))
    if said := find_message(log, _FROM):
        url = said.match["url"].rstrip(".,)")
        cause = f"`{said.match['name']}` is not installed; it is built from its repository."
        return LogMatch(0.85, said.facts, cause, Fix(f"Install it as {url} says, or switch off what needs it."))
    return _stated(log)


def _module(log: Log, missing: MissingModule) -> LogMatch | None:
    top, facts = missing.top, _facts(missing)
    if missing.name == "mmcv._ext":
        command = "pip uninstall -y mmcv mmcv-lite; pip install openmim; mim install mmcv"
        cause = "mmcv is installed without its compiled operators."
        return LogMatch(0.85, facts, cause, Fix(f"Install it with them: `{command}`.", command=command))
    if missing.owner in (Owner.NOBODY, Owner.PROJECT) or missing.shadowed or missing.unpickling:
        return None
    if top in _BUILT_IN or "tkinter" in top:
        return LogMatch(0.8, facts, f"This Python was built without its own module `{top}`.", _built_in(top))
    handled = missing.error is not None and any(
        error.line > missing.error.line and error.name not in _IMPORTS for error in log.exceptions
    )
    if missing.owner is Owner.PACKAGE:
        return LogMatch(0.75 if handled else 0.95, facts, _cause(missing), _install(log, top))
    return None if handled else _unknown(missing)


def _unknown(missing: MissingModule) -> LogMatch:
    """A name that is neither a known library's nor one that projects use."""
    top, facts = missing.top, _facts(missing)
    if _EXTENSION.search(top):
        cause = f"`{top}` looks like a compiled extension of this project, which has not been built."
        text = (
            "Build it as the project's README says, with the Python that runs: most often `pip install -e .`, or "
            "`python setup.py build_ext --inplace` in the folder of its setup.py."
        )
        return LogMatch(0.55, facts, cause, Fix(text))
    command = f"python -m pip install {install_name(top)}"
    text = (
        f"If `{top}` is a library: `{command}`. If it is a folder of this project: start from the project's root, or "
        "`pip install -e .`."
    )
    return LogMatch(0.6, facts, _cause(missing), Fix(text, command=command))


def _facts(missing: MissingModule) -> tuple[Evidence, ...]:
    if missing.error is None:
        return (Evidence(f"No module named {missing.name}"),)
    frame = missing.error.user_frame
    return (missing.error.evidence, *((frame.evidence,) if frame else ()))


def _cause(missing: MissingModule) -> str:
    frame = missing.error.user_frame if missing.error else None
    where = f", which {frame.path}:{frame.line} imports," if frame and frame.line else ""
    return f"`{missing.top}`{where} is not installed in the Python that runs."


def _install(log: Log, top: str) -> Fix:
    said = find_message(log, _AUTO)
    name = said.match["name"] if said and said.match["name"].startswith(top) else install_name(top)
    quoted = f'"{name}"' if re.search(r"[<>]", name) else name
    command = f"python -m pip install {quoted}"
    other = f" (pip's name for `{top}`)" if name.split("[")[0] != top and not name.startswith("git+") else ""
    return Fix(f"`{command}`{other}, with the Python that runs the program.", command=command)


def _built_in(top: str) -> Fix:
    if "tkinter" in top:
        return Fix("`apt-get install -y python3-tk`, or set `MPLBACKEND=Agg` where only figures are saved.")
    return Fix(f"`apt-get install -y {_BUILT_IN[top]}`, then build Python again (`pyenv install --force VERSION`).")


def _shared(said: Message) -> LogMatch:
    file, package = said.match["file"], _LIBRARIES[said.match["name"].rstrip("-")]
    paths = " ".join(frame.path for frame in said.error.frames) if said.error else ""
    opencv = "cv2" in said.code or "cv2" in paths or "opencv" in paths or package in ("libgl1", "libglib2.0-0")
    cause = f"The system has no `{file}`, which {'OpenCV' if opencv else 'the library'} is linked against."
    text = f"`apt-get update && apt-get install -y {package}` (Debian, Ubuntu)."
    if opencv:
        text = (
            "Use OpenCV without windows: `pip uninstall -y opencv-python opencv-contrib-python; pip install "
            f"--force-reinstall opencv-python-headless`. Or install the library: {text}"
        )
    return LogMatch(0.95, said.facts, cause, Fix(text, command=f"apt-get install -y {package}"))


def _stated(log: Log) -> LogMatch | None:
    """A library that says itself which other one it needs."""
    for error in log.exceptions:
        frame = error.user_frame
        facts = (error.evidence, *((frame.evidence,) if frame else ()))
        required = _REQUIRED.search(error.message)
        told = _TOLD.search(error.message) if error.name in (*_IMPORTS, "RequirementError") else None
        names = next((part for part in required.groups() if part), "") if required else told["names"] if told else ""
        words = [install_name(word.strip()) for word in names.rstrip(".`'\"").split(",") if word.strip()]
        if not words or (not required and "." in words[0] and "==" not in words[0]):
            continue
        listed = " ".join(words)
        cause = f"What was imported needs {' and '.join(words)}, which is not installed."
        command = f"python -m pip install {listed}"
        return LogMatch(0.9 if required else 0.8, facts, cause, Fix(f"`{command}`.", command=command))
    return None


def _probe(log: Log, here: Here) -> Answer:
    shared = find_message(log, _SHARED)
    if shared is not None:
        ran = here.python("import cv2; print('loaded', cv2.__version__)")
        if ran.code is None:
            return Answer(Outcome.CANNOT_TELL, "`import cv2` did not end in time")
        if "loaded" in ran.output:
            return Answer(Outcome.REFUTED, "`import cv2` works here")
        held = shared.match["file"] in ran.output
        return Answer(Outcome.CONFIRMED if held else Outcome.CANNOT_TELL, ran.output.strip()[-200:] or "cv2 fails here")
    for missing in missing_modules(log):
        if missing.owner in (Owner.PACKAGE, Owner.UNKNOWN) and re.fullmatch(r"[A-Za-z_]\w*", missing.top):
            found = here.can_import(missing.top)
            text = f"Python {'finds' if found else 'does not find'} `{missing.top}` here"
            return Answer(Outcome.REFUTED if found else Outcome.CONFIRMED, text)
    return Answer(Outcome.CANNOT_TELL, "the log names no module that could be looked for")


_NOT_ON_INDEX = frozenset({"cv2", "pil", "skimage", "sklearn", "yaml", "bs4", "dotenv", "fitz", "opencv"})
"""Names of imports that pip does not know, or knows as something else."""
_REAL = {"pil": "PIL", "opencv": "cv2"}


def _examine_source(file: SourceFile) -> Iterator[Hit]:
    for found in installations(file):
        for item in found.requirements if found.tool == "pip" else ():
            if item.name not in _NOT_ON_INDEX:
                continue
            name = install_name(_REAL.get(item.name, item.name))
            new = f"{name}{item.specifier}"
            fix = Fix(
                f"Write `{new}`.",
                FixSafety.UNSAFE,
                "a version number of the one need not exist of the other",
                edits=found.edits(file, item, new),
            )
            yield Hit(f"`{item.name}` is the name of the import; pip's name is {name}", item.span, fix)


def _examine_plan(plan: Plan) -> Iterator[Finding]:
    code: CodeFacts = plan.fact("code")
    for item in code.imports:
        if item.found or item.guarded:
            continue
        name = install_name(item.name)
        known = is_package(item.name)
        if not known and item.name in OWN_NAMES:
            # A module of the project that is started from another folder: wrong-project-root.
            continue
        yield Finding(
            "missing-package",
            Level.ERROR if known else Level.WARNING,
            f"the run's code imports `{item.name}`, which is {'not installed' if known else 'found nowhere'}",
            Location(item.path, item.line),
            fix=Fix(
                f"`pip install {name}`"
                if known
                else f"Install what holds `{item.name}`, or put its folder on PYTHONPATH.",
                command=f"pip install {name}" if known and not name.startswith("git+") else None,
            ),
        )


RULE = Rule(
    slug="missing-package",
    family="environment",
    title="A library is not installed",
    level=Level.ERROR,
    log=LogFacet(
        (
            "no module named",
            "cannot open shared object",
            "not found",
            "pip install",
            "metadata was found",
            "dll load failed",
            "please install",
        ),
        _examine_log,
        _probe,
    ),
    source=SourceFacet(("install", "dependencies"), _examine_source),
    before=BeforeFacet(Cost.SECONDS, _examine_plan),
    during=absent("imports are settled before the first step"),
    module=__name__,
)
