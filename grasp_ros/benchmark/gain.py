# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A linear feedback gain at t = 0, as differential dynamic programming would give: a control.

In preparation the model is linearised about the prepared first step, and the gain that keeps the
prepared s_1 in first order is

    K = -(J_a^T W J_a + lambda tr(J_a^T W J_a) / n)^-1 J_a^T W J_s

with W the metric of the model's cost. After the frame one multiplication gives the correction,
a_0 + K (s_0 - predicted s_0), with no predictor call at all.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from grasp_ros.control.controller import Controller
from grasp_ros.planners.base import Plan, Problem
from grasp_ros.planners.feedback import DAMPING, DIFFERENCE
from grasp_ros.world_models.base import WorldModel


@dataclass(frozen=True)
class LinearFeedback:
    """Takes the place of :class:`~grasp_ros.planners.feedback.Feedback`.

    :param plan: made from a predicted s_0
    :param gain: K, ``[k A, D]``, D the entries of a latent
    :param expected: the predicted s_0, ``[*latent]``
    """

    plan: Plan
    gain: Tensor
    expected: Tensor

    @classmethod
    @torch.no_grad()
    def prepare(cls, model: WorldModel, plan: Plan, problem: Problem) -> LinearFeedback:
        """Linearise by differences: one predictor call with k A + D more rows."""
        context, action = problem.context, plan.actions[0]
        latent = context[-1]
        inputs, states = action.numel(), latent.numel()
        rows = 1 + inputs + states
        # Towards the middle of the range, so that no row asks for an action that cannot be.
        step = DIFFERENCE * problem.limits.half_range * torch.where(
            action > (problem.limits.low + problem.limits.high) / 2, -1.0, 1.0
        )
        action_step = step.flatten()[:, None]
        state_step = DIFFERENCE * model.card.latent_scale
        contexts = context.repeat(rows, *(1 for _ in context.shape))
        contexts[1 + inputs :, -1] += state_step * torch.eye(states).view(states, *latent.shape)
        actions = action.repeat(rows, 1, 1)
        actions[1 : 1 + inputs] += torch.diag(step.flatten()).view(inputs, *action.shape)
        past = problem.past_actions.expand(rows, *problem.past_actions.shape)
        latents = model.predict(contexts, torch.cat((past, actions.unsqueeze(1)), dim=1))
        metric = model.cost_gradient(latents.clone(), latents[0]).flatten(1)
        latents = latents.flatten(1)
        by_action = (latents[1 : 1 + inputs] - latents[:1]) / action_step
        matrix = by_action @ (metric[1 : 1 + inputs] / action_step).mT
        matrix += (DAMPING * matrix.diagonal().mean() + 1e-12) * torch.eye(inputs)
        by_state = metric[1 + inputs :] / state_step  # W J_s, transposed
        gain = -torch.linalg.solve(matrix, by_action @ by_state.mT)
        return cls(plan, gain, latent)

    @torch.no_grad()
    def correct(self, model: WorldModel, problem: Problem, *, updates: int) -> Plan:
        """The plan with ``a_0 + K (s_0 - predicted s_0)``; neither model nor updates are used."""
        del model, updates
        gap = (problem.context[-1] - self.expected).flatten()
        first = self.plan.actions[:1]
        first = problem.limits.project(
            (first + (self.gain @ gap).view(first.shape)).unsqueeze(0), problem.previous_action
        )[0]
        return replace(self.plan, actions=torch.cat((first, self.plan.actions[1:])))


class GainController(Controller):
    """:class:`Controller` in schedule ``ahead`` whose feedback is a linear gain."""

    def prepare(self, **limits: Any) -> None:
        """As in the base class; then the gain takes the feedback's place."""
        before = self._prepared
        super().prepare(**limits)
        prepared = self._prepared
        if prepared is not None and prepared is not before:
            linear = LinearFeedback.prepare(self.model, prepared.plan, prepared.problem)
            self._prepared = replace(prepared, feedback=linear)
