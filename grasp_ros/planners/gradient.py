# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Gradient shooting: Adam on the actions, through the serial rollout, on the cost that ranks.

The plain way to plan with a differentiable model, and the one that GRASP was made against: its
gradient is exact, a step costs a rollout forwards and one back, and it passes through T Jacobians
of the model. Starts, restarts and ranking are those of GRASP. The rate falls from iteration to
iteration, in a straight line to zero after the last: Adam's steps do not shrink with the gradient,
and at a fixed rate a plan that has arrived jitters by the size of a step.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from grasp_ros.planners.adam import adam_step, correction
from grasp_ros.planners.base import Deadline, Plan, Problem, WarmStart, require
from grasp_ros.planners.descent import rollout_gradient
from grasp_ros.planners.grasp import GraspConfig
from grasp_ros.planners.search import BestSoFar
from grasp_ros.planners.solver import Refiner
from grasp_ros.planners.starts import require_starts


@dataclass(frozen=True)
class GradientConfig:
    """Settings of :class:`Gradient`; all dimensionless.

    :param horizon: T, model steps that are planned
    :param iterations: steps of Adam in one solve
    :param restarts: R, starts that are refined side by side in one batch
    :param action_rate: Adam rate of the first step, in units of half the action range
    :param samples: plans that are drawn in each solve; the cheapest R - 1 are the further restarts
    :param sample_spread: standard deviation of those drawn around the shifted plan, in units of
        half the action range
    :param running_weight: weight of the running term in the cost that is minimised and ranks
    :param seed: of the restarts
    :raises ConfigError: when a value is out of range
    """

    horizon: int = 30
    iterations: int = 10
    restarts: int = GraspConfig.restarts
    action_rate: float = 0.3
    samples: int = GraspConfig.samples
    sample_spread: float = GraspConfig.sample_spread
    running_weight: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        require_starts(self)
        require(
            self,
            at_least={'horizon': 1, 'iterations': 1},
            finite=('action_rate', 'running_weight'),
        )


class Gradient(Refiner):
    """The planner of :class:`GradientConfig` on one world model.

    :param model: the world model F
    :param config: settings
    """

    name = 'gradient'

    @torch.no_grad()
    def solve(
        self, problem: Problem, warm_start: WarmStart | None, deadline: Deadline
    ) -> Plan:
        """Descend from the warm start, or from standing still; the answer is the best on the way.

        :raises SolveError: when no candidate has a finite cost
        """
        config, model = self.config, self.model
        start = self._starts(problem, warm_start, self._random(problem))
        actions = start.actions
        moments = (torch.zeros_like(actions), torch.zeros_like(actions))
        rate = config.action_rate * problem.limits.half_range
        best = BestSoFar()
        for iteration in self._pace.iterations(config.iterations, deadline):
            costs, gradient = rollout_gradient(model, problem, actions, config.running_weight)
            best.offer(costs, actions)
            left = 1 - iteration / config.iterations
            adam_step(actions, gradient, moments, correction(iteration) * left * rate)
            actions = problem.limits.project(actions, problem.previous_action)
        earlier = [*best.actions, *start.best_sample]
        return self._best(problem, warm_start, deadline, actions, None, earlier)
