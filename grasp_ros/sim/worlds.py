# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The worlds there are, by name: `make('staggered_walls', layout=3)`.

All are 1 m by 1 m, with the same disc, camera, floor and light, so that what a model has to learn
anew is the walls and the drive, and in `push_t` the block.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from grasp_ros.errors import GraspError
from grasp_ros.sim.scene import (
    Block,
    Camera,
    Floor,
    Lighting,
    Point,
    Rectangle,
    Robot,
    Scene,
    Wall,
)
from grasp_ros.sim.world import DiscWorld

GAP_PLACES = ((0.0, 0.2), (0.2, 0.4), (0.4, 0.6), (0.6, 0.8), (0.8, 1.0))
"""Where a staggered wall may have its gap: smallest and largest y in m."""

DOOR_WIDTH = 0.2
DOOR_STEP = 0.05  # m from one place of the random door to the next


@dataclass(frozen=True)
class Layouts:
    """The layouts of a world that comes in several, numbered from 0.

    :param count: how many there are
    :param held_out: those that no training data may show
    """

    count: int
    held_out: tuple[int, ...]

    @property
    def training(self) -> tuple[int, ...]:
        """The others."""
        return tuple(layout for layout in range(self.count) if layout not in self.held_out)


LAYOUTS: Mapping[str, Layouts] = MappingProxyType({
    # 5 x left gap's place + right gap's place. Each place of each gap is held out once, so it is
    # seen in four training layouts, and the two gaps lie at least two places apart.
    'staggered_walls': Layouts(
        count=len(GAP_PLACES) ** 2,
        held_out=tuple(len(GAP_PLACES) * left + (left + 3) % len(GAP_PLACES)
                       for left in range(len(GAP_PLACES))),
    ),
    # Places of the door from south to north; those held out lie between two that are seen.
    'random_door': Layouts(count=round((1 - DOOR_WIDTH) / DOOR_STEP) + 1, held_out=(2, 6, 10, 14)),
})
"""The worlds that come in layouts."""


class UnknownWorldError(GraspError, ValueError):
    """There is no world of that name, or it has no such layout."""

    code = 601


def two_rooms() -> Scene:
    """
    Two rooms, an inner wall at x = 0.5 with a door off the middle; commands are velocities.

    The door is off the middle so that the straight line between most pairs of places in
    different rooms is blocked and a greedy controller has something to get stuck at. The held-out
    bands leave room on both sides: the robot can walk round them.
    """
    walls, door = _inner_wall('divider', 'door', x=0.5, thick=0.04, gap=(0.6, 0.8))
    return _scene(
        name='two_rooms',
        inner_walls=walls,
        doors=(door,),
        rooms=(
            Rectangle(name='left', low=(0.0, 0.0), high=(0.48, 1.0)),
            Rectangle(name='right', low=(0.52, 0.0), high=(1.0, 1.0)),
        ),
        held_out=(
            Rectangle(name='left_band', low=(0.14, 0.36), high=(0.34, 0.44)),
            Rectangle(name='right_band', low=(0.66, 0.56), high=(0.86, 0.64)),
        ),
    )


def inertial_two_rooms() -> Scene:
    """
    The two rooms, but the commands are accelerations: who does not brake passes the goal.

    One frame is not a state here, two of them a model step apart are. The model step is twice that
    of the two rooms, so that a robot at a walking pace is seen to move between them.
    """
    return replace(_with_inertia(two_rooms()), name='inertial_two_rooms')


