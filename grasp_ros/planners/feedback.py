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

m comes with the plan (:mod:`grasp_ros.planners.beyond`), K belongs to the preparation as well
(:meth:`Feedback.prepare`), and only p to the feedback
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
from grasp_ros.planners.base import ActionLimits, Plan, Problem
from grasp_ros.world_models.base import WorldModel

DAMPING = 1.0  # lambda; less of it hands the noise of the encoder on to a robot with inertia
DIFFERENCE = 0.02  # step of the forward differences, in units of half the action range


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
        token latents included.

        :param problem: that the plan was made for, which awaited its frame
        """
        actions, targets = plan.branches.actions[:, 0], plan.branches.rollouts[:, 0]
        jacobians, gains = model.run(
            _linearised, actions, problem.context, problem.past_actions, problem.goal,
            *problem.limits.tensors,
        )  # fmt: skip
        beyond = plan.branches.beyond
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
        branches, actions = self.plan.branches, self.actions
        for _ in range(updates):
            actions, latents, costs = model.run(
                _corrected, actions, self.targets, self.jacobians, self.gains, self.beyond,
                branches.costs, problem.context, problem.past_actions, problem.previous_action,
                *problem.limits.tensors,
            )  # fmt: skip
        costs, own = torch.stack((costs, branches.costs)).tolist()
        best = min(range(len(costs)), key=lambda n: costs[n] if costs[n] == costs[n] else math.inf)
        if not math.isfinite(costs[best]):
            raise NotFiniteError('no corrected action is finite: model or input is not finite')
        return replace(
            self.plan,
            actions=torch.cat((actions[best : best + 1], branches.actions[best, 1:])),
            rollout=torch.cat((latents[best : best + 1], branches.rollouts[best, 1:])),
            cost=own[best],
        )


def _linearised(
    model: WorldModel,
    actions: Tensor,
    context: Tensor,
    past_actions: Tensor,
    goal: Tensor,
    *limits: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """J and K of first blocks ``[M, k, A]``; both transposed, ``[M, k A, D]``."""
    bounds = ActionLimits(*limits)
    count, block, size = actions.shape
    step = DIFFERENCE * bounds.half_range
    basis = torch.diag(step.repeat(block)).view(1, block * size, block, size)
    # Backwards where the range ends, so that no row asks for an action that cannot be.
    inside = actions.unsqueeze(1) + basis <= bounds.high
    basis = torch.where(inside, basis, -basis)
    tried = torch.cat((actions.unsqueeze(1), actions.unsqueeze(1) + basis), dim=1)
    latents = _predict(model, context, past_actions, tried.flatten(0, 1))
    slopes = model.cost_gradient(latents, goal).reshape(count, len(tried[0]), -1)
    latents = latents.reshape(slopes.shape)
    lengths = basis.sum(dim=(2, 3)).unsqueeze(-1)
    jacobians = (latents[:, 1:] - latents[:, :1]) / lengths
    curved = (slopes[:, 1:] - slopes[:, :1]) / lengths
    matrix = jacobians @ curved.mT
    scale = matrix.diagonal(dim1=1, dim2=2).mean(dim=1)[:, None, None]
    matrix = matrix + (DAMPING * scale + 1e-12) * torch.eye(len(basis[0]), device=model.device)
    # Damped, so never singular; what is not finite is found where it is used.
    gains, _ = torch.linalg.solve_ex(matrix, jacobians)
    return jacobians, gains


def _corrected(
    model: WorldModel,
    actions: Tensor,
    targets: Tensor,
    jacobians: Tensor,
    gains: Tensor,
    beyond: Tensor,
    costs: Tensor,
    context: Tensor,
    past_actions: Tensor,
    previous_action: Tensor,
    *limits: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """An update of all branches: a_0, p, and the costs by which they are chosen."""
    count, block, size = actions.shape
    # Few and large operations: between the frame and the command each costs its call.
    latents = _predict(model, context, past_actions, actions)
    slopes = model.cost_gradient(latents, targets).reshape(count, -1, 1)
    start = (actions + beyond).view(count, -1, 1)
    moved = torch.baddbmm(start, gains, slopes, alpha=-1).view(count, 1, block, size)
    moved = ActionLimits(*limits).project(moved, previous_action).squeeze(1)
    change, seen = (moved - actions).view(count, 1, -1), latents.reshape(count, 1, -1)
    latents = torch.baddbmm(seen, change, jacobians).view(latents.shape)
    return moved, latents, model.cost(latents, targets) + costs


def _predict(
    model: WorldModel, context: Tensor, past_actions: Tensor, actions: Tensor
) -> Tensor:
    """F from the present with these blocks, ``[M, k, A]`` to ``[M, *latent]``."""
    blocks = actions.unsqueeze(1)
    if len(past_actions):
        past = past_actions.expand(len(actions), *past_actions.shape)
        blocks = torch.cat((past, blocks), dim=1)
    return model.predict(context.expand(len(actions), *context.shape), blocks)
