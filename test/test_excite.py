# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Random commands for recordings: what they are, when they come, and when they do not."""

import numpy as np
import pytest

from grasp_ros.control.excitation import HOLD_STEPS, Wander
from grasp_ros.errors import ConfigError

pytestmark = pytest.mark.processes

LIMIT = np.array([0.3, 0.8])


def commands(count, *, seed=0, limit=LIMIT, hold_steps=HOLD_STEPS):
    wander = Wander(np.random.default_rng(seed), limit, hold_steps=hold_steps)
    return np.stack([wander.next() for _ in range(count)])


def test_no_command_is_over_its_limit_and_the_limits_are_reached():
    found = commands(5000)
    assert (np.abs(found) <= LIMIT.astype(np.float32)).all()
    assert (np.abs(found).max(axis=0) == LIMIT.astype(np.float32)).all()
    assert (commands(100, limit=np.array([0.3, 0.0]))[:, 1] == 0).all()


def test_commands_go_everywhere_and_stand_now_and_then():
    found = commands(20_000) / LIMIT
    assert np.abs(found.mean(axis=0)).max() < 0.05
    for quadrant in (found * sign > 0.3 for sign in ((1, 1), (1, -1), (-1, 1), (-1, -1))):
        assert 0.05 < quadrant.all(axis=1).mean() < 0.2
    assert (np.abs(found) < 0.3).all(axis=1).mean() > 0.1
    assert 0.15 < (np.abs(found) > 0.95).any(axis=1).mean() < 0.6
    assert abs(np.corrcoef(found.T)[0, 1]) < 0.05


@pytest.mark.parametrize('hold_steps', [1.0, 6.0, 20.0])
def test_a_command_is_held_for_its_time_constant(hold_steps):
    found = commands(20_000, hold_steps=hold_steps)[:, 0]
    apart = 5
    correlation = np.corrcoef(found[:-apart], found[apart:])[0, 1]
    # Of what is held, (1 - 1 / hold) ** apart is still there; the jitter of each step is not.
    assert abs(correlation - 0.97 * (1 - 1 / hold_steps) ** apart) < 0.05


def test_equal_seeds_give_equal_commands_and_other_seeds_others():
    assert np.array_equal(commands(200, seed=3), commands(200, seed=3))
    assert not np.array_equal(commands(200, seed=3), commands(200, seed=4))


@pytest.fixture
def node_parts():
    pytest.importorskip('grasp_ros.msg', reason='no messages: GRASP_ROS_MESSAGES=1 builds them')
    from grasp_ros.node import excite_node, parameters, tables

    def values(**changes):
        return parameters.defaults(tables.EXCITE) | {
            f'excite.{name}': value for name, value in changes.items()
        }

    def excitation(changed):
        return excite_node.excitation(changed, np.random.default_rng(0))

    return excitation, values


def test_parameters_say_what_is_excited_and_by_how_much(node_parts):
    excitation, values = node_parts
    wander, layout = excitation(values(
        fields=['linear.x', 'angular.z'], max_command=[0.4, 1.0], amplitude=[0.5, 0.1]))
    found = np.array([layout.command(wander.next()) for _ in range(3000)])
    assert np.allclose(np.abs(found).max(axis=0), [0.2, 0, 0, 0, 0, 0.1])


@pytest.mark.parametrize(
    ('changes', 'reason'),
    [
        ({'fields': ['linear.x']}, 'excite.max_command: 2 entries given, write 1'),
        ({'amplitude': [0.5]}, 'excite.amplitude: 1 entries given, write 2'),
        ({'fields': ['linear.x', 'speed']}, '"speed" is no field of a twist: set excite.fields'),
        ({'fields': [], 'max_command': []}, 'excite.fields is empty'),
    ],
)
def test_parameters_that_contradict_each_other_are_refused(node_parts, changes, reason):
    excitation, values = node_parts
    with pytest.raises(ConfigError, match=reason):
        excitation(values(**changes))


