# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What GRASP's iteration works on, and the same as a CUDA graph on tensors that stay in place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Self

import torch
from torch import Tensor

from grasp_ros.planners.base import ActionLimits, Problem
from grasp_ros.world_models.captured import Graphs


class Weights(NamedTuple):
    """What changes from one iteration to the next: numbers, or tensors that hold one.

    :param goal: gamma
    :param noise: sigma, in the latent's own unit
    :param rate: eta, with what makes up for moments that started at zero
    """

    goal: float | Tensor
    noise: float | Tensor
    rate: float | Tensor


@dataclass(frozen=True)
class Lifted:
    """The iterates of R restarts, and the problem that they are of.

    :param problem: read
    :param latents: context, lifted states s_1 … s_{T-1}, and s_T = g, ``[R, H + T, *latent]``;
        the states are changed in place
    :param actions: ``[R, T, k, A]``, changed in place
    :param moments: of Adam, as ``actions``; changed in place
    """

    problem: Problem
    latents: Tensor
    actions: Tensor
    moments: tuple[Tensor, Tensor]

    @classmethod
    def begin(cls, problem: Problem, latents: Tensor, actions: Tensor) -> Self:
        """Before the first iteration."""
        return cls(
            problem, latents, actions, (torch.zeros_like(actions), torch.zeros_like(actions))
        )

    @property
    def states(self) -> Tensor:
        """s_1 … s_T, ``[R, T, *latent]``, a view."""
        return self.latents[:, -self.actions.shape[1] :]

    @property
    def shapes(self) -> tuple:
        """Equal where a graph captured on one does for the other."""
        return tuple(tensor.shape for tensor in self._tensors())

    def copy(self) -> Self:
        """The same in tensors of its own."""
        problem, limits = self.problem, self.problem.limits
        most = None if limits.max_change is None else limits.max_change.clone()
        return replace(
            self,
            problem=replace(
                problem,
                context=problem.context.clone(),
                past_actions=problem.past_actions.clone(),
                goal=problem.goal.clone(),
                limits=ActionLimits(limits.low.clone(), limits.high.clone(), most),
                previous_action=problem.previous_action.clone(),
            ),
            latents=self.latents.clone(),
            actions=self.actions.clone(),
            moments=tuple(moment.clone() for moment in self.moments),
        )

    def take(self, other: Self) -> None:
        """Take over all numbers of another of the same shapes."""
        for place, tensor in zip(self._tensors(), other._tensors(), strict=True):
            place.copy_(tensor)

    def _tensors(self) -> tuple[Tensor, ...]:
        problem, limits = self.problem, self.problem.limits
        most = () if limits.max_change is None else (limits.max_change,)
        return (
            self.latents, self.actions, *self.moments, problem.context, problem.past_actions,
            problem.goal, problem.previous_action, limits.low, limits.high, *most,
        )  # fmt: skip


class CapturedIteration:
    """An iteration as one launch on a GPU.

    :param iterate: does one, in place
    :param lifted: whose shapes it is captured for; it is not changed
    :param random: the planner's own source of random numbers, the same in every solve
    :param weights: of all iterations
    :param graphs: of the model
    """

    def __init__(
        self,
        iterate: Callable[[Lifted, Weights, torch.Generator], None],
        lifted: Lifted,
        random: torch.Generator,
        weights: Sequence[Weights],
        graphs: Graphs,
    ) -> None:
        self.lifted = lifted.copy()
        # All of them are there beforehand: to hand one over would wait for what is under way.
        self._weights = lifted.actions.new_tensor(weights)
        self._present = self._weights[0].clone()
        present = Weights(*self._present.unbind())
        self._graph = graphs.capture(
            lambda: iterate(self.lifted, present, random), generator=random
        )

    def replay(self, iteration: int) -> None:
        """One iteration on :attr:`lifted`."""
        self._present.copy_(self._weights[iteration])
        self._graph.replay()
