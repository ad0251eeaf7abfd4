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

from dataclasses import replace

import torch
from torch import Tensor

from grasp_ros.control.controller import Controller, Tick
from grasp_ros.planners.base import Problem
from grasp_ros.planners.feedback import DAMPING, DIFFERENCE


class GainController(Controller):
    """:class:`Controller` in schedule ``ahead`` whose feedback is a linear gain."""

    _gain: Tensor | None = None
    _expected: Tensor | None = None

    def prepare(self, *, budget_sec: float | None = None) -> None:
        """As in the base class; then linearise about the first step."""
        before = self._prepared
        super().prepare(budget_sec=budget_sec)
        if self._prepared is not None and self._prepared is not before:
            self._linearise(self._prepared.problem, self._prepared.plan.actions[0])

    @torch.no_grad()
    def _linearise(self, problem: Problem, action: Tensor) -> None:
        model, context = self.model, problem.context
        block, size = action.shape
        latent = context[-1]
        action_step = (DIFFERENCE * problem.limits.half_range).repeat(block)
        state_step = DIFFERENCE * model.card.latent_scale
        inputs, states = block * size, latent.numel()
        contexts = context.expand(1 + inputs + states, *context.shape).clone()
        contexts[1 + inputs :, -1] += state_step * torch.eye(states).view(states, *latent.shape)
        actions = action.expand(1 + inputs + states, block, size).clone()
        actions[1 : 1 + inputs] += torch.diag(action_step).view(inputs, block, size)
        past = problem.past_actions.expand(len(actions), *problem.past_actions.shape)
        latents = model.predict(contexts, torch.cat((past, actions.unsqueeze(1)), dim=1))
        slopes = model.cost_gradient(latents, latents[:1].expand_as(latents)).flatten(1)
        latents = latents.flatten(1)
        to_action = (latents[1 : 1 + inputs] - latents[:1]) / action_step[:, None]
        weighted = slopes[1 + inputs :] / state_step  # W J_s, transposed
        curvature = to_action @ (slopes[1 : 1 + inputs] / action_step[:, None]).mT
        damping = DAMPING * curvature.diagonal().mean() + 1e-12
        matrix = curvature + damping * torch.eye(inputs)
        self._gain = -torch.linalg.solve(matrix, to_action @ weighted.mT)
        self._expected = latent

    def _feedback(self) -> Tick | None:
        tick = super()._feedback()
        if tick is None or self._gain is None:
            return tick
        plan = tick.plan
        problem = self._problem(self._step)
        gap = (problem.context[-1] - self._expected).flatten()
        first = plan.actions[:1] + (self._gain @ gap).view(plan.actions[:1].shape)
        first = problem.limits.project(first.unsqueeze(0), problem.previous_action)[0]
        plan = replace(plan, actions=torch.cat((first, plan.actions[1:])))
        return self._send(plan, tick.shift_steps, prepare_sec=tick.prepare_sec)
