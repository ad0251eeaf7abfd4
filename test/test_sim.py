# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Every embedded world: what it shows, how it moves, what it refuses."""

import dataclasses
import json
import os
import subprocess
import sys
from heapq import heappop, heappush

import mujoco
import numpy as np
import pytest
import yaml

from grasp_ros.errors import GraspError
from grasp_ros.sim.mjcf import to_mjcf
from grasp_ros.sim.raycast import RayCamera
from grasp_ros.sim.scene import Scene
from grasp_ros.sim.world import DiscWorld, WorldInputError
from grasp_ros.sim.worlds import (
    inertial_two_rooms,
    make,
    point_maze,
    push_t,
    staggered_walls,
    two_rooms,
)

SCENES = [two_rooms(), inertial_two_rooms(), point_maze(), push_t(), staggered_walls(layout=3)]
every_scene = pytest.mark.parametrize('scene', SCENES, ids=lambda scene: scene.name)


@pytest.fixture
def world():
    return make('two_rooms')


def test_imports_neither_torch_nor_ros():
    code = 'import sys, grasp_ros.sim.world; print([m for m in ("torch", "rclpy") ' \
           'if m in sys.modules])'
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True,
                          env=dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path)), check=True)
    assert done.stdout.strip() == '[]'


@every_scene
def test_scene_survives_json_and_yaml(scene):
    assert Scene.from_dict(json.loads(json.dumps(scene.to_dict()))) == scene
    assert Scene.from_dict(yaml.safe_load(yaml.safe_dump(scene.to_dict()))) == scene


def test_scene_refuses_unknown_fields():
    with pytest.raises(TypeError, match='colour_of_sky'):
        Scene.from_dict(two_rooms().to_dict() | {'colour_of_sky': 1})


def test_scene_refuses_an_unknown_drive():
    with pytest.raises(ValueError, match='velocity, acceleration'):
        dataclasses.replace(two_rooms().robot, drive='jerk')


@every_scene
def test_mjcf_has_every_wall_and_the_limits_of_the_scene(scene):
    model = mujoco.MjModel.from_xml_string(to_mjcf(scene))
    for wall in scene.walls:
        geom = model.geom(wall.name)
        assert np.allclose(geom.pos[:2] - geom.size[:2], wall.low)
        assert np.allclose(geom.pos[:2] + geom.size[:2], wall.high)
    assert np.allclose(model.actuator_ctrlrange, [[-0.3, 0.3]] * 2)
    assert model.opt.timestep == scene.physics_step_sec


@pytest.mark.parametrize('size', [64, 97])
@every_scene
def test_fast_picture_is_identical_to_a_full_cast(scene, size):
    model = mujoco.MjModel.from_xml_string(to_mjcf(scene))
    camera = RayCamera(model=model, scene=scene, size=size)
    data, world, rng = mujoco.MjData(model), DiscWorld(scene=scene), np.random.default_rng(3)
    for seed in range(40):
        world.reset(seed=seed, options={'start': world.sample_place(rng)})
        data.qpos[:] = world.state
        mujoco.mj_kinematics(model, data)
        assert np.array_equal(camera.render(data), camera.render_full(data))


def test_robot_appears_where_it_stands_and_stands_out(world):
    for place in [(0.1, 0.1), (0.25, 0.9), (0.9, 0.3), (0.5, 0.7)]:
        image = world.render_at(*place).astype(float)
        redness = np.clip(image[..., 0] - image[..., 2] - 60, 0, None)
        rows, columns = np.indices(redness.shape) + 0.5
        seen = np.array([(redness * columns).sum(), (redness * rows).sum()]) / redness.sum()
        assert np.linalg.norm(seen - world.to_pixel(*place)) < 0.6
        assert 12 < (redness > 0).sum() < 40


def test_picture_is_anti_aliased(world):
    first = world.render_at(0.25, 0.25).astype(int)
    second = world.render_at(0.25 + 0.25 / 64, 0.25).astype(int)
    assert 0 < np.abs(first - second).sum()
    assert len(np.unique(world.render_at(0.3, 0.3).reshape(-1, 3), axis=0)) > 8


def test_picture_in_any_size_has_the_robot_at_the_same_place(world):
    world.reset(options={'start': (0.25, 0.25)})
    small, large = world.render(), world.render(size=256)
    assert small.shape == (64, 64, 3) and large.shape == (256, 256, 3)
    assert small.dtype == large.dtype == np.uint8
    shrunk = large.reshape(64, 4, 64, 4, 3).mean((1, 3))
    assert np.abs(shrunk - small).mean() < 4


