# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The real nodes as processes over DDS: what a user sees of them, in good times and in bad."""

import math
import signal
import subprocess
import sys
import time

import pytest

pytest.importorskip('grasp_ros.msg', reason='no messages: GRASP_ROS_MESSAGES=1 pip install .[ros]')
pytest.importorskip('mujoco', reason='no embedded world: pip install .[sim]')
from action_msgs.msg import GoalStatus
from geometry_msgs.msg import TwistStamped
from grasp_ros.msg import GateStatus, SolverStatistics
from lifecycle_msgs.msg import Transition
from rclpy.qos import qos_profile_sensor_data
from rclpy.time import Time
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image

from grasp_ros.reliability.rig import LIMIT_SEC, Result, Rig, RigError, open_client, speed

LEFT, RIGHT = (0.25, 0.3), (0.75, 0.3)
NEAR = 0.05  # of the world's width


@pytest.fixture(scope='module')
def client():
    with open_client() as node:
        yield node


@pytest.fixture(scope='module')
def one(client, tmp_path_factory):
    """A robot in its world, armed, its controller active."""
    rig = Rig(client, '/one', tmp_path_factory.mktemp('one'))
    try:
        rig.start('sim_node')
        rig.start('gate_node', gate__start_enabled=True)
        rig.start('mpc_node')
        rig.wait_for_status(SolverStatistics.NO_GOAL)
        yield rig
    finally:
        rig.close()


@pytest.fixture(scope='module')
def two(client, tmp_path_factory):
    """A second robot, with the defaults of ROS: unchecked fields; at first it has no world."""
    rig = Rig(client, '/two', tmp_path_factory.mktemp('two'), ROS_PYTHON_CHECK_FIELDS='0')
    try:
        rig.start('gate_node')
        rig.start('mpc_node', autostart=False, model__path='/no/such/model')
        yield rig
    finally:
        rig.close()


@pytest.fixture
def four(client, tmp_path):
    """A robot for a world of the test's own."""
    rig = Rig(client, '/four', tmp_path)
    try:
        yield rig
    finally:
        rig.close()


@pytest.mark.parametrize('node', ['mpc_node', 'gate_node', 'sim_node'])
def test_without_messages_the_error_names_the_command_that_builds_them(node):
    code = f'import sys; sys.modules["grasp_ros.msg"] = None; import grasp_ros.node.{node}'
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert done.returncode == 1
    assert 'GRASP_ROS_MESSAGES=1' in done.stderr and 'colcon build' in done.stderr


def drive_off(rig):
    """Send a goal in the other room and wait until the robot moves."""
    rig.place(*LEFT)
    handle = rig.send_goal(rig.goal_image(*RIGHT))
    assert handle.accepted
    rig.wait_for_next('cmd_vel', lambda message: speed(message) > 0.05, 'motion')
    return handle


def activate(rig):
    """Bring the controller up from wherever it is."""
    if rig.state() == 'unconfigured':
        assert rig.set_parameters(model__path='two_rooms') == ['']
        assert rig.change_state(Transition.TRANSITION_CONFIGURE)
    if rig.state() == 'inactive':
        assert rig.change_state(Transition.TRANSITION_ACTIVATE)


def bring_up(rig):
    """Start what does not run, arm the gate, wait until the robot can drive."""
    for node in ('sim_node', 'gate_node', 'mpc_node'):
        if node not in rig.processes or not rig.processes[node].is_running:
            rig.start(node)
    activate(rig)
    waiting = (SolverStatistics.NO_GOAL, SolverStatistics.GOAL_REACHED)
    rig.wait_for_next('solver_statistics', lambda r: r.status in waiting, 'a goal to be wanted')
    assert rig.enable()


def test_reaches_a_goal_in_the_other_room(one):
    one.place(*LEFT)
    one.heard['solver_statistics'].clear()
    feedback = []
    handle = one.send_goal(one.goal_image(*RIGHT), feedback=lambda f: feedback.append(f.feedback))
    status, result = one.result(handle)
    assert status == GoalStatus.STATUS_SUCCEEDED and result.code == Result.SUCCESS, result.reason
    one.wait_for_status(SolverStatistics.GOAL_REACHED)
    assert math.dist(one.position(), RIGHT) < NEAR
    assert result.final_distance < feedback[-1].goal_tolerance
    assert result.ticks > 10 and len(feedback) > 10
    assert feedback[-1].goal_distance < feedback[0].goal_distance


