# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Where a solve that refines R plans side by side starts from.

One rule for all planners of that kind, so that a comparison of two planners is not one of two
starts.
"""

from __future__ import annotations

import torch
from torch import Tensor

from grasp_ros.planners.base import Problem, WarmStart
from grasp_ros.planners.sampling import correlated_noise


def start_actions(
    problem: Problem,
    warm_start: WarmStart | None,
    random: torch.Generator,
    *,
    restarts: int,
    horizon: int,
    block: int,
    spread: float,
) -> Tensor:
    """The warm start, a cold start, and correlated samples around the first.

    The second restart is always cold, so that a warm start in a poor basin is left again.

    :param spread: standard deviation of the samples, in units of half the action range
    :return: ``[R, T, k, A]``
    """
    still = problem.safe_action.expand(horizon, block, -1)
    first = still if warm_start is None else warm_start.actions
    starts = first.expand(restarts, *first.shape).clone()
    if restarts > 1:
        starts[1] = still
    if restarts > 2:
        starts[2:] += spread * problem.limits.half_range * correlated_noise(starts[2:], random)
    return problem.limits.project(starts, problem.previous_action)


def start_latents(
    problem: Problem,
    warm_start: WarmStart | None,
    random: torch.Generator,
    *,
    restarts: int,
    horizon: int,
    deviation: float,
) -> Tensor:
    """Context, lifted states s_1 … s_{T-1}, and s_T = g.

    The states are those of the warm start, and on the noised straight line from s_0 to g where
    there are none, and for the second restart.

    :param deviation: of the noise on the line, in the latent's own unit
    :return: ``[R, H + T, *latent]``
    """
    goal = problem.goal
    is_warm = warm_start is not None and warm_start.states is not None
    if is_warm and restarts == 1:
        states = warm_start.states.unsqueeze(0)
    else:
        states = _noised_line(problem, random, restarts, horizon, deviation)
        if is_warm:
            states[0] = warm_start.states
            states[2:] = warm_start.states
    context = problem.context.expand(restarts, *problem.context.shape)
    latents = torch.cat((context, states), dim=1)
    latents[:, -1] = goal
    return latents


def _noised_line(
    problem: Problem, random: torch.Generator, restarts: int, horizon: int, deviation: float
) -> Tensor:
    present, goal = problem.context[-1], problem.goal
    fraction = torch.arange(1, horizon + 1, device=goal.device) / horizon
    fraction = fraction.reshape(-1, *[1] * goal.dim()).to(goal.dtype)
    line = present + fraction * (goal - present)
    states = line.expand(restarts, *line.shape).clone()
    if deviation:
        noise = torch.randn(states.shape, generator=random, device=states.device)
        states += noise.mul_(deviation)
    return states
