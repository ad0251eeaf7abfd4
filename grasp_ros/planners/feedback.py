# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Feedback: the first action of a prepared plan, corrected by the newest latent.

Nothing flows back through GRASP's lifted states, so an iteration changes a_0 through t = 0 alone,
and what a frame can still change after a preparation is how well the first step meets the plan:

    E(a_0) = c(F(s_0, a_0), s_1)

with s_0 the latent that was seen, and s_1 and the start of a_0 from the preparation, which saw
only a prediction of s_0. GRASP's dense goal term is left out of it: the goal stands still, and a
single step towards it brakes a robot with inertia. E is minimised by damped Gauss-Newton updates

    a_0 <- a_0 + m - K dE/dp,   K = (J^T H J + lambda tr(J^T H J) / n I)^-1 J^T,   p = F(s_0, a_0)

within the limits, with J = dp/da_0 and H the curvature of c. m is what the plan would add to a_0
were there no limit: 0 but where a limit is active and the plan's cost still falls beyond it.
Without it a_0 at full thrust would be the very minimum of E, from which the noise of s_0 could
only take away.

K and m belong to the preparation (:meth:`Feedback.prepare`) and only p to the feedback
(:meth:`Feedback.correct`): one predictor call for each update, with as many rows as there were
plans to choose from, whatever the horizon. The counterpart for explicit models is the feedback
phase of the real-time iteration (Diehl, Bock, Schlöder, SIAM J. Control Optim. 43, 2005), which
keeps the prepared derivatives and the active bounds' multipliers too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from grasp_ros.errors import NotFiniteError
from grasp_ros.planners.base import Branches, Plan, Problem
from grasp_ros.planners.rollout import plan_cost, rollout
from grasp_ros.world_models.base import WorldModel

DAMPING = 1.0  # lambda; less of it hands the noise of the encoder on to a robot with inertia
DIFFERENCE = 0.02  # step of the forward differences, in units of half the action range
INWARD = 0.1  # step of those of a plan's cost, from an active limit inwards; in the same units


@dataclass(frozen=True)
class Feedback:
    """A plan that waits for the frame of its s_0.

    :param plan: made from a predicted s_0
    :param actions: a_0 of each of its M branches, ``[M, k, A]``
    :param targets: their s_1, ``[M, *latent]``
    :param jacobians: J of every branch, transposed, ``[M, k A, D]``, D the entries of a latent
    :param gains: K of every branch, ``[M, k A, D]``
    :param beyond: m of every branch, ``[M, k, A]``
    """

    plan: Plan
    actions: Tensor
    targets: Tensor
    jacobians: Tensor
    gains: Tensor
    beyond: Tensor

    @classmethod
    @torch.no_grad()
    def prepare(cls, model: WorldModel, plan: Plan, problem: Problem) -> Feedback:
        """Linearise the first step of every branch about the predicted latent.

        J comes from forward differences, k A more rows in one predictor call, for any model,
        token latents included. Where a limit is active the branches are rolled out once more.

        :param problem: that the plan was made for
        """
        actions, targets = plan.branches.actions[:, 0], plan.branches.rollouts[:, 0]
        count, block, size = actions.shape
        step = DIFFERENCE * problem.limits.half_range
        basis = torch.diag(step.repeat(block)).view(1, block * size, block, size)
        # Backwards where the range ends, so that no row asks for an action that cannot be.
        inside = actions.unsqueeze(1) + basis <= problem.limits.high
        basis = torch.where(inside, basis, -basis)
        tried = torch.cat((actions.unsqueeze(1), actions.unsqueeze(1) + basis), dim=1)
        latents = _predict(model, problem, tried.flatten(0, 1))
        slopes = model.cost_gradient(latents, problem.goal).reshape(count, len(tried[0]), -1)
        latents = latents.reshape(slopes.shape)
        lengths = basis.sum(dim=(2, 3)).unsqueeze(-1)
        jacobians = (latents[:, 1:] - latents[:, :1]) / lengths
        curved = (slopes[:, 1:] - slopes[:, :1]) / lengths
        matrix = jacobians @ curved.mT
        scale = matrix.diagonal(dim1=1, dim2=2).mean(dim=1)[:, None, None]
        matrix = matrix + (DAMPING * scale + 1e-12) * torch.eye(len(basis[0]), device=model.device)
        gains = torch.linalg.solve(matrix, jacobians)
        beyond = _beyond(model, plan.branches, problem)
        return cls(plan, actions.contiguous(), targets.contiguous(), jacobians, gains, beyond)

    @torch.no_grad()
    def correct(self, model: WorldModel, problem: Problem, *, updates: int) -> Plan:
        """Correct the first action from the latent that was seen; the rest is as prepared.

        The plan is chosen anew: by its cost, and by how far the latent that was seen leads away
        from it. What the last update changes in p is taken from J, so that the model is asked
        once an update and no more.

        :param problem: as prepared, with the context that was seen
        :param updates: Gauss-Newton updates; 0 gives the plan back as it is
        :raises NotFiniteError: when no branch is finite
        """
        if updates == 0:
            return self.plan
        branches, targets, actions = self.plan.branches, self.targets, self.actions
        count, block, size = actions.shape
        # Few and large operations: between the frame and the command each costs its call.
        for _ in range(updates):
            latents, before = _predict(model, problem, actions), actions
            slopes = model.cost_gradient(latents, targets).reshape(count, -1, 1)
            start = (before + self.beyond).view(count, -1, 1)
            actions = torch.baddbmm(start, self.gains, slopes, alpha=-1)
            actions = actions.view(count, 1, block, size)
            actions = problem.limits.project(actions, problem.previous_action).squeeze(1)
        moved, seen = (actions - before).view(count, 1, -1), latents.reshape(count, 1, -1)
        latents = torch.baddbmm(seen, moved, self.jacobians).view(latents.shape)
        costs = (model.cost(latents, targets) + branches.costs).tolist()
        best = min(range(len(costs)), key=lambda n: costs[n] if costs[n] == costs[n] else math.inf)
        if not math.isfinite(costs[best]):
            raise NotFiniteError('no corrected action is finite: model or input is not finite')
        return replace(
            self.plan,
            actions=torch.cat((actions[best : best + 1], branches.actions[best, 1:])),
            rollout=torch.cat((latents[best : best + 1], branches.rollouts[best, 1:])),
        )


