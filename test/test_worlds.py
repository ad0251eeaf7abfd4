# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What sets the worlds apart: inertia and what stopped means, kicks, names, layouts."""

import numpy as np
import pytest

from grasp_ros.sim.scoring import is_held, is_near, is_stopped
from grasp_ros.sim.world import DiscWorld, WorldInputError
from grasp_ros.sim.worlds import (
    GAP_PLACES,
    LAYOUTS,
    WORLDS,
    UnknownWorldError,
    inertial_two_rooms,
    make,
    point_maze,
    push_t,
    random_door,
    staggered_walls,
    two_rooms,
)

SCENES = [
    two_rooms(), inertial_two_rooms(), point_maze(), push_t(), staggered_walls(layout=3),
    random_door(layout=7),
]
STAGGERED, DOOR = LAYOUTS['staggered_walls'], LAYOUTS['random_door']
every_scene = pytest.mark.parametrize('scene', SCENES, ids=lambda scene: scene.name)


@pytest.fixture
def world():
    return make('two_rooms')


@pytest.fixture
def inertial():
    return make('inertial_two_rooms')


def coast(place, velocity, command, duration_sec, scene):
    """Closed form of v' = command - drag v."""
    drag = scene.robot.drive_rate
    end, left = np.asarray(command) / drag, np.exp(-drag * duration_sec)
    return (place + end * duration_sec + (velocity - end) / drag * (1 - left),
            end + (velocity - end) * left)


def test_acceleration_moves_the_robot_as_the_closed_form_says(inertial):
    inertial.reset(options={'start': (0.1, 0.3)})
    place, velocity = inertial.position, inertial.velocity
    for command in [(0.3, -0.15)] * 6 + [(-0.3, 0.15)] * 6 + [(0.0, 0.0)] * 5:
        inertial.step(command)
        place, velocity = coast(place, velocity, command, 0.2, inertial.scene)
        assert np.allclose(inertial.position, place, atol=1e-3)
        assert np.allclose(inertial.velocity, velocity, atol=1e-3)


def test_too_large_an_acceleration_saturates(inertial):
    inertial.reset(options={'start': (0.25, 0.25)})
    inertial.step((5.0, -5.0))
    assert np.allclose(inertial.velocity, [0.06, -0.06], atol=3e-3)


def test_a_robot_with_inertia_goes_on_without_a_command_and_stops_when_it_brakes(inertial):
    inertial.reset(options={'start': (0.1, 0.25)})
    for _ in range(3):
        inertial.step((0.3, 0.0))
    for _ in range(2):
        inertial.step((0.0, 0.0))
    assert inertial.velocity[0] > 0.14 and not is_stopped(inertial.scene, inertial.velocity)
    while inertial.velocity[0] > 0.05:
        inertial.step((-0.3, 0.0))
    assert is_stopped(inertial.scene, inertial.velocity)


@pytest.mark.parametrize('along', [0.0, 0.3])
def test_wall_stops_a_robot_at_top_speed_without_a_bounce(inertial, along):
    inertial.reset(options={'start': (0.3, 0.2)})
    inertial.drive((0.0, 0.0))
    inertial.kick((0.0, 0.0), (-inertial.scene.robot.top_speed, along))
    for _ in range(500):
        before = inertial.velocity
        inertial.advance(0.002)
        assert inertial.is_free(*inertial.position)
        assert inertial.velocity[0] < 0.01
        assert inertial.velocity[1] == pytest.approx(before[1] * (1 - 0.3 * 0.002), abs=1e-5)
    assert abs(inertial.velocity[0]) < 0.01 and inertial.position[0] < 0.06


@every_scene
def test_reset_puts_the_robot_at_rest(scene):
    world = DiscWorld(scene=scene)
    world.drive((0.3, 0.3))
    world.advance(0.3)
    world.reset(options={'start': (0.2, 0.2)})
    assert np.array_equal(world.velocity, [0.0, 0.0])
    world.advance(0.3)
    assert np.allclose(world.position, [0.2, 0.2], atol=1e-9)


def test_held_wants_a_robot_with_inertia_to_stop_and_no_other(world, inertial):
    goal, near, far = (0.3, 0.3), (0.33, 0.3), (0.36, 0.3)
    for place, velocity, moving, at_rest in [
        (near, (0.03, 0.03), True, True), (near, (0.04, 0.04), True, False),
        (far, (0.0, 0.0), False, False),
    ]:
        state = {'state': place, 'velocity': velocity, 'goal': goal}
        assert is_held(world.scene, **state) == moving == is_near(world.scene, place, goal)
        assert is_held(inertial.scene, **state) == at_rest


def test_kick_shifts_and_pushes_and_is_seen(inertial):
    inertial.reset(options={'start': (0.25, 0.25)})
    inertial.kick((0.05, -0.03), (0.0, 0.2))
    assert np.allclose(inertial.position, [0.3, 0.22]) and np.allclose(inertial.velocity, [0, 0.2])
    assert np.array_equal(inertial.render(), inertial.render_at(0.3, 0.22))
    inertial.kick((0.0, 0.0), (0.0, 9.0))
    assert inertial.velocity[1] == inertial.scene.robot.top_speed


def test_kick_is_soon_forgotten_by_a_robot_driven_by_velocity(world):
    world.reset(options={'start': (0.25, 0.25)})
    world.drive((0.1, 0.0))
    world.kick((0.0, 0.0), (0.0, 0.3))
    world.advance(0.1)
    assert np.allclose(world.position, [0.26, 0.25], atol=1e-3)
    assert np.allclose(world.velocity, [0.1, 0.0], atol=1e-3)


