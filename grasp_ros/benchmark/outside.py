# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Planners of other packages, behind this package's protocol; they take part if installed.

``pytorch_mppi``: model predictive path integral control by ``pytorch-mppi``, the extra ``bench``.
It gets what the other planners get: the warm start, standing still among its samples, the same
cost, and as many updates as the deadline allows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from grasp_ros.errors import ConfigError
from grasp_ros.planners import registry
from grasp_ros.planners.base import Deadline, Plan, Planner, Problem, WarmStart, require
from grasp_ros.planners.rollout import plan_cost
from grasp_ros.planners.solver import Searcher
from grasp_ros.world_models.base import WorldModel


@dataclass(frozen=True)
class PytorchMppiConfig:
    """Settings of :class:`PytorchMppi`.

    :param horizon: T, model steps that are planned
    :param iterations: updates in one solve
    :param samples: action sequences in one update
    :param noise_scale: standard deviation of the samples, in units of half the action range
    :param temperature: its lambda, in units of the cost
    :param running_weight: weight of the running term in the cost of a plan
    :param seed: of the samples
    :raises ConfigError: when a value is out of range
    """

    horizon: int = 20
    iterations: int = 3
    samples: int = 64
    noise_scale: float = 0.5
    temperature: float = 0.01
    running_weight: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        require(
            self,
            at_least={'horizon': 1, 'iterations': 1, 'samples': 2},
            finite=('noise_scale', 'temperature', 'running_weight'),
        )
        if self.temperature == 0 or self.noise_scale == 0:
            raise ConfigError('temperature and noise_scale must be positive')


class PytorchMppi(Searcher):
    """The planner of :class:`PytorchMppiConfig` on one world model with one latent of history.

    :raises ConfigError: for a model with a longer history
    """

    name = 'pytorch_mppi'

    def __init__(self, model: WorldModel, config: PytorchMppiConfig) -> None:
        if model.card.history > 1:
            raise ConfigError('pytorch_mppi knows no models with a history')
        super().__init__(model, config)
        self._mppi = import_module('pytorch_mppi').MPPI

    @torch.no_grad()
    def solve(
        self, problem: Problem, warm_start: WarmStart | None, deadline: Deadline
    ) -> Plan:
        """Update the shifted plan; the answer is the last mean.

        :raises SolveError: when it is not finite
        """
        config, model, limits = self.config, self.model, problem.limits
        block, size, shape = model.card.action_block, len(limits.low), problem.goal.shape
        still = problem.still(config.horizon, block)
        first = still if warm_start is None else warm_start.actions

        def dynamics(state: Tensor, action: Tensor) -> Tensor:
            context = state.view(-1, 1, *shape)
            return model.predict(context, action.view(-1, 1, block, size)).flatten(1)

        def terminal_cost(states: Tensor, actions: Tensor) -> Tensor:
            latents = states[0].unflatten(-1, shape)
            return plan_cost(model, problem.goal, latents, config.running_weight)

        variance = (config.noise_scale * limits.half_range).square().repeat(block)
        mppi = self._mppi(
            dynamics,
            lambda state, action: state.new_zeros(len(state)),
            nx=problem.goal.numel(),
            noise_sigma=torch.diag(variance),
            num_samples=config.samples,
            horizon=config.horizon,
            device=model.device,
            terminal_state_cost=terminal_cost,
            lambda_=config.temperature,
            u_min=limits.low.repeat(block),
            u_max=limits.high.repeat(block),
            U_init=first.flatten(1).clone(),
            sample_null_action=True,
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed + 1_000_003 * problem.tick)
            for _ in self._pace.iterations(config.iterations, deadline):
                mppi.command(problem.context[-1].flatten(), shift_nominal_trajectory=False)
        mean = mppi.U.view(first.shape)
        return self._answer(problem, warm_start, deadline, mean, None)


OUTSIDE: Mapping[str, tuple[type, type]] = {'pytorch_mppi': (PytorchMppi, PytorchMppiConfig)}


def is_installed(name: str) -> bool:
    """Whether a planner can take part; those of this package always can."""
    return name not in OUTSIDE or find_spec(name) is not None


def configure(name: str, settings: Mapping[str, Any]) -> Any:
    """The whole configuration of a planner of this package or of another one.

    :raises ConfigError: on an unknown name, an unknown setting, or a value out of range
    """
    if name not in OUTSIDE:
        return registry.configure(name, **settings)
    try:
        return OUTSIDE[name][1](**settings)
    except TypeError as error:
        raise ConfigError(f'{name}: {error}') from error


def make_planner(name: str, model: WorldModel, settings: Mapping[str, Any]) -> Planner:
    """A planner of this package or of another one, by name.

    :raises ConfigError: as :func:`configure`
    """
    config = configure(name, settings)
    if name not in OUTSIDE:
        return registry.build(name, model, config)
    return OUTSIDE[name][0](model, config)
