# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The contract of a planner: a problem, a warm start and a deadline in, a plan out.

Symbols as in :mod:`grasp_ros.world_models.base`; T is the horizon in model steps, R the number
of restarts. A planner is a pure function of what it is handed: the warm start is data, and the
random numbers depend on ``(config.seed, problem.tick)`` alone, so that a solve can be replayed.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from grasp_ros.errors import ConfigError


@dataclass(frozen=True)
class ActionLimits:
    """What a command may be; the planner keeps it inside its loop, the gate checks it again.

    :param low: ``[A]``, smallest values, in the card's units
    :param high: ``[A]``, largest values
    :param max_change: ``[A]``, largest change from one control step to the next, or None
    """

    low: Tensor
    high: Tensor
    max_change: Tensor | None = None

    @property
    def half_range(self) -> Tensor:
        """``[A]``: the unit in which planners measure steps and noise of actions."""
        return (self.high - self.low) / 2

    @property
    def tensors(self) -> tuple[Tensor, Tensor, Tensor | None]:
        """What limits are made of, to be made of it again."""
        return self.low, self.high, self.max_change

    @cached_property
    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """``low`` and ``high`` on the host, float64 ``[A]``; asked for in every tick."""
        return self.low.double().cpu().numpy(), self.high.double().cpu().numpy()

    @cached_property
    def _most(self) -> np.ndarray | float:
        return np.inf if self.max_change is None else self.max_change.double().cpu().numpy()

    def keep(self, action: np.ndarray, previous: np.ndarray) -> np.ndarray:
        """The nearest command to one of them that keeps bounds and rate limit, on the host.

        Where both cannot be kept, because the bounds have become narrower, the bounds are.

        :param action: ``[A]``, finite
        :param previous: ``[A]``, the last command sent
        :return: float64 ``[A]``
        """
        low, high = self.bounds
        near = np.minimum(np.maximum(action, previous - self._most), previous + self._most)
        return np.minimum(np.maximum(near, low), high)

    def reach(self, previous_action: Tensor, steps: int) -> tuple[Tensor, Tensor]:
        """The smallest and the largest commands that can follow one: bounds and rate limit.

        Where both cannot be kept, because the bounds have become narrower, the bounds are.

        :param previous_action: ``[A]``, the last command sent
        :param steps: control steps from then on
        :return: ``[steps, A]`` each
        """
        low, high = self.low.expand(steps, -1), self.high.expand(steps, -1)
        if self.max_change is None:
            return low, high
        after = torch.arange(1, steps + 1, device=low.device, dtype=previous_action.dtype)
        cone = after[:, None] * self.max_change
        first, last = previous_action - cone, previous_action + cone
        return torch.clamp(first, low, high), torch.clamp(last, low, high)

    def project(self, actions: Tensor, previous_action: Tensor) -> Tensor:
        """Nearest-by-entry sequences that keep bounds and rate limit.

        The rate limit uses that the smallest and the largest d-Lipschitz functions around a
        sequence, ``min_s(a_s + d|t-s|)`` and ``max_s(a_s - d|t-s|)``, are d-Lipschitz, that so is
        their mean, and that clamping to :meth:`reach` keeps it. Clamped before as well, so that an
        entry far outside does not carry its neighbours along.

        :param actions: ``[N, T, k, A]``
        :param previous_action: ``[A]``, the last command sent
        :return: ``[N, T, k, A]``
        """
        if self.max_change is None:
            return torch.clamp(actions, self.low, self.high)
        low, high = self.reach(previous_action, actions.shape[1] * actions.shape[2])
        flat = torch.clamp(actions.flatten(1, 2), low, high)
        if flat.shape[1] == 1:  # as in feedback: there are no neighbours
            return flat.reshape(actions.shape)
        steps = torch.arange(flat.shape[1], device=flat.device, dtype=flat.dtype)
        # No more than the whole range, or what is added and taken away again costs the digits.
        slope = steps[:, None] * torch.minimum(self.max_change, self.high - self.low)
        lower, upper = _smallest(flat, slope), -_smallest(-flat, slope)
        return torch.clamp((lower + upper) / 2, low, high).reshape(actions.shape)


def _smallest(values: Tensor, slope: Tensor) -> Tensor:
    """``min_s(a_s + d|t-s|)`` of ``[N, S, A]``, in one pass each way; ``slope`` is d t."""
    before = torch.cummin(values - slope, dim=1).values + slope
    after = torch.cummin((values + slope).flip(1), dim=1).values.flip(1) - slope
    return torch.minimum(before, after)


@dataclass(frozen=True)
class Problem:
    """Where the robot is, where it should go, and what it may do.

    :param context: ``[H, *latent]``, oldest first; the last entry is s_0
    :param past_actions: ``[H - 1, k, A]``, the blocks that led to s_0
    :param goal: ``[*latent]``
    :param limits: bounds and rate limit
    :param previous_action: ``[A]``, the last command sent; the rate limit counts from it
    :param safe_action: ``[A]``, the command that stops the robot (zeros for velocities)
    :param tick: number of the control tick; picks the random numbers of this solve
    :param awaits_frame: whether s_0 is a prediction and its frame will correct the plan, which
        then has to say what it would do beyond active limits
    """

    context: Tensor
    past_actions: Tensor
    goal: Tensor
    limits: ActionLimits
    previous_action: Tensor
    safe_action: Tensor
    tick: int = 0
    awaits_frame: bool = False

    def still(self, horizon: int, block: int) -> Tensor:
        """Standing still all along, ``[T, k, A]``."""
        return self.safe_action.expand(horizon, block, -1)


