# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Goals by topic and by name, and a warm start that is cleared: the real nodes over DDS."""

import math
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip('grasp_ros.msg', reason='no messages: GRASP_ROS_MESSAGES=1 pip install .[ros]')
pytest.importorskip('mujoco', reason='no embedded world: pip install .[sim]')
from grasp_ros.msg import SolverStatistics
from grasp_ros.srv import SaveGoal
from lifecycle_msgs.msg import Transition
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image
from std_srvs.srv import Trigger

from grasp_ros.reliability.rig import Result, Rig, open_client, speed

pytestmark = pytest.mark.processes

LEFT, RIGHT = (0.25, 0.3), (0.75, 0.3)
GRASP_ROS = str(Path(sys.executable).with_name('grasp-ros'))
NEAR = 0.05  # of the world's width
LATCHED = QoSProfile(
    depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL
)


class Robot(Rig):
    """A robot in its world, its gate armed; and a publisher of goal images that holds its last."""

    def __init__(self, client, folder):
        super().__init__(client, '/goals', folder)
        self.goal_images = client.create_publisher(Image, f'{self.namespace}/goal_image', LATCHED)

    def publish_goal(self, image):
        self.wait_for(self.goal_images.get_subscription_count, 'the controller to listen')
        self.goal_images.publish(image)

    def save(self, name, overwrite=False):
        """Save a goal of what is seen from now on."""
        now = self.client.get_clock().now().to_msg()
        self.wait_for_next(
            'solver_statistics',
            lambda r: (r.image_stamp.sec, r.image_stamp.nanosec) > (now.sec, now.nanosec),
            'a new frame',
        )
        return self.save_at_once(name, overwrite)

    def save_at_once(self, name, overwrite=False):
        return self.call(SaveGoal, 'save_goal', SaveGoal.Request(name=name, overwrite=overwrite))

    def clear_warm_start(self):
        return self.call(Trigger, 'clear_warm_start', Trigger.Request())

    def logged(self, *texts):
        """Wait for a line of the controller that holds all texts."""
        def found():
            lines = self.processes['mpc_node'].log_text().splitlines()
            return any(all(text in line for text in texts) for line in lines)

        self.wait_for(found, f'a line with {texts}')

    def drives(self, condition=lambda report: True):
        """The next report of a tick that drives."""
        return self.wait_for_next(
            'solver_statistics', lambda r: r.status == SolverStatistics.SOLVED and condition(r)
        )

    def wait_until_near(self, place):
        self.wait_for(lambda: math.dist(self.position(), place) < NEAR, 'the robot at the goal')


@pytest.fixture(scope='module')
def robot(tmp_path_factory):
    folder = tmp_path_factory.mktemp('goals')
    with open_client() as client:
        rig = Robot(client, folder)
        try:
            rig.start('sim_node')
            rig.start('gate_node', gate__start_enabled=True)
            rig.goal_images.publish(rig.goal_image(*RIGHT))  # nobody listens yet
            rig.start('mpc_node', goal__folder=str(folder / 'saved'))
            rig.wait_for_status(SolverStatistics.NO_GOAL)
            yield rig
        finally:
            rig.close()
            client.destroy_publisher(rig.goal_images)


@pytest.fixture
def slow(robot):
    """The robot creeps, so that a goal is under way for as long as a test needs it."""
    assert robot.set_parameters('gate_node', gate__speed_scale=0.1) == ['']
    robot.place(*LEFT)
    yield robot
    robot.publish_goal(Image())
    robot.wait_for_status(SolverStatistics.NO_GOAL)
    assert robot.set_parameters('gate_node', gate__speed_scale=1.0) == ['']


def test_a_picture_from_before_the_node_came_up_does_not_move_the_robot(robot):
    robot.wait_for(robot.goal_images.get_subscription_count, 'the controller to listen')
    for _ in range(10):
        report = robot.wait_for_next('solver_statistics')
        assert (report.status, report.goal_id) == (SolverStatistics.NO_GOAL, 0)


