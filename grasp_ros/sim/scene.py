# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
One description of an embedded world, from which physics, pictures and tests are made.

A `Scene` is data only: numbers and names in SI units, frozen, and serialisable to JSON or YAML by
`Scene.to_dict` and `Scene.from_dict`. `mjcf.py` turns it into MuJoCo's XML, `raycast.py` into
pictures, `geometry.py` into free places and shortest paths; a Gazebo world is to come from the
same description, so nothing about the world may be written down anywhere else.

Frames: x to the right and y up in the picture, z towards the camera; the floor is z = 0.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from types import MappingProxyType
from typing import Any

Colour = tuple[float, float, float]
Point = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Rectangle:
    """
    An axis-aligned rectangle on the floor.

    :param name: what the rectangle stands for.
    :param low: smallest x and y in m.
    :param high: largest x and y in m.
    """

    name: str
    low: Point
    high: Point

    def contains(self, x: float, y: float, *, margin: float = 0.0) -> bool:
        """Whether a point lies in the rectangle grown by `margin`, its border included; in m."""
        return (self.low[0] - margin <= x <= self.high[0] + margin
                and self.low[1] - margin <= y <= self.high[1] + margin)


@dataclass(frozen=True, kw_only=True)
class Wall:
    """
    A wall: a box that stands on the floor.

    :param name: unique name, also of the MuJoCo geom.
    :param low: smallest x and y in m.
    :param high: largest x and y in m.
    :param height: in m.
    :param colour: red, green, blue in [0, 1].
    """

    name: str
    low: Point
    high: Point
    height: float
    colour: Colour


@dataclass(frozen=True, kw_only=True)
class Robot:
    """
    A disc that moves over the floor and is driven by velocity.

    :param radius: in m.
    :param height: in m.
    :param max_speed: largest velocity of each axis, in m/s.
    :param colour: red, green, blue in [0, 1].
    :param mass: in kg.
    :param drive_gain: force per velocity error, in N s/m. `mass / drive_gain` is the time constant
        of the drive in s, which has to be far below a model step: the picture shows no velocity.
    """

    radius: float
    height: float
    max_speed: float
    colour: Colour
    mass: float
    drive_gain: float


@dataclass(frozen=True, kw_only=True)
class Camera:
    """
    A pinhole camera that looks straight down; the picture's x is the world's x, its y is -y.

    :param position: x, y, z in m.
    :param fov_deg: full opening angle in degrees, the same in width and height.
    :param size: width and height of the default picture in pixels.
    :param supersampling: rays per pixel along each axis.
    """

    position: tuple[float, float, float]
    fov_deg: float
    size: int
    supersampling: int


@dataclass(frozen=True, kw_only=True)
class Floor:
    """
    A checkered floor.

    :param square: edge of a square in m.
    :param colours: of the even and of the odd squares.
    :param margin: how far the floor reaches beyond the world in m, so that it fills the picture.
    """

    square: float
    colours: tuple[Colour, Colour]
    margin: float


@dataclass(frozen=True, kw_only=True)
class Lighting:
    """
    One distant light and an even ambient light.

    :param direction: from the scene towards the light; need not have length one.
    :param ambient: part of a surface's colour that it has in any light.
    :param diffuse: part that goes with the cosine between normal and direction (Lambert).
    """

    direction: tuple[float, float, float]
    ambient: float
    diffuse: float


@dataclass(frozen=True, kw_only=True)
class Scene:
    """
    A whole world.

    :param name: of the world.
    :param size: width and depth of the world in m.
    :param walls: everything that the robot cannot pass.
    :param rooms: where a start or goal in a named room may lie (before the walls are minded).
    :param doors: openings between rooms; for pictures and for tests, no planner knows them.
    :param held_out: places of the robot's centre that no training data may show.
    :param step_sec: the model step: one action is held this long.
    :param physics_step_sec: step of the physics; divides `step_sec`.
    """

    name: str
    size: float
    walls: tuple[Wall, ...]
    rooms: tuple[Rectangle, ...]
    doors: tuple[Rectangle, ...]
    held_out: tuple[Rectangle, ...]
    robot: Robot
    camera: Camera
    floor: Floor
    lighting: Lighting
    step_sec: float
    physics_step_sec: float

    def room(self, name: str) -> Rectangle:
        """
        The room of that name.

        :raises KeyError: when there is none.
        """
        for room in self.rooms:
            if room.name == name:
                return room
        raise KeyError(f'no room {name!r} in {self.name}; rooms: {[r.name for r in self.rooms]}')

    def room_of(self, x: float, y: float) -> str | None:
        """Name of the first room that contains a point in m, or None (in a door or a wall)."""
        return next((room.name for room in self.rooms if room.contains(x, y)), None)

    def is_held_out(self, x: float, y: float, *, margin: float = 0.0) -> bool:
        """Whether training data may not show the robot there (bands grown by `margin`, in m)."""
        return any(band.contains(x, y, margin=margin) for band in self.held_out)

    def to_dict(self) -> dict[str, Any]:
        """The scene as plain dictionaries, lists, strings and numbers."""
        return _plain(asdict(self))

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> 'Scene':
        """
        The inverse of `to_dict`.

        :raises TypeError: for a missing or an unknown field.
        """
        return _build(cls, data)


