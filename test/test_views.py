# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What the controller publishes beside its action: for whom, in which order, and what it says."""

import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml

pytest.importorskip('grasp_ros.msg', reason='no messages: GRASP_ROS_MESSAGES=1 pip install .[ros]')
from rclpy.clock import Clock
from rclpy.logging import get_logger
from std_msgs.msg import Header

from grasp_ros.control.tick import Tick, TickStatus
from grasp_ros.node import messages, views
from grasp_ros.node.parameters import defaults
from grasp_ros.node.reports import Publishers
from grasp_ros.node.settings import Settings
from grasp_ros.node.tables import MPC
from grasp_ros.node.twists import TwistLayout
from grasp_ros.node.worker import Arrival, Counters, TickReport
from grasp_ros.planners import registry
from grasp_ros.planners.base import Branches, Plan
from grasp_ros.world_models import checkpoint

CONFIG = Path(__file__).resolve().parents[1] / 'config'
STEPS = 5
HAS_CLOUDS = views.point_cloud2 is not None


class Topics:
    """A node whose publishers keep what they are given."""

    def __init__(self, heard):
        self.heard, self.sent, self.names = set(heard), [], []

    def create_lifecycle_publisher(self, kind, topic, profile, **options):
        self.names.append(topic)
        return SimpleNamespace(
            topic=topic,
            publish=lambda message: self.sent.append((topic, message)),
            get_subscription_count=lambda: int(topic in self.heard),
        )

    def destroy_lifecycle_publisher(self, publisher):
        self.names.remove(publisher.topic)

    def get_clock(self):
        return Clock()

    def get_logger(self):
        return get_logger('views')

    def of(self, topic):
        return [message for name, message in self.sent if name == topic]


@pytest.fixture(scope='module')
def model():
    return checkpoint.load('two_rooms')


def published(model, *heard, status=TickStatus.SOLVED, offset=0, planner='grasp'):
    """What a tick makes a node publish that is heard on these topics."""
    node = Topics(heard)
    publishers = Publishers(
        node, model=model, layout=TwistLayout(['linear.x', 'angular.z'], [1.0, -2.0]),
        frame_id='base', world_frame_id='map', frames_received=lambda: 0,
        frames_rejected=lambda: 0,
    )  # fmt: skip
    publishers.open()
    publishers.send(report_of(model, status, offset, planner))
    assert node.names.count('plan') == 1
    publishers.destroy()
    assert not node.names
    return node


def report_of(model, status, offset, planner='grasp'):
    torch.manual_seed(0)
    actions = torch.rand(3, STEPS, 1, 2)
    latents = torch.rand(3, STEPS, *model.card.latent_shape)
    costs = torch.tensor([2.0, math.inf, 1.0])
    plan = Plan(
        actions=actions[2], rollout=latents[2], cost=1.0, iterate_actions=actions[2],
        iterate_states=latents[2], iterations=1, stopped='iterations', source='solve',
        branches=Branches(actions, latents, costs, 1.0, torch.zeros_like(actions[:, 0])),
    )  # fmt: skip
    tick = Tick(actions[2, offset, 0].double().numpy(), status, plan=plan, plan_offset=offset)
    if not status.drives:
        tick = replace(tick, action=np.zeros(2), plan=None)
    arrival = Arrival(SimpleNamespace(stamp_sec=1.0), messages.to_time(1_000_000_000), 0.0)
    settings = Settings.from_values(defaults(MPC) | {'planner.name': planner}, model.card)
    return TickReport(tick, 0.0, 0.0, arrival, 1, False, settings, Counters())


@pytest.mark.parametrize('planner', registry.PLANNERS)
def test_the_statistics_tell_the_horizon_of_every_planner(model, planner):
    (statistics,) = published(model, planner=planner).of('solver_statistics')
    values = {'planner.greedy.horizon': 3} | defaults(MPC)  # greedy has no parameters
    expected = values.get(f'planner.{planner}.horizon', values['planner.horizon'])
    assert (statistics.planner, statistics.horizon) == (planner, expected)


def test_nothing_is_made_for_nobody(model):
    assert [topic for topic, _ in published(model).sent] == ['action', 'solver_statistics']


