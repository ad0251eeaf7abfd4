# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A plan for a frame that is still to come."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from grasp_ros.planners.base import ActionLimits, Plan, Planner, Problem
from grasp_ros.planners.feedback import Feedback
from grasp_ros.world_models.base import WorldModel


@dataclass(frozen=True)
class Preparation:
    """A plan made ahead, and what must still be the same when its frame is there.

    :param step: control step at which its first action is to take effect
    :param problem: that was solved, with the predicted s_0
    :param planner: that solved it
    :param plan: what came out
    :param feedback: the same, ready to be corrected; None where it is sent as it is
    :param shift_steps: control steps that its warm start was moved by
    :param duration_sec: time that it took
    """

    step: float
    problem: Problem
    planner: Planner
    plan: Plan
    feedback: Feedback | None
    shift_steps: int
    duration_sec: float

    def fits(self, *, step: float, planner: Planner, goal: Tensor, limits: ActionLimits) -> bool:
        """Whether it was made for this step, this goal, these limits, and by this planner."""
        return (
            self.step == step
            and self.planner is planner
            and self.problem.goal is goal
            and self.problem.limits is limits
        )


@torch.no_grad()
def problem_ahead(model: WorldModel, problem: Problem, sent: Tensor) -> Problem:
    """The problem some model steps later, from the latents that the model predicts until then.

    :param problem: of this model step
    :param sent: the blocks that are applied from it on, ``[J, k, A]``
    :return: the same but for the latents, and the blocks that led to them
    """
    blocks = torch.cat((problem.past_actions, sent))
    predicted = model.rollout(problem.context.unsqueeze(0), blocks.unsqueeze(0))[0]
    context, later = torch.cat((problem.context, predicted)), len(sent)
    return replace(problem, context=context[later:], past_actions=blocks[later:])
