# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Rollouts of the world model, and the cost that ranks plans."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from grasp_ros.errors import NotFiniteError
from grasp_ros.planners.base import ActionLimits, Branches, Plan, Problem, WarmStart
from grasp_ros.planners.beyond import active_limits, inward, newton
from grasp_ros.world_models.base import WorldModel


def rollout(model: WorldModel, problem: Problem, actions: Tensor) -> Tensor:
    """Predict the latents that action sequences lead to from the problem's present.

    :param actions: ``[N, T, k, A]``
    :return: ``[N, T, *latent]``, the latents s_1 … s_T
    """
    return rollout_from(model, problem.context, problem.past_actions, actions)


def rollout_from(
    model: WorldModel, context: Tensor, past_actions: Tensor, actions: Tensor
) -> Tensor:
    """As :func:`rollout`, from the parts of a problem that it needs."""
    count = actions.shape[0]
    past = past_actions.expand(count, *past_actions.shape)
    return model.rollout(
        context.expand(count, *context.shape), torch.cat((past, actions), dim=1)
    )


def plan_cost(model: WorldModel, goal: Tensor, latents: Tensor, running_weight: float) -> Tensor:
    """Cost that ranks plans: J = c(s_T, g) + w mean_t c(s_t, g).

    The paper leaves its "true rollout cost" open. The terminal term alone stalls in receding
    horizon (the goal stays T steps away for ever); the running term rewards getting there.

    :param latents: ``[N, T, *latent]``, a rollout
    :param running_weight: w, dimensionless
    :return: ``[N]``
    """
    count, horizon = latents.shape[:2]
    costs = model.cost(latents.flatten(0, 1), goal).reshape(count, horizon)
    return costs[:, -1] + running_weight * costs.mean(dim=1)


def priced(
    model: WorldModel,
    actions: Tensor,
    context: Tensor,
    past_actions: Tensor,
    goal: Tensor,
    previous_action: Tensor,
    low: Tensor,
    high: Tensor,
    max_change: Tensor | None,
    running_weight: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Plans within the limits, what they lead to, and what they cost.

    :param actions: ``[N, T, k, A]``
    :return: actions; latents ``[N, T, *latent]``; costs ``[N]``
    """
    actions = ActionLimits(low, high, max_change).project(actions, previous_action)
    latents = rollout_from(model, context, past_actions, actions)
    return actions, latents, plan_cost(model, goal, latents, running_weight)


def ranked(
    model: WorldModel, problem: Problem, actions: Tensor, *, running_weight: float
) -> Branches:
    """What plans lead to and cost, in one rollout; all that feedback needs of it is in there.

    :param actions: ``[M, T, k, A]``, within the limits
    """
    first = actions[:, 0]
    steps, active = torch.zeros_like(first), None
    if problem.awaits_frame:
        steps, active = active_limits(problem, first, is_filled_up=model.graphs is not None)
    latents, costs, beyond = model.run(
        _ranked, actions, steps, active, problem.context, problem.past_actions, problem.goal,
        running_weight,
    )  # fmt: skip
    return Branches(actions, latents, costs, running_weight, beyond)


def _ranked(
    model: WorldModel,
    actions: Tensor,
    steps: Tensor,
    active: Tensor | None,
    context: Tensor,
    past_actions: Tensor,
    goal: Tensor,
    running_weight: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Latents, costs, and what lies beyond the limits that are active."""
    count = len(actions)
    if active is not None and len(active):
        actions = torch.cat((actions, inward(actions, steps, active)))
    latents = rollout_from(model, context, past_actions, actions)
    costs = plan_cost(model, goal, latents, running_weight)
    beyond = torch.zeros_like(steps)
    if len(actions) > count:
        beyond = newton(steps, active, costs[:count], costs[count:])
    return latents[:count], costs[:count], beyond


@torch.no_grad()
def kept_plan(
    model: WorldModel, problem: Problem, warm_start: WarmStart, *, running_weight: float
) -> Plan:
    """The best plan of a warm start as it is: :func:`best_plan` without a solve before it.

    :raises NotFiniteError: when no candidate has a finite cost
    """
    actions = problem.limits.project(warm_start.actions.unsqueeze(0), problem.previous_action)
    states = None if warm_start.states is None else warm_start.states.unsqueeze(0)
    return best_plan(
        model, problem, actions, states, warm_start,
        earlier=[], running_weight=running_weight, iterations=0, stopped='deadline',
    )  # fmt: skip


def best_plan(
    model: WorldModel,
    problem: Problem,
    actions: Tensor,
    states: Tensor | None,
    warm_start: WarmStart | None,
    *,
    earlier: list[Tensor],
    running_weight: float,
    iterations: int,
    stopped: str,
) -> Plan:
    """Rank what a solve found against the shifted previous plan and against standing still.

    All candidates are rolled out in one batch, so the guarantee "never worse than either", and
    the iterates on the way, cost a few more rows and not more rollouts.

    :param actions: ``[R, T, k, A]``, the last iterates
    :param states: ``[R, T, *latent]``, their lifted states; None where they are the rollout itself
    :param earlier: iterates on the way, ``[T, k, A]`` each, that compete too
    :raises NotFiniteError: when no candidate has a finite cost
    """
    restarts, horizon, block = actions.shape[:3]
    others, sources = [problem.still(horizon, block).unsqueeze(0)], ['safe_action']
    if warm_start is not None:
        others.append(warm_start.incumbent.unsqueeze(0))
        sources.append('incumbent')
    solved = restarts + len(earlier)
    others = problem.limits.project(torch.cat(others), problem.previous_action)
    candidates = torch.cat((actions, *(plan.unsqueeze(0) for plan in earlier), others))
    branches = ranked(model, problem, candidates, running_weight=running_weight)
    latents = branches.rollouts
    # On the host: a dozen numbers, and a cost that is not finite must never win.
    costs = [c if math.isfinite(c) else math.inf for c in branches.costs.tolist()]
    best = min(range(len(costs)), key=costs.__getitem__)
    if costs[best] == math.inf:
        raise NotFiniteError('no candidate plan has a finite cost: model or input is not finite')
    iterate = min(range(restarts), key=costs.__getitem__)
    iterate_states = latents[iterate] if states is None else states[iterate]
    if costs[iterate] == math.inf or not torch.isfinite(iterate_states).all():
        iterate, iterate_states = best, latents[best]
    return Plan(
        actions=candidates[best].clone(),
        rollout=latents[best],
        cost=costs[best],
        iterate_actions=candidates[iterate].clone(),
        iterate_states=iterate_states.clone(),
        iterations=iterations,
        stopped=stopped,
        source='solve' if best < solved else sources[best - solved],
        branches=branches,
    )