def test_every_tick_reports_what_it_did(one):
    handle = drive_off(one)
    one.heard['solver_statistics'].clear()
    one.heard['action'].clear()
    one.result(handle)
    reports, actions = one.heard['solver_statistics'], one.heard['action']
    numbers = [report.tick for report in reports]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    solved = [r for r in reports if r.status == SolverStatistics.SOLVED]
    for report in solved:
        assert report.horizon == 40 and report.iterations > 0
        assert report.warm_start_used == (report.shift_steps != SolverStatistics.SHIFT_COLD)
        assert 0 < report.encode_sec + report.solve_sec < report.tick_sec
        assert math.isfinite(report.cost) and math.isfinite(report.goal_distance)
        assert 0 <= report.image_age_sec < report.image_to_action_sec
    assert sum(not report.warm_start_used for report in solved) <= 1  # the first of the goal
    sent = {(a.header.stamp.sec, a.header.stamp.nanosec) for a in actions}
    told = {(r.header.stamp.sec, r.header.stamp.nanosec) for r in reports}
    assert len(sent & told) >= len(told) - 2  # the first and the last may be cut


def test_plans_made_ahead_leave_the_frame_only_a_correction(one):
    assert one.set_parameters(control__schedule='ahead') == ['']
    try:
        handle = drive_off(one)
        one.wait_for_next('solver_statistics', lambda r: r.prepare_sec > 0, 'a prepared plan')
        told = one.heard['solver_statistics']
        _, result = one.result(handle)
        assert result.code == Result.SUCCESS, result.reason
        solved = [r for r in told if r.status == SolverStatistics.SOLVED]
        prepared = [report for report in solved if report.prepare_sec > 0]
        assert prepared
        for report in prepared:
            assert report.iterations > 0 and report.shift_steps == 1
            assert 0 < report.encode_sec + report.solve_sec < report.tick_sec
            assert report.encode_sec + report.solve_sec < report.image_to_action_sec
    finally:
        assert one.set_parameters(control__schedule='after_frame') == ['']


def test_parameters_have_their_effect_while_it_runs(one):
    one.place(*LEFT)
    assert one.enable(False)  # the robot stays where it is, so all frames are the same
    try:
        # With the whole period for it, the deadline does not cut any solve in here.
        assert one.set_parameters(control__deadline_sec=0.1, goal__no_progress_sec=0.0) == ['', '']
        handle = one.send_goal(one.goal_image(*RIGHT))
        for horizon in (12, 20):
            assert one.set_parameters(planner__horizon=horizon) == ['']
            plan = one.wait_for_next('plan', lambda p, n=horizon: p.horizon == n, 'a new horizon')
            assert len(plan.actions) == 2 * horizon and len(plan.path) == horizon
        for iterations in (2, 5):
            assert one.set_parameters(planner__iterations=iterations) == ['']
            one.wait_for_next(
                'solver_statistics', lambda r, n=iterations: r.iterations == n, 'new iterations'
            )
        # Without a warm start, equal frames and nothing random make equal plans.
        assert one.set_parameters(
            control__warm_start='none', planner__noise_scale=0.0, planner__samples=0
        ) == ['', '', '']
        one.wait_for(lambda: plans_differ(one) is False, 'equal plans without noise')
        assert one.set_parameters(planner__noise_scale=0.5) == ['']
        one.wait_for(lambda: plans_differ(one) is True, 'different plans with noise')
        one.result_of(handle.cancel_goal_async(), 'the answer to a cancel')
        one.result(handle)
    finally:
        one.set_parameters(
            planner__horizon=40,
            planner__iterations=10,
            planner__noise_scale=0.01,
            planner__samples=32,
            control__warm_start='full',
            control__deadline_sec=0.0,
            goal__no_progress_sec=15.0,
        )
        assert one.enable(True)


def plans_differ(rig, count=4):
    """Whether the actions of the next plans differ from each other; None when only some do."""
    plans = [tuple(rig.wait_for_next('plan').actions) for _ in range(count)]
    different = len(set(plans))
    return {1: False, count: True}.get(different)