def test_what_is_planned_goes_before_its_action_and_begins_with_it(model):
    node = published(model, 'planned_actions', status=TickStatus.PREVIOUS_PLAN, offset=2)
    assert [topic for topic, _ in node.sent] == ['planned_actions', 'action', 'solver_statistics']
    (planned,), (action,) = node.of('planned_actions'), node.of('action')
    assert planned.header == action.header and action.header.frame_id == 'base'
    commands, period_sec = messages.read_commands(planned)
    assert commands[0] == messages.command(action)
    assert period_sec == pytest.approx(model.card.control_period_sec)
    plan = report_of(model, TickStatus.SOLVED, 2).tick.plan.actions[2:, 0].tolist()
    assert [(c[0], c[5]) for c in commands] == [pytest.approx((x, -2 * y)) for x, y in plan]


@pytest.mark.parametrize(
    ('status', 'offset'), [(TickStatus.NO_GOAL, 0), (TickStatus.PREVIOUS_PLAN, STEPS - 1)]
)
def test_nothing_is_planned_where_the_robot_stands_or_the_plan_is_at_its_end(
    model, status, offset
):
    assert not published(model, 'planned_actions', status=status, offset=offset).of(
        'planned_actions'
    )


def test_the_path_leads_through_the_places_of_the_plan_in_the_frame_of_the_world(model):
    node = published(model, 'plan', 'plan_path')
    (plan,), (path,) = node.of('plan'), node.of('plan_path')
    assert path.header.frame_id == plan.header.frame_id == 'map'
    places = [(pose.pose.position.x, pose.pose.position.y) for pose in path.poses]
    assert places == [(point.x, point.y) for point in plan.path] and len(places) == STEPS
    started = messages.to_nanoseconds(path.header.stamp)
    step_ns = 1e9 * model.card.model_step_sec
    late = [messages.to_nanoseconds(pose.header.stamp) - started for pose in path.poses]
    assert late == pytest.approx([step_ns * n for n in range(1, STEPS + 1)], abs=10)
    assert {pose.header.frame_id for pose in path.poses} == {'map'}


def test_only_a_new_plan_is_shown(model):
    assert not published(model, 'plan', 'plan_path', status=TickStatus.IN_BLOCK).of('plan_path')


@pytest.mark.skipif(HAS_CLOUDS, reason='sensor_msgs_py is installed')
def test_without_sensor_msgs_py_there_is_no_topic_for_candidates_but_all_others(model):
    node = published(model, 'candidates', 'plan_path')
    assert node.of('plan_path') and not node.of('candidates')


@pytest.mark.skipif(not HAS_CLOUDS, reason='sensor_msgs_py comes with ROS 2 only')
def test_candidates_are_points_with_the_cost_of_their_plan(model):
    (cloud,) = published(model, 'candidates').of('candidates')
    assert cloud.header.frame_id == 'map'
    points = views.point_cloud2.read_points(cloud)
    assert list(points['cost']) == [2.0] * STEPS + [1.0] * STEPS, 'one has no finite cost'
    rollout = report_of(model, TickStatus.SOLVED, 0).tick.plan.rollout
    places = model.position(rollout).detach().numpy()
    assert np.allclose(points['x'][STEPS:], places[:, 0])
    assert np.allclose(points['y'][STEPS:], places[:, 1]) and not points['z'].any()


def test_a_model_without_a_probe_shows_numbers_alone(model, monkeypatch):
    monkeypatch.setattr(model, 'position', lambda latent: None)
    node = published(model, 'plan', 'plan_path', 'candidates')
    assert not node.of('plan_path') and not node.of('candidates')
    (plan,) = node.of('plan')
    assert not plan.path and len(plan.actions) == 2 * STEPS


def test_rviz_is_told_of_topics_that_there_are_in_the_namespace_it_is_started_in(model):
    document = yaml.safe_load((CONFIG / 'mpc.rviz').read_text(encoding='utf-8'))
    manager = document['Visualization Manager']
    displays = {d['Class'].split('/')[-1]: d for d in manager['Displays'] if 'Topic' in d}
    assert {kind: display['Topic']['Value'] for kind, display in displays.items()} == {
        'Image': 'image_raw', 'PointCloud2': 'candidates', 'Path': 'plan_path',
        'Pose': 'ground_truth/pose',
    }  # fmt: skip
    assert displays['Image']['Topic']['Reliability Policy'] == 'Best Effort'
    assert displays['PointCloud2']['Channel Name'] == 'cost'
    assert manager['Global Options']['Fixed Frame'] == defaults(MPC)['world_frame_id']


def test_a_path_keeps_its_header():
    header = Header(stamp=messages.to_time(5), frame_id='map')
    path = views.path(np.array([[1.0, 2.0]]), header, 0.1)
    assert path.header == header and path.poses[0].pose.orientation.w == 1.0