_PARTS: Mapping[str, type] = MappingProxyType({
    'walls': Wall, 'rooms': Rectangle, 'doors': Rectangle, 'held_out': Rectangle,
    'robot': Robot, 'camera': Camera, 'floor': Floor, 'lighting': Lighting,
})


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    return value


def _frozen(value: Any) -> Any:
    return tuple(_frozen(item) for item in value) if isinstance(value, (tuple, list)) else value


def _build(cls: type, data: Mapping[str, Any]) -> Any:
    known = {field.name for field in fields(cls)}
    unknown = set(data) - known
    if unknown:
        raise TypeError(f'unknown fields of {cls.__name__}: {sorted(unknown)}')
    values = {}
    for name, value in data.items():
        part = _PARTS.get(name) if cls is Scene else None
        if part is None:
            values[name] = _frozen(value)
        elif isinstance(value, Mapping):
            values[name] = _build(part, value)
        else:
            values[name] = tuple(_build(part, item) for item in value)
    return cls(**values)


def two_rooms() -> Scene:
    """
    Two rooms, 1 m by 1 m together, an inner wall at x = 0.5 with a door off the middle.

    The door is off the middle so that the straight line between most pairs of places in
    different rooms is blocked and a greedy controller has something to get stuck at. The held-out
    bands leave room on both sides: the robot can walk round them.
    """
    slate, wall_height, thick, half = (0.24, 0.29, 0.38), 0.05, 0.04, 0.02
    door_low, door_high = 0.6, 0.8

    def wall(name: str, low: Point, high: Point) -> Wall:
        return Wall(name=name, low=low, high=high, height=wall_height, colour=slate)

    return Scene(
        name='two_rooms',
        size=1.0,
        walls=(
            wall('wall_west', (-thick, -thick), (0.0, 1.0 + thick)),
            wall('wall_east', (1.0, -thick), (1.0 + thick, 1.0 + thick)),
            wall('wall_south', (0.0, -thick), (1.0, 0.0)),
            wall('wall_north', (0.0, 1.0), (1.0, 1.0 + thick)),
            wall('divider_south', (0.5 - half, 0.0), (0.5 + half, door_low)),
            wall('divider_north', (0.5 - half, door_high), (0.5 + half, 1.0)),
        ),
        rooms=(
            Rectangle(name='left', low=(0.0, 0.0), high=(0.5 - half, 1.0)),
            Rectangle(name='right', low=(0.5 + half, 0.0), high=(1.0, 1.0)),
        ),
        doors=(
            Rectangle(name='door', low=(0.5 - half, door_low), high=(0.5 + half, door_high)),
        ),
        held_out=(
            Rectangle(name='left_band', low=(0.14, 0.36), high=(0.34, 0.44)),
            Rectangle(name='right_band', low=(0.66, 0.56), high=(0.86, 0.64)),
        ),
        robot=Robot(radius=0.04, height=0.03, max_speed=0.3, colour=(1.0, 0.36, 0.06), mass=0.1,
                    drive_gain=100.0),
        camera=Camera(position=(0.5, 0.5, 2.2), fov_deg=27.2, size=64, supersampling=2),
        floor=Floor(square=0.1, colours=((0.90, 0.90, 0.87), (0.80, 0.82, 0.82)), margin=0.2),
        lighting=Lighting(direction=(-0.35, 0.45, 1.0), ambient=0.35, diffuse=0.7),
        step_sec=0.1,
        physics_step_sec=0.002,
    )
