# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What the planners that search among rollouts share: candidates, elites, and the answer."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from grasp_ros.errors import NotFiniteError
from grasp_ros.planners.base import Plan, Problem, WarmStart
from grasp_ros.planners.rollout import best_plan, plan_cost, ranked, rollout
from grasp_ros.planners.sampling import correlated_noise
from grasp_ros.world_models.base import WorldModel


class BestSoFar:
    """The cheapest sequence of all that were rolled out on the way; ranking it costs nothing."""

    def __init__(self) -> None:
        self.cost = math.inf
        self.actions: list[Tensor] = []

    def offer(self, costs: Tensor, actions: Tensor) -> None:
        """
        :param costs: rollout costs, ``[N]``
        :param actions: ``[N, T, k, A]``
        """
        lowest, index = torch.nan_to_num(costs, nan=math.inf).min(dim=0)
        lowest = float(lowest)
        if lowest < self.cost:
            self.cost, self.actions = lowest, [actions[index].clone()]


def first_mean(
    problem: Problem, warm_start: WarmStart | None, *, horizon: int, block: int
) -> tuple[Tensor, Tensor]:
    """What samples are first drawn around, and what every population holds beside its samples.

    Those are standing still, and the shifted plan. The latter is left out where it is the mean
    anyway: twice among a few elites it would hold the mean where it is.

    :return: ``[T, k, A]`` and ``[1 or 2, T, k, A]``
    """
    still = problem.still(horizon, block)
    if warm_start is None:
        return still, still.unsqueeze(0)
    if torch.equal(warm_start.incumbent, warm_start.actions):
        return warm_start.actions, still.unsqueeze(0)
    return warm_start.actions, torch.stack((still, warm_start.incumbent))


def population(
    problem: Problem,
    mean: Tensor,
    fixed: Tensor,
    deviation: Tensor,
    random: torch.Generator,
    *,
    count: int,
) -> Tensor:
    """The mean, the fixed candidates, and samples around the mean, correlated over time.

    :param mean: ``[T, k, A]``
    :param fixed: ``[F, T, k, A]``
    :param deviation: standard deviation, ``[A]`` or as the mean
    :return: ``[count, T, k, A]``, within the limits
    """
    drawn = 1 + len(fixed)
    samples = mean.expand(count, *mean.shape).clone()
    samples[1:drawn] = fixed
    samples[drawn:] += deviation * correlated_noise(samples[drawn:], random)
    return problem.limits.project(samples, problem.previous_action)


def sample_costs(
    model: WorldModel, problem: Problem, samples: Tensor, running_weight: float
) -> Tensor:
    """Rollout costs, infinite for a sample without a finite one.

    :param samples: ``[N, T, k, A]``, within the limits
    :return: ``[N]``
    """
    latents = rollout(model, problem, samples)
    costs = plan_cost(model, problem.goal, latents, running_weight)
    return costs.masked_fill(~torch.isfinite(costs), math.inf)


def best_of(samples: Tensor, costs: Tensor, count: int) -> Tensor:
    """The elites, best first.

    :return: ``[count, T, k, A]``
    :raises NotFiniteError: when fewer than ``count`` costs are finite
    """
    best, index = costs.topk(count, largest=False)
    if not torch.isfinite(best[-1]):
        raise NotFiniteError('fewer finite samples than elites: the model is not finite')
    return samples[index]


def answer(
    model: WorldModel,
    problem: Problem,
    warm_start: WarmStart | None,
    mean: Tensor,
    best: BestSoFar | None,
    *,
    running_weight: float,
    iterations: int,
    stopped: str,
) -> Plan:
    """The plan of a search: its mean, or the best by rollout cost.

    :param mean: ``[T, k, A]``; the next solve goes on from it in either case
    :param best: None for the mean as it is; else the cheapest of the mean, of these, of the
        shifted previous plan and of standing still
    :raises NotFiniteError: when the answer has no finite cost
    """
    actions = problem.limits.project(mean.unsqueeze(0), problem.previous_action)
    if best is not None:
        return best_plan(
            model, problem, actions, None, warm_start, earlier=best.actions,
            running_weight=running_weight, iterations=iterations, stopped=stopped,
        )  # fmt: skip
    branches = ranked(model, problem, actions, running_weight=running_weight)
    cost = float(branches.costs[0])
    if not math.isfinite(cost):
        raise NotFiniteError('the plan has no finite cost: the model is not finite')
    return Plan(
        actions=actions[0],
        rollout=branches.rollouts[0],
        cost=cost,
        iterate_actions=actions[0],
        iterate_states=branches.rollouts[0],
        iterations=iterations,
        stopped=stopped,
        source='solve',
        branches=branches,
    )