@every_scene
def test_kick_never_goes_into_or_through_a_wall(scene):
    world, rng = DiscWorld(scene=scene), np.random.default_rng(7)
    stopped = 0
    for _ in range(100):
        world.reset(seed=int(rng.integers(1000)))
        before, shift = world.position, rng.uniform(-0.8, 0.8, 2)
        world.kick(shift, rng.uniform(-0.3, 0.3, 2))
        assert world.is_free(*world.position) and not world.is_blocked(before, world.position)
        if not np.allclose(world.position, before + shift):
            stopped += 1
            nearest = world.geometry.clearance(world.position)
            if scene.block is not None:
                pose = world.state[2:]
                nearest = min(nearest, world.block_geometry.clearance(world.position, pose))
            assert nearest < 1e-5
        world.advance(0.1)
        assert world.is_free(*world.position)
    assert 20 < stopped < 95


def test_kick_ends_at_a_free_place_to_the_last_bit(world):
    world.reset(options={'start': (0.25, 0.5)})
    world.kick((-0.21 - 5e-10, 0.0), (0.0, 0.0))
    assert world.is_free(*world.position) and world.position[0] == pytest.approx(0.04, abs=1e-6)


@pytest.mark.parametrize('kick', [
    ((float('nan'), 0.0), (0.0, 0.0)), ((0.1, 0.0), (0.0, float('inf'))), ((0.1, 0.0), (0.1,)),
])
def test_bad_kick_is_refused_and_changes_nothing(inertial, kick):
    inertial.reset(options={'start': (0.25, 0.25)})
    with pytest.raises(WorldInputError):
        inertial.kick(*kick)
    assert np.array_equal(inertial.position, [0.25, 0.25])
    assert np.array_equal(inertial.velocity, [0.0, 0.0])


def test_every_world_is_made_by_its_name():
    for name in WORLDS:
        layout = 7 if name in LAYOUTS else None
        scene = make(name, layout=layout).scene
        assert (scene.name, scene.layout) == (name, layout)
    assert make('two_rooms', image_size=32).render().shape == (32, 32, 3)


@pytest.mark.parametrize('name, layout, cure', [
    ('three_rooms', None, ', '.join(WORLDS)),
    ('two_rooms', 0, 'no layouts'), ('staggered_walls', None, '0 to 24'),
    ('staggered_walls', 25, '0 to 24'), ('staggered_walls', -1, '0 to 24'),
    ('random_door', 17, '0 to 16'),
])
def test_unknown_world_or_layout_is_refused(name, layout, cure):
    with pytest.raises(UnknownWorldError, match=cure):
        make(name, layout=layout)


def test_layouts_are_distinct_and_split():
    for name, count, held_out in (('staggered_walls', 25, 5), ('random_door', 17, 4)):
        layouts = LAYOUTS[name]
        scenes = [WORLDS[name](layout=layout) for layout in range(count)]
        assert len({scene.walls for scene in scenes}) == layouts.count == count
        assert sorted(layouts.held_out + layouts.training) == list(range(count))
        assert len(layouts.held_out) == held_out


def test_held_out_doors_lie_between_two_that_are_seen():
    for layout in DOOR.held_out:
        assert {layout - 1, layout + 1} <= set(DOOR.training)
    low, high = (random_door(layout=layout).doors[0] for layout in (0, DOOR.count - 1))
    assert low.low[1] == 0.0 and high.high[1] == pytest.approx(1.0)


def test_held_out_layouts_are_unseen_pairs_of_gaps_that_are_seen():
    pairs = {layout: tuple(GAP_PLACES.index((door.low[1], door.high[1]))
                           for door in staggered_walls(layout=layout).doors)
             for layout in range(STAGGERED.count)}
    seen = [pairs[layout] for layout in STAGGERED.training]
    for layout in STAGGERED.held_out:
        left, right = pairs[layout]
        assert (left, right) not in seen and abs(left - right) >= 2
    for wall in range(2):
        assert {pair[wall] for pair in seen} == set(range(5))
        assert {pairs[layout][wall] for layout in STAGGERED.held_out} == set(range(5))


@pytest.mark.parametrize('name, layout', [
    (name, layout) for name, layouts in LAYOUTS.items() for layout in range(layouts.count)
])
def test_disc_passes_every_gap_of_a_layout_with_room_to_spare(name, layout):
    world = make(name, layout=layout)
    for door in world.scene.doors:
        middle = (np.array(door.low) + door.high) / 2
        assert world.geometry.clearance(middle) > 0.05
        assert not world.is_blocked(middle - (0.1, 0), middle + (0.1, 0))
    length = world.path_length((0.1, 0.5), (0.9, 0.5))
    assert 0.8 <= length < 2.5


def test_tasks_of_staggered_walls_are_blocked_in_different_rooms_and_name_their_layout():
    world = make('staggered_walls', layout=STAGGERED.held_out[0])
    pairs = set()
    for seed in range(60):
        task = world.sample_task(np.random.default_rng(seed))
        assert world.is_blocked(task.start, task.goal) and task.layout == STAGGERED.held_out[0]
        assert np.hypot(*np.subtract(task.start, task.goal)) < task.path_length < np.inf
        pairs.add((world.scene.room_of(*task.start), world.scene.room_of(*task.goal)))
    rooms = ('left', 'middle', 'right')
    assert pairs == {(a, b) for a in rooms for b in rooms if a != b}
    assert world.sample_task(np.random.default_rng(59)) == task