def test_a_picture_on_the_topic_is_driven_to_and_the_log_tells_the_end(robot):
    robot.place(*LEFT)
    robot.publish_goal(robot.goal_image(*RIGHT))
    reached = robot.wait_for_status(SolverStatistics.GOAL_REACHED)
    robot.wait_until_near(RIGHT)
    robot.logged(f'goal {reached.goal_id} came by the topic')
    robot.logged(f'goal {reached.goal_id} ended with SUCCESS', 'tolerance')


def test_a_picture_on_the_topic_is_bound_by_the_parameters_as_an_action_goal_is(slow):
    assert slow.set_parameters(goal__timeout_sec=0.5) == ['']
    try:
        slow.publish_goal(slow.goal_image(*RIGHT))
        ended = slow.wait_for_next('solver_statistics', lambda r: 'time limit' in r.status_text)
        assert ended.status == SolverStatistics.NO_GOAL
        slow.logged(f'goal {ended.goal_id} ended with TIMEOUT')
    finally:
        assert slow.set_parameters(goal__timeout_sec=60.0) == ['']


def test_a_goal_that_is_no_good_does_not_disturb_the_one_under_way(slow):
    good = slow.goal_image(*RIGHT)
    slow.send_goal(good)
    under_way = slow.drives().goal_id
    bad = Image(encoding='rgb8', height=1, width=1, step=3, data=b'abc')
    slow.publish_goal(bad)
    slow.logged('goal refused', 'the model needs 64x64')
    for goal, code, reason in (
        ({'image': bad}, Result.BAD_GOAL_IMAGE, 'the model needs 64x64'),
        ({'image': Image()}, Result.BAD_GOAL_IMAGE, 'the goal is empty'),
        ({'image': good, 'name': 'a'}, Result.BAD_GOAL_IMAGE, 'leave one of them empty'),
        ({'image': Image(), 'name': 'nowhere'}, Result.UNKNOWN_GOAL, 'there are: none'),
        ({'image': Image(), 'name': '../a'}, Result.UNKNOWN_GOAL, 'no goal "../a"'),
    ):
        _, result = slow.result(slow.send_goal(**goal))
        assert result.code == code and reason in result.reason, result.reason
        assert slow.wait_for_next('solver_statistics').goal_id == under_way
        assert slow.drives().goal_id == under_way


def test_a_picture_preempts_the_goal_of_a_client_and_one_without_pixels_ends_it(slow):
    image = slow.goal_image(*RIGHT)
    handle = slow.send_goal(image)
    first = slow.drives().goal_id
    slow.publish_goal(image)
    _, result = slow.result(handle)
    assert result.code == Result.PREEMPTED
    second = slow.drives(lambda r: r.goal_id > first).goal_id
    slow.publish_goal(Image())
    ended = slow.wait_for_status(SolverStatistics.NO_GOAL)
    assert ended.goal_id == second
    slow.logged(f'goal {second} ended with CANCELLED')
    assert speed(slow.wait_for_next('action')) == 0.0


def test_what_is_seen_is_saved_and_driven_to_by_its_name(robot):
    robot.place(*RIGHT)
    saved = robot.save('by the door')
    path = robot.folder / 'saved' / 'by the door.png'
    assert saved.success and saved.message == str(path)
    before = path.read_bytes()
    robot.place(*LEFT)
    again = robot.save('by the door')
    assert not again.success and 'overwrite' in again.message
    assert path.read_bytes() == before
    outside = robot.save('../door')
    assert not outside.success and 'no name for a goal' in outside.message
    _, result = robot.result(robot.send_goal(Image(), name='by the door'))
    assert result.code == Result.SUCCESS, result.reason
    robot.wait_until_near(RIGHT)
    robot.place(*LEFT)
    assert robot.save('by the door', overwrite=True).success
    assert path.read_bytes() != before


