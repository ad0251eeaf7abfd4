# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Push-T: the block moves as it is pushed, is seen, is sought, and decides who has succeeded."""

import dataclasses
import json

import mujoco
import numpy as np
import pytest
import torch
from click.testing import CliRunner

from grasp_ros.cli import main
from grasp_ros.sim.mjcf import to_mjcf
from grasp_ros.sim.scoring import NEAR, NEAR_ANGLE, distance, is_near
from grasp_ros.sim.sdf import UnsupportedSceneError, to_sdf
from grasp_ros.sim.world import DiscWorld, WorldInputError
from grasp_ros.sim.worlds import make, push_t, two_rooms
from grasp_ros.training.dataset import collect
from grasp_ros.training.tasks import PUSH_STEPS, episode_tasks, make_world, shortest_ticks
from grasp_ros.world_models.jepa import ColourEncoder

UPRIGHT = (0.5, 0.5, 0.0)  # its bar on top, the end of its stem at y = 0.5 - 0.158


@pytest.fixture
def world():
    return make('push_t')


def push(world, start, action, steps):
    """Where the block is, from upright, after steps of an action from a start."""
    world.reset(options={'start': (*start, *UPRIGHT)})
    for _ in range(steps):
        world.step(action)
    return world.state[2:]


def test_a_block_has_its_origin_in_the_centre_of_its_area_and_turns_about_it():
    block = push_t().block
    parts = [(np.array(part.low), np.array(part.high)) for part in block.parts]
    areas = np.array([np.prod(high - low) for low, high in parts])
    middles = np.array([(low + high) / 2 for low, high in parts])
    assert np.allclose(areas @ middles, 0, atol=1e-12)
    assert block.area == pytest.approx(areas.sum())
    model = mujoco.MjModel.from_xml_string(to_mjcf(push_t()))
    assert model.body('block').mass[0] == pytest.approx(block.mass)
    assert model.body('block').inertia.max() == pytest.approx(block.inertia)
    assert np.allclose(model.body('block').ipos[:2], 0, atol=1e-6)


def test_a_push_through_the_middle_moves_the_block_straight_on_and_it_stops_at_once(world):
    pose = push(world, (0.5, 0.29), (0.0, 0.3), 10)
    assert abs(pose[0] - 0.5) < 1e-3 and abs(pose[2]) < 1e-3
    assert 0.24 < pose[1] - 0.5 < 0.3  # 0.3 m less the way to the block
    assert np.linalg.norm(world.position - pose[:2]) == pytest.approx(0.2, abs=0.01)
    world.step((0.0, 0.0))
    stopped = world.state
    world.step((0.0, 0.0))
    assert np.allclose(world.state, stopped, atol=1e-5)


def test_a_push_off_the_middle_turns_the_block(world):
    left, right = (push(world, (x, 0.45), (0.0, 0.3), 5) for x in (0.4, 0.6))
    assert left[2] < -0.3 and right[2] > 0.3
    assert np.allclose(left, [1 - right[0], right[1], -right[2]], atol=1e-3)


def test_a_block_that_nobody_touches_stays_where_it_is(world):
    world.reset(options={'start': (0.1, 0.1, *UPRIGHT)})
    for action in np.random.default_rng(0).uniform(-0.3, 0.05, (30, 2)):
        world.step(action)
    assert np.allclose(world.state[2:], UPRIGHT, atol=1e-12)


def test_a_wall_stops_a_block_and_the_robot_behind_it(world):
    world.reset(options={'start': (0.5, 0.1, 0.5, 0.7, 0.0)})
    for _ in range(60):
        world.step((0.0, 0.3))
        assert world.is_free(*world.position) and world.block_geometry.fits(world.state[2:])
    assert world.state[3] == pytest.approx(1 - 0.0814, abs=0.005)
    resting = world.state
    world.step((0.0, 0.3))
    assert np.allclose(world.state, resting, atol=1e-3)


def test_contacts_stay_calm_whatever_is_pushed_against_what():
    world, rng = make('push_t'), np.random.default_rng(0)
    moved = 0
    for seed in range(40):
        world.reset(seed=seed)
        for step in range(40):
            if step % 8 == 0:
                way = world.state[2:4] + rng.normal(0, 0.06, 2) - world.position
                world.drive(0.3 * way / np.abs(way).max())
            before = world.state
            world.advance(0.1)
            after = world.state
            assert world.is_free(*world.position) and world.block_geometry.fits(after[2:])
            way = np.linalg.norm(after[2:4] - before[2:4])
            assert way < 0.06  # the robot itself goes 0.042 at most; a turn adds to it
            moved += way > 0.002
    assert moved > 400


