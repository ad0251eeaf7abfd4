# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""How a planner keeps its deadline: by what its own iterations have just cost."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator
from typing import TypeVar

import torch

from grasp_ros.planners.base import Deadline

T = TypeVar('T')

# Solves without the dear work, before it is tried again in spite of what it cost last.
_FIRST_PATIENCE, _LAST_PATIENCE = 10, 1000
_REMEMBERED = 10  # ends of solves


class Pace:
    """Iterations as long as one more, and what comes after the last, still end in time.

    ``done``, ``syncs`` and ``stopped`` say of the last solve what
    :class:`~grasp_ros.planners.base.Plan` says of them. From one solve to the next it carries what
    the end (the rollout of the answer) cost at most of late, so that a busy machine is reckoned
    with, and what the dear work aside cost, and nothing else. While such a cost is not known, half
    of the time is kept for it.

    :param device: where the work is done; where there is a deadline a GPU is waited for, since it
        has only been told what to do when the host goes on
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._waits = False
        self.done = self.syncs = 0
        self.stopped = ''
        self._closings_sec: deque[float] = deque(maxlen=_REMEMBERED)
        self._aside_sec: float | None = None
        self._aside_now_sec = self._unknown_sec = 0.0
        self._has_time_aside = True
        self._left_out = 0
        self._patience = _FIRST_PATIENCE

    def iterations(self, limit: int, deadline: Deadline) -> Iterator[int]:
        """Count from 0; the first iteration always comes, so that there is an answer.

        :param limit: the most that are counted
        """
        self.done = self.syncs = 0
        self.stopped = 'deadline'
        self._has_time_aside = True
        left_sec = deadline.left_sec
        self._waits = self._device.type == 'cuda' and math.isfinite(left_sec)
        self._unknown_sec = max(0.0, left_sec / 2) if math.isfinite(left_sec) else 0.0
        longest_sec = 0.0
        for iteration in range(limit):
            if deadline.replayed is not None:
                if iteration and iteration >= deadline.replayed.iterations:
                    return
            elif iteration and not deadline.allows(longest_sec + self._reserve_sec):
                return
            started_sec = self._now(deadline)
            self._aside_now_sec = 0.0
            yield iteration
            self.done += 1
            own_sec = self._now(deadline) - started_sec - self._aside_now_sec
            longest_sec = max(longest_sec, own_sec)
        self.stopped = 'iterations'

    def aside(self, deadline: Deadline, work: Callable[[], T], otherwise: T) -> T:
        """Do now and then, in an iteration, what costs far more than the iteration itself.

        It is budgeted apart: left out where it would not end in time by what it cost last, so
        that its price neither ends the cheap iterations early nor is missed by them. Once left
        out, it is for the rest of the solve. A price that was an accident (a first call, a busy
        machine) must not be believed for ever: after some solves without it, it is tried again,
        and where that was in vain, after twice as many.

        :param otherwise: the result where there is no time for it
        """
        if not self._has_time_aside or not self._fits_aside(deadline):
            self._has_time_aside = False
            return otherwise
        started_sec = self._now(deadline)
        result = work()
        self._aside_sec = self._aside_now_sec = self._now(deadline) - started_sec
        self.syncs += 1
        return result

    def close(self, deadline: Deadline, answer: Callable[[], T]) -> T:
        """Run the end of a solve and remember its cost."""
        started_sec = self._now(deadline)
        result = answer()
        self._closings_sec.append(self._now(deadline) - started_sec)
        return result

    def forget_close(self) -> None:
        """Do not expect what the last end cost to be its cost again."""
        self._closings_sec.pop()

    def _now(self, deadline: Deadline) -> float:
        if self._waits:
            torch.cuda.current_stream(self._device).synchronize()
        return deadline.now()

    @property
    def _reserve_sec(self) -> float:
        return max(self._closings_sec, default=self._unknown_sec)

    def _fits_aside(self, deadline: Deadline) -> bool:
        if deadline.replayed is not None:
            return self.syncs < deadline.replayed.syncs
        if self._aside_sec is None:
            needed_sec = self._unknown_sec + max(self._closings_sec, default=0.0)
        else:
            needed_sec = self._aside_sec + self._reserve_sec
        if deadline.allows(needed_sec):
            self._left_out, self._patience = 0, _FIRST_PATIENCE
            return True
        self._left_out += 1
        if self._left_out <= self._patience or not deadline.allows():
            return False
        self._left_out, self._patience = 0, min(2 * self._patience, _LAST_PATIENCE)
        return True
