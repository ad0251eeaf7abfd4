# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The cross-entropy method, the planner that world-model papers use; here as GRASP's first peer.

It is given what makes it strong: a warm-started mean, the shifted and the still plan among its
samples, samples that are correlated over time, and as its answer the cheapest of the elites' mean
and of all that it has seen. The next solve goes on from the mean in either case.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from grasp_ros.errors import ConfigError
from grasp_ros.planners import search
from grasp_ros.planners.base import Deadline, Plan, Problem, WarmStart, require
from grasp_ros.planners.solver import Searcher


@dataclass(frozen=True)
class CemConfig:
    """Settings of :class:`Cem`; all dimensionless.

    :param horizon: T, model steps that are planned
    :param iterations: refits of the sampling distribution in one solve
    :param samples: action sequences drawn in each iteration
    :param elites: how many of the best the next mean and deviation come from
    :param noise_scale: first standard deviation, in units of half the action range
    :param return_best: 0 = the answer is the last mean; 1 = the cheapest of mean, samples,
        shifted previous plan and standing still
    :param running_weight: weight of the running term in the cost that ranks plans
    :param seed: of the samples
    :raises ConfigError: when a value is out of range
    """

    horizon: int = 30
    iterations: int = 2
    samples: int = 64
    elites: int = 8
    noise_scale: float = 0.5
    return_best: int = 1
    running_weight: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        require(
            self,
            at_least={'horizon': 1, 'iterations': 1, 'elites': 1},
            finite=('noise_scale', 'running_weight'),
        )
        if self.samples < self.elites + 3:  # mean, standing still and the shifted plan are three
            raise ConfigError(f'samples must be at least elites + 3 = {self.elites + 3}')
        if self.return_best not in (0, 1):
            raise ConfigError(f'return_best must be 0 or 1, is {self.return_best}')


class Cem(Searcher):
    """The planner of :class:`CemConfig` on one world model.

    :param model: the world model F
    :param config: settings
    """

    name = 'cem'

    @torch.no_grad()
    def solve(
        self, problem: Problem, warm_start: WarmStart | None, deadline: Deadline
    ) -> Plan:
        """Sample, keep the elites, refit; the answer is the last mean, or the best.

        :raises SolveError: when a refit finds fewer finite samples than elites
        """
        config, model, limits = self.config, self.model, problem.limits
        random = self._random(problem)
        mean, fixed = search.first_mean(
            problem, warm_start, horizon=config.horizon, block=model.card.action_block
        )
        deviation = (config.noise_scale * limits.half_range).expand_as(mean)
        best = search.BestSoFar()
        for _ in self._pace.iterations(config.iterations, deadline):
            samples = search.population(
                problem, mean, fixed, deviation, random, count=config.samples
            )
            costs = search.sample_costs(model, problem, samples, config.running_weight)
            elites = search.best_of(samples, costs, config.elites)
            if config.return_best:
                best.offer(costs, samples)
            mean, deviation = elites.mean(dim=0), elites.std(dim=0, correction=0)
        seen = best if config.return_best else None
        return self._answer(problem, warm_start, deadline, mean, seen)
