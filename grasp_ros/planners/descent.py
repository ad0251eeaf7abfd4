# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Gradients of the cost that ranks plans, through the serial rollout."""

from __future__ import annotations

import torch
from torch import Tensor

from grasp_ros.planners.base import Problem
from grasp_ros.planners.rollout import plan_cost
from grasp_ros.world_models.base import WorldModel


def rollout_gradient(
    model: WorldModel, problem: Problem, actions: Tensor, running_weight: float
) -> tuple[Tensor, Tensor]:
    """Costs of plans and their gradients; the way back through the rollout is the model's.

    :param actions: ``[R, T, k, A]``
    :return: costs ``[R]``, and dJ/da ``[R, T, k, A]``
    """
    count, horizon = actions.shape[:2]
    context = problem.context.expand(count, *problem.context.shape)
    past = problem.past_actions.expand(count, *problem.past_actions.shape)
    latents, pullback = model.rollout_with_vjp(context, torch.cat((past, actions), dim=1))
    costs = plan_cost(model, problem.goal, latents, running_weight)
    slope = model.cost_gradient(latents.flatten(0, 1), problem.goal).reshape(latents.shape)
    cotangent = slope * (running_weight / horizon)
    cotangent[:, -1] += slope[:, -1]
    return costs, pullback(cotangent)[:, -horizon:]
