# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The cross-entropy method, the planner that world-model papers use; here as GRASP's first peer.

It is given what makes it strong: a warm-started mean, the shifted and the still plan among its
samples, samples that are correlated over time, and the *mean* of the elites as its answer.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from grasp_ros.errors import ConfigError, SolveError
from grasp_ros.planners.base import Deadline, Plan, Problem, WarmStart, require
from grasp_ros.planners.rollout import plan_cost, rollout
from grasp_ros.planners.sampling import correlated_noise, generator
from grasp_ros.world_models.base import WorldModel


@dataclass(frozen=True)
class CemConfig:
    """Settings of :class:`Cem`; all dimensionless.

    :param horizon: T, model steps that are planned
    :param iterations: refits of the sampling distribution in one solve
    :param samples: action sequences drawn in each iteration
    :param elites: how many of the best the next mean and deviation come from
    :param noise_scale: first standard deviation, in units of half the action range
    :param running_weight: weight of the running term in the cost that ranks plans
    :param seed: of the samples
    :raises ConfigError: when a value is out of range
    """

    horizon: int = 8
    iterations: int = 1
    samples: int = 32
    elites: int = 4
    noise_scale: float = 0.5
    running_weight: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        require(
            self,
            at_least={'horizon': 1, 'iterations': 1, 'elites': 1},
            finite=('noise_scale', 'running_weight'),
        )
        if self.samples < self.elites + 2:
            raise ConfigError(f'samples must be at least elites + 2 = {self.elites + 2}')


class Cem:
    """The planner of :class:`CemConfig` on one world model.

    :param model: the world model F
    :param config: settings
    """

    name = 'cem'

    def __init__(self, model: WorldModel, config: CemConfig) -> None:
        self.model = model
        self.config = config

    @property
    def horizon(self) -> int:
        """T, model steps."""
        return self.config.horizon

    @torch.no_grad()
    def solve(
        self, problem: Problem, warm_start: WarmStart | None, deadline: Deadline
    ) -> Plan:
        """Sample, keep the elites, refit; the answer is the last mean.

        :raises SolveError: when a refit finds fewer finite samples than elites
        """
        config, model, limits = self.config, self.model, problem.limits
        random = generator(model.device, seed=config.seed, tick=problem.tick)
        still = problem.safe_action.expand(config.horizon, model.card.action_block, -1)
        mean = still if warm_start is None else warm_start.actions
        deviation = (config.noise_scale * limits.half_range).expand_as(mean)
        iterations, longest_sec = 0, 0.0
        while iterations < config.iterations:
            started_sec = deadline.now()
            if iterations and not deadline.allows(2 * longest_sec):  # the last rollout is one more
                break
            samples = mean.expand(config.samples, *mean.shape).clone()
            samples[1] = still
            samples[2:] += deviation * correlated_noise(samples[2:], random)
            samples = limits.project(samples, problem.previous_action)
            costs = plan_cost(
                model, problem.goal, rollout(model, problem, samples), config.running_weight
            )
            costs = costs.masked_fill(~torch.isfinite(costs), float('inf'))
            best, index = costs.topk(config.elites, largest=False)
            if not torch.isfinite(best[-1]):
                raise SolveError('fewer finite samples than elites: the model is not finite')
            elites = samples[index]
            mean, deviation = elites.mean(dim=0), elites.std(dim=0, correction=0)
            iterations += 1
            longest_sec = max(longest_sec, deadline.now() - started_sec)
        actions = limits.project(mean.unsqueeze(0), problem.previous_action)
        latents = rollout(model, problem, actions)
        cost = plan_cost(model, problem.goal, latents, config.running_weight)
        if not torch.isfinite(cost[0]):
            raise SolveError('the plan has no finite cost: the model is not finite')
        return Plan(
            actions=actions[0],
            rollout=latents[0],
            cost=float(cost[0]),
            candidate_costs=cost,
            iterate_actions=actions[0],
            iterate_states=latents[0],
            iterations=iterations,
            stopped='iterations' if iterations == config.iterations else 'deadline',
            source='solve',
        )