def test_a_robot_is_excited_when_asked_recorded_and_stands_at_the_end(tmp_path):
    """The nodes: nothing moves unasked, the gate stays in charge, the bag holds what was sent."""
    pytest.importorskip('grasp_ros.msg', reason='no messages: GRASP_ROS_MESSAGES=1 builds them')
    pytest.importorskip('mujoco', reason='no embedded world: pip install .[sim]')
    pytest.importorskip('rosbags', reason='no bags: pip install .[bag]')
    import signal
    import subprocess
    import sys

    from geometry_msgs.msg import TwistStamped
    from grasp_ros.msg import GateStatus
    from std_srvs.srv import SetBool

    from grasp_ros.reliability.rig import Rig, open_client, speed

    seconds, record, disarmed = 2.0, None, 'call the service `enable`'
    with open_client() as client:
        rig = Rig(client, '/excited', tmp_path)
        rival = client.create_publisher(TwistStamped, '/excited/action', 1)

        def excite(on):
            return rig.call(SetBool, 'excite', SetBool.Request(data=on))

        try:
            rig.start('sim_node')
            rig.start('gate_node')
            rig.start('excite_node', excite__duration_sec=seconds, excite__max_command=[0.3, 0.2],
                      excite__seed=7)
            topics = [f'/excited/{t}' for t in ('image_raw', 'cmd_vel', 'action')]
            record = subprocess.Popen(
                [sys.executable, '-c', 'from grasp_ros.cli import main; main()', 'record',
                 '--out', str(tmp_path / 'bag'), *topics],
                env=rig.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            rig.wait_for(lambda: client.count_publishers('/excited/action') == 2, 'the node')
            assert 'another node sends' in excite(True).message
            client.destroy_publisher(rival)
            rig.wait_for(lambda: client.count_publishers('/excited/action') == 1, 'it to go')
            # It may hear the gate later than this process does, here and below.
            rig.wait_for(lambda: disarmed in excite(True).message, 'the gate')
            assert not rig.heard['action']
            rig.enable()
            rig.wait_for(lambda: client.count_subscribers('/excited/cmd_vel') >= 3, 'the recorder')
            rig.wait_for(lambda: excite(True).success, 'the gate to be armed')
            assert 'under way' in excite(True).message
            rig.wait_for(lambda: len(rig.heard['action']) >= seconds * 10 + 1, 'the commands')
            sent = list(rig.heard['action'])
            assert len(sent) == seconds * 10 + 1 and speed(sent[-1]) == 0
            expected = commands(20, seed=7, limit=np.array([0.3, 0.2]))
            found = np.array([(m.twist.linear.x, m.twist.linear.y) for m in sent[:-1]])
            assert np.allclose(found, expected)
            # Nothing more comes: the gate stops the robot, as after any controller that is silent.
            rig.wait_for(
                lambda: rig.heard['gate_status'][-1].reason == GateStatus.REASON_REARM_NEEDED,
                'the gate to want to be armed anew')
            assert len(rig.heard['action']) == len(sent)
            rig.wait_for(lambda: disarmed in excite(True).message, 'a refusal')
            rig.enable()
            rig.wait_for(lambda: excite(True).success, 'the gate to be armed anew')
            rig.wait_for(lambda: speed(rig.heard['action'][-1]) > 0, 'commands')
            # Too fast: what is set now holds from the next command on.
            assert rig.set_parameters('excite_node', excite__max_command=[0.01, 0.01]) == ['']
            rig.wait_for(
                lambda: all(0 < speed(m) < 0.015 for m in list(rig.heard['action'])[-5:]),
                'slower ones')
            assert excite(False).success
            rig.wait_for(lambda: speed(rig.heard['action'][-1]) == 0, 'the last one')
            record.send_signal(signal.SIGINT)
            said = record.communicate(timeout=30)[0]
            assert record.returncode == 0, said
        finally:
            if record is not None and record.poll() is None:
                record.kill()
            rig.close()
    from grasp_ros.recording.bag import Bag

    with Bag(tmp_path / 'bag') as bag:
        assert bag.topics == {
            topics[0]: 'sensor_msgs/msg/Image', topics[1]: 'geometry_msgs/msg/TwistStamped',
            topics[2]: 'geometry_msgs/msg/TwistStamped'}
        for topic, kind in bag.topics.items():
            assert bag.require(topic, [kind]) == kind
        recorded = [m.message for m in bag.messages([topics[2]])]
        assert [m.twist.linear.x for m in recorded[:20]] == [m.twist.linear.x for m in sent[:20]]
        assert len(list(bag.messages([topics[0]]))) > 30
