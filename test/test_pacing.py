# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""When ticks are made: at their rate, and just after the frames."""

import math

import numpy as np
import pytest

from grasp_ros.control.pacing import LONGEST_WAIT, Pacer


@pytest.mark.parametrize(
    ('camera', 'phase'),
    [
        (1 / 30, 0.017),  # a tick only has to wait for the next frame
        (0.1, 0.07),  # the next frame comes too late to wait for: the grid has to move
    ],
)
def test_ticks_keep_the_rate_and_move_to_just_after_the_frames(camera, phase):
    period = 0.1
    pacer = Pacer(period_sec=period, now_sec=0.0)
    starts, ages = [], []
    for _ in range(80):
        fresh = math.ceil((pacer.fresh_after_sec - phase) / camera) * camera + phase
        now = min(max(fresh, pacer.opens_sec), pacer.latest_sec)
        arrived = math.floor((now - phase + 1e-9) / camera) * camera + phase
        starts.append(now)
        ages.append(now - arrived)
        assert pacer.started(now, arrived) == 0
    assert (starts[-1] - starts[40]) / 39 == pytest.approx(period, rel=0.01)
    assert max(ages[40:]) < 0.006


def test_without_frames_ticks_keep_the_rate():
    pacer = Pacer(period_sec=0.1, now_sec=0.0)
    starts = []
    for _ in range(10):
        starts.append(pacer.latest_sec)
        pacer.started(pacer.latest_sec, None)
    np.testing.assert_allclose(np.diff(starts), 0.1)
    assert starts[0] == pytest.approx(LONGEST_WAIT * 0.1)


def test_a_stall_is_counted_and_never_made_up_for():
    pacer = Pacer(period_sec=0.1, now_sec=0.0)
    pacer.started(0.0, None)
    assert pacer.started(0.75, None) == 6
    assert pacer.opens_sec >= 0.75
    assert pacer.started(pacer.opens_sec, None) == 0
    assert pacer.opens_sec == pytest.approx(0.9)
