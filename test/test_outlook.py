# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A robot that is told ahead of time: every point within the limits, and a stop at the end."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grasp_ros.control.gate import STILL, Gate, GateConfig, GateReason, GateState
from grasp_ros.control.outlook import STEP_SEC, Outlook

SLOW, FAST, BACK = ((x, 0.0, 0.0, 0.0, 0.0, 0.2 * x) for x in (0.1, 0.3, -0.2))
PERIOD_SEC = 0.1


def armed(**config):
    return Gate(GateConfig(**config), armed=True)


def send(gate, now_sec, command=SLOW, later=()):
    assert not gate.accept(command, now_sec=now_sec, age_sec=0.0)
    if later:
        assert not gate.extend(later, PERIOD_SEC)


def test_what_was_planned_follows_the_command_at_its_time_and_no_longer_than_that_is_good_for():
    gate = armed(command_timeout_sec=0.5)
    send(gate, 10.0, SLOW, [FAST, BACK])
    times = {10.0: SLOW, 10.05: SLOW, 10.15: FAST, 10.25: BACK, 10.45: BACK}
    assert {t: gate.step(t).command for t in times} == times
    assert gate.step(10.51).reason is GateReason.COMMAND_TIMEOUT


def test_a_new_command_or_a_new_enable_ends_what_was_planned_after_the_one_before():
    gate = armed()
    send(gate, 0.0, SLOW, [FAST])
    send(gate, 0.05, SLOW)
    assert gate.step(0.2).command == SLOW
    send(gate, 0.3, SLOW, [FAST])
    gate.enable(True)
    assert gate.step(0.45).reason is GateReason.NO_COMMAND
    send(gate, 0.5, SLOW)
    assert gate.step(0.65).command == SLOW


@pytest.mark.parametrize(
    ('later', 'period_sec'),
    [
        ([FAST, (math.nan, *STILL[1:])], 0.1),
        ([FAST, STILL[1:]], 0.1),
        ([FAST], 0.0),
        ([FAST], math.nan),
    ],
)
def test_a_plan_that_cannot_be_is_refused_and_counted_and_the_command_goes_alone(
    later, period_sec
):
    gate = armed()
    send(gate, 0.0)
    assert gate.extend(later, period_sec) and gate.rejected == 1
    assert gate.step(0.15).command == SLOW


def test_a_plan_without_a_command_is_refused():
    gate = armed()
    assert 'no command' in gate.extend([FAST], 0.1)
    assert gate.step(0.15).command == STILL


def test_a_robot_whose_gate_dies_does_what_was_planned_and_stops_when_the_command_is_too_old():
    gate = armed(command_timeout_sec=0.3, linear_deceleration=1.0, angular_deceleration=1.0)
    outlook = Outlook(gate)
    send(gate, 5.0, SLOW, [FAST] * 40)
    points = outlook.renew(5.0)
    assert outlook.at(5.06) == pytest.approx(SLOW) and outlook.at(5.16) == pytest.approx(FAST)
    assert outlook.at(5.25) == pytest.approx(FAST)
    ramp = [point for point in points[6:] if 0.0 < point[0] < FAST[0]]
    assert len(ramp) >= 5, 'it is slowed down, not stopped dead'
    assert points[-1] == STILL and len(points) * STEP_SEC < 0.3 + FAST[0] / 1.0 + 3 * STEP_SEC
    assert outlook.at(1e9) == STILL


def test_it_goes_on_from_what_the_robot_does_by_what_it_was_told_before():
    gate = armed(max_linear_acceleration=1.0, command_timeout_sec=1.0)
    outlook = Outlook(gate)
    send(gate, 0.0, FAST)
    present, first, *_ = outlook.renew(0.0)
    assert present == STILL and first[0] == pytest.approx(1.0 * STEP_SEC)
    # Nobody has stepped the gate meanwhile: the robot has gone on all the same.
    send(gate, 0.1, FAST)
    assert outlook.at(0.1)[0] == pytest.approx(0.1)
    present, first, *_ = outlook.renew(0.1)
    assert present[0] == pytest.approx(0.1)
    assert first[0] == pytest.approx(0.1 + 1.0 * STEP_SEC)


