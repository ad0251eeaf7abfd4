# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What the gate sends the robot: the same command in each message, and zero where it must stop.

Trajectories are judged by the rules by which joint_trajectory_controller takes or refuses them.
"""

import math
import signal
from pathlib import Path

import pytest
import yaml

pytest.importorskip('grasp_ros.msg', reason='no messages: GRASP_ROS_MESSAGES=1 pip install .[ros]')
from geometry_msgs.msg import Twist, TwistStamped
from grasp_ros.msg import GateStatus
from hypothesis import given
from hypothesis import strategies as st
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray
from trajectory_msgs.msg import JointTrajectory, MultiDOFJointTrajectory

from grasp_ros.control.gate import Gate, GateConfig
from grasp_ros.control.outlook import STEP_SEC
from grasp_ros.errors import ConfigError, MessageError
from grasp_ros.node import messages, outputs, parameters, tables
from grasp_ros.node.layouts import ArrayLayout
from grasp_ros.node.processes import NodeProcess
from grasp_ros.node.twists import TWIST_FIELDS
from grasp_ros.reliability.rig import Rig, open_client

pytestmark = pytest.mark.processes

README = Path(__file__).resolve().parents[1] / 'README.md'
COMMAND = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6)
STILL = (0.0,) * 6
STAMP = messages.to_time(7_000_000_000)
ARRAY, TRAJECTORY = 'Float64MultiArray', 'JointTrajectory'
ARM = {
    'type': TRAJECTORY, 'joints': ['shoulder', 'elbow'], 'fields': ['linear.y', 'angular.z'],
    'scales': [2.0, -1.0],
}  # fmt: skip


def values(**changes):
    changed = {f'gate.output_{name}': value for name, value in changes.items()}
    return parameters.defaults(tables.GATE) | changed


def sent(command, **changes):
    return outputs.make(values(**changes), Gate(GateConfig())).message(command, STAMP, 'base')


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
        ({'type': ARRAY, 'joints': ['elbow']}, 'a Float64MultiArray names none: leave it empty'),
        ({'type': TRAJECTORY}, '0 joints named, write the names of 6'),
        ({**ARM, 'joints': ['elbow', 'elbow']}, '1 joints named, write the names of 2'),
        ({'scales': [2.0] * 6}, 'a TwistStamped has its own'),
    ],
)
def test_what_does_not_fit_is_refused_with_the_cure(changes, reason):
    with pytest.raises(ConfigError, match=reason):
        outputs.make(values(**changes), Gate(GateConfig()))


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


def accepted(message, joints):
    """Joint -> its places and its velocities, where joint_trajectory_controller takes the message.

    By its `validate_trajectory_msg` (Jazzy to Rolling) with its defaults: all joints, at least one
    point, a place of each joint in each, times that increase, at rest at the end.
    """
    assert isinstance(message, JointTrajectory)
    assert list(message.joint_names) == joints and message.points
    assert message.header.stamp == messages.to_time(0), 'it begins when it arrives'
    for n, point in enumerate(message.points, start=1):
        assert messages.to_nanoseconds(point.time_from_start) == round(1e9 * n * STEP_SEC)
        assert len(point.positions) == len(point.velocities) == len(joints)
        assert all(map(math.isfinite, (*point.positions, *point.velocities)))
        assert not (point.accelerations or point.effort)
    assert not any(message.points[-1].velocities), 'it ends at rest'
    places = zip(*(point.positions for point in message.points))
    velocities = zip(*(point.velocities for point in message.points))
    return dict(zip(joints, zip(places, velocities)))


SHOULDER_AT, ELBOW_AT = 1.5, -0.5
SEEN = JointState(name=['wheel', 'elbow', 'shoulder'], position=[9.0, ELBOW_AT, SHOULDER_AT])


def arm(gate=None):
    return outputs.make(values(**ARM), gate or Gate(GateConfig()))


def test_a_trajectory_leads_from_where_the_joints_are_to_rest_at_the_velocities_that_pass():
    gate = Gate(GateConfig(command_timeout_sec=0.22), armed=True)
    trajectories = arm(gate)
    trajectories.see(SEEN, 0.0)
    gate.accept((0.0, 0.2, 0.0, 0.0, 0.0, 0.5), now_sec=0.0, age_sec=0.0)
    joints = accepted(trajectories.message(0.0), ARM['joints'])
    places, velocities = joints['shoulder']
    assert velocities == pytest.approx((0.4, 0.4, 0.4, 0.4, 0.0))
    moved = [0.4 * STEP_SEC * n for n in (0.5, 1.5, 2.5, 3.5, 4.0)]
    assert places == pytest.approx([SHOULDER_AT + more for more in moved])
    assert joints['elbow'][1] == pytest.approx((-0.5, -0.5, -0.5, -0.5, 0.0))
    # 0.1 s later, without having been seen again: it has moved as it was told.
    gate.accept((0.0,) * 6, now_sec=0.1, age_sec=0.0)
    places, velocities = accepted(trajectories.message(0.1), ARM['joints'])['shoulder']
    assert velocities == (0.0,)
    rests = SHOULDER_AT + moved[1] + 0.4 * STEP_SEC / 2
    assert places == pytest.approx([rests])
    assert trajectories.message(1.0).points[0].positions[0] == pytest.approx(rests)


@pytest.mark.parametrize(('behind', 'is_believed'), [(0.05, False), (0.07, True)])
def test_a_joint_that_is_a_little_behind_goes_on_and_one_that_is_held_starts_where_it_is(
    behind, is_believed
):
    speed, expected = 0.6, SHOULDER_AT + 0.6 * (0.2 - STEP_SEC / 2)
    gate = Gate(GateConfig(), armed=True)
    trajectories = arm(gate)
    trajectories.see(SEEN, 0.0)
    for n in range(2):
        gate.accept((0.0, 0.3, *STILL[2:]), now_sec=0.1 * n, age_sec=0.0)
        trajectories.message(0.1 * n)
    seen = expected - behind
    trajectories.see(JointState(name=SEEN.name, position=[9.0, ELBOW_AT, seen]), 0.2)
    gate.enable(False)
    places, velocities = accepted(trajectories.message(0.2), ARM['joints'])['shoulder']
    begins = seen if is_believed else expected
    assert velocities == (0.0,)
    assert places[0] == pytest.approx(begins + speed * STEP_SEC / 2)


def test_a_joint_that_somebody_else_has_moved_while_it_rested_starts_where_it_is():
    gate = Gate(GateConfig(), armed=True)
    trajectories = arm(gate)
    trajectories.see(SEEN, 0.0)
    gate.accept(COMMAND, now_sec=0.0, age_sec=0.0)
    trajectories.message(0.0)
    gate.enable(False)
    trajectories.see(JointState(name=SEEN.name, position=[9.0, ELBOW_AT, SHOULDER_AT]), 5.0)
    assert accepted(trajectories.message(5.0), ARM['joints'])['elbow'] == ((ELBOW_AT,), (0.0,))


@pytest.mark.parametrize(
    'message',
    [
        JointState(name=['shoulder'], position=[0.0]),
        JointState(name=['shoulder', 'elbow'], position=[0.0]),
        JointState(name=['shoulder', 'elbow'], position=[0.0, math.nan]),
        JointState(),
    ],
)
def test_joints_of_which_one_was_never_seen_are_told_nothing_and_may_not_move(message):
    trajectories = arm()
    trajectories.see(message, 0.0)
    assert trajectories.message(0.0) is None
    assert 'has had a place for each of shoulder, elbow' in trajectories.problem(0.0, 0.3)


def test_joints_that_are_not_seen_any_more_may_not_move():
    trajectories = arm()
    trajectories.see(SEEN, 1.0)
    assert not trajectories.problem(1.25, 0.3)
    assert 'no message on joint_states for 0.5 s' in trajectories.problem(1.5, 0.3)
    trajectories.see(JointState(name=['wheel'], position=[0.0]), 1.5)
    assert trajectories.problem(1.5, 0.3)
    trajectories.see(SEEN, 1.6)
    assert not trajectories.problem(1.6, 0.3)


def test_planned_commands_survive_the_message_that_the_controller_sends_them_in():
    message = messages.commands([COMMAND, STILL, COMMAND], 0.1, STAMP, 'base')
    assert message.header.stamp == STAMP and message.header.frame_id == 'base'
    commands, period_sec = messages.read_commands(message)
    assert commands == [COMMAND, STILL, COMMAND] and period_sec == pytest.approx(0.1)


def no_twist(message):
    message.points[1].velocities = []


def late(message):
    message.points[2].time_from_start.nanosec += 10_000_000


def backwards(message):
    message.points.reverse()


def alone(message):
    message.points = message.points[:1]


@pytest.mark.parametrize('spoil', [no_twist, late, backwards, alone])
def test_a_plan_of_another_form_is_refused(spoil):
    message = messages.commands([COMMAND] * 4, 0.1, STAMP, 'base')
    spoil(message)
    with pytest.raises(MessageError):
        messages.read_commands(message)


@pytest.mark.parametrize(
    ('heading', 'command', 'numbers'),
    [
        ('**What the robot is sent.**', (0.1, 0.2, *STILL[2:]), [4.0, -2.0]),
        ('**Trajectories.**', (0.0, 0.0, 0.0, 0.1, 0.2, 0.0), [0.1, -0.2]),
    ],
)
def test_the_examples_of_the_readme_are_some_that_can_be(heading, command, numbers):
    _, found, rest = README.read_text(encoding='utf-8').partition(heading)
    assert found
    example = yaml.safe_load(rest.split('```')[1].removeprefix('yaml'))
    for node, table in (('control', tables.MPC), ('gate', tables.GATE)):
        named = {f'{node}.{name}': value for name, value in example[node].items()}
        assert named.keys() <= parameters.defaults(table).keys()
        assert parameters.problem(table, named) is None
    chosen = {
        name.removeprefix('output_'): value
        for name, value in example['gate'].items() if name.startswith('output_')
    }  # fmt: skip
    layout = ArrayLayout(chosen['fields'], chosen['scales'])
    assert layout.numbers(command) == pytest.approx(numbers)
    outputs.make(values(**chosen), Gate(GateConfig()))


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
    # Under nohup it is ignored here, and then in what is started from here.
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
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
        assert rig.processes['gate_node'].stop(signal.SIGHUP) == 0  # its terminal has closed
        rig.wait_for(
            lambda: robot.heard and numbers_of(robot.heard[-1]) == still, 'zero as the last word'
        )
    finally:
        signal.signal(signal.SIGHUP, before)
        rig.close()


def test_a_trajectory_is_sent_once_has_the_plan_in_it_and_holds_at_its_end(client, tmp_path):
    rig = Rig(client, '/arm', tmp_path)
    joints, forward = ARM['joints'], (0.0, 0.2, *STILL[2:])
    rest = {'shoulder': ((SHOULDER_AT,), (0.0,)), 'elbow': ((ELBOW_AT,), (0.0,))}
    states = client.create_publisher(JointState, '/arm/joint_states', 1)
    seen = [SEEN]
    timer = client.create_timer(0.05, lambda: [states.publish(message) for message in seen])
    try:
        robot = Receiver(rig, JointTrajectory, **ARM)
        plans = client.create_publisher(MultiDOFJointTrajectory, '/arm/planned_actions', 1)
        rig.wait_for(plans.get_subscription_count, 'the gate listening to plans')
        rig.wait_for(states.get_subscription_count, 'the gate listening to joints')

        def next_of(act):
            """What the robot is sent for it; on a slow machine a command may come to nothing."""
            robot.heard.clear()
            rig.wait_for(lambda: [act(), robot.heard][1], 'a trajectory')
            return accepted(robot.heard[-1], joints)

        def drive(*later):
            stamp = client.get_clock().now().to_msg()
            if later:
                plans.publish(messages.commands([forward, *later], 0.1, stamp, ''))
            robot.publisher.publish(messages.twist(forward, stamp, ''))

        def drive_until(velocities, *later):
            """Drive until the shoulder is told to do so; plan or command may be there first."""
            robot.heard.clear()

            def is_told():
                drive(*later)
                return any(set(accepted(message, joints)['shoulder'][1]) == velocities
                           for message in robot.heard)  # fmt: skip

            rig.wait_for(is_told, f'a trajectory with {velocities}')

        def stop_of(reason):
            rig.wait_for_next('gate_status', lambda status: status.reason == reason, 'a stop')
            rig.wait_for(lambda: len(robot.heard[-1].points) == 1, 'a trajectory that holds')

        drive()
        rig.wait_for_next('gate_status', lambda status: status.command_age_sec < 1.0, 'a command')
        assert not robot.heard, 'nothing for who is disarmed'
        assert next_of(rig.enable) == rest
        drive_until({0.4, 0.0})
        assert len(robot.heard[-1].points) <= 7  # 0.3 s and a stop
        drive_until({0.4, -0.2, 0.0}, (0.0, -0.1, *STILL[2:]))
        drive_until({0.4, 0.0}, (0.0, math.nan, *STILL[2:]))
        rig.wait_for_next('gate_status', lambda status: status.rejected, 'a plan that is refused')
        stop_of(GateStatus.REASON_COMMAND_TIMEOUT)
        robot.heard.clear()
        for _ in range(3):
            rig.wait_for_next('gate_status')
        assert not robot.heard, 'a robot at rest is left alone'
        assert rig.enable()  # on a slow machine the fault was a long one
        next_of(drive)
        assert next_of(lambda: rig.enable(False))['elbow'] == rest['elbow']
        assert rig.enable()
        next_of(drive)
        seen.clear()

        def is_refused(status):
            drive()
            return 'no message on joint_states for' in status.text

        rig.wait_for_next('gate_status', is_refused, 'a stop as the joints are not seen any more')
        stop_of(GateStatus.REASON_COMMAND_INVALID)
        seen.append(SEEN)
        assert rig.enable()

        def moves():
            drive()
            return len(robot.heard[-1].points) > 1

        rig.wait_for(moves, 'motion once they are')
        robot.heard.clear()
        assert rig.processes['gate_node'].stop() == 0
        rig.wait_for(lambda: robot.heard, 'a last word')
        assert accepted(robot.heard[-1], joints)['shoulder'][1][-1] == 0.0
    finally:
        client.destroy_timer(timer)
        rig.close()


def test_a_gate_whose_output_cannot_be_does_not_start_and_says_why(client, tmp_path):
    rig = Rig(client, '/refused', tmp_path)
    try:
        gate = rig.start('gate_node', gate__output_type=ARRAY, gate__output_fields=['speed'])
        rig.wait_for(lambda: not gate.is_running, 'the end of the gate')
        assert gate.exit_code == 1 and '"speed" is no field of a twist' in gate.log_text()
    finally:
        rig.close()