def point_maze() -> Scene:
    """
    The U-shaped maze of PointMaze: two dead ends about a block, joined at one end.

    As there (D4RL, arXiv 2004.07219; gymnasium-robotics' `PointMaze_UMaze`) a point mass is pushed
    by forces through three by three cells, of which two in the middle row are wall. Here it is the
    disc of the other worlds, seen from above, its commands are accelerations as in
    `inertial_two_rooms`, and the cells are a third of a metre wide.
    """
    third = 1 / 3
    maze = _scene(
        name='point_maze',
        inner_walls=(_wall('block', (0.0, third), (2 * third, 2 * third)),),
        doors=(Rectangle(name='bend', low=(2 * third, third), high=(1.0, 2 * third)),),
        rooms=(
            Rectangle(name='lower', low=(0.0, 0.0), high=(1.0, third)),
            Rectangle(name='upper', low=(0.0, 2 * third), high=(1.0, 1.0)),
        ),
        held_out=(
            Rectangle(name='lower_band', low=(0.34, 0.13), high=(0.54, 0.21)),
            Rectangle(name='upper_band', low=(0.34, 0.79), high=(0.54, 0.87)),
        ),
    )
    return _with_inertia(maze)


def push_t() -> Scene:
    """
    One room and a T-shaped block that the robot pushes about.

    As in Push-T (Chi et al., "Diffusion Policy", 2023; gym-pusht), whose T this is: its bar four
    strips by one, its stem one by three, a strip a seventeenth of the world's width. Here the
    pusher is the disc of the other worlds, it takes velocities, and bar and stem have colours of
    their own, by which an encoder that is trained without labels can tell the turn.
    """
    strip = 0.06
    # From the bar's middle to the centre of the area, of which the bar has four parts of seven.
    down = strip * 2 * 3 / 7
    bar = Rectangle(name='bar', low=(-2 * strip, down - strip / 2),
                    high=(2 * strip, down + strip / 2))
    stem = Rectangle(name='stem', low=(-strip / 2, bar.low[1] - 3 * strip),
                     high=(strip / 2, bar.low[1]))
    scene = _scene(
        name='push_t',
        inner_walls=(),
        doors=(),
        rooms=(Rectangle(name='room', low=(0.0, 0.0), high=(1.0, 1.0)),),
        held_out=(),
    )
    return replace(scene, block=Block(
        parts=(bar, stem), height=0.03, colours=((0.10, 0.40, 0.95), (0.05, 0.60, 0.20)),
        mass=0.05, drag_rate=100.0, friction=1.0))


def random_door(*, layout: int) -> Scene:
    """
    The two rooms with their door anywhere in the inner wall.

    :param layout: 0 to 16, places of the door from south to north, 5 cm apart.
    :raises UnknownWorldError: for another layout.
    """
    layout = _checked('random_door', layout)
    low = DOOR_STEP * layout
    walls, door = _inner_wall('divider', 'door', x=0.5, thick=0.04, gap=(low, low + DOOR_WIDTH))
    return replace(two_rooms(), name='random_door', layout=layout, doors=(door,), held_out=(),
                   walls=(*two_rooms().walls[:4], *walls))


def staggered_walls(*, layout: int) -> Scene:
    """
    Three rooms in a row, two inner walls, each with a gap at one of five heights.

    :param layout: 0 to 24, five times the place of the left wall's gap plus the right one's.
    :raises UnknownWorldError: for another layout.
    """
    layout = _checked('staggered_walls', layout)
    places = [GAP_PLACES[place] for place in divmod(layout, len(GAP_PLACES))]
    left_walls, left = _inner_wall('left_wall', 'left_gap', x=1 / 3, thick=0.03, gap=places[0])
    right_walls, right = _inner_wall('right_wall', 'right_gap', x=2 / 3, thick=0.03, gap=places[1])
    return _scene(
        name='staggered_walls',
        inner_walls=(*left_walls, *right_walls),
        doors=(left, right),
        rooms=(
            Rectangle(name='left', low=(0.0, 0.0), high=(left.low[0], 1.0)),
            Rectangle(name='middle', low=(left.high[0], 0.0), high=(right.low[0], 1.0)),
            Rectangle(name='right', low=(right.high[0], 0.0), high=(1.0, 1.0)),
        ),
        held_out=(),
        layout=layout,
    )


WORLDS: Mapping[str, Callable[..., Scene]] = MappingProxyType({
    'two_rooms': two_rooms,
    'inertial_two_rooms': inertial_two_rooms,
    'point_maze': point_maze,
    'push_t': push_t,
    'staggered_walls': staggered_walls,
    'random_door': random_door,
})
"""The scene of each world, by its name; of one with `LAYOUTS` it takes a `layout`."""