def test_picture_shows_robot_and_block_where_they_are_to_be(world):
    world.reset(options={'start': (0.2, 0.2, *UPRIGHT)})
    before = world.render()
    goal = world.render_at(0.8, 0.3, 0.4, 0.6, 1.0)
    assert np.array_equal(world.render(), before) and not np.array_equal(goal, before)
    red, green, blue = np.moveaxis(goal.astype(int), -1, 0)
    shown = blue - red > 60, green - np.maximum(red, blue) > 40
    for part, pixels in zip(world.scene.block.parts, shown):
        middle = np.add(part.low, part.high)[1] / 2  # along the block's own y
        place = world.to_pixel(0.4 - np.sin(1.0) * middle, 0.6 + np.cos(1.0) * middle)
        rows, columns = np.nonzero(pixels)
        seen = columns.mean() + 0.5, rows.mean() + 0.5
        assert np.linalg.norm(np.subtract(seen, place)) < 0.6
    assert np.array_equal(world.render_at(0.8, 0.3), world.render_at(0.8, 0.3, *UPRIGHT))
    world.reset(options={'start': (0.8, 0.3, 0.4, 0.6, 1.0)})
    assert np.array_equal(world.render(), goal)


@pytest.mark.parametrize('start', [
    (0.5, 0.5, *UPRIGHT), (0.5, 0.56, *UPRIGHT), (0.1, 0.1, 0.5, 0.05, 0.0),
    (0.1, 0.1, 1.4, 0.5, 0.0), (0.1, 0.1, 0.5, 0.5), (0.1, 0.1, 0.5, 0.5, float('nan')),
    (0.01, 0.1, *UPRIGHT),
])
def test_a_start_that_is_not_free_is_refused_and_changes_nothing(world, start):
    world.reset(options={'start': (0.1, 0.1, *UPRIGHT)})
    for call in (lambda: world.reset(options={'start': start}), lambda: world.render_at(*start)):
        with pytest.raises(WorldInputError):
            call()
    assert np.array_equal(world.state, (0.1, 0.1, *UPRIGHT))


def test_a_block_that_is_not_placed_lies_anywhere_but_on_the_robot(world):
    poses = []
    for seed in range(60):
        world.reset(seed=seed, options={'start': (0.5, 0.5)})
        assert np.array_equal(world.position, (0.5, 0.5)) and world.is_free(0.5, 0.5)
        poses.append(world.state[2:])
    poses = np.array(poses)
    assert (np.abs(poses[:, 2]) > 2).any() and (np.ptp(poses[:, :2], axis=0) > 0.6).all()
    world.reset(seed=0, options={'start': (0.5, 0.5)})
    assert np.array_equal(world.state[2:], poses[0])


def test_a_kick_ends_at_the_block(world):
    world.reset(options={'start': (0.5, 0.1, *UPRIGHT)})
    world.kick((0.0, 0.8), (0.0, 0.0))
    end = 0.5 - (0.06 * 4 - 0.06 * 6 / 7 - 0.03) - 0.04
    assert world.position[1] == pytest.approx(end, abs=1e-4)
    assert np.array_equal(world.state[2:], UPRIGHT) and world.is_free(*world.position)


def test_a_world_of_one_room_has_no_goal_in_another(world):
    for call in (world.sample_task, lambda rng: world.sample_goal(rng, start=(0.5, 0.5))):
        with pytest.raises(WorldInputError, match='one room'):
            call(np.random.default_rng(0))


def test_the_block_alone_decides_and_its_turn_counts():
    scene, goal = push_t(), (0.5, 0.5, 0.3, 0.3, np.pi - 0.1)
    for state, near in [
        ((0.9, 0.1, 0.3, 0.3, np.pi - 0.1), True),
        ((0.5, 0.5, 0.3 + 0.9 * NEAR, 0.3, np.pi - 0.1), True),
        ((0.5, 0.5, 0.3 + 1.1 * NEAR, 0.3, np.pi - 0.1), False),
        ((0.5, 0.5, 0.3, 0.3, -np.pi - 0.1 + 0.9 * NEAR_ANGLE), True),
        ((0.5, 0.5, 0.3, 0.3, -np.pi - 0.1 + 1.1 * NEAR_ANGLE), False),
    ]:
        assert is_near(scene, state, goal) is near
    assert distance(np.zeros((3, 4, 5)), np.zeros(5)).shape == (3, 4)
    assert distance((0.1, 0.5), (0.4, 0.9)) == pytest.approx(0.5)


