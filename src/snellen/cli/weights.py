"""`snellen weights`: what a checkpoint file holds, whether it is whole and safe, and which network it belongs to."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from snellen.cli._models import wide_console
from snellen.cli._output import print_json, say

if TYPE_CHECKING:
    from snellen.core.facts.weights import Architecture, FitFacts, PickleFacts, WeightsFacts

__all__ = ["register"]

_EXAMPLES = """\b
Examples:
  snellen weights dinov2_vits14_reg4_pretrain.pth
  snellen weights checkpoints/last.ckpt --model resnet50
  snellen weights model.safetensors --tensors --json

\b
Nothing in the file is run: instructions of a pickle are listed, not followed.
Exit code 0: it can be loaded (and fits --model); 1: it cannot, or something is wrong in it; 2: there is no file."""

_SHOWN = 6


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command(epilog=_EXAMPLES)(weights)


def weights(
    file: Annotated[Path, typer.Argument(help="A checkpoint file.")],
    *,
    model: Annotated[
        str | None, typer.Option("--model", metavar="NAME", help="Compare with a model, named as for `snellen trace`.")
    ] = None,
    hashed: Annotated[
        bool | None, typer.Option("--hash/--no-hash", help="Compute its SHA-256; by default up to 2 GiB.")
    ] = None,
    tensors: Annotated[bool, typer.Option("--tensors", help="List every tensor.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show what a checkpoint holds, whether it is whole and safe to load, and which network it belongs to."""
    from snellen.errors import UsageError
    from snellen.models.weights.fit import fit_of_shapes
    from snellen.models.weights.inspect import inspect_checkpoint

    if not file.exists():
        nearby = inspect_checkpoint(file).nearby
        raise UsageError(
            f"there is no {file}", hint=f"in that folder: {', '.join(nearby)}" if nearby else "check the path"
        )
    facts = inspect_checkpoint(file, hashed=hashed)
    network = None
    if facts.state:
        from snellen.models.weights.recognise import recognise

        network = recognise(facts.state)
    fit = fit_of_shapes(model, facts) if model is not None and facts.state else None
    trouble = _trouble(facts)
    if as_json:
        print_json(_plain(facts, network, fit, trouble))
    else:
        _print(facts, network, fit, trouble, every=tensors)
    if trouble or (fit is not None and fit.loaded < fit.total):
        raise typer.Exit(1)


def _trouble(facts: WeightsFacts) -> list[str]:
    """What is wrong with the file by itself, worst first."""
    found = [facts.problem] if facts.problem else []
    if not found and not facts.state and not facts.tensors and facts.format in ("safetensors", "torch zip"):
        found.append("it holds no tensor: there is nothing to load")
    if facts.pickle is not None and facts.pickle.dangerous:
        found.append(f"unpickling it would run {', '.join(facts.pickle.dangerous[:3])}: do not load it")
    refused = facts.pickle is not None and facts.format in ("torch zip", "legacy torch") and not facts.pickle.dangerous
    if refused and facts.pickle is not None and facts.pickle.foreign:
        names = ", ".join(facts.pickle.foreign[:3])
        found.append(f"torch.load(weights_only=True), the default since torch 2.6, refuses it: it imports {names}")
    if facts.stated_hash and facts.hash and not facts.hash.startswith(facts.stated_hash):
        found.append(f"its name states the hash {facts.stated_hash}, its SHA-256 begins with {facts.hash[:8]}")
    found += [f"{name}: {what}" for name, what in facts.unusual if "NaN" in what or "infinite" in what][:_SHOWN]
    return found


def _plain(
    facts: WeightsFacts, network: Architecture | None, fit: FitFacts | None, trouble: list[str]
) -> dict[str, Any]:
    plain = asdict(facts)
    plain["network"] = asdict(network) if network is not None else None
    plain["fit"] = asdict(fit) if fit is not None else None
    plain["trouble"] = trouble
    return plain


def _print(
    facts: WeightsFacts, network: Architecture | None, fit: FitFacts | None, trouble: list[str], *, every: bool
) -> None:
    from rich.table import Table

    from snellen.explain.lines import harmless

    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for title, text in _rows(facts, network, fit):
        table.add_row(title, _escaped(harmless(text)))
    wide_console().print(table)
    for sentence in trouble:
        say(f"\nwrong: {sentence}")
    if every:
        for entry in facts.state:
            say(f"  {entry.name}  {'x'.join(map(str, entry.shape)) or 'scalar'}  {entry.dtype}")
    say(f"\nnext: {_next(facts, network, fit, trouble)}")


def _escaped(text: str) -> str:
    return text.replace("[", r"\[")


