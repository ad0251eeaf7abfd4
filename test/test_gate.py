# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The gate: when commands pass, what stops the robot, what lets it move again."""

import importlib.util
import math
import subprocess
import sys
from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from grasp_ros.control.gate import STILL, Gate, GateConfig, GateReason, GateState
from grasp_ros.errors import ConfigError

FORWARD = (0.3, 0.1, 0.0, 0.0, 0.0, 0.2)


def armed(**config):
    return Gate(GateConfig(**config), armed=True)


def send(gate, now_sec, command=FORWARD, *, age_sec=0.01, source='a', sequence=None):
    return gate.accept(
        command, now_sec=now_sec, age_sec=age_sec, source=source, sequence=sequence
    )


def test_imports_no_torch():
    modules = ['grasp_ros.control.gate']
    if importlib.util.find_spec('rclpy'):
        modules.append('grasp_ros.node.gate_node')
    code = f'import sys, {", ".join(modules)}; print("torch" in sys.modules)'
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == 'False'


def test_nothing_passes_before_it_is_armed():
    gate = Gate(GateConfig())
    send(gate, 0.0)
    output = gate.step(0.0)
    assert (output.command, output.state) == (STILL, GateState.DISARMED)
    assert output.reason is GateReason.NOT_ARMED
    gate.enable(True)
    assert gate.step(0.1).reason is GateReason.NO_COMMAND
    send(gate, 0.2)
    assert gate.step(0.2).command == FORWARD


def test_disarming_stops_at_once():
    gate = armed()
    send(gate, 0.0)
    assert gate.step(0.0).state is GateState.PASSING
    gate.enable(False)
    assert gate.step(0.01).command == STILL


def test_stops_when_commands_stop_and_goes_on_after_a_short_outage():
    gate = armed(command_timeout_sec=0.3, rearm_after_sec=2.0)
    send(gate, 0.0, age_sec=0.1)
    assert gate.step(0.19).state is GateState.PASSING
    output = gate.step(0.21)  # the command was sent 0.31 s ago
    assert (output.command, output.reason) == (STILL, GateReason.COMMAND_TIMEOUT)
    send(gate, 1.0)
    assert gate.step(1.0).command == FORWARD
    assert gate.timeouts == 1


def test_a_long_outage_needs_a_new_enable():
    gate = armed(command_timeout_sec=0.3, rearm_after_sec=2.0)
    send(gate, 0.0)
    gate.step(0.5)
    output = gate.step(2.6)
    assert output.reason is GateReason.REARM_NEEDED
    assert GateReason.COMMAND_TIMEOUT.value in output.text
    send(gate, 3.0)
    assert gate.step(3.0).command == STILL
    gate.enable(True)
    send(gate, 3.1)
    assert gate.step(3.1).command == FORWARD


@pytest.mark.parametrize(
    ('source', 'sequence'), [('b', 8), ('a', 1), ('a', 7)], ids=['other', 'again', 'twice']
)
def test_another_controller_needs_a_new_enable(source, sequence):
    gate = armed()
    send(gate, 0.0, sequence=7)
    assert gate.step(0.0).state is GateState.PASSING
    send(gate, 0.1, source=source, sequence=sequence)
    assert gate.step(0.1).reason is GateReason.CONTROLLER_RESTARTED
    send(gate, 0.2, source=source, sequence=sequence + 1)
    assert gate.step(0.2).command == STILL
    gate.enable(True)
    send(gate, 0.3, source=source, sequence=sequence + 2)
    assert gate.step(0.3).command == FORWARD


def test_a_publisher_that_is_not_known_at_once_is_no_other_one():
    gate = armed()
    for n, source in enumerate((None, None, 'a', None, 'a', None)):
        assert not send(gate, 0.1 * n, source=source, sequence=n if n % 2 else None)
        assert gate.step(0.1 * n).state is GateState.PASSING
    assert send(gate, 0.6, source='b')
    gate.enable(True)
    assert not send(gate, 0.7, source='a', sequence=7)
    assert not send(gate, 0.8)
    assert send(gate, 0.9, source=None, sequence=7)


def test_two_controllers_at_once_never_drive_and_are_counted():
    gate = armed()
    for n in range(20):
        reason = send(gate, 0.1 * n, source='ab'[n % 2], sequence=n)
        if n:
            assert gate.step(0.1 * n).command == STILL
            assert 'another publisher' in reason and gate.rejected == n