def _beyond(model: WorldModel, branches: Branches, problem: Problem) -> Tensor:
    """m, ``[M, k, A]``: a Newton step of every active entry's own, on the cost that ranks plans.

    It is at most the whole range, so that a correction which large always gets through.
    """
    limits, first = problem.limits, branches.actions[:, 0]
    count, block, size = first.shape
    low, high = limits.reach(problem.previous_action, block)
    slack = 1e-3 * limits.half_range
    outward = (first >= high - slack).to(first.dtype) - (first <= low + slack).to(first.dtype)
    branch, entry, axis = outward.nonzero(as_tuple=True)
    if not len(branch):
        return outward
    side = outward[branch, entry, axis]
    inward = side * INWARD * limits.half_range[axis]
    rows = torch.arange(len(branch), device=outward.device)
    near, far = branches.actions[branch], branches.actions[branch]  # copies
    near[rows, 0, entry, axis] -= inward
    far[rows, 0, entry, axis] -= 2 * inward
    latents = rollout(model, problem, torch.cat((near, far)))
    costs = plan_cost(model, problem.goal, latents, branches.running_weight)
    near, far = costs.view(2, -1) - branches.costs[branch]
    # The parabola through the three costs, a step being 1: its slope inwards, its curvature.
    slope, curvature = 2 * near - far / 2, far - 2 * near
    furthest = torch.full_like(slope, 2 / INWARD)
    newton = torch.where(curvature * furthest > slope, slope / curvature, furthest)
    beyond = torch.zeros_like(outward)
    beyond[branch, entry, axis] = inward * torch.where(slope > 0, newton, 0.0)
    return beyond


def _predict(model: WorldModel, problem: Problem, actions: Tensor) -> Tensor:
    """F from the present with these blocks, ``[M, k, A]`` to ``[M, *latent]``."""
    blocks = actions.unsqueeze(1)
    if len(problem.past_actions):
        past = problem.past_actions.expand(len(actions), *problem.past_actions.shape)
        blocks = torch.cat((past, blocks), dim=1)
    return model.predict(problem.context.expand(len(actions), *problem.context.shape), blocks)