def test_goals_come_from_pushes_that_moved_the_block_and_can_be_drawn():
    world = make_world('push_t')
    tasks = episode_tasks('push_t', episodes=20, seed=3)
    assert tasks == episode_tasks('push_t', episodes=20, seed=3)
    assert tasks[:5] == episode_tasks('push_t', episodes=5, seed=3)
    assert tasks != episode_tasks('push_t', episodes=20, seed=4)
    for episode in tasks:
        task = episode.task
        assert distance(task.start, task.goal) >= 2 * NEAR  # so standing still never succeeds
        assert not episode.held_out
        assert 0.1 < shortest_ticks(world, task.path_length, 0.1) / PUSH_STEPS < 1.5
        world.reset(options={'start': task.start})
        assert not np.array_equal(world.render(), world.render_at(*task.goal))
    ways = np.array([np.subtract(e.task.goal, e.task.start)[2:4] for e in tasks])
    assert np.median(np.linalg.norm(ways, axis=1)) > 0.08


def test_training_data_push_the_block_about_everywhere():
    walks = collect(make('push_t'), walks=30, length=60, seed=0)
    again = collect(make('push_t'), walks=2, length=60, seed=0)
    assert np.array_equal(walks.images[:2], again.images)
    assert walks.blocks.shape == (30, 60, 3) and walks.states.shape == (30, 60, 5)
    moved = np.linalg.norm(np.diff(walks.blocks[..., :2], axis=1), axis=-1) > 0.002
    assert 0.3 < moved.mean() < 0.7
    assert moved.any(axis=1).all()
    assert (np.ptp(walks.blocks[..., :2].reshape(-1, 2), axis=0) > 0.6).all()
    assert np.abs(walks.actions).max() == np.float32(0.3)
    arms = walks.points[..., 4:] - walks.points[..., 2:4]
    assert np.allclose(np.arctan2(arms[..., 1], arms[..., 0]), walks.blocks[..., 2], atol=1e-4)


def test_a_world_without_a_block_has_none_in_its_data():
    walks = collect(make('two_rooms'), walks=2, length=5, seed=0)
    assert walks.blocks.shape == (2, 5, 0) and np.array_equal(walks.points, walks.positions)


def test_gazebo_is_refused_a_block_with_the_reason():
    with pytest.raises(UnsupportedSceneError, match='block'):
        to_sdf(push_t())
    result = CliRunner().invoke(main, ['world', 'push_t'])
    assert result.exit_code == 1 and 'block' in result.output
    assert CliRunner().invoke(main, ['world', 'push_t', '--format', 'mjcf']).exit_code == 0


def test_any_scene_may_have_a_block():
    world = DiscWorld(scene=dataclasses.replace(two_rooms(), block=push_t().block))
    world.reset(options={'start': (0.1, 0.5, 0.3, 0.5, 0.0)})
    for _ in range(60):
        world.step((0.3, 0.0))
        assert world.block_geometry.fits(world.state[2:])
    assert world.state[2] < 0.48  # the inner wall stops it
    assert json.dumps(world.scene.to_dict())


def test_the_encoder_of_colours_tells_place_and_turn_before_it_has_learned_anything():
    torch.manual_seed(0)
    encoder, world = ColourEncoder(size=64, colours=8).train(), make('push_t')
    images, states = [], []
    for seed in range(300):
        images.append(world.reset(seed=seed)[0]['image'])
        states.append(world.state)
    with torch.no_grad():
        features = encoder(torch.from_numpy(np.stack(images))).double().numpy()
    places, yaw = np.array(states)[:, :4], np.array(states)[:, 4:]
    wanted = np.concatenate([places, np.cos(yaw), np.sin(yaw)], axis=1)
    known = np.concatenate([features, np.ones((300, 1))], axis=1)
    weights = np.linalg.lstsq(known[:200], wanted[:200], rcond=None)[0]
    missed = (known @ weights - wanted)[200:].var(axis=0) / wanted[200:].var(axis=0)
    assert (missed < 0.1).all()
