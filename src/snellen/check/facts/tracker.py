"""The fact `tracker`: the server of curves, asked only for a run that is to upload them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from snellen._env import wandb_address, wandb_has_key, wandb_wanted_offline
from snellen.core.facts.places import TrackerFacts
from snellen.core.plan import NotApplicable, Plan
from snellen.core.tracker import why_not_online

__all__ = ["provide_tracker"]


def provide_tracker(plan: Plan) -> TrackerFacts:
    """Whether the curves of the run can be uploaded while it goes on.

    Raises:
        NotApplicable: Nothing asks for it: no setting below `track`, and no key in the environment.
    """
    section = plan.settings.get("track")
    track: Mapping[str, Any] = section if isinstance(section, Mapping) else {}
    if track.get("wandb", "auto") != "auto":
        raise NotApplicable("track.wandb is false")
    key = next((f"track.{name}" for name in ("wandb", "project") if name in track), "")
    if not key and not wandb_has_key():
        raise NotApplicable("nothing asks for curves on a server: no track.project, no WANDB_API_KEY")
    if wandb_wanted_offline():
        raise NotApplicable("WANDB_MODE keeps curves off the network")
    machine = plan.fact("machine")
    if not machine.here:
        raise NotApplicable(f"the run is meant for {machine.name}: what it can reach is not known here")
    return TrackerFacts(key or "track.wandb", wandb_address(), why_not_online())