def describe(name: str, *, layout: int | None = None) -> Scene:
    """
    The scene of a world.

    :param name: one of `WORLDS`.
    :param layout: of a world with `LAYOUTS`, which needs one; the others have none.
    :raises UnknownWorldError: for another name, or a layout that the world does not have.
    """
    if name not in WORLDS:
        raise UnknownWorldError(f'unknown world {name!r}; known: {", ".join(WORLDS)}')
    if name in LAYOUTS:
        return WORLDS[name](layout=layout)
    if layout is not None:
        raise UnknownWorldError(f'{name} has no layouts, got layout {layout!r}')
    return WORLDS[name]()


def make(name: str, *, layout: int | None = None, image_size: int | None = None) -> DiscWorld:
    """
    A new world.

    :param name: as in `describe`, and so is `layout`.
    :param image_size: width and height of the observed picture in pixels; the scene's unless
        stated.
    :raises UnknownWorldError: as in `describe`.
    """
    return DiscWorld(scene=describe(name, layout=layout), image_size=image_size)


def _checked(name: str, layout: int) -> int:
    if layout not in range(LAYOUTS[name].count):
        raise UnknownWorldError(
            f'{name} has no layout {layout!r}, but 0 to {LAYOUTS[name].count - 1}')
    return int(layout)


def _with_inertia(scene: Scene) -> Scene:
    robot = replace(scene.robot, drive='acceleration', drive_rate=0.3, max_action=0.3)
    return replace(scene, robot=robot, step_sec=0.2)


_SLATE = (0.24, 0.29, 0.38)
_WALL_HEIGHT = 0.05


def _wall(name: str, low: Point, high: Point) -> Wall:
    return Wall(name=name, low=low, high=high, height=_WALL_HEIGHT, colour=_SLATE)


def _inner_wall(
    name: str, gap_name: str, *, x: float, thick: float, gap: tuple[float, float]
) -> tuple[tuple[Wall, ...], Rectangle]:
    """A wall across the world in up to two parts, and the gap between them; all in m."""
    west, east = x - thick / 2, x + thick / 2
    parts = [('south', 0.0, gap[0]), ('north', gap[1], 1.0)]
    walls = tuple(_wall(f'{name}_{side}', (west, low), (east, high))
                  for side, low, high in parts if high > low)
    return walls, Rectangle(name=gap_name, low=(west, gap[0]), high=(east, gap[1]))


def _scene(
    *, name: str, inner_walls: tuple[Wall, ...], doors: tuple[Rectangle, ...],
    rooms: tuple[Rectangle, ...], held_out: tuple[Rectangle, ...], layout: int | None = None
) -> Scene:
    """A world 1 m wide, its outer walls, and a disc driven by velocity."""
    thick = 0.04
    return Scene(
        name=name,
        size=1.0,
        walls=(
            _wall('wall_west', (-thick, -thick), (0.0, 1.0 + thick)),
            _wall('wall_east', (1.0, -thick), (1.0 + thick, 1.0 + thick)),
            _wall('wall_south', (0.0, -thick), (1.0, 0.0)),
            _wall('wall_north', (0.0, 1.0), (1.0, 1.0 + thick)),
            *inner_walls,
        ),
        rooms=rooms,
        doors=doors,
        held_out=held_out,
        robot=Robot(radius=0.04, height=0.03, colour=(1.0, 0.36, 0.06), mass=0.1,
                    drive='velocity', drive_rate=1000.0, max_action=0.3),
        camera=Camera(position=(0.5, 0.5, 2.2), fov_deg=27.2, size=64, supersampling=2),
        floor=Floor(square=0.1, colours=((0.90, 0.90, 0.87), (0.80, 0.82, 0.82)), margin=0.2),
        lighting=Lighting(direction=(-0.35, 0.45, 1.0), ambient=0.35, diffuse=0.7),
        step_sec=0.1,
        physics_step_sec=0.002,
        layout=layout,
    )
