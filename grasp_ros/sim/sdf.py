# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A scene as a world for Gazebo (SDF 1.9), for Harmonic and Jetty."""

import math
from xml.etree import ElementTree

from grasp_ros.errors import GraspError
from grasp_ros.sim.scene import Colour, Scene, Wall

COMMAND_TOPIC = '/robot/cmd_vel'
"""Of Gazebo, gz.msgs.Twist, as are the next two; `config/gz_bridge.yaml` bridges them to ROS."""
IMAGE_TOPIC = '/camera/image_raw'
CAMERA_INFO_TOPIC = '/camera/camera_info'
CAMERA_RATE_HZ = 30.0
"""As the embedded camera has it unless told otherwise."""

_SYSTEMS = {
    'gz-sim-physics-system': 'gz::sim::systems::Physics',
    'gz-sim-sensors-system': 'gz::sim::systems::Sensors',
    'gz-sim-scene-broadcaster-system': 'gz::sim::systems::SceneBroadcaster',
    'gz-sim-user-commands-system': 'gz::sim::systems::UserCommands',
}
_BLACK = (0, 0, 0, 1)
_UP = (0, 0, 1)


class UnsupportedSceneError(GraspError, ValueError):
    """A scene that Gazebo's own systems cannot simulate."""

    code = 602


def to_sdf(scene: Scene) -> str:
    """
    The scene as an SDF 1.9 document.

    Nothing is lit and nothing casts a shadow. Each face glows in the colour that the embedded
    renderer gives it (`Lighting`), so that pictures agree without the two engines agreeing about
    light; only the robot's narrow side, which is round, has the mean of its shades everywhere.

    The robot collides as a sphere without friction, as in `to_mjcf`, and starts in the middle of
    the first room. Gazebo's VelocityControl gives it each command as its velocity at once: without
    limit, and until the next command comes, for it has no timeout. So what drives it must send
    zeros to stop it and must outlive the controller, as the gate does.

    :param scene: what to describe.
    :returns: XML text.
    :raises UnsupportedSceneError: when commands are accelerations, which VelocityControl would
        take for velocities; or when there is a block, which no joint would keep on the floor.
    """
    if scene.block is not None:
        raise UnsupportedSceneError(
            f'{scene.name}: the block slides on a film of oil, which none of the joints and '
            'frictions written here makes in Gazebo; run this world as sim_node')
    if scene.robot.has_inertia:
        raise UnsupportedSceneError(
            f"{scene.name}: commands are accelerations, but Gazebo's VelocityControl takes "
            'velocities; choose a world driven by velocity, or run this one as sim_node')
    root = ElementTree.Element('sdf', version='1.9')
    world = _add(root, 'world', name=scene.name)
    physics = _add(world, 'physics', name='default_physics', type='ignored')
    _add(physics, 'max_step_size', scene.physics_step_sec)
    _add(physics, 'real_time_factor', 1)
    for filename, name in _SYSTEMS.items():
        system = _add(world, 'plugin', filename=filename, name=name)
        if name.endswith('Sensors'):
            _add(system, 'render_engine', 'ogre2')  # the engine that _visual reckons with
    _add(world, 'gravity', (0, 0, 0))
    look = _add(world, 'scene')
    _add(look, 'ambient', _BLACK)
    _add(look, 'background', _BLACK)
    _add(look, 'shadows', 'false')
    _add(look, 'grid', 'false')
    _add_floor(world, scene)
    for wall in scene.walls:
        _add_wall(world, scene, wall)
    _add_camera(world, scene)
    _add_robot(world, scene)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding='unicode')


def _add_floor(world: ElementTree.Element, scene: Scene) -> None:
    """The checkered floor, a plane for each square. Nothing falls, so it need not collide."""
    link = _add_link(world, 'floor', static=True)
    square = scene.floor.square
    low, high = -scene.floor.margin, scene.size + scene.floor.margin
    lines = (square * line for line in range(math.ceil(low / square), math.ceil(high / square)))
    edges = [low, *(line for line in lines if low < line < high), high]
    spans = list(zip(edges, edges[1:]))
    for row, (south, north) in enumerate(spans):
        for column, (west, east) in enumerate(spans):
            x, y = (west + east) / 2, (south + north) / 2
            odd = (math.floor(x / square) + math.floor(y / square)) % 2
            _add_face(link, f'square_{row}_{column}', position=(x, y, 0), normal=_UP,
                      size=(east - west, north - south),
                      colour=_shade(scene, scene.floor.colours[odd], _UP))


def _add_wall(world: ElementTree.Element, scene: Scene, wall: Wall) -> None:
    """A box that collides, and its faces but the lowest, since each has a shade of its own."""
    low, high = (*wall.low, 0.0), (*wall.high, wall.height)
    x, y, z = size = tuple(b - a for a, b in zip(low, high))
    link = _add_link(world, wall.name, static=True,
                     position=tuple((a + b) / 2 for a, b in zip(low, high)))
    _add_shape(_add(link, 'collision', name='collision'), 'box', size=size)
    # Gazebo turns a plane from +z to its normal the short way, which lays its first edge along z
    # where the normal is x, and its second one where it is y.
    for name, normal, edges in (
        ('top', _UP, (x, y)),
        ('west', (-1, 0, 0), (z, y)), ('east', (1, 0, 0), (z, y)),
        ('south', (0, -1, 0), (x, z)), ('north', (0, 1, 0), (x, z)),
    ):
        _add_face(link, name, position=tuple(n * s / 2 for n, s in zip(normal, size)),
                  normal=normal, size=edges, colour=_shade(scene, wall.colour, normal))


