# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Deadlines inside a solve and the grid of ticks around it: in time, and never in a burst."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from grasp_ros.control.pacing import LONGEST_WAIT, SHORTEST_GAP, SLEW, Pacer
from grasp_ros.planners.base import Deadline, Effort
from grasp_ros.planners.pace import Pace


class Work:
    """Solves whose parts take what the test says, on a clock that nothing else moves."""

    def __init__(self):
        self.now_sec = 0.0
        self.pace = Pace(torch.device('cpu'))

    def spend(self, cost_sec):
        self.now_sec += cost_sec

    def solve(self, limit_sec, *, iterations=20, each=(1.0,), sync=10.0, every=4, end=0.0,
              replayed=None):
        """Iterations and syncs that were done, and how far before the deadline it was over."""
        expires_sec = self.now_sec + limit_sec
        deadline = Deadline(expires_sec, clock=lambda: self.now_sec, replayed=replayed)
        for iteration in self.pace.iterations(iterations, deadline):
            self.spend(each[min(iteration, len(each) - 1)])
            if every and iteration % every == every - 1:
                self.pace.aside(deadline, lambda: self.spend(sync), otherwise=None)
        self.pace.close(deadline, lambda: self.spend(end))
        return self.pace.done, self.pace.syncs, expires_sec - self.now_sec


def test_dear_work_aside_is_budgeted_apart_from_the_iterations():
    work = Work()
    assert work.solve(150.0)[:2] == (20, 5)  # half of it is for an end that nobody knows yet
    # Eight iterations and one sync are 18 s; a second one does not fit, the iterations go on.
    assert work.solve(22.0)[:2] == (11, 1)
    assert work.solve(9.0)[:2] == (8, 0)


@settings(deadline=None)
@given(
    costs=st.lists(st.floats(0.1, 2.0), min_size=1, max_size=30),
    sync=st.floats(0.0, 20.0), end=st.floats(0.0, 5.0), limit=st.floats(8.0, 60.0),
)
def test_a_solve_is_over_in_time_when_its_first_iteration_is_the_longest(costs, sync, end, limit):
    """Also the very first solve, as long as half of the time is enough for what nobody knows."""
    work = Work()
    costs = sorted(costs, reverse=True)
    for solve in range(3):
        done, syncs, left = work.solve(limit, iterations=1000, each=costs, sync=sync, end=end)
        unknown = sync if solve else sync + end
        if unknown <= limit / 2 and costs[0] + end < limit:
            assert left >= 0
        assert done >= 1
    # Stopped, but not long before: neither one more iteration nor its end had fitted.
    assert left <= costs[0] + end + 1e-6


def test_one_dear_end_of_late_is_reckoned_with_and_forgotten_in_time():
    work = Work()
    work.solve(30.0, every=0, end=9.0)
    done = [work.solve(15.0, every=0, end=1.0)[0] for _ in range(12)]
    assert done[:10] == [5] * 9 + [done[9]] and done[0] < done[-1] == 13


def test_what_an_accident_made_dear_is_tried_again_and_a_true_price_ever_more_rarely():
    work = Work()
    work.solve(100.0, sync=45.0)
    tried = []
    for solve in range(2000):
        if work.solve(30.0, sync=45.0)[1]:
            tried.append(solve)
    assert 4 <= len(tried) <= 8
    assert tried[0] < 20
    gaps = [after - before for before, after in zip(tried, tried[1:])]
    assert gaps == sorted(gaps)
    while not work.solve(30.0, sync=1.0)[1]:
        pass
    assert all(work.solve(30.0, sync=1.0)[1] for _ in range(50))


@settings(deadline=None, max_examples=50)
@given(limit=st.floats(1.0, 60.0), sync=st.floats(0.0, 20.0))
def test_a_solve_is_replayed_as_it_was_however_fast_the_machine(limit, sync):
    work = Work()
    work.solve(limit, sync=sync, end=2.0)
    done, syncs, _ = work.solve(limit, sync=sync, end=2.0)
    for speed in (0.01, 100.0):
        again = Work().solve(limit, each=(speed,), sync=sync * speed, end=2.0,
                             replayed=Effort(done, syncs))
        assert again[:2] == (done, syncs)


@settings(deadline=None)
@given(
    stalls=st.lists(
        st.tuples(st.sampled_from([0.0, 0.0, 0.0, 0.3, 0.7, 0.99, 3.6, 50.0]), st.floats(0, 1)),
        min_size=2, max_size=40,
    ),
    camera=st.floats(0.02, 0.3),
)
def test_ticks_never_come_in_a_burst_whatever_stalls(stalls, camera):
    period = 0.1
    pacer = Pacer(period_sec=period, now_sec=0.0)
    starts, skipped, now = [], 0, 0.0
    for whole, part in stalls:
        frame = math.floor(pacer.opens_sec / camera) * camera
        due = pacer.opens_sec if frame > pacer.fresh_after_sec else pacer.latest_sec
        now = max(now, due) + period * whole * part
        skipped += pacer.started(now, frame)
        starts.append(now)
    shortest = (SHORTEST_GAP - SLEW) * period
    for first in range(len(starts)):
        for later in range(first + 1, len(starts)):
            ticks = later - first
            expected = ticks * period * (1 - SLEW) - (1 - SHORTEST_GAP) * period
            assert starts[later] - starts[first] >= max(expected, shortest) - 1e-9
    # What was not made up for was counted.
    elapsed = starts[-1] / period
    assert len(starts) - 1 + skipped == pytest.approx(
        elapsed, abs=1 + LONGEST_WAIT + SLEW * (len(starts) + skipped)
    )