def test_how_far_it_gets_is_what_its_speeds_add_up_to():
    gate = armed(max_linear_acceleration=1.0, linear_deceleration=1.0, command_timeout_sec=0.5)
    outlook = Outlook(gate)
    send(gate, 0.0, FAST)
    outlook.renew(0.0)
    assert outlook.travelled(-1.0, 0.0) == STILL
    assert outlook.travelled(0.0, 0.2)[0] == pytest.approx(0.5 * 1.0 * 0.2**2)
    whole = outlook.travelled(0.0, 5.0)
    assert whole[0] == pytest.approx(outlook.travelled(0.0, 0.33)[0]
                                     + outlook.travelled(0.33, 5.0)[0])  # fmt: skip
    assert whole[5] == pytest.approx(FAST[5] * 0.5, rel=0.02)
    assert outlook.travelled(5.0, 9.0) == STILL


def test_looking_ahead_changes_nothing():
    gate = armed(command_timeout_sec=0.3, max_linear=0.2)
    send(gate, 0.0, FAST)
    Outlook(gate).renew(0.0)
    assert (gate.timeouts, gate.limited) == (0, 0)
    assert gate.step(0.1).state is GateState.PASSING


def test_a_stop_that_would_take_forever_ends_all_the_same():
    gate = armed(command_timeout_sec=0.3, linear_deceleration=1e-6)
    outlook = Outlook(gate)
    send(gate, 0.0, FAST)
    points = outlook.renew(0.0)
    assert points[-1] == STILL and len(points) <= 1001


@pytest.mark.parametrize('disarmed', [True, False])
def test_a_robot_at_rest_is_told_to_stay(disarmed):
    assert Outlook(Gate(GateConfig(), armed=not disarmed)).renew(3.0) == [STILL, STILL]


commands = st.sampled_from([STILL, SLOW, FAST, BACK, (2.0, -1.0, 0.5, 0.0, -3.0, 1.0)])
events = st.lists(
    st.tuples(
        st.floats(0.0, 0.6),  # time until then
        commands,
        st.lists(commands, max_size=4),
        st.sampled_from([None, None, None, True, False]),  # arm or disarm
        st.sampled_from([1.0, 1.0, 0.3]),  # speed scale
    ),
    min_size=1,
    max_size=6,
)


@settings(deadline=None)  # a busy machine is no fault of the gate
@given(events, st.sampled_from([0.0, 0.5, 3.0]), st.sampled_from([0.0, 0.05, 0.3]))
def test_whatever_comes_every_point_keeps_the_limits_and_the_robot_comes_to_rest(
    sequence, rate, longest
):
    """The robot follows lines between the points, and takes up new ones wherever it is."""
    limits = {
        f'{part}_{name}': rate
        for part, name in (('max_linear', 'acceleration'), ('max_angular', 'acceleration'),
                           ('linear', 'deceleration'), ('angular', 'deceleration'))
    }  # fmt: skip
    gate = armed(max_linear=longest, max_angular=longest, command_timeout_sec=0.3, **limits)
    outlook, now_sec = Outlook(gate), 0.0
    for wait_sec, command, later, arm, scale in sequence:
        now_sec += wait_sec
        if arm is not None:
            gate.enable(arm)
        gate.config = GateConfig(**{**vars(gate.config), 'speed_scale': scale})
        send(gate, now_sec, command, later)
        before = outlook.at(now_sec)
        points = outlook.renew(now_sec)
        assert points[0] == before and points[-1] == STILL
        for point in points:
            assert math.hypot(*point[:3]) <= longest * (1 + 1e-9)
            assert math.hypot(*point[3:]) <= longest * (1 + 1e-9)
        if rate and len(points) <= 1000:
            for before, after in zip(points, points[1:]):
                for part in (slice(0, 3), slice(3, 6)):
                    assert math.dist(before[part], after[part]) <= rate * STEP_SEC + 1e-9
        stopped_sec = now_sec + 0.3 + (longest / rate if rate else 0.0) + 2 * STEP_SEC
        assert outlook.at(stopped_sec) == STILL
