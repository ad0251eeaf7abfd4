# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The sync: what brings the actions of a lifted plan back to what the model really does.

At the fixed point of its cut iteration GRASP's action step is greedy by one step; the sync works
on the actions alone, through the serial rollout, and sees what they lead to. The paper (arXiv
2602.00475) descends ``|s_T(a) - g|^2`` by gradient and names a sampling planner as the other way.
Here both minimise the cost that ranks plans, J = c(s_T, g) + w mean_t c(s_t, g); w = 0 is the
paper's. The lifted states stay as they were, as in the author's code.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from grasp_ros.planners.adam import adam_step, correction
from grasp_ros.planners.base import Problem
from grasp_ros.planners.descent import rollout_gradient
from grasp_ros.planners.rollout import plan_cost, rollout
from grasp_ros.world_models.base import WorldModel


def gradient_sync(
    model: WorldModel,
    problem: Problem,
    actions: Tensor,
    *,
    steps: int,
    rate: float,
    running_weight: float,
) -> Tensor:
    """Adam steps on the actions, with moments that start at zero.

    :param actions: ``[R, T, k, A]``
    :param rate: in units of half the action range
    :return: ``[R, T, k, A]``
    """
    actions = actions.clone()
    moments = (torch.zeros_like(actions), torch.zeros_like(actions))
    for step in range(steps):
        _, gradient = rollout_gradient(model, problem, actions, running_weight)
        adam_step(actions, gradient, moments, correction(step) * rate * problem.limits.half_range)
        actions = problem.limits.project(actions, problem.previous_action)
    return actions


def cem_sync(
    model: WorldModel,
    problem: Problem,
    actions: Tensor,
    states: Tensor,
    random: torch.Generator,
    *,
    samples: int,
    elites: int,
    running_weight: float,
) -> Tensor:
    """One refit of every plan: the mean of the best of the samples around it.

    The paper sets each step's variance by the mean squared gap between the rollout and the lifted
    state of that step: where they agree there is nothing to look for. It leaves the unit open;
    here the gap is measured by the model's cost, so that a gap of the size of the latent's spread
    gives half the action range, and more never does. Plans that are not finite stay as they are.

    :param actions: ``[R, T, k, A]``
    :param states: lifted states s_1 … s_T, ``[R, T, *latent]``
    :param samples: around each plan, the plan itself among them
    :return: ``[R, T, k, A]``
    """
    restarts, horizon = actions.shape[:2]
    latents = rollout(model, problem, actions)
    gaps = model.cost(latents.flatten(0, 1), states.flatten(0, 1)).view(restarts, horizon)
    deviation = gaps.sqrt().clamp(max=1.0)[:, None, :, None, None] * problem.limits.half_range
    drawn = actions.unsqueeze(1).repeat(1, samples, 1, 1, 1)
    noise = torch.randn(drawn[:, 1:].shape, generator=random)
    drawn[:, 1:] += deviation * noise.to(actions)
    flat = problem.limits.project(drawn.flatten(0, 1), problem.previous_action)
    costs = plan_cost(model, problem.goal, rollout(model, problem, flat), running_weight)
    costs = torch.nan_to_num(costs, nan=math.inf).view(restarts, samples)
    best = costs.topk(elites, dim=1, largest=False)
    chosen = torch.arange(restarts, device=actions.device).unsqueeze(1)
    mean = flat.view(drawn.shape)[chosen, best.indices].mean(dim=1)
    finite = torch.isfinite(best.values).all(dim=1)[:, None, None, None]
    return torch.where(finite, mean, actions)