@pytest.mark.parametrize(
    ('command', 'age_sec'),
    [
        ((math.nan, 0.0, 0.0, 0.0, 0.0, 0.0), 0.0),
        ((0.0, math.inf, 0.0, 0.0, 0.0, 0.0), 0.0),
        (FORWARD, math.nan),
        (FORWARD, 5.0),
        (FORWARD, -5.0),
    ],
    ids=['nan', 'inf', 'no stamp', 'too old', 'from the future'],
)
def test_refuses_a_bad_command_and_stops(command, age_sec):
    gate = armed()
    send(gate, 0.0)
    assert send(gate, 0.1, command, age_sec=age_sec)
    output = gate.step(0.1)
    assert (output.command, output.reason) == (STILL, GateReason.COMMAND_INVALID)
    assert gate.rejected == 1
    send(gate, 0.2)
    assert gate.step(0.2).command == FORWARD


def test_before_the_first_good_command_it_says_what_is_wrong_with_those_that_come():
    gate = Gate(GateConfig(), armed=True)
    assert gate.step(0.0).reason is GateReason.NO_COMMAND
    for n in range(1, 60):
        gate.accept(FORWARD, now_sec=0.1 * n, age_sec=5.0)
        output = gate.step(0.1 * n)
        assert output.reason is GateReason.COMMAND_INVALID
        assert 'it was sent 5.000 s ago' in output.text
    # One that was good when it came, and is followed by what is not, is not enough to begin.
    gate.accept(FORWARD, now_sec=5.95, age_sec=0.29)
    gate.accept((math.nan,) * 6, now_sec=5.96, age_sec=0.0)
    for n in range(60, 90):
        assert gate.step(0.1 * n).reason is GateReason.COMMAND_INVALID
    # Nothing has moved, so the clocks may be put right without a new enable.
    gate.accept(FORWARD, now_sec=9.0, age_sec=0.0)
    assert gate.step(9.0).state is GateState.PASSING


def test_every_fault_needs_a_new_enable_where_none_may_last():
    gate = armed(rearm_after_sec=0.0)
    assert gate.step(0.0).reason is GateReason.NO_COMMAND  # nothing has moved yet
    send(gate, 0.05)
    assert gate.step(0.05).command == FORWARD
    assert gate.step(0.5).reason is GateReason.REARM_NEEDED


def test_the_first_reason_stays():
    gate = armed()
    send(gate, 0.0)
    send(gate, 0.1, (math.nan,) * 6)
    assert gate.step(0.1).reason is GateReason.COMMAND_INVALID
    assert gate.step(1.0).reason is GateReason.COMMAND_INVALID  # by now it is late as well


def test_limits_speed_and_keeps_the_direction():
    gate = armed(max_linear=0.1, max_angular=0.05)
    send(gate, 0.0)
    x, y, z, *_, yaw = gate.step(0.0).command
    assert math.isclose(math.hypot(x, y), 0.1)
    assert math.isclose(y / x, FORWARD[1] / FORWARD[0])
    assert (z, yaw) == (0.0, 0.05)
    gate.step(0.01)
    assert gate.limited == 1  # commands are counted, not the times that they are sent


def test_limits_acceleration_and_deceleration():
    gate = armed(max_linear_acceleration=1.0, linear_deceleration=2.0)
    gate.step(0.0)
    speeds = []
    for n in range(1, 6):
        send(gate, 0.05 * n, (0.3, 0.0, 0.0, 0.0, 0.0, 0.0))
        speeds.append(gate.step(0.05 * n).command[0])
    assert speeds == pytest.approx([0.05, 0.1, 0.15, 0.2, 0.25])
    gate.enable(False)
    assert gate.step(0.3).command[0] == pytest.approx(0.15)
    assert gate.step(0.4).command[0] == 0.0


@pytest.mark.parametrize(('deceleration', 'left'), [(2.0, 0.2), (0.0, 0.0)])
def test_a_stop_by_the_controller_is_as_fast_as_one_by_the_gate(deceleration, left):
    gate = armed(linear_deceleration=deceleration)
    send(gate, 0.0, (0.3, 0.0, 0.0, 0.0, 0.0, 0.0))
    assert gate.step(0.0).command[0] == 0.3
    gate.config = replace(gate.config, max_linear_acceleration=0.1)
    send(gate, 0.05, STILL)
    output = gate.step(0.05)
    assert output.state is GateState.PASSING and output.command[0] == pytest.approx(left)
    assert gate.limited == 0


