# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What the gate sends the robot: the same command in each message, and zero where it must stop."""

import math
from pathlib import Path

import pytest
import yaml

pytest.importorskip('grasp_ros.msg', reason='no messages: GRASP_ROS_MESSAGES=1 pip install .[ros]')
from geometry_msgs.msg import Twist, TwistStamped
from hypothesis import given
from hypothesis import strategies as st
from std_msgs.msg import Float64MultiArray

from grasp_ros.errors import ConfigError
from grasp_ros.node import messages, outputs, parameters, tables
from grasp_ros.node.processes import NodeProcess
from grasp_ros.node.twists import TWIST_FIELDS
from grasp_ros.reliability.rig import Rig, open_client

README = Path(__file__).resolve().parents[1] / 'README.md'
COMMAND = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6)
STILL = (0.0,) * 6
STAMP = messages.to_time(7_000_000_000)
ARRAY = 'Float64MultiArray'


def values(**changes):
    changed = {f'gate.output_{name}': value for name, value in changes.items()}
    return parameters.defaults(tables.GATE) | changed


def sent(command, **changes):
    return outputs.make(values(**changes)).message(command, STAMP, 'base')


def test_a_twist_with_and_without_a_stamp_is_the_command():
    message = sent(COMMAND)
    assert messages.command(message) == COMMAND
    assert message.header.stamp == STAMP and message.header.frame_id == 'base'
    bare = sent(COMMAND, type='Twist')
    assert isinstance(bare, Twist) and bare == message.twist


@pytest.mark.parametrize(
    ('fields', 'scales', 'data'),
    [
        ([], [], list(COMMAND)),
        (['angular.z', 'linear.x'], [], [0.6, 0.1]),
        (['linear.x', 'linear.x'], [2.0, -10.0], [0.2, -1.0]),
        ([], [1.0, 0.0, 1.0, 1.0, 1.0, 2.0], [0.1, 0.0, 0.3, 0.4, 0.5, 1.2]),
    ],
)
def test_an_array_holds_the_fields_that_are_named_each_times_its_scale(fields, scales, data):
    message = sent(COMMAND, type=ARRAY, fields=fields, scales=scales)
    assert isinstance(message, Float64MultiArray)
    assert list(message.data) == pytest.approx(data)


@pytest.mark.parametrize(
    ('changes', 'reason'),
    [
        ({'type': ARRAY, 'fields': ['speed']}, '"speed" is no field of a twist: write some of'),
        ({'type': ARRAY, 'scales': [1.0]}, '1 entries given, write 6'),
        ({'type': ARRAY, 'fields': ['linear.x'], 'scales': [1.0, 2.0]}, 'write 1, one for each'),
        ({'type': 'Twist', 'fields': ['linear.x']}, 'a Twist has its own: leave them empty'),
        ({'scales': [2.0] * 6}, 'a TwistStamped has its own'),
    ],
)
def test_what_does_not_fit_is_refused_with_the_cure(changes, reason):
    with pytest.raises(ConfigError, match=reason):
        outputs.make(values(**changes))


@given(
    st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=6),
    st.lists(st.floats(-100.0, 100.0), min_size=6, max_size=6),
    st.data(),
)
def test_any_command_is_finite_in_any_array_and_zero_is_zero(scales, command, data):
    some = st.lists(st.sampled_from(TWIST_FIELDS), min_size=len(scales), max_size=len(scales))
    fields = data.draw(some)
    message = sent(command, type=ARRAY, fields=fields, scales=scales)
    assert len(message.data) == len(fields) and all(map(math.isfinite, message.data))
    assert not any(sent(STILL, type=ARRAY, fields=fields, scales=scales).data)


def test_the_example_of_the_readme_is_one_that_can_be():
    _, found, rest = README.read_text(encoding='utf-8').partition('**What the robot is sent.**')
    assert found
    example = yaml.safe_load(rest.split('```')[1].removeprefix('yaml'))
    for node, table in (('control', tables.MPC), ('gate', tables.GATE)):
        named = {f'{node}.{name}': value for name, value in example[node].items()}
        assert named.keys() <= parameters.defaults(table).keys()
        assert parameters.problem(table, named) is None
    chosen = {name.removeprefix('output_'): value for name, value in example['gate'].items()}
    assert list(sent((0.1, 0.2, *STILL[2:]), **chosen).data) == pytest.approx([4.0, -2.0])