@dataclass(frozen=True)
class WarmStart:
    """A start for the next solve, already shifted to the present.

    It holds two things that must not be mixed up: where the optimisation goes on, and the plan to
    beat. An iterate that is still worse than standing still becomes good by going on with it;
    replacing it by the plan that was sent instead would start from nothing in every tick.

    :param actions: the iterate's actions, ``[T, k, A]``
    :param states: the iterate's lifted states s_1 … s_T, ``[T, *latent]``; None to redraw them
    :param incumbent: actions of the previous plan, ``[T, k, A]``
    """

    actions: Tensor
    states: Tensor | None
    incumbent: Tensor


@dataclass(frozen=True)
class Branches:
    """The M plans that a solve ranked; :mod:`grasp_ros.planners.feedback` chooses among them anew.

    :param actions: ``[M, T, k, A]``
    :param rollouts: their latents s_1 … s_T, ``[M, T, *latent]``
    :param costs: rollout costs, ``[M]``
    :param running_weight: w of :func:`~grasp_ros.planners.rollout.plan_cost` in these costs
    :param beyond: what each would add to its a_0 were there no limit, ``[M, k, A]``;
        :mod:`grasp_ros.planners.beyond`. Zeros where the problem did not await its frame
    """

    actions: Tensor
    rollouts: Tensor
    costs: Tensor
    running_weight: float
    beyond: Tensor


@dataclass(frozen=True)
class Plan:
    """What a solve gave; the best by rollout cost (:func:`~grasp_ros.planners.rollout.plan_cost`).

    :param actions: ``[T, k, A]`` in the card's units
    :param rollout: predicted latents under ``actions``, ``[T, *latent]``; after a correction by
        the frame those of the prepared plan, but for the first
    :param cost: rollout cost of ``actions``; after a correction that of the prepared plan
    :param iterate_actions: actions of the best iterate, ``[T, k, A]``
    :param iterate_states: its lifted states s_1 … s_T, ``[T, *latent]``
    :param iterations: iterations that were done
    :param stopped: why the solve ended: ``iterations`` or ``deadline``
    :param source: which candidate won the ranking: ``solve``, ``incumbent`` or ``safe_action``
    :param branches: all plans that were ranked, this one among them
    :param syncs: the dear steps among the iterations that there was time for
    """

    actions: Tensor
    rollout: Tensor
    cost: float
    iterate_actions: Tensor
    iterate_states: Tensor
    iterations: int
    stopped: str
    source: str
    branches: Branches
    syncs: int = 0


@dataclass(frozen=True)
class Effort:
    """What a solve did until its time was up, to be done again when it is replayed.

    :param iterations: :attr:`Plan.iterations`
    :param syncs: :attr:`Plan.syncs`
    """

    iterations: int
    syncs: int = 0


class Deadline:
    """A point on a steady clock by which a solve must be over.

    The cost of what is left to do is measured as it is done, so that a solver stops in time
    instead of one iteration late.

    :param expires_sec: value of ``clock()`` at which time is up; None for no limit
    :param clock: a steady clock in seconds
    :param is_wanted: False as soon as nobody wants the result any more
    :param replayed: do as much as this, whatever the clock says
    """

    def __init__(
        self,
        expires_sec: float | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        is_wanted: Callable[[], bool] = lambda: True,
        replayed: Effort | None = None,
    ) -> None:
        self.replayed = replayed
        self._expires_sec = math.inf if expires_sec is None else expires_sec
        self._clock = clock
        self._is_wanted = is_wanted

    @property
    def left_sec(self) -> float:
        """Time until it expires; infinite without a limit."""
        return self._expires_sec - self._clock()

    def allows(self, cost_sec: float = 0.0) -> bool:
        """Whether work that takes ``cost_sec`` still ends in time."""
        return self._clock() + cost_sec < self._expires_sec and self._is_wanted()

    def now(self) -> float:
        """The deadline's clock, seconds."""
        return self._clock()


def require(settings: Any, *, at_least: Mapping[str, int], finite: tuple[str, ...]) -> None:
    """Check the numbers of a planner's settings.

    :param settings: a configuration
    :param at_least: name -> smallest value
    :param finite: names of those that must be finite and not negative
    :raises ConfigError: naming the first that is out of range, or no whole number where it must be
    """
    for field in fields(settings):
        value = getattr(settings, field.name)
        if field.type == 'int' and not isinstance(value, int):
            raise ConfigError(f'{field.name} must be a whole number, is {value}')
    for name, low in at_least.items():
        if getattr(settings, name) < low:
            raise ConfigError(f'{name} must be at least {low}, is {getattr(settings, name)}')
    for name in finite:
        if not 0 <= getattr(settings, name) < math.inf:
            raise ConfigError(f'{name} must be finite and >= 0, is {getattr(settings, name)}')


class Planner(Protocol):
    """Something that finds actions for the model it was made with.

    ``name`` is how parameters and statistics call it; ``horizon`` is T in model steps.
    """

    name: str

    @property
    def horizon(self) -> int: ...

    def solve(
        self, problem: Problem, warm_start: WarmStart | None, deadline: Deadline
    ) -> Plan:
        """Plan from the present latent to the goal.

        :raises SolveError: when latents, costs or gradients are not finite
        """