def test_goal_picture_does_not_move_the_robot(world):
    world.reset(options={'start': (0.2, 0.2)})
    before = world.render()
    goal = world.render_at(0.8, 0.8)
    assert np.array_equal(world.render(), before) and not np.array_equal(goal, before)
    assert np.array_equal(world.position, [0.2, 0.2])
    world.reset(options={'start': (0.8, 0.8)})
    assert np.array_equal(world.render(), goal)


def test_action_is_a_velocity_in_metres_per_second(world):
    world.reset(options={'start': (0.25, 0.25)})
    for action in [(0.3, 0.0), (0.3, -0.3), (-0.3, 0.1), (0.0, 0.0)]:
        before = world.position
        _, reward, terminated, truncated, info = world.step(action)
        assert np.allclose(info['position'] - before, np.array(action) * 0.1, atol=1e-3)
        assert (reward, terminated, truncated) == (0.0, False, False)
    assert world.time_sec == pytest.approx(0.4)


def test_too_fast_an_action_saturates(world):
    world.reset(options={'start': (0.25, 0.25)})
    world.step((5.0, -5.0))
    assert np.allclose(world.position, [0.28, 0.22], atol=1e-3)


def test_slides_along_a_wall_without_losing_speed(world):
    world.reset(options={'start': (0.42, 0.2)})
    for _ in range(3):
        world.step((0.3, 0.2))
    before = world.position
    world.step((0.3, 0.2))
    moved = world.position - before
    assert abs(moved[0]) < 1e-3 and moved[1] == pytest.approx(0.02, abs=1e-3)


@every_scene
def test_never_enters_a_wall_and_never_tunnels(scene):
    world, rng = DiscWorld(scene=scene), np.random.default_rng(5)
    world.reset(options={'start': (0.2, 0.28)})
    gaps = [door for door in scene.doors if door.high[0] - door.low[0] < 0.1]  # in a thin wall
    rooms = set()
    for tick in range(4000):
        if tick % 10 == 0:
            world.drive(rng.uniform(-0.4, 0.4, 2))
        before = world.position
        world.advance(0.1)
        assert world.is_free(*world.position)
        for door in gaps:
            middle = (door.low[0] + door.high[0]) / 2
            if (before[0] - middle) * (world.position[0] - middle) < 0:
                assert door.low[1] < world.position[1] < door.high[1]
        rooms.add(scene.room_of(*world.position))
    assert {room.name for room in scene.rooms} <= rooms


def test_many_short_advances_are_one_step(world):
    world.reset(options={'start': (0.25, 0.25)})
    world.step((0.3, 0.1))
    whole = world.position
    world.reset(options={'start': (0.25, 0.25)})
    world.drive((0.3, 0.1))
    for _ in range(30):
        world.advance(0.1 / 30)
    assert np.allclose(world.position, whole, atol=1e-9)


def test_same_seed_same_world(world):
    other = make('two_rooms')
    first, second = world.reset(seed=11), other.reset(seed=11)
    assert np.array_equal(first[0]['image'], second[0]['image'])
    for action in np.random.default_rng(0).uniform(-0.3, 0.3, (20, 2)):
        first, second = world.step(action), other.step(action)
        assert np.array_equal(first[0]['image'], second[0]['image'])
        assert np.array_equal(first[4]['position'], second[4]['position'])


@pytest.mark.parametrize('action', [
    (float('nan'), 0.0), (0.0, float('inf')), (0.1,), (0.1, 0.1, 0.1), [[0.1, 0.1]], 'fast', None,
])
def test_bad_action_is_refused_and_changes_nothing(world, action):
    world.reset(options={'start': (0.25, 0.25)})
    world.drive((0.1, 0.0))
    with pytest.raises(WorldInputError):
        world.step(action)
    assert np.array_equal(world.position, [0.25, 0.25])
    world.advance(0.1)
    assert np.allclose(world.position, [0.26, 0.25], atol=1e-3)


@pytest.mark.parametrize('options', [
    {'start': (0.5, 0.3)}, {'start': (0.01, 0.5)}, {'start': (1.5, 0.5)},
    {'start': (float('nan'), 0.5)}, {'start': 3}, {'begin': (0.2, 0.2)},
])
def test_bad_reset_is_refused_and_changes_nothing(world, options):
    world.reset(options={'start': (0.25, 0.25)})
    with pytest.raises(GraspError):
        world.reset(seed=1, options=options)
    assert np.array_equal(world.position, [0.25, 0.25])


@pytest.mark.parametrize('duration', [-0.1, float('nan'), float('inf')])
def test_bad_duration_is_refused(world, duration):
    with pytest.raises(WorldInputError):
        world.advance(duration)