@pytest.mark.parametrize(
    ('name', 'value', 'cure'),
    [
        ('planner.noise_scale', 1, 'write 1.0'),
        ('planner.noise_scale', math.nan, '0.0'),
        ('planner.horizon', 0, 'Min: 1'),
        ('planner.name', 'gripper', 'grasp, cem'),
        ('control.deadline_sec', 0.2, 'control period of 0.1 s'),
        ('control.max_action', [0.1], '1 entries given'),
        ('control.rate', 20.0, 'clean the node up first'),
        ('autostart', False, 'read-only'),
        ('no.such.parameter', 1, 'undeclared'),
    ],
)
def test_a_refused_parameter_names_the_cure_and_changes_nothing(one, name, value, cure):
    before = None if name == 'no.such.parameter' else one.get_parameter(name)
    (reason,) = one.set_parameters(**{name.replace('.', '__'): value})
    assert cure in reason
    if before is not None:
        assert one.get_parameter(name) == before
    one.wait_for_next('solver_statistics')


def test_a_bad_goal_image_ends_with_the_reason(one):
    status, result = one.result(one.send_goal(Image(encoding='yuv422', height=1, width=1)))
    assert (status, result.code) == (GoalStatus.STATUS_ABORTED, Result.BAD_GOAL_IMAGE)
    assert 'yuv422' in result.reason
    one.wait_for_status(SolverStatistics.NO_GOAL)


def test_the_gate_scales_the_speed_while_it_runs(one):
    assert one.set_parameters('gate_node', gate__speed_scale=0.1) == ['']
    try:
        one.place(*LEFT)
        handle = one.send_goal(one.goal_image(*RIGHT))
        wanted = one.wait_for_next('action', lambda message: speed(message) > 0.2, 'a fast action')
        sent = one.wait_for_next('cmd_vel', lambda message: speed(message) > 0.0, 'motion')
        assert speed(sent) <= 0.1 * math.hypot(0.3, 0.3) + 1e-6 < speed(wanted)  # float32 limits
        one.result_of(handle.cancel_goal_async(), 'the answer to a cancel')
        one.result(handle)
    finally:
        assert one.set_parameters('gate_node', gate__speed_scale=1.0) == ['']


def test_a_cancelled_goal_stops_the_robot(one):
    handle = drive_off(one)
    one.result_of(handle.cancel_goal_async(), 'the answer to a cancel')
    status, result = one.result(handle)
    assert (status, result.code) == (GoalStatus.STATUS_CANCELED, Result.CANCELLED)
    one.wait_for_status(SolverStatistics.NO_GOAL)
    one.wait_for_next('cmd_vel', lambda message: speed(message) == 0.0, 'a stop')


def test_a_newer_goal_takes_over(one):
    first = drive_off(one)
    second = one.send_goal(one.goal_image(0.25, 0.5))
    status, result = one.result(first)
    assert (status, result.code) == (GoalStatus.STATUS_ABORTED, Result.PREEMPTED)
    status, result = one.result(second)
    assert result.code == Result.SUCCESS, result.reason
    assert math.dist(one.position(), (0.25, 0.5)) < NEAR


def test_goals_that_cannot_be_reached_end_with_their_reason(one):
    one.place(*LEFT)
    assert one.enable(False)
    try:
        image = one.goal_image(*RIGHT)
        status, result = one.result(one.send_goal(image, timeout_sec=0.5))
        assert (status, result.code) == (GoalStatus.STATUS_ABORTED, Result.TIMEOUT)
        assert one.set_parameters(goal__no_progress_sec=0.5) == ['']
        _, result = one.result(one.send_goal(image))
        assert result.code == Result.NO_PROGRESS
    finally:
        one.set_parameters(goal__no_progress_sec=15.0)
        assert one.enable(True)


def test_a_camera_that_stops_stops_the_robot_until_it_returns(one):
    handle = drive_off(one)
    one.processes['sim_node'].send_signal(signal.SIGSTOP)
    try:
        one.wait_for_status(SolverStatistics.STALE_IMAGE)
        assert speed(one.wait_for_next('action')) == 0.0
        one.wait_for_next('cmd_vel', lambda message: speed(message) == 0.0, 'a stop')
    finally:
        one.processes['sim_node'].send_signal(signal.SIGCONT)
    status, result = one.result(handle)
    assert result.code == Result.SUCCESS, result.reason