def _add_camera(world: ElementTree.Element, scene: Scene) -> None:
    """The overhead camera: its x, the optical axis, looks down, and its z, up in the picture,
    along the world's y."""
    camera = scene.camera
    link = _add_link(world, 'camera', static=True, position=camera.position,
                     rotation=(0, math.pi / 2, math.pi / 2))
    sensor = _add(link, 'sensor', name='camera', type='camera')
    _add(sensor, 'always_on', 'true')
    _add(sensor, 'update_rate', CAMERA_RATE_HZ)
    _add(sensor, 'topic', IMAGE_TOPIC)
    optics = _add(sensor, 'camera')
    _add(optics, 'camera_info_topic', CAMERA_INFO_TOPIC)
    _add(optics, 'horizontal_fov', math.radians(camera.fov_deg))
    image = _add(optics, 'image')
    _add(image, 'width', camera.size)
    _add(image, 'height', camera.size)
    _add(image, 'format', 'R8G8B8')
    _add(image, 'anti_aliasing', camera.supersampling ** 2)
    clip = _add(optics, 'clip')
    _add(clip, 'near', camera.position[2] / 10)
    _add(clip, 'far', camera.position[2] * 10)


def _add_robot(world: ElementTree.Element, scene: Scene) -> None:
    """The disc, in the middle of the first room, and the system that drives it."""
    robot, room = scene.robot, scene.rooms[0]
    x, y = ((a + b) / 2 for a, b in zip(room.low, room.high))
    link = _add_link(world, 'robot', static=False, position=(x, y, robot.height / 2))
    inertial = _add(link, 'inertial')
    _add(inertial, 'mass', robot.mass)
    inertia = _add(inertial, 'inertia')
    for axes in ('xx', 'yy', 'zz'):
        _add(inertia, f'i{axes}', 1e-4)
    collision = _add(link, 'collision', name='collision')
    _add_shape(collision, 'sphere', radius=robot.radius)
    friction = _add(_add(_add(collision, 'surface'), 'friction'), 'ode')
    _add(friction, 'mu', 0)
    _add(friction, 'mu2', 0)
    # A visual has one colour: the body that of the side, a thin disc on it that of the top.
    side = _lit(scene, robot.colour, math.hypot(*_towards_light(scene)[:2]) / math.pi)
    _add_shape(_add_visual(link, 'body', side), 'cylinder',
               radius=robot.radius, length=robot.height)
    top = _add_visual(link, 'top', _shade(scene, robot.colour, _UP))
    _add(top, 'pose', (0, 0, robot.height / 2, 0, 0, 0))
    _add_shape(top, 'cylinder', radius=robot.radius, length=robot.height / 100)
    drive = _add(world.find("model[@name='robot']"), 'plugin',
                 filename='gz-sim-velocity-control-system',
                 name='gz::sim::systems::VelocityControl')
    _add(drive, 'topic', COMMAND_TOPIC)


def _towards_light(scene: Scene) -> tuple[float, ...]:
    """Of length one."""
    length = math.hypot(*scene.lighting.direction)
    return tuple(part / length for part in scene.lighting.direction)


def _shade(scene: Scene, colour: Colour, normal: tuple[float, float, float]) -> Colour:
    """What the embedded renderer shows of a colour on a face, in [0, 1]; as in `RayCamera`."""
    cosine = sum(n * part for n, part in zip(normal, _towards_light(scene)))
    return _lit(scene, colour, max(cosine, 0.0))


def _lit(scene: Scene, colour: Colour, cosine: float) -> Colour:
    """A colour in light that comes at an angle of that cosine, or at angles of that mean."""
    shown = scene.lighting.ambient + scene.lighting.diffuse * cosine
    return tuple(min(part * shown, 1.0) for part in colour)


def _to_linear(value: float) -> float:
    """The inverse of the sRGB transfer function, in [0, 1] (IEC 61966-2-1)."""
    return value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4


def _add_link(
    world: ElementTree.Element, name: str, *, static: bool,
    position: tuple[float, float, float] = (0, 0, 0),
    rotation: tuple[float, float, float] = (0, 0, 0),
) -> ElementTree.Element:
    """The link of a new model, at a position in m and turned by roll, pitch, yaw in rad."""
    model = _add(world, 'model', name=name)
    _add(model, 'static', 'true' if static else 'false')
    _add(model, 'pose', (*position, *rotation))
    return _add(model, 'link', name='link')


def _add_face(
    link: ElementTree.Element, name: str, *, position: tuple[float, float, float],
    normal: tuple[float, float, float], size: tuple[float, float], colour: Colour,
) -> None:
    """A plane that is seen from the side of its normal; in m, in the link's frame."""
    visual = _add_visual(link, name, colour)
    _add(visual, 'pose', (*position, 0, 0, 0))
    _add_shape(visual, 'plane', normal=normal, size=size)


def _add_visual(link: ElementTree.Element, name: str, colour: Colour) -> ElementTree.Element:
    """A visual without geometry that shows a colour, whatever the light: 0 to 1 in the picture."""
    visual = _add(link, 'visual', name=name)
    _add(visual, 'cast_shadows', 'false')
    # All other colours of a material are black unless stated. Gazebo's cameras write what they
    # see in sRGB, the embedded one as it is.
    _add(_add(visual, 'material'), 'emissive', (*map(_to_linear, colour), 1))
    return visual


def _add_shape(parent: ElementTree.Element, shape: str, **measures: object) -> None:
    element = _add(_add(parent, 'geometry'), shape)
    for name, measure in measures.items():
        _add(element, name, measure)


def _add(
    parent: ElementTree.Element, tag: str, value: object = None, **attributes: str
) -> ElementTree.Element:
    element = ElementTree.SubElement(parent, tag, attributes)
    if value is not None:
        parts = value if isinstance(value, tuple) else (value,)
        element.text = ' '.join(part if isinstance(part, str) else f'{part:.9g}' for part in parts)
    return element
