# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The controller's node with a model of two cameras and a joint, which no shipped model has."""

import json

import numpy as np
import pytest
import torch

pytest.importorskip('grasp_ros.msg', reason='no messages: GRASP_ROS_MESSAGES=1 pip install .[ros]')
from geometry_msgs.msg import TwistStamped
from grasp_ros.msg import SolverStatistics
from grasp_ros.srv import SaveGoal
from lifecycle_msgs.msg import Transition
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from sensor_msgs.msg import Image, JointState

from grasp_ros.node.images import fill
from grasp_ros.node.mpc_node import MpcNode
from grasp_ros.node.spin import initialised
from grasp_ros.reliability.rig import Result, Rig
from grasp_ros.world_models import checkpoint
from grasp_ros.world_models.base import (
    ActionSpec,
    CameraSpec,
    LatentModel,
    ModelCard,
    SignalSpec,
)

pytestmark = pytest.mark.processes

RATE_HZ = 30.0
START, GOAL = np.array([0.2, 0.3, -0.4]), np.array([0.6, 0.5, 0.2])
CARD = ModelCard(
    name='arm',
    architecture={'type': 'arm'},
    cameras={name: CameraSpec(height=1, width=2) for name in ('left', 'right')},
    actions=tuple(ActionSpec(f'linear.{axis}', 'm/s', -0.5, 0.5) for axis in 'xyz'),
    latent_shape=(3,),
    model_step_sec=0.1,
    proprioception=(SignalSpec('height', 'm'),),
    latent_scale=0.3,
    goal_tolerance=1e-3,
)


class Arm(LatentModel):
    """One camera sees one coordinate, the other another; the third is that of a joint."""

    def encode(self, observation):
        observation.check(self.card)
        seen = [observation.images[name][:, -1, 0, 0, 0] / 255 for name in ('left', 'right')]
        return torch.stack((*seen, observation.proprioception[:, -1, 0]), dim=1)

    def predict(self, context, actions):
        return context[:, -1] + 0.1 * actions[:, -1, 0]


class Plant:
    """What :class:`Arm` models, on the topics of two cameras and an arm with a gripper."""

    def __init__(self, node):
        self.place = START.copy()
        self.silent = ''
        self._velocity = np.zeros(3)
        self._node = node
        self._publishers = {
            name: node.create_publisher(Image, f'{name}/image_raw', 1) for name in CARD.cameras
        }
        self._joints = node.create_publisher(JointState, 'joint_states', 10)
        self._gripper = node.create_publisher(JointState, 'joint_states', 10)
        node.create_subscription(TwistStamped, 'action', self._follow, 1)
        node.create_timer(1 / RATE_HZ, self._show)

    def _follow(self, message):
        linear = message.twist.linear
        self._velocity = np.array([linear.x, linear.y, linear.z])

    def _show(self):
        self.place += self._velocity / RATE_HZ
        now = self._node.get_clock().now().to_msg()
        for (name, publisher), value in zip(self._publishers.items(), self.place):
            image = Image()
            fill(image, np.full((1, 2, 3), round(255 * value), dtype=np.uint8))
            image.header.stamp = now
            if name != self.silent:
                publisher.publish(image)
        joints = JointState(name=['turn', 'lift'], position=[9.0, self.place[2]])
        gripper = JointState(name=['finger'], position=[9.0])
        joints.header.stamp = gripper.header.stamp = now
        if self.silent != 'joints':
            self._joints.publish(joints)
        self._gripper.publish(gripper)  # must not take the other's place


@pytest.fixture
def rig(tmp_path, monkeypatch):
    monkeypatch.setitem(checkpoint.ARCHITECTURES, 'arm', Arm)
    checkpoint.save(Arm(CARD), tmp_path / 'model')
    parameters = {
        'model.path': tmp_path / 'model',
        'goal.folder': tmp_path / 'saved',
        'proprioception.fields': '[lift/position]',
        'planner.horizon': 10,
    }
    arguments = ['--ros-args', '-r', '__ns:=/arm']
    for name, value in parameters.items():
        arguments += ['-p', f'{name}:={value}']
    with initialised(arguments):
        executor, client, node = SingleThreadedExecutor(), Node('tester'), MpcNode()
        executor.add_node(client)
        executor.add_node(node)
        rig = Rig(client, '/arm', tmp_path)
        rig.plant = Plant(client)
        try:
            yield rig
        finally:
            node.shut_down()
            rig.close()
            executor.shutdown()
            node.destroy_node()
            client.destroy_node()


def test_parameters_that_change_while_it_is_inactive_hold_when_it_is_active_again(rig):
    rig.plant.place = GOAL.copy()
    rig.wait_for_status(SolverStatistics.NO_GOAL)
    assert save(rig, 'up').success
    rig.plant.place = START.copy()
    assert rig.change_state(Transition.TRANSITION_DEACTIVATE)
    assert rig.set_parameters(control__max_action=[0.01] * 3, planner__horizon=7) == ['', '']
    assert rig.change_state(Transition.TRANSITION_ACTIVATE)
    rig.wait_for_status(SolverStatistics.NO_GOAL)
    handle = rig.send_goal(Image(), name='up')
    tick = rig.wait_for_next('solver_statistics', lambda r: r.status == SolverStatistics.SOLVED)
    assert tick.horizon == 7
    action = rig.wait_for_next('action', lambda m: m.twist.linear.x > 0)
    assert action.twist.linear.x <= 0.01 + 1e-6
    plan = rig.wait_for_next('plan')
    assert (plan.horizon, max(plan.actions)) == (7, pytest.approx(0.01))
    rig.result_of(handle.cancel_goal_async(), 'cancelling')


def save(rig, name):
    return rig.call(SaveGoal, 'save_goal', SaveGoal.Request(name=name, overwrite=True))


def test_two_cameras_and_a_joint_lead_to_a_saved_goal_and_all_of_them_are_needed(rig):
    rig.plant.place = GOAL.copy()
    rig.wait_for_status(SolverStatistics.NO_GOAL)
    listened = dict(rig.client.get_subscriber_names_and_types_by_node('mpc_node', '/arm'))
    topics = {'/arm/left/image_raw', '/arm/right/image_raw', '/arm/joint_states'}
    assert topics <= listened.keys() and '/arm/image_raw' not in listened

    response = save(rig, 'up')
    assert response.success and response.message == str(rig.folder / 'saved' / 'up')
    text = (rig.folder / 'saved' / 'up' / 'proprioception.json').read_text()
    assert json.loads(text) == {'height': GOAL[2]}

    _, result = rig.result(rig.send_goal(Image(height=1, width=2)))
    assert result.code == Result.BAD_GOAL_IMAGE and 'goal_name' in result.reason

    rig.plant.place = START.copy()
    _, result = rig.result(rig.send_goal(Image(), name='up'))
    assert result.code == Result.SUCCESS, result.reason
    assert np.abs(rig.plant.place - GOAL).max() < 0.03

    for sensor in ('left', 'right', 'joints'):
        rig.plant.silent = sensor
        rig.wait_for_status(SolverStatistics.STALE_IMAGE)
        assert not save(rig, 'stale').success
        rig.plant.silent = ''
        rig.wait_for_next(
            'solver_statistics', lambda r: r.status != SolverStatistics.STALE_IMAGE
        )
