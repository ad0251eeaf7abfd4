# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Gradients of the cost that ranks plans, through the serial rollout."""

from __future__ import annotations

import torch
from torch import Tensor

from grasp_ros.planners.base import Problem
from grasp_ros.planners.rollout import plan_cost, rollout
from grasp_ros.world_models.base import WorldModel


def rollout_gradient(
    model: WorldModel, problem: Problem, actions: Tensor, running_weight: float
) -> tuple[Tensor, Tensor]:
    """Costs of plans and their gradients, by autograd through the rollout.

    :param actions: ``[R, T, k, A]``
    :return: costs ``[R]``, and dJ/da ``[R, T, k, A]``
    """
    with torch.enable_grad():
        leaf = actions.detach().requires_grad_(True)
        costs = plan_cost(model, problem.goal, rollout(model, problem, leaf), running_weight)
        gradient = torch.autograd.grad(costs.sum(), leaf)[0]
    return costs.detach(), gradient
