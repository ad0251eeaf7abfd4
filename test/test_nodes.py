# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The real nodes as processes over DDS: what a user sees of them when nothing goes wrong."""

import math
import signal
from pathlib import Path

import pytest

pytest.importorskip('grasp_ros.msg', reason='no messages: GRASP_ROS_MESSAGES=1 pip install .[ros]')
pytest.importorskip('mujoco', reason='no embedded world: pip install .[sim]')
from action_msgs.msg import GoalStatus
from geometry_msgs.msg import TwistStamped
from grasp_ros.msg import SolverStatistics
from nav_msgs.msg import Path as PathMessage
from rclpy.utilities import get_rmw_implementation_identifier
from sensor_msgs.msg import JointState
from trajectory_msgs.msg import JointTrajectory, MultiDOFJointTrajectory

from grasp_ros.node import messages
from grasp_ros.node.processes import NodeProcess
from grasp_ros.reliability.rig import Result, Rig, RigError, open_client, speed
from grasp_ros.reliability.watcher import DRIVING

pytestmark = pytest.mark.processes

LEFT, RIGHT = (0.25, 0.3), (0.75, 0.3)
NEAR = 0.05  # of the world's width


@pytest.fixture(scope='module')
def client():
    with open_client() as node:
        yield node


def started(rig):
    """A robot in its world, armed, its controller active; its nodes end with the fixture."""
    try:
        rig.start('sim_node')
        rig.start('gate_node', gate__start_enabled=True)
        rig.start('mpc_node')
        rig.wait_for_status(SolverStatistics.NO_GOAL)
        yield rig
    finally:
        rig.close()


@pytest.fixture(scope='module')
def one(client, tmp_path_factory):
    # As a user's nodes, with the shared memory that our own processes keep off.
    reach = {'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST'}
    yield from started(Rig(client, '/one', tmp_path_factory.mktemp('one'), **reach))


@pytest.fixture
def two(client, tmp_path):
    """A second robot, with the defaults of ROS: unchecked fields."""
    yield from started(Rig(client, '/two', tmp_path, ROS_PYTHON_CHECK_FIELDS='0'))


@pytest.fixture
def four(client, tmp_path):
    """A robot for a world of the test's own."""
    rig = Rig(client, '/four', tmp_path)
    try:
        yield rig
    finally:
        rig.close()


def drive_off(rig):
    """Send a goal in the other room and wait until the robot moves."""
    rig.place(*LEFT)
    handle = rig.send_goal(rig.goal_image(*RIGHT))
    assert handle.accepted
    rig.wait_for_next('cmd_vel', lambda message: speed(message) > 0.05, 'motion')
    return handle


def test_reaches_a_goal_in_the_other_room(one):
    one.place(*LEFT)
    one.heard['solver_statistics'].clear()
    feedback = []
    handle = one.send_goal(one.goal_image(*RIGHT), feedback=lambda f: feedback.append(f.feedback))
    status, result = one.result(handle)
    assert status == GoalStatus.STATUS_SUCCEEDED and result.code == Result.SUCCESS, result.reason
    one.wait_for_status(SolverStatistics.GOAL_REACHED)
    one.wait_for(lambda: math.dist(one.position(), RIGHT) < NEAR, 'the robot at the goal')
    assert result.final_distance < feedback[-1].goal_tolerance
    assert result.ticks > 10 and len(feedback) > 10
    assert feedback[-1].goal_distance < feedback[0].goal_distance
    assert {report.status for report in feedback} <= set(DRIVING)


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
        # None where the plan before was kept, because a solve would have been late.
        assert report.horizon == 40 and (report.iterations > 0 or report.warm_start_used)
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


def test_what_cannot_change_while_it_runs_may_be_set_to_what_it_is(one):
    # As `ros2 param load` of a dump does.
    assert one.set_parameters(model__path='two_rooms') == ['']
    (reason,) = one.set_parameters(model__path='two_rooms_no_metric')
    assert reason == 'model.path cannot change while configured: clean the node up first'


def test_a_controller_that_has_ended_is_not_seen_any_more(client, tmp_path):
    rig = Rig(client, '/gone', tmp_path)
    seen = ('mpc_node', '/gone')
    process = rig.start('mpc_node', autostart=False)
    try:
        rig.wait_for(lambda: seen in client.get_node_names_and_namespaces(), 'the node')
        assert rig.state() == 'unconfigured'
        # What is executed is named by who starts a node, and by nobody who can reach it.
        (reason,) = rig.set_parameters(model__path='python:os:getcwd')
        assert 'only who starts the node may name it' in reason
        assert rig.set_parameters(model__path='two_rooms_no_metric') == ['']
        assert process.stop() == 0
        # Well before its lease ends, after 20 s.
        rig.wait_for(
            lambda: seen not in client.get_node_names_and_namespaces(), 'it to go', limit_sec=8.0
        )
    finally:
        rig.close()


