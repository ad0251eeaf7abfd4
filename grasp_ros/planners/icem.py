# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""iCEM, the sample-efficient cross-entropy method for real-time planning (arXiv 2008.06389).

What it adds to :mod:`grasp_ros.planners.cem`: samples with coloured noise, whose power falls with
the frequency to the power beta; elites that live on into the next iteration; a population that
shrinks from iteration to iteration; the mean itself among the last population.

The paper also hands a share of the elites on to the next control step. A planner here is a pure
function of what it is handed, so the one sequence that lives on from tick to tick beside the mean
is the shifted previous plan.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from grasp_ros.errors import ConfigError
from grasp_ros.planners import search
from grasp_ros.planners.base import Deadline, Plan, Problem, WarmStart, require
from grasp_ros.planners.solver import Searcher


@dataclass(frozen=True)
class IcemConfig:
    """Settings of :class:`Icem`; all dimensionless.

    :param horizon: T, model steps that are planned
    :param iterations: refits of the sampling distribution in one solve
    :param samples: action sequences drawn in the first iteration
    :param elites: how many of the best the next mean and deviation come from
    :param noise_scale: first standard deviation, in units of half the action range
    :param noise_exponent: beta, the power of the noise falls with frequency^-beta; 0 = white
    :param keep_fraction: share of the elites that live on into the next iteration, in [0, 1]
    :param decay: by which the population shrinks in every iteration, to 2 ``elites`` at least;
        1 = not at all
    :param momentum: share of the old mean and deviation in a refit, in [0, 1)
    :param return_best: 0 = the answer is the last mean; 1 = the cheapest of mean, samples,
        shifted previous plan and standing still
    :param running_weight: weight of the running term in the cost that ranks plans
    :param seed: of the samples
    :raises ConfigError: when a value is out of range
    """

    horizon: int = 30
    iterations: int = 2
    samples: int = 64
    elites: int = 10
    noise_scale: float = 0.5
    noise_exponent: float = 2.0
    keep_fraction: float = 0.3
    decay: float = 1.25
    momentum: float = 0.1
    return_best: int = 1
    running_weight: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        require(
            self,
            at_least={'horizon': 1, 'iterations': 1, 'elites': 1, 'decay': 1},
            finite=(
                'noise_scale', 'noise_exponent', 'keep_fraction', 'decay', 'momentum',
                'running_weight',
            ),
        )
        if self.samples < self.elites:
            raise ConfigError(f'samples must be at least elites = {self.elites}')
        if self.keep_fraction > 1:
            raise ConfigError(f'keep_fraction must lie in [0, 1], is {self.keep_fraction}')
        if self.momentum >= 1:
            raise ConfigError(f'momentum must lie in [0, 1), is {self.momentum}')
        if self.return_best not in (0, 1):
            raise ConfigError(f'return_best must be 0 or 1, is {self.return_best}')

    def population(self, iteration: int) -> int:
        """Sequences that are drawn in an iteration, counted from 0."""
        return max(int(self.samples * self.decay**-iteration), 2 * self.elites)


class Icem(Searcher):
    """The planner of :class:`IcemConfig` on one world model.

    :param model: the world model F
    :param config: settings
    """

    name = 'icem'

    @torch.no_grad()
    def solve(
        self, problem: Problem, warm_start: WarmStart | None, deadline: Deadline
    ) -> Plan:
        """Sample in colour, keep elites, refit; the answer is the best, or the last mean.

        :raises SolveError: when a refit finds fewer finite samples than elites
        """
        config, model, limits = self.config, self.model, problem.limits
        random = self._random(problem)
        mean, kept = search.first_mean(
            problem, warm_start, horizon=config.horizon, block=model.card.action_block
        )
        deviation = (config.noise_scale * limits.half_range).expand_as(mean)
        best = search.BestSoFar()
        for iteration in self._pace.iterations(config.iterations, deadline):
            shape = (config.population(iteration), *mean.shape)
            noise = coloured_noise(shape, random, exponent=config.noise_exponent)
            parts = [mean + deviation * noise.to(mean), kept]
            if iteration == config.iterations - 1:
                parts.append(mean.unsqueeze(0))
            samples = limits.project(torch.cat(parts), problem.previous_action)
            costs = search.sample_costs(model, problem, samples, config.running_weight)
            elites = search.best_of(samples, costs, config.elites)
            if config.return_best:
                best.offer(costs, samples)
            mean = elites.mean(dim=0).lerp(mean, config.momentum)
            deviation = elites.std(dim=0, correction=0).lerp(deviation, config.momentum)
            kept = elites[: math.ceil(config.keep_fraction * config.elites)]
        seen = best if config.return_best else None
        return self._answer(problem, warm_start, deadline, mean, seen)


def coloured_noise(
    shape: tuple[int, ...], random: torch.Generator, *, exponent: float
) -> Tensor:
    """Noise of unit variance whose power spectrum falls with frequency^-exponent.

    Timmer and König, "On generating power law noise", 1995: normal Fourier coefficients, scaled,
    and transformed back. The mean over time gets the power of the lowest frequency, as in iCEM.

    :param shape: ``(N, T, k, A)``; time runs over T and k
    :return: of that shape
    """
    count, horizon, block, size = shape
    length = horizon * block
    frequency = torch.fft.rfftfreq(length).clamp_min(1 / length)
    scale = frequency ** (-exponent / 2)
    # A real signal has real coefficients at frequency 0 and, for an even length, at the highest;
    # the power that others have in two parts stands in one there.
    has_phase = torch.ones_like(scale)
    has_phase[0] = 0
    if length % 2 == 0:
        has_phase[-1] = 0
    real, imaginary = torch.randn((2, count, size, len(scale)), generator=random)
    real = real * (2 - has_phase).sqrt()
    variance = (scale.square() * (2 + 2 * has_phase)).sum() / length**2
    spectrum = torch.complex(real, imaginary * has_phase) * scale
    signal = torch.fft.irfft(spectrum, n=length) / variance.sqrt()
    return signal.transpose(1, 2).reshape(shape)
