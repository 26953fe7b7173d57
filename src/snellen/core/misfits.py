"""Checkpoints that do not fit the network of a run, as the facts `weights_fit` and `architectures` tell them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from snellen.core.facts.weights import Architecture, FitFacts, SizeClash
from snellen.core.finding import Evidence, Finding, Fix, FixSafety, Level, Location
from snellen.core.logs.state_dicts import SizeMismatch, grid_sides
from snellen.core.plan import NotApplicable, Plan, setting_place

__all__ = ["clash_findings", "network_of_file"]

_POSITION = ("pos_embed", "position_embedding", "positional_embedding", "rel_pos", "relative_position")
_HEAD = ("head", "fc", "classifier", "last_linear", "linear")


def network_of_file(plan: Plan, key: str) -> Architecture | None:
    """Which network the checkpoint of a key path belongs to, `None` when that cannot be told."""
    try:
        found: Sequence[Architecture] = plan.fact("architectures")
    except NotApplicable:
        return None
    return next((one for one in found if one.key == key and one.name), None)


def clash_findings(plan: Plan) -> Iterator[Finding]:
    """What of `state-dict-mismatch` is known before the run: another network, another head, other positions."""
    fits: Sequence[FitFacts] = [fit for fit in plan.fact("weights_fit") if fit.source and fit.total]
    if not fits:
        raise NotApplicable("the run loads no checkpoint into its network")
    for fit in fits:
        positions = [clash for clash in fit.clashes if any(word in clash.name for word in _POSITION)]
        heads = [clash for clash in fit.clashes if clash not in positions and _is_head(clash)]
        others = [clash for clash in fit.clashes if clash not in positions and clash not in heads]
        place = setting_place(plan, fit.key)
        if others or not fit.loaded:
            yield _another_network(plan, fit, place)
            continue
        if heads:
            yield _other_head(fit, heads[0], place)
        if positions:
            yield _other_positions(fit, positions, place)


def _is_head(clash: SizeClash) -> bool:
    first = clash.name.split(".")[0]
    rows_only = clash.given[1:] == clash.wanted[1:] and len(clash.given) == len(clash.wanted)
    return rows_only and any(first.startswith(word) for word in _HEAD)


def _another_network(plan: Plan, fit: FitFacts, place: Location) -> Finding:
    network = network_of_file(plan, fit.key)
    message = f"{fit.source} fits {fit.loaded} of {fit.total} tensors of {fit.part}"
    evidence = [Evidence(f"{clash.name} is {clash.given}, the network has {clash.wanted}") for clash in fit.clashes]
    evidence += [Evidence(f"only in the file: {name}") for name in fit.unexpected[:5]]
    if network is None:
        fix = Fix("Name the network that these weights were made for.", command=f"snellen weights {fit.source}")
        return Finding("state-dict-mismatch", Level.ERROR, message, place, tuple(evidence), fix)
    message += f": it holds {network.name} ({network.library})"
    names = (network.name, *(name.removeprefix("timm:") for name in network.also if name.startswith("timm:")))
    same = fit.model in names
    if same or not fit.model_key or network.library not in ("timm", "torchvision", "dinov2"):
        fix = Fix(f"These are weights of {network.name}: name that network, or fetch those of {fit.model or fit.part}.")
    else:
        fix = Fix(
            f"Write {fit.model_key}: {network.name}, or fetch the weights of {fit.model}.",
            FixSafety.UNSAFE,
            "it trains another network",
            settings=((fit.model_key, network.name),),
        )
    return Finding(
        "state-dict-mismatch", Level.ERROR, message, place, (*evidence, *map(Evidence, network.evidence)), fix
    )


def _other_head(fit: FitFacts, clash: SizeClash, place: Location) -> Finding:
    message = (
        f"{fit.source} has a head of {clash.given[0]} outputs, the run has {clash.wanted[0]} classes: load_state_dict "
        f"refuses {clash.name}, and strict=False does not help against another shape"
    )
    fix = Fix("Leave the head's tensors out before loading: it is learned anew. Or name the classes of the checkpoint.")
    evidence = (Evidence(f"{clash.name} is {clash.given}, the network has {clash.wanted}"),)
    return Finding("state-dict-mismatch", Level.WARNING, message, place, evidence, fix)


def _other_positions(fit: FitFacts, clashes: Sequence[SizeClash], place: Location) -> Finding:
    clash = clashes[0]
    sides = grid_sides(SizeMismatch(clash.name, clash.given, clash.wanted))
    grids = f": a grid of {sides[0]} x {sides[0]}, the network has {sides[1]} x {sides[1]}" if sides else ""
    message = (
        f"{clash.name} of {fit.source} is {clash.given}, the network has {clash.wanted}{grids}; loading refuses it"
    )
    side = f" at the size it was trained for ({sides[0]} positions a side times the patch)" if sides else ""
    fix = Fix(
        f"Build the network{side}, or interpolate the embedding: timm.create_model(..., checkpoint_path=...) and "
        "timm.layers.resample_abs_pos_embed do."
    )
    evidence = tuple(Evidence(f"{one.name} is {one.given}, the network has {one.wanted}") for one in clashes)
    return Finding("state-dict-mismatch", Level.ERROR, message, place, evidence, fix)