def test_deactivation_sends_the_safe_command_last(one):
    handle = drive_off(one)
    one.heard['action'].clear()
    assert one.change_state(Transition.TRANSITION_DEACTIVATE)
    _, result = one.result(handle)
    assert result.code == Result.DEACTIVATED
    one.wait_for_next('cmd_vel', lambda message: speed(message) == 0.0, 'a stop')
    actions = one.heard['action']
    one.wait_for(lambda: actions and speed(actions[-1]) == 0.0, 'a last safe action')
    assert not one.send_goal(one.goal_image(*RIGHT)).accepted
    assert one.change_state(Transition.TRANSITION_ACTIVATE)
    one.wait_for_status(SolverStatistics.NO_GOAL)
    assert one.enable()


def test_without_a_model_configure_fails_with_the_reason_and_can_be_repeated(two):
    assert not two.change_state(Transition.TRANSITION_CONFIGURE)
    assert 'no checkpoint at "/no/such/model"' in two.processes['mpc_node'].log_text()
    assert two.set_parameters(model__path='two_rooms_no_metric') == ['']
    assert two.change_state(Transition.TRANSITION_CONFIGURE)
    assert two.change_state(Transition.TRANSITION_CLEANUP)
    assert two.set_parameters(model__path='two_rooms') == ['']
    assert two.change_state(Transition.TRANSITION_CONFIGURE)


def test_without_an_image_the_safe_command_is_sent(two):
    activate(two)
    two.wait_for_status(SolverStatistics.NO_IMAGE)
    for _ in range(3):
        assert speed(two.wait_for_next('action')) == 0.0
    report = two.wait_for_next('solver_statistics')
    assert report.iterations == 0 and math.isnan(report.image_age_sec)


def test_bad_images_are_counted_with_the_reason_and_good_ones_are_taken(two):
    activate(two)
    publisher = two.client.create_publisher(Image, '/two/image_raw', qos_profile_sensor_data)
    two.wait_for(publisher.get_subscription_count, 'the camera subscription')

    def image(stamp_sec=0, **changes):
        message = Image(encoding='rgb8', height=64, width=64, step=192)
        message.data.frombytes(bytes(192 * 64))
        message.header.stamp.sec = stamp_sec
        for name, value in changes.items():
            setattr(message, name, value)
        return message

    bad = {
        'encoding "yuv422"': image(encoding='yuv422'),
        'the model needs 64x64': image(height=32),
        'makes 12288': image(data=b'\x01'),
        'stamped in the future': image(stamp_sec=2**31 - 1),
    }
    for reason, message in bad.items():
        before = two.wait_for_next('solver_statistics').frames_rejected
        publisher.publish(message)
        two.wait_for_next('solver_statistics', lambda r, n=before: r.frames_rejected > n, reason)
        assert reason in two.processes['mpc_node'].log_text()
    publisher.publish(image())  # no stamp: the time of arrival counts
    two.wait_for_status(SolverStatistics.NO_GOAL)
    publisher.publish(image(stamp_sec=1))
    two.wait_for_next('solver_statistics', lambda r: r.frames_rejected == len(bad) + 1)
    two.wait_for_status(SolverStatistics.STALE_IMAGE)
    two.client.destroy_publisher(publisher)


def test_another_world_is_driven_in_the_layout_that_was_asked_for(four):
    four.start('sim_node', sim__world='staggered_walls', sim__layout=7)  # gaps 1 and 2 of 0 to 4
    four.place(1 / 3, 0.3)
    four.place(2 / 3, 0.5)
    with pytest.raises(RigError, match='not free'):
        four.goal_image(1 / 3, 0.5)
    four.wait_for(lambda: math.dist(four.position(), (2 / 3, 0.5)) < 1e-3, 'the robot in a gap')


def test_a_robot_with_inertia_coasts_under_a_zero_command_and_brakes_without_any(four):
    four.start('sim_node', sim__world='inertial_two_rooms')
    four.place(0.2, 0.1)
    publisher = four.client.create_publisher(TwistStamped, f'{four.namespace}/cmd_vel', 1)
    command = TwistStamped()

    def accelerate(by):
        command.twist.linear.y = by
        publisher.publish(command)
        return four.wait_for_next('ground_truth/velocity').twist.linear.y

    four.wait_for(lambda: accelerate(0.3) > 0.15, 'a fast robot')
    assert all(accelerate(0.0) > 0.1 for _ in range(5))
    start = four.position()
    four.wait_for_next('ground_truth/velocity', lambda v: speed(v) < 0.005, 'a stop')
    # Its drag alone would need half a metre for that.
    assert math.dist(four.position(), start) < 0.3
    four.client.destroy_publisher(publisher)


