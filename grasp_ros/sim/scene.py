# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
One description of an embedded world, from which physics, pictures and tests are made.

A `Scene` is data only: numbers and names in SI units, frozen, and serialisable to JSON or YAML by
`Scene.to_dict` and `Scene.from_dict`. `mjcf.py` turns it into MuJoCo's XML, `raycast.py` into
pictures, `geometry.py` into free places and shortest paths, `sdf.py` into a world for Gazebo; so
nothing about the world may be written down anywhere else.

Frames: x to the right and y up in the picture, z towards the camera; the floor is z = 0.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from types import MappingProxyType
from typing import Any, Literal, get_args

Colour = tuple[float, float, float]
Point = tuple[float, float]
Drive = Literal['velocity', 'acceleration']


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
    A disc that moves over the floor and is driven along each axis by a velocity or a force.

    :param radius: in m.
    :param height: in m.
    :param colour: red, green, blue in [0, 1].
    :param mass: in kg.
    :param drive: what a command means. 'velocity': v' = drive_rate (command - v), where
        1 / drive_rate has to be far below a model step: the picture shows no velocity.
        'acceleration': v' = command - drive_rate v, a robot with inertia and a light drag.
    :param drive_rate: in 1/s, above 0.
    :param max_action: largest command of each axis, in m/s or m/s^2.
    :raises ValueError: for an unknown drive.
    """

    radius: float
    height: float
    colour: Colour
    mass: float
    drive: Drive
    drive_rate: float
    max_action: float

    def __post_init__(self) -> None:
        if self.drive not in get_args(Drive):
            raise ValueError(f'unknown drive {self.drive!r}; known: {", ".join(get_args(Drive))}')

    @property
    def has_inertia(self) -> bool:
        """Whether the robot goes on moving under a zero command."""
        return self.drive == 'acceleration'

    @property
    def top_speed(self) -> float:
        """Speed of each axis that no command exceeds, in m/s."""
        return self.max_action / self.drive_rate if self.has_inertia else self.max_action


@dataclass(frozen=True, kw_only=True)
class Block:
    """
    A flat body that lies on the floor and that the robot can push.

    It slides as on a film of oil: each bit of its area is dragged against its own velocity. Where
    the film is strong, a push moves it as dry friction would have it move (a push's force and the
    motion that it gives are related by an ellipsoid), and it stops when nobody pushes.

    :param parts: rectangles that it is made of, named, in m in its own frame, which has its origin
        in the centre of their area.
    :param height: in m.
    :param colours: of each part, red, green, blue in [0, 1].
    :param mass: in kg.
    :param drag_rate: v' = -drag_rate v, in 1/s, and so for its turning. 1 / drag_rate has to be
        far below a model step: the picture shows no velocity.
    :param friction: between its sides and what touches them; above 0.
    """

    parts: tuple[Rectangle, ...]
    height: float
    colours: tuple[Colour, ...]
    mass: float
    drag_rate: float
    friction: float

    @property
    def area(self) -> float:
        """Of all parts, in m^2."""
        return sum(width * depth for width, depth in map(_sides, self.parts))

    @property
    def inertia(self) -> float:
        """Moment of inertia about its own origin, in kg m^2."""
        second = 0.0  # integral of the squared distance over the area
        for part in self.parts:
            width, depth = _sides(part)
            x, y = ((low + high) / 2 for low, high in zip(part.low, part.high))
            second += width * depth * ((width ** 2 + depth ** 2) / 12 + x ** 2 + y ** 2)
        return self.mass * second / self.area


def _sides(part: Rectangle) -> Point:
    return part.high[0] - part.low[0], part.high[1] - part.low[1]


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
    :param layout: which of its layouts this is, where the world has several.
    :param block: what the robot can push; None where there is nothing.
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
    layout: int | None = None
    block: Block | None = None

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


_PARTS: Mapping[type, Mapping[str, type]] = MappingProxyType({
    Scene: {
        'walls': Wall, 'rooms': Rectangle, 'doors': Rectangle, 'held_out': Rectangle,
        'robot': Robot, 'camera': Camera, 'floor': Floor, 'lighting': Lighting, 'block': Block,
    },
    Block: {'parts': Rectangle},
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
        part = _PARTS.get(cls, {}).get(name)
        if part is None or value is None:
            values[name] = _frozen(value)
        elif isinstance(value, Mapping):
            values[name] = _build(part, value)
        else:
            values[name] = tuple(_build(part, item) for item in value)
    return cls(**values)
