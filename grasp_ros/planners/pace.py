# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""How a planner keeps its deadline: by what its own iterations have just cost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

from grasp_ros.planners.base import Deadline

T = TypeVar('T')


class Pace:
    """Iterations as long as one more, and what comes after the last, still end in time.

    ``done`` and ``stopped`` say of the last solve what :class:`~grasp_ros.planners.base.Plan`
    says of them. From one solve to the next it carries what the end (the rollout of the answer)
    and the dear work aside cost, and nothing else.
    """

    def __init__(self) -> None:
        self.done = 0
        self.stopped = ''
        self._closing_sec: float | None = None
        self._aside_sec = self._aside_now_sec = 0.0

    def iterations(self, limit: int, deadline: Deadline) -> Iterator[int]:
        """Count from 0; the first iteration always comes, so that there is an answer.

        :param limit: the most that are counted
        """
        self.done, self.stopped = 0, 'deadline'
        longest_sec = 0.0
        for iteration in range(limit):
            started_sec = deadline.now()
            closing_sec = longest_sec if self._closing_sec is None else self._closing_sec
            if iteration and not deadline.allows(longest_sec + closing_sec):
                return
            self._aside_now_sec = 0.0
            yield iteration
            self.done += 1
            own_sec = deadline.now() - started_sec - self._aside_now_sec
            longest_sec = max(longest_sec, own_sec)
        self.stopped = 'iterations'

    def aside(self, deadline: Deadline, work: Callable[[], T], otherwise: T) -> T:
        """Do now and then, in an iteration, what costs far more than the iteration itself.

        It is budgeted apart: left out where it would not end in time by what it cost last, so
        that its price neither ends the cheap iterations early nor is missed by them.

        :param otherwise: the result where there is no time for it
        """
        if not deadline.allows(self._aside_sec + (self._closing_sec or 0.0)):
            return otherwise
        started_sec = deadline.now()
        result = work()
        self._aside_sec = self._aside_now_sec = deadline.now() - started_sec
        return result

    def close(self, deadline: Deadline, answer: Callable[[], T]) -> T:
        """Run the end of a solve and remember its cost."""
        started_sec = deadline.now()
        result = answer()
        self._closing_sec = deadline.now() - started_sec
        return result
