# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The health of the controller's parts, judged from its frames and ticks. No ROS in here."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, replace

from grasp_ros.control.tick import COLD, TickStatus
from grasp_ros.control.warm_start import Drop
from grasp_ros.node.health import PARTS, CameraHealth, Health, Held, Level
from grasp_ros.node.sensors import Sensors
from grasp_ros.node.worker import Arrival, TickReport
from grasp_ros.world_models.base import ModelCard

WINDOW_TICKS = 100  # that misses and cold starts are counted in
WARN_MISSES, ERROR_MISSES = 2, 10  # among those ticks
WARN_LOST = 5  # warm starts lost among those ticks, but for the reasons that are expected
HUNG_SEC, HUNG_TICKS = 1.0, 5  # without a tick, the longer of the two
# Any other is a stop that nobody has asked for.
_LEVELS = {
    TickStatus.SOLVED: Level.OK,
    TickStatus.IN_BLOCK: Level.OK,
    TickStatus.NO_GOAL: Level.OK,
    TickStatus.CLOCK_STANDS: Level.WARN,
    TickStatus.PREVIOUS_PLAN: Level.WARN,
}
_EXPECTED = (None, Drop.GOAL, Drop.RESET, Drop.CLEARED)


@dataclass(frozen=True)
class _Past:
    """What is kept of a tick; plans are too large to keep a hundred of."""

    missed: bool
    skipped: int
    solved: bool
    cold: bool
    dropped: Drop | None
    busy_sec: float


class ControllerHealth:
    """Camera, solver, deadline and warm start, from one activation of the node to its end.

    :param card: of the model
    :param sensors: that decide what is a frame
    """

    def __init__(self, card: ModelCard, sensors: Sensors) -> None:
        self._period_sec = card.control_period_sec
        self._sensors = sensors
        self._lock = threading.Lock()  # frames, ticks and the judge have a thread each
        self._ticked_sec = time.monotonic()
        self._frames = CameraHealth(1.0 / self._period_sec, now_sec=self._ticked_sec)
        self._report: TickReport | None = None
        self._past: deque[_Past] = deque(maxlen=WINDOW_TICKS)
        self._deadline = Level.OK
        self._solver = Held()
        self._solver_health = Health(Level.OK, 'no tick yet')

    def receive(self, arrival: Arrival) -> None:
        """Take note of a frame."""
        with self._lock:
            self._frames.receive(arrival.frame.stamp_sec)

    def send(self, report: TickReport) -> None:
        """Take note of a tick, as a :class:`~grasp_ros.node.worker.Sink`."""
        tick, before, now_sec = report.tick, self._report, time.monotonic()
        text = f'{tick.status.value}: {tick.detail}' if tick.detail else tick.status.value
        health = Health(_LEVELS.get(tick.status, Level.ERROR), text)
        skipped = report.counters.ticks_skipped
        is_solved = tick.status is TickStatus.SOLVED
        past = _Past(
            missed=not tick.deadline_met,
            skipped=skipped - (before.counters.ticks_skipped if before else 0),
            solved=is_solved,
            cold=is_solved and tick.shift_steps == COLD,
            dropped=tick.dropped,
            busy_sec=tick.encode_sec + tick.solve_sec,
        )
        with self._lock:
            self._past.append(past)
            self._report, self._ticked_sec = report, now_sec
            self._solver_health = self._solver.update(health, now_sec)

    def judge(self, *, ros_sec: float, timeout_sec: float) -> Mapping[str, Health]:
        """What to show of each of :data:`~grasp_ros.node.health.PARTS`.

        :param ros_sec: the ROS clock, on which frames are stamped
        :param timeout_sec: age above which a frame is stale
        """
        now_sec = time.monotonic()
        with self._lock:
            camera = self._frames.judge(
                now_sec=now_sec,
                ros_sec=ros_sec,
                timeout_sec=timeout_sec,
                refused=self._sensors.rejected,
                refusal=self._sensors.reason,
            )
            parts = (camera, self._of_solver(now_sec), self._of_deadline(), self._of_warm_start())
        return dict(zip(PARTS, parts, strict=True))

    def _of_solver(self, now_sec: float) -> Health:
        silent_sec = now_sec - self._ticked_sec
        if silent_sec > max(HUNG_SEC, HUNG_TICKS * self._period_sec):
            return Health(
                Level.ERROR,
                f'no tick for {silent_sec:.1f} s: the solver does not return',
                {'silent_sec': silent_sec},
            )
        if self._report is None:
            return self._solver_health
        tick, counters = self._report.tick, self._report.counters
        values = {
            'status': tick.status.name,
            'planner': self._report.settings.planner_name,
            'iterations': tick.iterations,
            'solve_sec': tick.solve_sec,
            'ticks': counters.ticks,
            'solver_failures': counters.solver_failures,
            'silent_sec': silent_sec,
        }
        return replace(self._solver_health, values=values)

    def _of_deadline(self) -> Health:
        missed = sum(past.missed for past in self._past)
        skipped = sum(past.skipped for past in self._past)
        # A level stays until half of what raised it has been forgotten: the count goes to and fro.
        count, level, before = missed + skipped, Level.OK, self._deadline
        for higher, misses in ((Level.WARN, WARN_MISSES), (Level.ERROR, ERROR_MISSES)):
            if count >= (misses if before < higher else misses / 2):
                level = higher
        self._deadline = level
        values = {'window_ticks': len(self._past)}
        if self._past:
            busy_sec = sorted(past.busy_sec for past in self._past)
            report = self._report
            values |= {
                'deadline_sec': report.settings.controller.deadline_sec,
                'missed_percent': 100.0 * missed / len(self._past),
                'skipped_percent': 100.0 * skipped / (skipped + len(self._past)),
                'busy_median_sec': busy_sec[len(busy_sec) // 2],
                'busy_longest_sec': busy_sec[-1],
                'deadline_misses': report.counters.deadline_misses,
                'ticks_skipped': report.counters.ticks_skipped,
            }
        text = f'of {len(self._past)} ticks {missed} missed the deadline, {skipped} were left out'
        return Health(level, text, values)

    def _of_warm_start(self) -> Health:
        solves = [past for past in self._past if past.solved]
        cold = sum(past.cold for past in solves)
        lost = Counter(past.dropped for past in self._past if past.dropped not in _EXPECTED)
        values = {'window_ticks': len(self._past), 'solves': len(solves), 'cold': cold}
        if solves:
            values['used_percent'] = 100.0 * (1.0 - cold / len(solves))
        if self._report is not None:
            values['mode'] = self._report.settings.controller.warm_start
            drops = self._report.counters.drops
            values |= {f'dropped_{reason.name.lower()}': drops.get(reason, 0) for reason in Drop}
        level = Level.WARN if lost.total() >= WARN_LOST else Level.OK
        reasons = ''.join(f'; {count} lost: {reason.value}' for reason, count in lost.items())
        return Health(level, f'of {len(solves)} solves {cold} began cold{reasons}', values)
