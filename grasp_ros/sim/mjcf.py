# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A scene as MuJoCo's XML."""

from xml.etree import ElementTree

from grasp_ros.sim.scene import Block, Scene

STATIC_GROUP = 0
"""Geom group of what never moves and is seen."""
MOVING_GROUP = 1
"""Geom group of what moves and is seen."""
HIDDEN_GROUP = 3
"""Geom group of what collides and is not seen."""
_SOLIMP = (0.95, 0.99, 0.001)


def to_mjcf(scene: Scene) -> str:
    """
    The scene as an MJCF document.

    The robot collides as a sphere, whose contact with a box has a closed form and one contact
    point, and is seen as a disc. Contacts have no friction (`condim` 1): it slides along walls.
    Two slide joints with velocity servos drive it, or with motors whose gear is the mass, so that
    a command is an acceleration; the integrator takes the servo's damping implicitly, which keeps
    a drive far stiffer than the physics step stable.

    A block moves in the plane alone, its drag the damping of its joints, and with friction at its
    sides, so that a push off its middle turns it. The drive is far stronger than the drag, but not
    than a wall: a robot that pushes a block against a wall stops.

    :param scene: what to describe.
    :returns: XML text.
    """
    root = ElementTree.Element('mujoco', model=scene.name)
    _add(root, 'option', timestep=scene.physics_step_sec, gravity=(0, 0, 0),
         integrator='implicitfast', cone='elliptic')
    world = ElementTree.SubElement(root, 'worldbody')
    reach = scene.size / 2 + scene.floor.margin
    _add(world, 'geom', name='floor', type='plane', pos=(scene.size / 2, scene.size / 2, 0),
         size=(reach, reach, 0.1), rgba=(*scene.floor.colours[0], 1), group=STATIC_GROUP,
         contype=0, conaffinity=0)
    _add(world, 'light', dir=tuple(-c for c in scene.lighting.direction), pos=(0, 0, 3))
    _add(world, 'camera', name='overhead', pos=scene.camera.position, fovy=scene.camera.fov_deg)
    margin, solref = _contact(scene)
    for wall in scene.walls:
        low, high = (*wall.low, 0.0), (*wall.high, wall.height)
        _add(world, 'geom', name=wall.name, type='box', group=STATIC_GROUP, condim=1,
             **_box(low, high), rgba=(*wall.colour, 1), solref=solref, solimp=_SOLIMP)
    robot = scene.robot
    body = _add(world, 'body', name='robot', pos=(0, 0, robot.height / 2))
    _add(body, 'inertial', pos=(0, 0, 0), mass=robot.mass, diaginertia=(1e-4, 1e-4, 1e-4))
    for axis, direction in (('x', (1, 0, 0)), ('y', (0, 1, 0))):
        _add(body, 'joint', name=axis, type='slide', axis=direction,
             damping=robot.mass * robot.drive_rate if robot.has_inertia else 0)
    _add(body, 'geom', name='robot', type='cylinder', size=(robot.radius, robot.height / 2),
         rgba=(*robot.colour, 1), group=MOVING_GROUP, contype=0, conaffinity=0)
    _add(body, 'geom', name='robot_contact', type='sphere', size=(robot.radius,), condim=1,
         rgba=(0, 0, 0, 0), group=HIDDEN_GROUP, margin=margin, solref=solref, solimp=_SOLIMP)
    if scene.block is not None:
        _add_block(world, scene.block, margin=margin, solref=solref)
    actuator = ElementTree.SubElement(root, 'actuator')
    for axis in ('x', 'y'):
        kind, gain = (('motor', {'gear': robot.mass}) if robot.has_inertia
                      else ('velocity', {'kv': robot.mass * robot.drive_rate}))
        _add(actuator, kind, name=f'drive_{axis}', joint=axis, **gain,
             ctrllimited='true', ctrlrange=(-robot.max_action, robot.max_action))
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding='unicode')


def _add_block(world: ElementTree.Element, block: Block, *, margin: float,
               solref: tuple[float, float]) -> None:
    """A body of boxes with two slides and a hinge; its parts collide and are seen."""
    body = _add(world, 'body', name='block', pos=(0, 0, block.height / 2))
    for name, kind, axis, inertia in (
        ('block_x', 'slide', (1, 0, 0), block.mass), ('block_y', 'slide', (0, 1, 0), block.mass),
        ('block_yaw', 'hinge', (0, 0, 1), block.inertia),
    ):
        _add(body, 'joint', name=name, type=kind, axis=axis, damping=block.drag_rate * inertia)
    half = block.height / 2
    for part, colour in zip(block.parts, block.colours, strict=True):
        box = _box((*part.low, -half), (*part.high, half))
        width, depth, _ = box['size']
        _add(body, 'geom', name=part.name, type='box', group=MOVING_GROUP, condim=3, **box,
             mass=block.mass * 4 * width * depth / block.area,
             friction=(block.friction, 0.005, 0.0001), rgba=(*colour, 1), margin=margin,
             solref=solref, solimp=_SOLIMP)


def _box(low: tuple[float, ...], high: tuple[float, ...]) -> dict[str, tuple[float, ...]]:
    return {'pos': tuple((a + b) / 2 for a, b in zip(low, high)),
            'size': tuple((b - a) / 2 for a, b in zip(low, high))}


def _contact(scene: Scene) -> tuple[float, tuple[float, float]]:
    """
    Margin in m and `solref` of the contact of a robot or a block with whatever is in its way.

    The margin is what the robot sinks in before the contact stops it, so that the disc stays
    outside of the wall: what a servo presses in at full speed, or what a robot with inertia covers
    in a physics step. A servo hides that a critically damped contact gives back part of the speed;
    without one the contact is overdamped, and the robot does not bounce.
    """
    step_sec, speed = scene.physics_step_sec, scene.robot.top_speed
    if scene.robot.has_inertia:
        return speed * step_sec, (2 * step_sec, 5)
    return 2 * speed * step_sec, (2 * step_sec, 1)


def _add(parent: ElementTree.Element, tag: str, **attributes: object) -> ElementTree.Element:
    texts = {
        key: ' '.join(f'{item:g}' for item in value) if isinstance(value, tuple) else str(value)
        for key, value in attributes.items()
    }
    return ElementTree.SubElement(parent, tag, texts)
