"""The hub that weights come from: what is cached already, and whether it can be reached; asked only when needed."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from snellen.core.facts.places import HubFacts
from snellen.core.plan import NotApplicable, Plan

__all__ = ["hub_facts", "provide_hub", "reach"]

_ENDPOINT = "https://huggingface.co"
_SECONDS = 4.0
_SWITCHES = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
_ON = frozenset({"1", "on", "yes", "true"})


def provide_hub(plan: Plan) -> HubFacts:
    """The fact `hub`; it does not arise for a run that fetches nothing."""
    model = plan.settings.get("model")
    settings: Mapping[str, Any] = model if isinstance(model, Mapping) else {}
    if settings.get("pretrained") is not True or settings.get("weights"):
        raise NotApplicable("the run fetches no weights from a hub")
    machine = plan.fact("machine")
    if not machine.here:
        raise NotApplicable(f"the run is meant for {machine.name}: what it can reach is not known here")
    name = settings.get("backbone")
    return hub_facts(name if isinstance(name, str) else "", key="model.pretrained")


def hub_facts(wanted: str, *, key: str, seconds: float = _SECONDS) -> HubFacts:
    """What is known of a model on the hub from here.

    Args:
        wanted: The model's name.
        key: Key path that asks for it.
        seconds: A hub that takes longer counts as out of reach.
    """
    variables = os.environ
    endpoint = variables.get("HF_ENDPOINT", _ENDPOINT).rstrip("/") or _ENDPOINT
    cache = _cache(variables)
    cached = _cached(wanted, cache, variables)
    offline = next((name for name in _SWITCHES if variables.get(name, "").lower() in _ON), "")
    proxy = variables.get("HTTPS_PROXY") or variables.get("https_proxy") or ""
    about = HubFacts(
        wanted,
        key,
        endpoint,
        cached=cached,
        cache=str(cache),
        offline=offline,
        proxy=re.sub(r"^\w+://", "", proxy).rpartition("@")[2],
        token=_has_token(variables),
    )
    if cached or offline:
        return replace(about, reason="its files are cached" if cached else f"{offline} forbids it")
    problem = reach(endpoint, seconds)
    return replace(about, reached=not problem, reason=problem)


def reach(address: str, seconds: float = _SECONDS) -> str:
    """Why a server cannot be reached, `""` when it answers. Only its head is asked for; any answer counts.

    Args:
        address: `https://...`.
        seconds: For everything: the name, the connection, the answer.
    """
    if not address.startswith(("https://", "http://")):
        return f"{address!r} is no address of a server"
    answer: list[str] = []
    thread = threading.Thread(target=lambda: answer.append(_head(address, seconds)), daemon=True)
    thread.start()
    # The name of a server is looked up without a limit of its own.
    thread.join(seconds + 0.5)
    return answer[0] if answer else f"no answer within {seconds:.0f} seconds"


def _head(address: str, seconds: float) -> str:
    from urllib.error import HTTPError, URLError  # noqa: PLC0415 - TLS loads only when something is asked for
    from urllib.request import Request, urlopen  # noqa: PLC0415

    try:
        with urlopen(Request(address, method="HEAD"), timeout=seconds):  # noqa: S310 - http(s), as tested
            return ""
    except HTTPError as error:
        error.close()
        return "" if error.code != 407 else "the proxy asks for a password (407)"
    except URLError as error:
        return str(error.reason)
    except (OSError, ValueError) as error:
        return f"no answer within {seconds:.0f} seconds" if isinstance(error, TimeoutError) else str(error)


def _cache(variables: Mapping[str, str]) -> Path:
    if variables.get("HF_HUB_CACHE"):
        return Path(variables["HF_HUB_CACHE"])
    home = variables.get("HF_HOME")
    root = Path(home) if home else Path(variables.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface"
    return (root / "hub").expanduser()


def _cached(wanted: str, cache: Path, variables: Mapping[str, str]) -> tuple[str, ...]:
    """Folders and files of the caches whose name holds the model's, with something in them."""
    if not wanted:
        return ()
    torch = Path(variables.get("TORCH_HOME") or Path(variables.get("XDG_CACHE_HOME") or "~/.cache") / "torch")
    name = _hub_name(wanted.rpartition("/")[2].lower())
    found = [path for path in _entries(cache) if path.name.startswith("models--") and name in path.name.lower()]
    whole = [path for path in found if any(file.is_file() for file in path.glob("snapshots/*/*"))]
    saved = [path for path in _entries(torch.expanduser() / "hub/checkpoints") if path.name.lower().startswith(name)]
    return tuple(str(path) for path in (*whole, *saved))


def _hub_name(name: str) -> str:
    """The name under which the hub keeps a model: DINOv2's own repository calls them otherwise.

    Example:
        >>> _hub_name("dinov2_vits14_reg"), _hub_name("resnet50")
        ('vit_small_patch14_reg4_dinov2', 'resnet50')
    """
    found = re.fullmatch(r"dinov2_vit([sblg])14(_reg)?", name)
    if found is None:
        return name
    size = {"s": "small", "b": "base", "l": "large", "g": "giant"}[found[1]]
    return f"vit_{size}_patch14_{'reg4_' if found[2] else ''}dinov2"


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _has_token(variables: Mapping[str, str]) -> bool:
    if any(variables.get(name) for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")):
        return True
    home = Path(variables.get("HF_HOME") or Path(variables.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface")
    path = Path(variables.get("HF_TOKEN_PATH") or home / "token").expanduser()
    try:
        return path.stat().st_size > 0
    except OSError:
        return False
