"""Which outside packages a part may import, and what the light entry points load.

The arrows between the parts themselves are import-linter contracts (`uv run lint-imports`).
"""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from source_tree import Module, imports, modules, rule_modules

VISION = {"ops", "models", "data", "engine", "tasks", "demo", "proving", "rehearsal", "trace", "estimate"}
"""The parts that may load torch and the image libraries as soon as they are imported."""

AT_TOP_LEVEL = {
    "torch": VISION,
    "torchvision": {"models", "data", "tasks"},
    "torchmetrics": {"tasks"},
    "numpy": VISION | {"report"},
    "scipy": VISION,
    "cv2": VISION | {"report"},
    "PIL": VISION | {"report"},
    "safetensors": {"models", "engine", "rehearsal", "tasks"},
    "timm": {"models"},
    "huggingface_hub": {"models"},
    "pyarrow": {"data"},
    "lightning_fabric": {"engine"},
    "matplotlib": {"report"},
    "tensorboard": {"engine"},
    "psutil": {"engine", "tasks"},
    "pydantic": {"config", "tasks"},
    "pydantic_core": {"config"},
    "ruamel": {"config", "lint"},
    "typer": {"cli"},
    "rich": {"cli", "report", "engine", "demo"},
    "skimage": set(),
    "sklearn": set(),
    "IPython": set(),
}
"""Outside package -> parts that may import it at the top of a file. A package that is not named here is not used."""

INSIDE_FUNCTIONS = {
    "torch": VISION | {"rules", "check", "guard"},
    "torchvision": VISION | {"rules", "check"},
    "numpy": VISION | {"rules", "check", "report"},
    "cv2": VISION | {"rules", "check", "report"},
    "PIL": VISION | {"rules", "check", "report"},
    "safetensors": VISION | {"rules", "check"},
    "psutil": VISION | {"check", "guard"},
    "rich": {"cli", "report", "engine", "tasks"},
    "ruamel": {"data"},
    "skimage": {"data", "tasks"},
    "sklearn": {"data", "tasks"},
    "IPython": {"", "cli"},
    "wandb": {"engine"},
    "bitsandbytes": {"engine"},
    "ray": {"engine"},
    "usearch": {"ops"},
    "transformers": {"models"},
}
"""The same for imports inside functions, which cost nothing until they are called; adds to `AT_TOP_LEVEL`."""

ONLY_IN = {
    "timm": ("models/backbones/",),
    "lightning_fabric": ("engine/",),
    "ruamel": ("config/", "lint/settings.py", "data/layouts/class_names.py"),  # run files strictly, others as they are
}
"""Outside packages, and the only parts that use them."""

LIGHT = {
    "annotated_doc",
    "click",
    "colorama",
    "markdown_it",
    "mdurl",
    "pygments",
    "rich",
    "shellingham",
    "typer",
    "typing_extensions",
}
"""What the command line may load before it knows that it needs more."""

ENTRY_POINTS = {
    "import": ("import snellen", set()),
    "help": ("run('--help')", LIGHT),
    "explain-slug": ("run('explain', 'half-overflow')", LIGHT),
    "explain-log": ("run('explain', log)", LIGHT),
    "rules": ("run('rules')", LIGHT),
}

PROGRAM = """
import json, os, sys
before = set(sys.modules)
log = {log!r}

def run(*arguments):
    sys.argv = ["snellen", *arguments]
    from snellen.cli.main import main
    try:
        main()
    except SystemExit as end:
        if end.code not in (0, 1, None):
            raise

stdout, sys.stdout = sys.stdout, open(os.devnull, "w")
{statement}
print(json.dumps(sorted(set(sys.modules) - before)), file=stdout)
"""


def _allowed(package: str, *, lazy: bool) -> set[str]:
    return AT_TOP_LEVEL.get(package, set()) | (INSIDE_FUNCTIONS.get(package, set()) if lazy else set())


@pytest.mark.parametrize("module", modules(), ids=lambda module: module.place)
def test_a_part_imports_only_the_outside_packages_it_may(module: Module) -> None:
    offences = [
        f"{module.place}:{one.line} imports {one.target} {'in a function' if one.lazy else 'at the top'}"
        for one in imports(module)
        if one.root not in sys.stdlib_module_names | {"snellen", "__future__"}
        and module.part not in _allowed(one.root, lazy=one.lazy)
    ]
    assert not offences, "\n".join(offences)


@pytest.mark.parametrize(("package", "folders"), ONLY_IN.items(), ids=str)
def test_a_door_is_the_only_way_to_its_package(package: str, folders: tuple[str, ...]) -> None:
    elsewhere = [
        f"{module.place}:{one.line}"
        for module in modules()
        for one in imports(module)
        if one.root == package and not module.place.startswith(tuple(f"snellen/{folder}" for folder in folders))
    ]
    assert not elsewhere


def test_pydantic_stays_in_config_and_in_the_schemas_of_tasks() -> None:
    offences = [
        f"{module.place}:{one.line}"
        for module in modules()
        for one in imports(module)
        if one.root == "pydantic" and module.part == "tasks" and module.path.name != "config.py"
    ]
    assert not offences


@pytest.mark.parametrize("module", modules(), ids=lambda module: module.place)
def test_imports_are_absolute(module: Module) -> None:
    assert not [one.line for one in imports(module) if one.target.startswith(".")]


@pytest.mark.parametrize("module", rule_modules(), ids=lambda module: module.place)
def test_a_rule_file_needs_only_the_standard_library_and_core(module: Module) -> None:
    offences = [
        f"{module.place}:{one.line} imports {one.target}"
        for one in imports(module)
        if not one.lazy and one.root not in sys.stdlib_module_names and not f"{one.target}.".startswith("snellen.core.")
    ]
    assert not offences, "\n".join(offences)


@pytest.mark.parametrize("name", ENTRY_POINTS)
def test_a_light_entry_point_loads_no_heavy_library(name: str, tmp_path) -> None:
    log = tmp_path / "train.log"
    log.write_text("epoch 1 loss nan\nRuntimeError: value cannot be converted to type at::Half without overflow\n")
    statement, allowed = ENTRY_POINTS[name]
    program = PROGRAM.format(statement=statement, log=str(log))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    loaded = {name.split(".")[0] for name in json.loads(done.stdout)}
    heavy = {name for name in loaded - sys.stdlib_module_names - {"snellen"} - allowed if not name.startswith("_")}
    assert not heavy
