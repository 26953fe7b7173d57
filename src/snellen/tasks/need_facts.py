"""The facts of a plan that tell what a run needs; torch is loaded when one of them is asked for, not before."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from snellen.check.plan import Provider
from snellen.config.load import Loaded
from snellen.core.plan import Plan
from snellen.tasks.base import Task

__all__ = ["need_facts"]


def need_facts(task: Task, loaded: Loaded[Any]) -> Mapping[str, Provider]:
    """Providers of `memory`, `host_memory`, `checkpoint_bytes` and `duration`, and of what stopped the step.

    Args:
        task: What is done.
        loaded: The run file as read.
    """

    def needs(plan: Plan) -> Any:
        from snellen.tasks.needs import run_needs  # noqa: PLC0415 - loads torch

        return run_needs(task, loaded, plan)

    def stopped_step(plan: Plan) -> str:
        from snellen.estimate.step import StepFailed  # noqa: PLC0415 - loads torch

        needed = plan.fact("needs")
        try:
            _ = needed.memory
        except StepFailed as error:
            return error.message
        return ""

    return {
        "needs": needs,
        "stopped_step": stopped_step,
        "memory": lambda plan: plan.fact("needs").memory,
        "host_memory": lambda plan: plan.fact("needs").host,
        "checkpoint_bytes": lambda plan: plan.fact("needs").checkpoints,
        "duration": lambda plan: plan.fact("needs").duration,
        "unused_parameters": lambda plan: plan.fact("needs").unused,
    }
