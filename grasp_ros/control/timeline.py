# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Control steps: where frames lie, where the present tick is, when its command takes effect.

A command that is computed from a frame of time t takes effect at t + L, with L the age of the
frame, the time to encode and solve, and what the robot's own drive takes. L is counted in control
steps, the *lead*, in quarters of them.
"""

from __future__ import annotations

import statistics
from collections import deque
from dataclasses import dataclass

from grasp_ros.planners.base import Effort

PARTS = 4  # of a control step: the unit of the lead
_REMEMBERED = 15  # durations whose median is expected next
# Of what rounding left over, handed on to the next frame: all of it would make a camera that is
# a hair slower than the control rate lose a step, and what was prepared for it, now and then.
_CARRIED = 0.9


@dataclass(frozen=True)
class Timing:
    """What a tick would otherwise measure: from a record, or where time stands still meanwhile.

    With the timings of a recorded run, and its frames, a controller gives the same commands again
    bit for bit.

    :param latency_sec: L that is assumed, :attr:`~grasp_ros.control.tick.Tick.latency_sec`
    :param duration_sec: from the start of the tick to its command, encode and solve
    :param effort: of the solve; None = as much as the deadline allows
    """

    latency_sec: float
    duration_sec: float = 0.0
    effort: Effort | None = None


class Timeline:
    """The control steps of one run; frames lie on whole ones.

    ``frame_step`` is the newest frame's, ``step`` the present tick's, and ``lead`` what lies
    between the latter and its command's effect. The lead stays as it is until it is wrong by more
    than a quarter of a step, or by half a one where a plan was prepared with it: that plan is
    worth more than the exact moment, and without it the command would come later still.

    :param period_sec: control period
    """

    def __init__(self, period_sec: float) -> None:
        self.step = 0
        self.lead = 0.0
        self.frame_step = 0
        self._period_sec = period_sec
        self._stamp_sec: float | None = None
        self._rest = 0.0  # steps that lie between the newest frame and its whole one
        self._taken_up_sec = 0.0
        # With one that took none, so that a stall that comes first is not believed either.
        self._durations = deque([0.0], maxlen=_REMEMBERED)

    @property
    def begins(self) -> float:
        """The control step at which the command of this tick takes effect."""
        return self.step + self.lead

    @property
    def latency_sec(self) -> float:
        """The lead, seconds."""
        return self.lead * self._period_sec

    def frame_age_sec(self, now_sec: float) -> float:
        """Time since the newest frame that was taken up; 0 before the first."""
        return 0.0 if self._stamp_sec is None else now_sec - self._stamp_sec

    def is_new(self, stamp_sec: float) -> bool:
        """Whether a frame is newer than the newest that was taken up."""
        return self._stamp_sec is None or stamp_sec > self._stamp_sec

    def step_of(self, stamp_sec: float) -> int:
        """The control step of a new frame, by what its stamp says has elapsed.

        What rounding leaves over counts at the next frame, so that a camera of another rate than
        the control rate does not make the steps run fast or slow, unless by a few per cent.
        """
        if self._stamp_sec is None:
            return 0
        return self.frame_step + max(1, round(self._since_step(stamp_sec)))

    def take_up(self, stamp_sec: float, *, now_sec: float) -> None:
        """Make a new frame's moment the present one."""
        step = self.step_of(stamp_sec)
        if self._stamp_sec is not None:
            rest = self._since_step(stamp_sec) - (step - self.frame_step)
            self._rest = min(max(_CARRIED * rest, -0.5), 0.5)
        self.step = self.frame_step = step
        self._stamp_sec, self._taken_up_sec = stamp_sec, now_sec

    def count_on(self, now_sec: float) -> None:
        """Without a new frame: the present is as much later as has elapsed since the last came."""
        elapsed_sec = now_sec - self._taken_up_sec
        self.step = self.frame_step + max(0, round(elapsed_sec / self._period_sec))

    def add_duration(self, duration_sec: float) -> None:
        """Take note of what encode and solve took; a single stall changes nothing."""
        self._durations.append(duration_sec)

    def expect(self, now_sec: float, *, delay_sec: float, prepared: bool = False) -> None:
        """Set the lead of this tick by what is known and what was measured.

        :param now_sec: present time on the clock of the stamps
        :param delay_sec: of the robot's drive
        :param prepared: whether a plan that begins after the present lead waits for this tick
        """
        duration_sec = statistics.median_low(self._durations)
        steps = self._steps_until(now_sec + duration_sec + delay_sec)
        if abs(steps - self.lead) > (2 if prepared else 1) / PARTS:
            self.lead = _in_parts(steps)

    def assume(self, latency_sec: float) -> None:
        """Set the lead of this tick to what is handed in."""
        self.lead = _in_parts(latency_sec / self._period_sec)

    def step_at(self, then_sec: float) -> float:
        """The control step of a moment at or after the present one, in quarters."""
        return self.step + _in_parts(self._steps_until(then_sec))

    def _since_step(self, stamp_sec: float) -> float:
        """Steps from the newest frame's whole one to a new stamp."""
        return (stamp_sec - self._stamp_sec) / self._period_sec + self._rest

    def _steps_until(self, then_sec: float) -> float:
        if self._stamp_sec is None:
            return 0.0
        since_frame = (then_sec - self._stamp_sec) / self._period_sec
        return max(0.0, since_frame - (self.step - self.frame_step))


def _in_parts(steps: float) -> float:
    return round(PARTS * steps) / PARTS
