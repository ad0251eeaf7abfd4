# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The controller with a solver and a model that fail when they are told to.

``python -m grasp_ros.reliability.faulty_controller`` is ``mpc_node`` with one more parameter,
`fault`, which may change at any time. Nothing of it is in the product: the solver is wrapped and
the weights are spoilt in this process alone.
"""

from __future__ import annotations

from grasp_ros.node import spin  # first: where ROS is missing, its error names the cure

# isort: split

import math
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from rclpy.parameter import Parameter

from grasp_ros.node.mpc_node import MpcNode
from grasp_ros.planners import registry
from grasp_ros.planners.base import Plan, Planner

LATE_SEC = 0.07  # longer than the deadline, shorter than the control period
POLL_SEC = 0.005
# Which of the model's weights the faults spoil that are about the model.
WEIGHTS = {'nan_latent': 'encoder', 'nan_prediction': 'predictor'}
SOLVES = ('late', 'stuck', 'raises', 'out_of_memory')


class FaultySolver:
    """Makes the planners of this process fail.

    :param fault: what is wrong at present; none of :data:`SOLVES` for nothing
    """

    def __init__(self) -> None:
        self.fault = ''
        self._build = registry.build

    def install(self) -> None:
        """Wrap every planner that is made from now on."""
        registry.build = self._build_faulty

    def _build_faulty(self, *arguments: Any) -> Planner:
        planner = self._build(*arguments)
        solve = planner.solve
        planner.solve = lambda *problem: self._solve(solve, *problem)
        return planner

    def _solve(self, solve: Callable[..., Plan], *problem: Any) -> Plan:
        if self.fault == 'raises':
            raise RuntimeError('injected: the solver raises')
        if self.fault == 'out_of_memory':
            raise torch.OutOfMemoryError('CUDA out of memory. Injected')
        if self.fault == 'late':
            time.sleep(LATE_SEC)
        while self.fault == 'stuck':
            time.sleep(POLL_SEC)
        return solve(*problem)


class FaultyController(MpcNode):
    """``mpc_node`` with the parameter `fault`: empty, one of :data:`SOLVES` or of
    :data:`WEIGHTS`."""

    def __init__(self) -> None:
        self._solver = FaultySolver()
        self._solver.install()
        self._restore: Callable[[], None] = lambda: None
        super().__init__()
        self.declare_parameter('fault', '')
        self.add_post_set_parameters_callback(self._on_change)

    def _on_change(self, changed: list[Parameter]) -> None:
        for parameter in changed:
            if parameter.name == 'fault':
                self._solver.fault = parameter.value
                self._restore()
                self._restore = lambda: None
                if parameter.value in WEIGHTS:
                    self._restore = spoil(self._controller.model, WEIGHTS[parameter.value])


def spoil(model: torch.nn.Module, part: str) -> Callable[[], None]:
    """Make a bias of a part of a model NaN; gives what undoes it."""
    bias = [
        value for name, value in model.named_parameters()
        if name.startswith(part) and name.endswith('bias')
    ][-1]  # fmt: skip
    before = bias.detach().clone()
    with torch.no_grad():
        bias.fill_(math.nan)

    def restore() -> None:
        with torch.no_grad():
            bias.copy_(before)

    return restore


def main(args: list[str] | None = None) -> int:
    """Run the node until a signal."""
    return spin.run(FaultyController, args)


if __name__ == '__main__':
    sys.exit(main())