def test_the_gate_is_off_the_memory_that_it_would_share_with_the_controller(one):
    def shares_memory(node):
        maps = Path(f'/proc/{one.processes[node].pid}/maps').read_text(encoding='utf-8')
        return '/dev/shm/fastdds' in maps

    if get_rmw_implementation_identifier().startswith('rmw_fastrtps'):
        assert shares_memory('mpc_node')  # or this would test nothing
    assert not shares_memory('gate_node')


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


def test_who_listens_sees_where_the_plan_leads_and_a_robot_that_is_told_ahead_gets_it(one, client):
    """A second gate, for a robot that carries out trajectories, hears the same controller."""
    heard = {'plan_path': [], 'planned_actions': [], 'arm': []}
    kinds = (PathMessage, MultiDOFJointTrajectory, JointTrajectory)
    subscriptions = [
        client.create_subscription(kind, f'/one/{topic}', lambda m, t=topic: heard[t].append(m), 1)
        for topic, kind in zip(heard, kinds)
    ]
    one.processes['arm'] = NodeProcess(
        'gate_node', log=one.folder / 'arm.log', env=one.env, namespace='/one',
        parameters={
            'gate.start_enabled': True, 'gate.output_type': 'JointTrajectory',
            'gate.output_joints': ['x', 'y'], 'gate.output_fields': ['linear.x', 'linear.y'],
        },
        remap={'__node': 'arm', 'cmd_vel': 'arm', 'enable': 'arm/enable',
               'gate_status': 'arm/status'},
    )  # fmt: skip

    def has_a_plan():
        """Whether some trajectory has the commands of some plan, one after the other."""
        plans = [messages.read_commands(plan)[0] for plan in heard['planned_actions']]
        first = [{command[:2] for command in plan[:3]} for plan in plans]
        told = [{tuple(p.velocities) for p in trajectory.points} for trajectory in heard['arm']]
        return any(len(some) > 1 and some <= points for some in first for points in told)

    joints = client.create_publisher(JointState, '/one/joint_states', 1)
    seen = JointState(name=['x', 'y'], position=[0.0, 0.0])
    timer = client.create_timer(0.05, lambda: joints.publish(seen))
    try:
        one.wait_for(lambda: heard['arm'], 'the second gate, which has seen the joints')
        handle = drive_off(one)
        one.wait_for(has_a_plan, 'a trajectory with a plan in it')
        assert all(not any(message.points[-1].velocities) for message in heard['arm'])
        one.wait_for(lambda: heard['plan_path'], 'a path')
        path = heard['plan_path'][0]
        assert path.header.frame_id == 'world' and len(path.poses) == 40
        first = path.poses[0].pose.position
        assert math.dist((first.x, first.y), LEFT) < 0.2
        one.result_of(handle.cancel_goal_async(), 'the answer to a cancel')
        one.result(handle)
    finally:
        one.processes.pop('arm').stop()
        client.destroy_timer(timer)
        client.destroy_publisher(joints)
        for subscription in subscriptions:
            client.destroy_subscription(subscription)


def test_compressed_pictures_under_another_name_lead_to_the_goal(four):
    four.start('gate_node', gate__start_enabled=True)
    for node in ('sim_node', 'mpc_node'):
        four.processes[node] = NodeProcess(
            node, log=four.folder / f'{node}.log', env=four.env, namespace=four.namespace,
            parameters={'image_transport': 'compressed'}, remap={'image_raw': 'front/image'},
        )  # fmt: skip
    four.wait_for_status(SolverStatistics.NO_GOAL)
    name, listeners = f'{four.namespace}/front/image', four.client.count_subscribers
    four.wait_for(lambda: listeners(f'{name}/compressed') == 1, 'the controller to listen')
    assert listeners(name) == 0
    four.place(*LEFT)
    result = four.drive(*RIGHT)
    assert result.code == Result.SUCCESS, result.reason
    four.wait_for(lambda: math.dist(four.position(), RIGHT) < NEAR, 'the robot at the goal')


def test_another_world_is_driven_in_the_layout_that_was_asked_for(four):
    four.start('sim_node', sim__world='staggered_walls', sim__layout=7)  # gaps 1 and 2 of 0 to 4
    four.place(1 / 3, 0.3)
    four.place(2 / 3, 0.5)
    with pytest.raises(RigError, match='not free'):
        four.goal_image(1 / 3, 0.5)
    four.wait_for(lambda: math.dist(four.position(), (2 / 3, 0.5)) < 1e-3, 'the robot in a gap')
    assert four.processes['sim_node'].stop(signal.SIGTERM) == 0


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
    assert four.processes['sim_node'].stop(signal.SIGINT) == 0
    four.client.destroy_publisher(publisher)


def test_two_robots_side_by_side(one, two):
    one.place(*LEFT)
    two.place(*RIGHT)
    handles = {
        one: one.send_goal(one.goal_image(*RIGHT)),
        two: two.send_goal(two.goal_image(*LEFT)),
    }
    for rig, handle in handles.items():
        _, result = rig.result(handle)
        assert result.code == Result.SUCCESS, result.reason
    one.wait_for(lambda: math.dist(one.position(), RIGHT) < NEAR, 'the robot at the goal')
    two.wait_for(lambda: math.dist(two.position(), LEFT) < NEAR, 'the robot at the goal')