def test_two_robots_side_by_side(one, two):
    bring_up(two)
    one.place(*LEFT)
    two.place(*RIGHT)
    handles = {
        one: one.send_goal(one.goal_image(*RIGHT)),
        two: two.send_goal(two.goal_image(*LEFT)),
    }
    for rig, handle in handles.items():
        _, result = rig.result(handle)
        assert result.code == Result.SUCCESS, result.reason
    assert math.dist(one.position(), RIGHT) < NEAR
    assert math.dist(two.position(), LEFT) < NEAR


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_a_safe_command_and_exit_code_0(two, number):
    bring_up(two)
    ended = drive_off(two).get_result_async()
    actions, commands = two.heard['action'], two.heard['cmd_vel']
    actions.clear()
    assert two.processes['mpc_node'].stop(number) == 0
    response = two.result_of(ended, 'the end of a goal')
    assert response.result.code == Result.DEACTIVATED
    two.wait_for(lambda: actions and speed(actions[-1]) == 0.0, 'a last safe action')
    commands.clear()
    assert two.processes['gate_node'].stop(number) == 0
    told = two.heard['gate_status']
    shutdown = GateStatus.REASON_SHUTDOWN
    two.wait_for(lambda: told and told[-1].reason == shutdown, 'the last status of the gate')
    two.wait_for(lambda: commands and speed(commands[-1]) == 0.0, 'a last safe command')
    gone = f'{two.namespace}/gate_status'
    two.wait_for(lambda: not two.client.count_publishers(gone), 'the end of the gate')
    assert speed(actions[-1]) == speed(commands[-1]) == 0.0 and told[-1].reason == shutdown
    assert two.processes['sim_node'].stop(number) == 0


def test_a_killed_controller_is_stopped_by_the_gate_and_moves_nothing_when_it_is_back(one):
    drive_off(one)
    one.processes['mpc_node'].kill()
    one.wait_for_next('cmd_vel', lambda message: speed(message) == 0.0, 'a stop by the gate')
    one.wait_for_next(
        'gate_status', lambda s: s.reason == GateStatus.REASON_REARM_NEEDED, 'a fault that stays'
    )
    where = one.position()
    one.start('mpc_node')
    one.wait_for_status(SolverStatistics.NO_GOAL)
    handle = one.send_goal(one.goal_image(*RIGHT))
    one.wait_for_next('action', lambda message: speed(message) > 0.05, 'a controller that drives')
    assert speed(one.wait_for_next('cmd_vel')) == 0.0
    assert math.dist(one.position(), where) < 1e-3
    assert one.enable()
    _, result = one.result(handle)
    assert result.code == Result.SUCCESS, result.reason


def test_a_reset_of_simulated_time_is_survived(client, tmp_path):
    rig = Rig(client, '/three', tmp_path)
    clock = client.create_publisher(Clock, '/clock', 10)
    camera = client.create_publisher(Image, '/three/image_raw', qos_profile_sensor_data)
    picture = Image(encoding='rgb8', height=64, width=64, step=192, data=bytes(192 * 64))

    def simulate(status, start_sec):
        """Let simulated time run from a start until the controller has a status since."""
        told = rig.heard['solver_statistics']
        told.clear()
        begin_sec = time.monotonic()

        def has_status():
            now = Time(seconds=start_sec + time.monotonic() - begin_sec).to_msg()
            clock.publish(Clock(clock=now))
            picture.header.stamp = now
            camera.publish(picture)
            # Reports from before a jump may still be on their way.
            since = (r for r in told if abs(r.header.stamp.sec - now.sec) <= LIMIT_SEC)
            return any(report.status == status for report in since)

        rig.wait_for(has_status, f'status {status} from {start_sec} s on')

    try:
        rig.start('mpc_node', use_sim_time=True)
        simulate(SolverStatistics.NO_GOAL, start_sec=100.0)
        simulate(SolverStatistics.NO_GOAL, start_sec=5.0)
        log = rig.processes['mpc_node'].log_text()
        assert log.count('the clock jumped back') == 1
        assert rig.heard['solver_statistics'][-1].image_stamp.sec < 100
    finally:
        rig.close()
        client.destroy_publisher(clock)
        client.destroy_publisher(camera)