@pytest.mark.parametrize('size', [0, -3, 6.5])
def test_bad_picture_size_is_refused(world, size):
    with pytest.raises(ValueError, match='size'):
        world.render(size=size)


def test_goal_in_a_wall_is_refused_with_its_place(world):
    with pytest.raises(WorldInputError, match=r'0\.500, 0\.300'):
        world.render_at(0.5, 0.3)


def test_shortest_path_is_straight_where_nothing_is_in_the_way(world):
    assert world.path_length((0.1, 0.1), (0.4, 0.5)) == pytest.approx(0.5)
    assert not world.is_blocked((0.1, 0.1), (0.4, 0.5))
    assert world.path_length((0.3, 0.7), (0.7, 0.7)) == pytest.approx(0.4)


def test_shortest_path_goes_through_the_door(world):
    # Symmetric pair below the door: two tangents to the arcs about the jamb's two corners.
    assert world.is_blocked((0.2, 0.2), (0.8, 0.2))
    radius, corner = 0.04, np.array([0.48, 0.6])
    reach = np.linalg.norm(corner - (0.2, 0.2))
    tangent = np.sqrt(reach ** 2 - radius ** 2)
    slope = np.arctan2(0.4, 0.28) + np.arcsin(radius / reach)
    arc = radius * slope
    expected = 2 * (tangent + arc) + 0.04
    assert world.path_length((0.2, 0.2), (0.8, 0.2)) == pytest.approx(expected, rel=2e-3)


@every_scene
def test_shortest_path_agrees_with_a_grid_search(scene):
    world, step, begin = DiscWorld(scene=scene), 0.02, (10, 8)
    side = np.arange(51) * step
    places = np.stack(np.meshgrid(side, side, indexing='ij'), -1)
    moves = [(i, j) for i in range(-3, 4) for j in range(-3, 4) if np.gcd(i, j) == 1]
    ends = [places + step * np.array(move) for move in moves]
    passable = [world.geometry.is_free(places) & world.geometry.is_free(end)
                & ~world.geometry.is_blocked(places, end) for end in ends]
    best, queue = {}, [(0.0, begin)]
    while queue:
        length, cell = heappop(queue)
        if cell not in best:
            best[cell] = length
            for (i, j), open_from in zip(moves, passable):
                if open_from[cell]:
                    heappush(queue, (length + step * np.hypot(i, j), (cell[0] + i, cell[1] + j)))
    cells = [(40, 8), (30, 25), (45, 45), (25, 35), (21, 22), (8, 40)]
    cells = [cell for cell in cells if world.is_free(*places[cell])]
    assert len(cells) > 2
    for cell in cells:
        found = world.path_length(places[begin], places[cell])
        assert found <= best[cell] + 1e-9 and best[cell] <= 1.04 * found


def test_path_lengths_come_in_batches(world):
    rng = np.random.default_rng(0)
    starts = np.array([world.sample_place(rng) for _ in range(20)])
    goals = np.array([world.sample_place(rng) for _ in range(20)])
    together = world.geometry.path_length(starts, goals)
    assert np.allclose(together, [world.path_length(a, b) for a, b in zip(starts, goals)])
    assert (together >= np.linalg.norm(starts - goals, axis=1) - 1e-12).all()


def test_tasks_are_in_opposite_rooms_blocked_and_seeded(world):
    tasks = [world.sample_task(np.random.default_rng(seed)) for seed in range(40)]
    assert tasks[:5] == [world.sample_task(np.random.default_rng(seed)) for seed in range(5)]
    starting_rooms = set()
    for task in tasks:
        rooms = world.scene.room_of(*task.start), world.scene.room_of(*task.goal)
        assert set(rooms) == {'left', 'right'} and world.is_blocked(task.start, task.goal)
        assert task.path_length > np.hypot(*np.subtract(task.start, task.goal))
        starting_rooms.add(rooms[0])
    assert starting_rooms == {'left', 'right'}


def test_a_room_stays_connected_round_its_held_out_band():
    scene = two_rooms()
    for band in scene.held_out:
        room = scene.room(scene.room_of(*band.low))
        for axis in range(2):
            assert band.low[axis] - room.low[axis] > 2 * scene.robot.radius
            assert room.high[axis] - band.high[axis] > 2 * scene.robot.radius


def test_another_scene_gives_another_world():
    scene = dataclasses.replace(two_rooms(), walls=two_rooms().walls[:4])
    assert not DiscWorld(scene=scene).is_blocked((0.2, 0.2), (0.8, 0.2))
