# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Where a solve that refines R plans side by side starts from.

One rule for all planners of that kind, so that a comparison of two planners is not one of two
starts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from grasp_ros.errors import ConfigError
from grasp_ros.planners.base import Problem, WarmStart, require
from grasp_ros.planners.rollout import priced
from grasp_ros.planners.sampling import correlated_noise
from grasp_ros.world_models.base import WorldModel

WHOLE_RANGE = 1.5  # standard deviation, in units of half the action range; most ends at a bound


def require_starts(settings: Any) -> None:
    """Check the settings that say what a solve starts from.

    :param settings: with ``restarts``, ``samples`` and ``sample_spread``
    :raises ConfigError: naming the first that is out of range
    """
    require(settings, at_least={'restarts': 1, 'samples': 0}, finite=('sample_spread',))
    if settings.samples < settings.restarts - 1:
        raise ConfigError(
            f'samples must be at least restarts - 1 = {settings.restarts - 1}, for the further '
            f'restarts are taken from them; is {settings.samples}'
        )


@dataclass(frozen=True)
class Starts:
    """What R plans start from.

    :param actions: ``[R, T, k, A]``
    :param latents: context, lifted states s_1 … s_{T-1}, and s_T = g, ``[R, H + T, *latent]``
    :param best_sample: the cheapest of the samples, ``[1, T, k, A]``; ``[0, …]`` without samples
    """

    actions: Tensor
    latents: Tensor
    best_sample: Tensor


def starts(
    model: WorldModel,
    problem: Problem,
    warm_start: WarmStart | None,
    random: torch.Generator,
    *,
    restarts: int,
    samples: int,
    horizon: int,
    spread: float,
    running_weight: float,
    line_noise: float = 0.0,
) -> Starts:
    """The warm start, and the R - 1 cheapest of some samples on their own rollouts.

    Without a warm start the first plan stands still, and its lifted states lie on the noised
    straight line from s_0 to g; so they do with a warm start that brings none.

    :param samples: how many are drawn, at least R - 1; :func:`draw_samples`
    :param spread: of the samples
    :param running_weight: of the cost that ranks the samples
    :param line_noise: standard deviation of the noise on the line, in the latent's own unit
    """
    still = problem.still(horizon, model.card.action_block)
    first = still if warm_start is None else warm_start.actions
    actions = problem.limits.project(first.unsqueeze(0), problem.previous_action)
    if warm_start is None or warm_start.states is None:
        line = _noised_line(problem, random, horizon, line_noise)
        states = (model.project(line) if model.has_manifold else line).unsqueeze(0)
    else:
        states = warm_start.states.unsqueeze(0)
    best_sample = actions[:0]
    if samples:
        drawn = draw_samples(
            model, problem, warm_start, random,
            count=samples, horizon=horizon, spread=spread, running_weight=running_weight,
        )  # fmt: skip
        best_sample = drawn.actions[:1]
        actions = torch.cat((actions, drawn.actions[: restarts - 1]))
        states = torch.cat((states, drawn.rollouts[: restarts - 1]))
    context = problem.context.expand(len(actions), *problem.context.shape)
    latents = torch.cat((context, states), dim=1)
    latents[:, -1] = problem.goal
    return Starts(actions, latents, best_sample)


def _noised_line(
    problem: Problem, random: torch.Generator, horizon: int, deviation: float
) -> Tensor:
    present, goal = problem.context[-1], problem.goal
    fraction = torch.arange(1, horizon + 1, device=goal.device) / horizon
    fraction = fraction.reshape(-1, *[1] * goal.dim()).to(goal.dtype)
    line = present + fraction * (goal - present)
    if deviation:
        line += torch.randn(line.shape, generator=random).mul_(deviation).to(line.device)
    return line


@dataclass(frozen=True)
class Samples:
    """Sampled plans, the cheapest first.

    :param actions: ``[S, T, k, A]``
    :param rollouts: their latents s_1 … s_T, ``[S, T, *latent]``
    """

    actions: Tensor
    rollouts: Tensor


def draw_samples(
    model: WorldModel,
    problem: Problem,
    warm_start: WarmStart | None,
    random: torch.Generator,
    *,
    count: int,
    horizon: int,
    spread: float,
    running_weight: float,
) -> Samples:
    """Sample plans, half of them around the shifted plan, half around standing still.

    The first half refines. The second half is spread over the whole range of actions and finds
    what no descent from the present plan leads to, such as the way round a wall that the robot
    stands at; the plan that wins comes back as the shifted plan of the next solve.

    :param count: S
    :param spread: standard deviation of the first half, in units of half the action range
    """
    still = problem.still(horizon, model.card.action_block)
    plan = still if warm_start is None else warm_start.incumbent
    wide = count - count // 2
    centres = torch.cat((plan.expand(count - wide, *plan.shape), still.expand(wide, *still.shape)))
    spreads = centres.new_full((count, 1, 1, 1), spread)
    spreads[count - wide :] = WHOLE_RANGE
    noise = spreads * problem.limits.half_range * correlated_noise(centres, random)
    actions, rollouts, costs = model.run(
        priced, centres + noise, problem.context, problem.past_actions, problem.goal,
        problem.previous_action, *problem.limits.tensors, running_weight,
    )  # fmt: skip
    order = torch.nan_to_num(costs, nan=math.inf).argsort()
    return Samples(actions[order], rollouts[order])
