"""Any model by name: from timm, torchvision, transformers, segmentation_models_pytorch, or a callable of one's own."""

from __future__ import annotations

import copy
import difflib
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm
from torch import nn

from snellen.errors import MissingExtraError, UsageError
from snellen.models.backbones.from_timm import ALIASES

__all__ = ["NamedModel", "named_model"]

_LIBRARIES = ("timm", "torchvision", "transformers", "smp")
_DETECTION = ("rcnn", "retinanet", "fcos", "ssd")


@dataclass(frozen=True, slots=True)
class NamedModel:
    """A model that can be built.

    Args:
        name: With its library: `timm:resnet50`.
        build: Makes it with random weights, on whatever device is current.
        input_size: `(channels, height, width)` that it is made for, `None` when it does not say.
        takes_list: Whether it takes a list of images, as the detectors of torchvision do.
    """

    name: str
    build: Callable[[], nn.Module]
    input_size: tuple[int, ...] | None = None
    takes_list: bool = False


def named_model(name: str, **options: Any) -> NamedModel:
    """Find a model by name; nothing is built or loaded.

    Args:
        name: `resnet50`, `timm:vit_small_patch14_dinov2`, `torchvision:segmentation.deeplabv3_resnet50`,
            `transformers:facebook/dinov2-small` (from the local cache), `smp:Unet`, or `package.module:callable`.
        options: Given to the factory.

    Raises:
        UsageError: No library knows it; the nearest names are told.
        MissingExtraError: Its library is not installed.

    Example:
        >>> named_model("resnet50").name
        'timm:resnet50'
    """
    library, colon, rest = name.partition(":")
    if not colon:
        return _anywhere(name, options)
    if library not in _LIBRARIES:
        return _own(library, rest, options)
    finders = {"timm": _timm, "torchvision": _torchvision, "transformers": _transformers, "smp": _smp}
    return finders[library](rest, options)


def _anywhere(name: str, options: Mapping[str, Any]) -> NamedModel:
    """A name without library: timm's own come first."""
    name = ALIASES.get(name, name)
    if timm.is_model(name.partition(".")[0]):
        return _timm(name, options)
    if importlib.util.find_spec("torchvision") is not None and name in _names_of_torchvision():
        return _torchvision(name, options)
    known = [*timm.list_models(), *_names_of_torchvision()]
    raise UsageError(f"no model is called {name!r}", hint=_nearest(name, known), slug="unknown-model")


def _nearest(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    return f"nearest: {', '.join(close)}" if close else "give timm:NAME, torchvision:NAME, smp:NAME or module:callable"


def _timm(name: str, options: Mapping[str, Any]) -> NamedModel:
    name = ALIASES.get(name, name)
    base = name.partition(".")[0]
    if not timm.is_model(base):
        raise UsageError(f"timm has no model {name!r}", hint=_nearest(base, timm.list_models()), slug="unknown-model")
    config = timm.get_pretrained_cfg(name)
    size = tuple(config.input_size) if config is not None and config.input_size else None
    return NamedModel(f"timm:{name}", lambda: timm.create_model(name, pretrained=False, **options), size)


def _names_of_torchvision() -> list[str]:
    if importlib.util.find_spec("torchvision") is None:
        return []
    models = importlib.import_module("torchvision.models")
    return [str(found) for found in models.list_models()]


def _torchvision(name: str, options: Mapping[str, Any]) -> NamedModel:
    _installed("torchvision", "torchvision")
    models = importlib.import_module("torchvision.models")
    short = name.rpartition(".")[2]
    if short not in {known.rpartition("/")[2] for known in _names_of_torchvision()}:
        hint = _nearest(short, _names_of_torchvision())
        raise UsageError(f"torchvision has no model {name!r}", hint=hint, slug="unknown-model")
    factory = models.get_model_builder(short)
    given = {"weights": None, **options}
    if "weights_backbone" in inspect.signature(factory).parameters:
        given.setdefault("weights_backbone", None)
    return NamedModel(f"torchvision:{short}", lambda: factory(**given), None, any(word in short for word in _DETECTION))


def _smp(name: str, options: Mapping[str, Any]) -> NamedModel:
    _installed("segmentation_models_pytorch", "segmentation-models-pytorch")
    library = importlib.import_module("segmentation_models_pytorch")
    factory = getattr(library, name, None)
    if not inspect.isclass(factory) or not issubclass(factory, nn.Module):
        known = [key for key, value in vars(library).items() if inspect.isclass(value) and issubclass(value, nn.Module)]
        hint = _nearest(name, known)
        raise UsageError(f"segmentation_models_pytorch has no model {name!r}", hint=hint, slug="unknown-model")
    given = {"encoder_weights": None, **options}
    return NamedModel(f"smp:{name}", lambda: factory(**given))


def _transformers(name: str, options: Mapping[str, Any]) -> NamedModel:
    _installed("transformers", "transformers")
    library = importlib.import_module("transformers")
    try:
        config = library.AutoConfig.from_pretrained(name, local_files_only=True, **options)
    except (OSError, ValueError) as error:
        raise UsageError(
            f"the configuration of {name!r} is not in the local cache",
            hint=f"fetch it once: hf download {name} config.json",
        ) from error
    side = getattr(config, "image_size", None) or getattr(getattr(config, "vision_config", None), "image_size", None)
    size = (3, side, side) if isinstance(side, int) else None
    return NamedModel(f"transformers:{name}", lambda: library.AutoModel.from_config(config), size)


def _own(module: str, attribute: str, options: Mapping[str, Any]) -> NamedModel:
    """`package.module:callable` or `path/to/file.py:callable`."""
    if not attribute:
        raise UsageError(f"{module}: names no callable", hint="for example: my_package.models:build")
    try:
        loaded = _load_file(Path(module)) if module.endswith(".py") else _load_module(module)
    except Exception as error:
        raise UsageError(f"{module} cannot be imported: {type(error).__name__}: {error}") from error
    factory: Any = loaded
    for part in attribute.split("."):
        factory = getattr(factory, part, None)
    if not callable(factory):
        known = [key for key, value in vars(loaded).items() if callable(value) and not key.startswith("_")]
        raise UsageError(f"{module} has no callable {attribute!r}", hint=_nearest(attribute, known))
    return NamedModel(f"{module}:{attribute}", lambda: _built(factory, options, f"{module}:{attribute}"))


def _built(factory: Callable[..., Any], options: Mapping[str, Any], name: str) -> nn.Module:
    """What the callable makes; a model that stands there ready is copied, as what is built is changed."""
    made = copy.deepcopy(factory) if isinstance(factory, nn.Module) else factory(**options)
    if not isinstance(made, nn.Module):
        raise UsageError(f"{name} made a {type(made).__name__}, expected a torch.nn.Module")
    return made


def _load_module(name: str) -> Any:
    sys.path.insert(0, str(Path.cwd()))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(Path.cwd()))


def _load_file(path: Path) -> Any:
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ImportError("not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.absolute().parent))
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(path.absolute().parent))
    return module


def _installed(module: str, package: str) -> None:
    if importlib.util.find_spec(module) is None:
        raise MissingExtraError(f"{package} is not installed", hint=f"pip install {package}")
