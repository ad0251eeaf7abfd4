# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A scene as MuJoCo's XML."""

from xml.etree import ElementTree

from grasp_ros.sim.scene import Scene

STATIC_GROUP = 0
"""Geom group of what never moves and is seen."""
MOVING_GROUP = 1
"""Geom group of what moves and is seen."""
HIDDEN_GROUP = 3
"""Geom group of what collides and is not seen."""
_CONTACT_MARGIN = 0.0012


def to_mjcf(scene: Scene) -> str:
    """
    The scene as an MJCF document.

    The robot collides as a sphere, whose contact with a box has a closed form and one contact
    point, and is seen as a disc. Contacts have no friction (`condim` 1): it slides along walls.
    Two slide joints with velocity servos drive it; the integrator takes the servo's damping
    implicitly, which keeps a drive far stiffer than the physics step stable. The contact's margin
    is what the drive presses into a wall at full speed, so that the disc stays outside of it.

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
    for wall in scene.walls:
        low, high = (*wall.low, 0.0), (*wall.high, wall.height)
        _add(world, 'geom', name=wall.name, type='box', group=STATIC_GROUP, condim=1,
             pos=tuple((a + b) / 2 for a, b in zip(low, high)),
             size=tuple((b - a) / 2 for a, b in zip(low, high)), rgba=(*wall.colour, 1),
             solref=(2 * scene.physics_step_sec, 1), solimp=(0.95, 0.99, 0.001))
    robot = scene.robot
    body = _add(world, 'body', name='robot', pos=(0, 0, robot.height / 2))
    _add(body, 'inertial', pos=(0, 0, 0), mass=robot.mass, diaginertia=(1e-4, 1e-4, 1e-4))
    for axis, direction in (('x', (1, 0, 0)), ('y', (0, 1, 0))):
        _add(body, 'joint', name=axis, type='slide', axis=direction)
    _add(body, 'geom', name='robot', type='cylinder', size=(robot.radius, robot.height / 2),
         rgba=(*robot.colour, 1), group=MOVING_GROUP, contype=0, conaffinity=0)
    _add(body, 'geom', name='robot_contact', type='sphere', size=(robot.radius,), condim=1,
         rgba=(0, 0, 0, 0), group=HIDDEN_GROUP, margin=_CONTACT_MARGIN,
         solref=(2 * scene.physics_step_sec, 1), solimp=(0.95, 0.99, 0.001))
    actuator = ElementTree.SubElement(root, 'actuator')
    for axis in ('x', 'y'):
        _add(actuator, 'velocity', name=f'drive_{axis}', joint=axis, kv=robot.drive_gain,
             ctrllimited='true', ctrlrange=(-robot.max_speed, robot.max_speed))
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding='unicode')


def _add(parent: ElementTree.Element, tag: str, **attributes: object) -> ElementTree.Element:
    texts = {
        key: ' '.join(f'{item:g}' for item in value) if isinstance(value, tuple) else str(value)
        for key, value in attributes.items()
    }
    return ElementTree.SubElement(parent, tag, texts)