def test_a_lower_speed_limit_holds_at_once_whatever_the_acceleration():
    gate = armed(max_linear_acceleration=0.1)
    gate.step(0.0)
    for n in range(40):
        send(gate, 0.1 * n, (0.5, 0.0, 0.0, 0.0, 0.0, 0.0))
        speed = gate.step(0.1 * n).command[0]
    assert speed > 0.3
    gate.config = replace(gate.config, max_linear=0.1)
    assert gate.step(4.0).command[0] == pytest.approx(0.1)


def test_speed_scale_and_dry_run_change_while_it_runs():
    gate = armed()
    send(gate, 0.0)
    gate.config = GateConfig(speed_scale=0.5)
    assert gate.step(0.0).command == tuple(0.5 * value for value in FORWARD)
    gate.config = GateConfig(dry_run=True)
    output = gate.step(0.01)
    assert (output.command, output.state) == (STILL, GateState.DRY_RUN)
    assert gate.limited == 0


def test_the_last_output_is_still_even_with_a_deceleration_limit():
    gate = armed(linear_deceleration=0.1)
    send(gate, 0.0)
    gate.step(0.0)
    output = gate.shut_down()
    assert (output.command, output.reason) == (STILL, GateReason.SHUTDOWN)


@pytest.mark.parametrize(
    'config', [{'max_linear': math.nan}, {'speed_scale': 2.0}, {'command_timeout_sec': 0.0}]
)
def test_refuses_limits_that_make_no_sense(config):
    with pytest.raises(ConfigError):
        GateConfig(**config)


numbers = st.floats(allow_nan=True, allow_infinity=True)
events = st.lists(
    st.tuples(
        st.floats(0.0, 0.5),  # time until then
        st.tuples(*[numbers] * 6),
        st.floats(-1.0, 1.0) | st.just(math.nan),  # age of the command
        st.sampled_from(['a', 'a', 'a', 'b']),
        st.sampled_from([None, None, True, False]),  # arm or disarm
    ),
    max_size=30,
)


@given(events, st.floats(0.0, 2.0), st.floats(0.0, 10.0))
@example(  # longest / length has lost its digits there
    [(0.0, (0.0, 0.0, 141908634187115.0, 0.0, 0.0, 0.0), 0.0, 'a', True)],
    3.0849878158887492e-301, 0.0,
)
def test_whatever_comes_the_robot_gets_finite_commands_within_the_limits(
    sequence, max_linear, acceleration
):
    config = GateConfig(
        max_linear=max_linear,
        max_angular=0.7,
        max_linear_acceleration=acceleration,
        linear_deceleration=acceleration,
    )
    gate, now_sec, last = Gate(config), 0.0, STILL
    gate.step(now_sec)
    for wait_sec, command, age_sec, source, arm in sequence:
        now_sec += wait_sec
        if arm is not None:
            gate.enable(arm)
        gate.accept(command, now_sec=now_sec, age_sec=age_sec, source=source)
        sent = gate.step(now_sec).command
        assert all(math.isfinite(value) for value in sent)
        assert math.hypot(*sent[:3]) <= max_linear * (1 + 1e-9)
        assert math.hypot(*sent[3:]) <= 0.7 * (1 + 1e-9)
        if acceleration:
            change = math.dist(sent[:3], last[:3])
            assert change <= acceleration * wait_sec * (1 + 1e-9) + 1e-12
        last = sent


@given(events, st.floats(0.0, 1.0), st.booleans())
def test_whatever_comes_only_a_passing_gate_moves_the_robot_and_a_latch_holds_until_armed(
    sequence, speed_scale, dry_run
):
    config = GateConfig(rearm_after_sec=0.5, speed_scale=speed_scale, dry_run=dry_run)
    gate, now_sec, needs_arming, largest = Gate(config), 0.0, True, 0.0
    for wait_sec, command, age_sec, source, arm in sequence:
        now_sec += wait_sec
        if arm is not None:
            gate.enable(arm)
            needs_arming = not arm
            largest = 0.0
        if not gate.accept(command, now_sec=now_sec, age_sec=age_sec, source=source):
            largest = max(largest, math.hypot(*command[:3]))
        output = gate.step(now_sec)
        if output.state is not GateState.PASSING:
            assert output.command == STILL
        assert math.hypot(*output.command[:3]) <= speed_scale * largest * (1 + 1e-9)
        if dry_run or needs_arming:
            assert output.state is not GateState.PASSING
        needs_arming = needs_arming or output.reason in (
            GateReason.REARM_NEEDED, GateReason.CONTROLLER_RESTARTED
        )  # fmt: skip
