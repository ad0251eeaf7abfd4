# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Model predictive path integral control (Williams et al., ICRA 2017, arXiv 1509.01149).

The answer is the mean of all samples, weighted by ``softmax(-(J - min J) / (lambda std J))``: the
costs are measured in their own standard deviation over the population, so that the temperature
lambda is a pure number and means the same far from the goal and close to it. There is no term for
the size of the actions, as the cost that ranks plans has none.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from grasp_ros.errors import ConfigError, NotFiniteError
from grasp_ros.planners import search
from grasp_ros.planners.base import Deadline, Plan, Problem, WarmStart, require
from grasp_ros.planners.solver import Searcher

_SMALLEST_SPREAD = 1e-12  # of costs; equal costs give equal weights


@dataclass(frozen=True)
class MppiConfig:
    """Settings of :class:`Mppi`; all dimensionless.

    :param horizon: T, model steps that are planned
    :param iterations: updates of the mean in one solve
    :param samples: action sequences drawn in each iteration
    :param noise_scale: standard deviation of the samples, in units of half the action range
    :param noise_decay: factor on it from one iteration to the next, in (0, 1]
    :param temperature: lambda, in standard deviations of the samples' costs
    :param running_weight: weight of the running term in the cost of a plan
    :param seed: of the samples
    :raises ConfigError: when a value is out of range
    """

    horizon: int = 30
    iterations: int = 3
    samples: int = 64
    noise_scale: float = 0.5
    noise_decay: float = 0.5
    temperature: float = 0.05
    running_weight: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        require(
            self,
            at_least={'horizon': 1, 'iterations': 1, 'samples': 4},
            finite=('noise_scale', 'noise_decay', 'temperature', 'running_weight'),
        )
        if not 0 < self.noise_decay <= 1:
            raise ConfigError(f'noise_decay must lie in (0, 1], is {self.noise_decay}')
        if self.temperature == 0:
            raise ConfigError('temperature must be positive')


class Mppi(Searcher):
    """The planner of :class:`MppiConfig` on one world model.

    :param model: the world model F
    :param config: settings
    """

    name = 'mppi'

    @torch.no_grad()
    def solve(
        self, problem: Problem, warm_start: WarmStart | None, deadline: Deadline
    ) -> Plan:
        """Sample, weigh, average; the answer is the last mean.

        :raises NotFiniteError: when no sample has a finite cost
        """
        config, model, limits = self.config, self.model, problem.limits
        random = self._random(problem)
        mean, fixed = search.first_mean(
            problem, warm_start, horizon=config.horizon, block=model.card.action_block
        )
        deviation = config.noise_scale * limits.half_range
        for _ in self._pace.iterations(config.iterations, deadline):
            samples = search.population(
                problem, mean, fixed, deviation, random, count=config.samples
            )
            costs = search.sample_costs(model, problem, samples, config.running_weight)
            mean = torch.tensordot(weights(costs, config.temperature), samples, dims=1)
            deviation = deviation * config.noise_decay
        return self._answer(problem, warm_start, deadline, mean, None)


def weights(costs: Tensor, temperature: float) -> Tensor:
    """``softmax(-(J - min J) / (lambda std J))``; an infinite cost weighs nothing.

    :param costs: ``[N]``
    :return: ``[N]``, adding up to 1
    :raises NotFiniteError: when no cost is finite
    """
    finite = costs[torch.isfinite(costs)]
    if not len(finite):
        raise NotFiniteError('no sample has a finite cost: the model is not finite')
    spread = finite.std(correction=0).clamp_min(_SMALLEST_SPREAD)
    return torch.softmax((finite.min() - costs) / (temperature * spread), dim=0)
