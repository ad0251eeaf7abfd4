# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""GRASP without lifted states: the same one-step gradient, on the actions' own rollout.

The control for what lifting is worth. With s_1 … s_T the rollout of the actions, p_t = F(s_t, a_t)
is s_{t+1}, the first term of GRASP's energy is zero, and an iteration is

    a_t <- a_t - eta Adam( J_a F(s_t, a_t)^T dc(p_t, g) )

with GRASP's stop-gradient: one serial rollout without autograd, and one batched vector-Jacobian
product. GRASP's goal weight is left out, for it would scale the whole gradient, which Adam
ignores. Starts, restarts, ranking and the sync by gradient are those of GRASP; its sync by samples
asks for the gap between lifted states and rollout, and here there is none.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from grasp_ros.planners.adam import adam_step, correction
from grasp_ros.planners.base import Deadline, Plan, Problem, WarmStart, require
from grasp_ros.planners.grasp import GraspConfig
from grasp_ros.planners.rollout import plan_cost, rollout
from grasp_ros.planners.search import BestSoFar
from grasp_ros.planners.solver import Refiner
from grasp_ros.planners.starts import require_starts
from grasp_ros.planners.sync import gradient_sync
from grasp_ros.planners.windows import fold, windows


@dataclass(frozen=True)
class UnliftedConfig:
    """Settings of :class:`Unlifted`, all dimensionless; meanings and defaults are GRASP's.

    :param horizon: T, model steps that are planned
    :param iterations: iterations in one solve
    :param restarts: R, starts that are refined side by side in one batch
    :param action_rate: eta, Adam rate of the actions in units of half the action range
    :param running_weight: weight of the running term in the cost that ranks plans
    :param sync_every: iterations between two syncs; 0 = no sync
    :param sync_steps: gradient steps through the serial rollout in one sync
    :param sync_rate: Adam rate of these steps, in units of half the action range
    :param samples: plans that are drawn in each solve; the cheapest R - 1 are the further restarts
    :param sample_spread: standard deviation of those drawn around the shifted plan, in units of
        half the action range
    :param seed: of the restarts
    :raises ConfigError: when a value is out of range
    """

    horizon: int = GraspConfig.horizon
    iterations: int = GraspConfig.iterations
    restarts: int = GraspConfig.restarts
    action_rate: float = GraspConfig.action_rate
    running_weight: float = GraspConfig.running_weight
    sync_every: int = GraspConfig.sync_every
    sync_steps: int = GraspConfig.sync_steps
    sync_rate: float = GraspConfig.sync_rate
    samples: int = GraspConfig.samples
    sample_spread: float = GraspConfig.sample_spread
    seed: int = GraspConfig.seed

    def __post_init__(self) -> None:
        require_starts(self)
        require(
            self,
            at_least={
                'horizon': 1, 'iterations': 1, 'sync_every': 0, 'sync_steps': 1,
            },
            finite=('action_rate', 'running_weight', 'sync_rate'),
        )


class Unlifted(Refiner):
    """The planner of :class:`UnliftedConfig` on one world model.

    :param model: the world model F
    :param config: settings
    """

    name = 'unlifted'

    @torch.no_grad()
    def solve(
        self, problem: Problem, warm_start: WarmStart | None, deadline: Deadline
    ) -> Plan:
        """Refine the warm start, or standing still; the answer is the best on the way.

        :raises SolveError: when no candidate has a finite cost
        """
        config = self.config
        start = self._starts(problem, warm_start, self._random(problem))
        actions = start.actions
        moments = (torch.zeros_like(actions), torch.zeros_like(actions))
        rate = config.action_rate * problem.limits.half_range
        best = BestSoFar()
        for iteration in self._pace.iterations(config.iterations, deadline):
            costs, gradient = self._one_step_gradient(problem, actions)
            best.offer(costs, actions)
            adam_step(actions, gradient, moments, correction(iteration) * rate)
            actions = problem.limits.project(actions, problem.previous_action)
            if config.sync_every and (iteration + 1) % config.sync_every == 0:
                sync = partial(self._sync, problem, actions)
                actions = self._pace.aside(deadline, sync, otherwise=actions)
        earlier = [*best.actions, *start.best_sample]
        return self._best(problem, warm_start, deadline, actions, None, earlier)

    def _one_step_gradient(self, problem: Problem, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Rollout costs ``[R]``, and J_a F(s_t, a_t)^T dc(p_t, g), ``[R, T, k, A]``."""
        model = self.model
        restarts, horizon = actions.shape[:2]
        states = rollout(model, problem, actions)
        context = problem.context.expand(restarts, *problem.context.shape)
        latents = torch.cat((context, states), dim=1)
        predicted, pullback = model.predict_with_vjp(*windows(problem, latents, actions))
        gradient = pullback(model.cost_gradient(predicted, problem.goal))
        costs = plan_cost(model, problem.goal, states, self.config.running_weight)
        return costs, fold(gradient, restarts, horizon)

    def _sync(self, problem: Problem, actions: Tensor) -> Tensor:
        config = self.config
        return gradient_sync(
            self.model, problem, actions, steps=config.sync_steps, rate=config.sync_rate,
            running_weight=config.running_weight,
        )  # fmt: skip