@pytest.fixture(scope='module')
def client():
    with open_client() as node:
        yield node


class Receiver:
    """A gate as a process, and the robot behind it."""

    def __init__(self, rig, kind, **changes):
        self.rig, self.heard = rig, []
        namespace, client = rig.namespace, rig.client
        self.subscription = client.create_subscription(
            kind, f'{namespace}/robot', lambda message: self.heard.append(message), 10
        )
        self.publisher = client.create_publisher(TwistStamped, f'{namespace}/action', 1)
        # Not `cmd_vel`: a process can have no two types for one name, and the rig listens to it.
        rig.processes['gate_node'] = NodeProcess(
            'gate_node', log=rig.folder / 'gate.log', env=rig.env, namespace=namespace,
            parameters=values(**changes), remap={'cmd_vel': 'robot'},
        )  # fmt: skip
        rig.wait_for(self.publisher.get_subscription_count, 'the gate')

    def command(self, *command):
        now = self.rig.client.get_clock().now().to_msg()
        self.publisher.publish(messages.twist(command, now, ''))

    def wait_for(self, numbers, what, command=None):
        """Until the robot is sent these numbers; meanwhile the gate is sent a command."""
        self.heard.clear()

        def arrived():
            if command is not None:
                self.command(*command)
            return any(numbers_of(message) == pytest.approx(numbers) for message in self.heard)

        self.rig.wait_for(arrived, what)


def numbers_of(message):
    if isinstance(message, Float64MultiArray):
        return list(message.data)
    return list(messages.command(message if hasattr(message, 'twist') else TwistStamped(
        twist=message)))  # fmt: skip


@pytest.mark.parametrize(
    ('kind', 'changes', 'passed'),
    [
        (Twist, {}, [0.5, *STILL[1:]]),
        (Float64MultiArray, {'fields': ['angular.z', 'linear.x'], 'scales': [1.0, -20.0]},
         [0.0, -10.0]),
    ],
)  # fmt: skip
def test_limits_checks_and_stops_hold_in_every_message(client, tmp_path, kind, changes, passed):
    rig = Rig(client, f'/{kind.__name__.lower()}', tmp_path)
    still = [0.0] * len(passed)
    too_fast, broken = (3.0, *STILL[1:]), (math.nan, *STILL[1:])
    try:
        robot = Receiver(rig, kind, type=kind.__name__, **changes)
        robot.wait_for(still, 'zero before it is armed', too_fast)
        assert rig.enable()
        robot.wait_for(passed, 'a command, limited before it is scaled', too_fast)
        robot.wait_for(still, 'zero for what is not finite', broken)
        robot.wait_for(passed, 'good commands again', too_fast)
        robot.wait_for(still, 'zero when commands stop coming')
        robot.wait_for(passed, 'commands again', too_fast)
        assert rig.enable(False)
        robot.wait_for(still, 'zero while disarmed', too_fast)
        assert all(numbers_of(message) == still for message in robot.heard[-1:])
        assert rig.enable()
        robot.wait_for(passed, 'commands once armed again', too_fast)
        robot.heard.clear()
        assert rig.processes['gate_node'].stop() == 0
        rig.wait_for(
            lambda: robot.heard and numbers_of(robot.heard[-1]) == still, 'zero as the last word'
        )
    finally:
        rig.close()


def test_a_gate_whose_output_cannot_be_does_not_start_and_says_why(client, tmp_path):
    rig = Rig(client, '/refused', tmp_path)
    try:
        gate = rig.start('gate_node', gate__output_type=ARRAY, gate__output_fields=['speed'])
        rig.wait_for(lambda: not gate.is_running, 'the end of the gate')
        assert gate.exit_code == 1 and '"speed" is no field of a twist' in gate.log_text()
    finally:
        rig.close()
