# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The demo's animated picture: where the robot was, where it planned to go, what it was after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw

from grasp_ros.sim.world import DiscWorld

SIZE = 288  # pixels
STRIP = 16  # pixels above the picture, for the text
STRIP_COLOUR = (40, 44, 52)
GOAL_COLOUR = (18, 130, 60)
PLAN_COLOUR = (30, 90, 220)
TRAIL_COLOUR = (255, 140, 70)
TEXT_COLOUR = (255, 255, 255)
COLOURS = 64  # a GIF's palette; the picture has few

Point = tuple[float, float]


@dataclass(frozen=True)
class Moment:
    """What one picture shows; places in metres.

    :param place: of the robot
    :param goal: of the goal
    :param trail: places since the goal was set
    :param plan: places that the plan foresees, empty when unknown
    :param text: one line
    """

    place: Point
    goal: Point
    trail: Sequence[Point]
    plan: Sequence[Point]
    text: str


def draw(world: DiscWorld, moment: Moment) -> Image.Image:
    """One picture: a strip with text, the world below it."""
    picture = Image.fromarray(world.render_at(*moment.place, size=SIZE))
    canvas = ImageDraw.Draw(picture)

    def pixels(points: Sequence[Point]) -> list[Point]:
        return [world.to_pixel(x, y, size=SIZE) for x, y in points]

    radius = pixels([(world.scene.robot.radius, 0)])[0][0] - pixels([(0, 0)])[0][0]
    column, row = pixels([moment.goal])[0]
    box = (column - radius, row - radius, column + radius, row + radius)
    canvas.ellipse(box, outline=GOAL_COLOUR, width=3)
    if len(moment.trail) > 1:
        canvas.line(pixels(moment.trail), fill=TRAIL_COLOUR, width=2)
    for x, y in pixels(moment.plan):
        canvas.ellipse((x - 1.5, y - 1.5, x + 1.5, y + 1.5), fill=PLAN_COLOUR)
    framed = Image.new('RGB', (SIZE, SIZE + STRIP), STRIP_COLOUR)
    framed.paste(picture, (0, STRIP))
    ImageDraw.Draw(framed).text((6, 2), moment.text, fill=TEXT_COLOUR)
    return framed


def save(world: DiscWorld, moments: Sequence[Moment], path: Path, *, frame_sec: float) -> None:
    """Write the moments as an animated GIF that repeats.

    :param frame_sec: time that each picture stays
    :raises ValueError: without moments
    :raises OSError: when the file cannot be written
    """
    if not moments:
        raise ValueError('an animation needs at least one moment')
    pictures = [draw(world, moment).quantize(COLOURS) for moment in moments]
    path.parent.mkdir(parents=True, exist_ok=True)
    pictures[0].save(
        path,
        save_all=True,
        append_images=pictures[1:],
        duration=round(1000 * frame_sec),
        loop=0,
        optimize=True,
    )