def _rows(facts: WeightsFacts, network: Architecture | None, fit: FitFacts | None) -> list[tuple[str, str]]:
    rows = [("file", f"{facts.path}, {facts.bytes:,} bytes"), ("format", facts.format)]
    if facts.hash:
        stated = "" if not facts.stated_hash else ", as its name states"
        wrong = bool(facts.stated_hash) and not facts.hash.startswith(facts.stated_hash)
        rows.append(("sha256", facts.hash + (", NOT what its name states" if wrong else stated)))
    elif not facts.problem:
        rows.append(("sha256", "not computed: --hash does"))
    if facts.state:
        rows += _tensor_rows(facts)
    if facts.pickle is not None:
        rows.append(("pickle", _pickle_text(facts.pickle)))
    if network is not None:
        rows += _network_rows(network)
    if fit is not None:
        rows.append(("fit", f"{fit.loaded} of {fit.total} tensors of {fit.part}"))
        named = (("missing", fit.missing), ("unexpected", fit.unexpected))
        rows += [(title, _listed(names)) for title, names in named if names]
        clashes = [f"{clash.name} is {clash.given}, the model has {clash.wanted}" for clash in fit.clashes[:_SHOWN]]
        rows += [("other shape", "; ".join(clashes))] if clashes else []
    return rows


def _tensor_rows(facts: WeightsFacts) -> list[tuple[str, str]]:
    from collections import Counter

    kinds = Counter(entry.dtype for entry in facts.state)
    numbers = sum(entry.numel for entry in facts.state)
    mixed = ", ".join(f"{count} {dtype}" for dtype, count in kinds.most_common())
    rows = [("tensors", f"{len(facts.state)} with {numbers:,} numbers ({mixed})")]
    if facts.wrapper:
        rows.append(("found under", facts.wrapper))
    if facts.prefix:
        rows.append(("prefix", f"every name begins with {facts.prefix}"))
    if facts.others:
        rows.append(("beside them", _listed(facts.others)))
    odd = [f"{name}: {what}" for name, what in facts.unusual]
    values = f"read of {facts.sampled} tensors: " + ("; ".join(odd[:_SHOWN]) if odd else "no NaN, no Inf")
    return [*rows, ("values", values)] if facts.sampled else rows


def _pickle_text(pickle: PickleFacts) -> str:
    text = f"{pickle.opcodes:,} instructions, {pickle.calls:,} calls, {len(pickle.imports)} names imported"
    text += f"; {pickle.problem}" if pickle.problem else ""
    return text + (f"; not on torch's list: {_listed(pickle.foreign)}" if pickle.foreign else ", all on torch's list")


def _network_rows(network: Architecture) -> list[tuple[str, str]]:
    if not network.name:
        nearest = f"; nearest: {', '.join(network.nearest)}" if network.nearest else ""
        because = [("because", "; ".join(network.evidence))] if network.evidence else []
        return [("network", f"cannot tell{nearest}"), *because]
    rows = [("network", f"{network.name} ({network.library})"), ("because", "; ".join(network.evidence))]
    if network.also:
        rows.append(("also called", _listed(network.also)))
    if network.classes is not None:
        rows.append(("head", f"{network.classes} outputs"))
    if network.grid is not None:
        side = f", for images of {network.input_side}" if network.input_side else ""
        rows.append(("positions", f"{network.grid[0]} x {network.grid[1]}{side}"))
    licence = f"{network.licence} ({network.licence_source})" if network.licence else "cannot tell"
    stated = f": {network.licence_source}" if network.licence_source and not network.licence else ""
    rows.append(("licence", f"of the published weights: {licence}{stated}"))
    return rows


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")


def _next(facts: WeightsFacts, network: Architecture | None, fit: FitFacts | None, trouble: list[str]) -> str:
    slug = "corrupt-checkpoint" if facts.problem and facts.format != "pickle" else ""
    slug = slug or ("unsafe-load" if facts.pickle is not None and facts.pickle.dangerous else "")
    slug = slug or ("weights-only-load" if trouble and facts.pickle is not None and facts.pickle.foreign else "")
    if slug or facts.format == "pickle":
        return f"snellen explain {slug or 'weights-only-load'}"
    if (fit is not None and fit.loaded < fit.total) or (trouble and not facts.state):
        return "snellen explain state-dict-mismatch"
    if fit is not None or network is None or not network.name:
        return "set model.weights in the run file, then snellen check RUN.yaml"
    name = next((one for one in (network.name, *network.also) if network.library in ("timm", "torchvision")), None)
    name = name or next((one for one in network.also if one.startswith("timm:")), None)
    return f"snellen trace {name}" if name else "set model.weights in the run file, then snellen check RUN.yaml"