def grasp_ros(*words):
    """Exit code and output of a command."""
    done = subprocess.run([GRASP_ROS, *words], capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout + done.stderr


def test_where_there_is_no_ros2_the_same_is_done_by_commands(robot):
    def at(place):
        return f'{{x: {place[0]}, y: {place[1]}}}'

    assert grasp_ros('call', '/goals/reset_robot', at(RIGHT)) == (0, 'done\n')
    robot.wait_until_near(RIGHT)
    saved = robot.folder / 'saved' / 'by command.png'
    assert grasp_ros('call', '/goals/save_goal', '{name: by command}') == (0, f'{saved}\n')
    code, output = grasp_ros('call', '/goals/save_goal', '{name: by command}')
    assert code == 1 and 'overwrite' in output
    code, output = grasp_ros('call', '/goals/mpc_node/change_state', '{transition: {id: 300}}')
    assert code == 1 and 'must be a uint8, is 300' in output, output
    robot.place(*LEFT)
    code, output = grasp_ros('drive', 'by command', '--namespace', 'goals')
    assert code == 0 and 'tolerance' in output, output
    robot.wait_until_near(RIGHT)


def test_a_parameter_is_set_by_a_command_or_refused_with_the_reason(robot):
    before = robot.get_parameter('planner.horizon')
    try:
        assert grasp_ros('set', '/goals/mpc_node', 'planner.horizon', '20')[0] == 0
        assert robot.get_parameter('planner.horizon') == 20
        code, output = grasp_ros('set', '/goals/mpc_node', 'planner.horizon', '-3')
        assert code == 1 and 'horizon' in output
        assert robot.get_parameter('planner.horizon') == 20
    finally:
        assert robot.set_parameters(planner__horizon=before) == ['']


def test_an_interrupt_of_the_command_cancels_its_goal(slow):
    slow.save('far')
    slow.place(*RIGHT)
    command = [GRASP_ROS, 'drive', 'far', '--namespace', 'goals']
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        slow.drives()
        assert 'distance' in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=30)
    assert process.returncode == 1 and 'cancelled' in output
    slow.wait_for_status(SolverStatistics.NO_GOAL)


def test_an_old_picture_is_not_saved(robot):
    robot.processes['sim_node'].send_signal(signal.SIGSTOP)
    try:
        robot.wait_for_status(SolverStatistics.STALE_IMAGE)
        stale = robot.save_at_once('stale')
        assert not stale.success and 's old' in stale.message
        assert not (robot.folder / 'saved' / 'stale.png').exists()
    finally:
        robot.processes['sim_node'].send_signal(signal.SIGCONT)
    robot.wait_for_next(
        'solver_statistics', lambda r: r.status != SolverStatistics.STALE_IMAGE
    )


def test_a_warm_start_is_cleared_on_demand_and_the_goal_goes_on(robot):
    robot.place(*LEFT)
    handle = robot.send_goal(robot.goal_image(*RIGHT))
    before = robot.drives(lambda r: r.warm_start_used)
    assert robot.clear_warm_start().success
    after = robot.wait_for_next(
        'solver_statistics',
        lambda r: r.warm_start_drops_cleared == before.warm_start_drops_cleared + 1,
    )
    assert after.warm_start_drop == SolverStatistics.DROP_CLEARED
    assert after.status == SolverStatistics.SOLVED and not after.warm_start_used
    assert after.goal_id == before.goal_id
    _, result = robot.result(handle)
    assert result.code == Result.SUCCESS, result.reason


def test_a_node_that_is_not_active_takes_no_goal_and_saves_none(robot):
    assert robot.change_state(Transition.TRANSITION_DEACTIVATE)
    try:
        for response in (robot.save_at_once('inactive'), robot.clear_warm_start()):
            assert not response.success and 'not active' in response.message
        robot.publish_goal(robot.goal_image(*RIGHT))
        robot.logged('goal refused: the node is not active')
    finally:
        assert robot.change_state(Transition.TRANSITION_ACTIVATE)
    for _ in range(5):
        assert robot.wait_for_next('solver_statistics').status == SolverStatistics.NO_GOAL
