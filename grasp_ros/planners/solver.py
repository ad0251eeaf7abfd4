# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What the planners' classes share: settings on a model, a pace, and how a solve ends."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from grasp_ros.planners import search
from grasp_ros.planners.base import Deadline, Plan, Problem, WarmStart
from grasp_ros.planners.pace import Pace
from grasp_ros.planners.rollout import best_plan
from grasp_ros.planners.sampling import restart
from grasp_ros.planners.starts import Starts, starts
from grasp_ros.world_models.base import WorldModel


class Solver:
    """A planner's settings on one world model.

    :param model: the world model F
    :param config: the planner's settings
    """

    def __init__(self, model: WorldModel, config: Any) -> None:
        self.model = model
        self.config = config
        self._pace = Pace(model.device)
        self._source = torch.Generator()

    @property
    def horizon(self) -> int:
        """T, model steps."""
        return self.config.horizon

    def _close(self, deadline: Deadline, answer: Callable[[], Plan]) -> Plan:
        """The end of a solve, timed, but for one in which something was captured."""
        graphs = self.model.graphs
        before = 0 if graphs is None else len(graphs)
        plan = self._pace.close(deadline, answer)
        if graphs is not None and len(graphs) > before:
            self._pace.forget_close()
        return plan

    def _random(self, problem: Problem) -> torch.Generator:
        return restart(self._source, seed=self.config.seed, tick=problem.tick)


class Refiner(Solver):
    """Refines R plans side by side, from starts and with a ranking that all such planners share.

    Its settings have ``restarts``, ``samples``, ``sample_spread`` and ``running_weight``.
    """

    def _starts(
        self,
        problem: Problem,
        warm_start: WarmStart | None,
        random: torch.Generator,
        *,
        line_noise: float = 0.0,
    ) -> Starts:
        config = self.config
        return starts(
            self.model, problem, warm_start, random,
            restarts=config.restarts, samples=config.samples, horizon=config.horizon,
            spread=config.sample_spread, running_weight=config.running_weight,
            line_noise=line_noise,
        )  # fmt: skip

    def _best(
        self,
        problem: Problem,
        warm_start: WarmStart | None,
        deadline: Deadline,
        actions: Tensor,
        states: Tensor | None,
        earlier: Sequence[Tensor],
    ) -> Plan:
        """The end of a solve: :func:`~grasp_ros.planners.rollout.best_plan`, timed."""
        plan = self._close(
            deadline,
            lambda: best_plan(
                self.model, problem, actions, states, warm_start, earlier=list(earlier),
                running_weight=self.config.running_weight, iterations=self._pace.done,
                stopped=self._pace.stopped,
            ),
        )  # fmt: skip
        return replace(plan, syncs=self._pace.syncs)


class Searcher(Solver):
    """Moves the mean of a distribution of plans. Its settings have ``running_weight``."""

    def _answer(
        self,
        problem: Problem,
        warm_start: WarmStart | None,
        deadline: Deadline,
        mean: Tensor,
        best: search.BestSoFar | None,
    ) -> Plan:
        """The end of a solve: :func:`~grasp_ros.planners.search.answer`, timed."""
        return self._close(
            deadline,
            lambda: search.answer(
                self.model, problem, warm_start, mean, best,
                running_weight=self.config.running_weight, iterations=self._pace.done,
                stopped=self._pace.stopped,
            ),
        )  # fmt: skip
