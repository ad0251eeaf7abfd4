# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What a fault scenario is, and how one is run: data, a function, a verdict."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from grasp_ros.errors import GraspError

SCENARIOS: dict[str, Scenario] = {}


class PromiseBroken(GraspError):
    """The product did not do under a fault what it promises."""

    code = 801


@dataclass(frozen=True)
class Reaction:
    """What a scenario saw.

    :param seconds: from the fault to the reaction
    :param seen: where it was visible: ``status …``, ``gate …``, ``log …``, ``result …``
    """

    seconds: float
    seen: tuple[str, ...]


@dataclass(frozen=True)
class Scenario:
    """One fault and what is promised for it.

    :param row: of the fault table
    :param name: for the command and the tests
    :param fault: what is done to the running nodes
    :param promise: what they do then
    :param measured: from what to what the reaction is measured
    :param bound_sec: largest reaction that keeps the promise
    :param robot: which bench it needs, a name out of :mod:`grasp_ros.reliability.bench`
    :param run: does it; raises :class:`PromiseBroken`
    """

    row: int
    name: str
    fault: str
    promise: str
    measured: str
    bound_sec: float
    robot: str
    run: Callable[[Any], Reaction]


@dataclass(frozen=True)
class Outcome:
    """One run of a scenario.

    :param held: whether the promise was kept
    :param reaction_sec: NaN when it was not seen
    :param commands: how many commands of the gate were checked meanwhile
    :param seen: where the reaction was visible
    :param problem: what went wrong, empty when nothing did
    :param wall_sec: how long the run took
    """

    held: bool
    reaction_sec: float = math.nan
    commands: int = 0
    seen: tuple[str, ...] = field(default=())
    problem: str = ''
    wall_sec: float = 0.0


def scenario(
    row: int, *, fault: str, promise: str, measured: str, bound_sec: float, robot: str
) -> Callable:
    """Register a function as a :class:`Scenario` of its own name."""

    def register(run: Callable[[Any], Reaction]) -> Callable[[Any], Reaction]:
        SCENARIOS[run.__name__] = Scenario(
            row, run.__name__, fault, promise, measured, bound_sec, robot, run
        )
        return run

    return register


def require(kept: bool, what: str) -> None:
    """Part of a promise.

    :raises PromiseBroken: when it was not kept
    """
    if not kept:
        raise PromiseBroken(what)


def run_once(chosen: Scenario, bench: Any) -> Outcome:
    """Run a scenario on a bench and judge it, with all that the gate sent meanwhile."""
    started_sec = time.monotonic()
    try:
        robot = bench.robot(chosen.robot)
        reaction = chosen.run(robot)
        commands, faults = robot.verdict()
        if faults:
            raise PromiseBroken(f'{len(faults)} of {commands} commands: ' + '; '.join(faults[:5]))
        if not reaction.seconds <= chosen.bound_sec:
            raise PromiseBroken(
                f'reaction after {reaction.seconds:.3f} s, the bound is {chosen.bound_sec} s'
            )
    except GraspError as error:
        bench.discard()  # whatever state it is in, the next scenario must not begin there
        return Outcome(False, problem=str(error), wall_sec=time.monotonic() - started_sec)
    return Outcome(
        True,
        reaction_sec=reaction.seconds,
        commands=commands,
        seen=reaction.seen,
        wall_sec=time.monotonic() - started_sec,
    )
