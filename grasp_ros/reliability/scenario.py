# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What a fault scenario is, and how one is run: data, a function, a verdict."""

from __future__ import annotations

import math
import time
import traceback
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
    :param robot: which one it needs, a name out of :mod:`grasp_ros.reliability.bench`
    :param once: whether there is nothing to be learnt from more than one run
    :param run: does it; raises :class:`PromiseBroken`
    """

    row: int
    name: str
    fault: str
    promise: str
    measured: str
    bound_sec: float
    robot: str
    once: bool
    run: Callable[[Any], Reaction]


@dataclass(frozen=True)
class Outcome:
    """One run of a scenario.

    :param held: whether the promise was kept
    :param late: whether only the bound was not: all the rest was as promised
    :param reaction_sec: NaN when it was not seen
    :param commands: how many commands of the gate were checked meanwhile
    :param seen: where the reaction was visible
    :param problem: what went wrong, empty when nothing did
    :param wall_sec: how long the run took
    """

    held: bool
    late: bool = False
    reaction_sec: float = math.nan
    commands: int = 0
    seen: tuple[str, ...] = field(default=())
    problem: str = ''
    wall_sec: float = 0.0


def scenario(
    row: int, *, fault: str, promise: str, measured: str, bound_sec: float, robot: str,
    once: bool = False,
) -> Callable:
    """Register a function as a :class:`Scenario` of its own name."""

    def register(run: Callable[[Any], Reaction]) -> Callable[[Any], Reaction]:
        SCENARIOS[run.__name__] = Scenario(
            row, run.__name__, fault, promise, measured, bound_sec, robot, once, run
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
    except Exception as error:  # a slip in a scenario does not end an hour of runs
        bench.discard()  # whatever state it is in, the next scenario must not begin there
        problem = str(error) if isinstance(error, GraspError) else traceback.format_exc()
        return Outcome(False, problem=problem, wall_sec=time.monotonic() - started_sec)
    held = reaction.seconds <= chosen.bound_sec
    problem = f'reaction after {reaction.seconds:.3f} s, the bound is {chosen.bound_sec:g} s'
    return Outcome(
        held,
        late=not held,
        reaction_sec=reaction.seconds,
        commands=commands,
        seen=reaction.seen,
        problem='' if held else problem,
        wall_sec=time.monotonic() - started_sec,
    )
