# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The world for Gazebo: what it shows and how it moves agree with the embedded world.

Gazebo itself cannot be installed here. What it would say is checked where a `gz` is found; what it
passes over in silence, unknown elements and plugins that do not exist, is held against lists.
"""

import math
import shutil
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import mujoco
import numpy as np
import pytest
import yaml
from click.testing import CliRunner

from grasp_ros.cli import main
from grasp_ros.node import tables
from grasp_ros.sim.mjcf import to_mjcf
from grasp_ros.sim.sdf import CAMERA_RATE_HZ, UnsupportedSceneError, to_sdf
from grasp_ros.sim.world import DiscWorld
from grasp_ros.sim.worlds import describe

ROOT = Path(__file__).resolve().parents[1]
SCENES = [
    describe('two_rooms'), describe('staggered_walls', layout=3), describe('random_door', layout=0)
]  # fmt: skip
every_scene = pytest.mark.parametrize('scene', SCENES, ids=lambda scene: scene.name)

# Elements of SDF 1.9 by their parents, as sdformat describes them; sdformat reads a document with
# others and says nothing. Of plugins, what their source reads.
ELEMENTS = {
    'sdf': 'world',
    'world': 'physics plugin gravity scene model',
    'physics': 'max_step_size real_time_factor',
    'scene': 'ambient background shadows grid',
    'model': 'static pose link plugin',
    'link': 'inertial collision visual sensor',
    'inertial': 'mass inertia',
    'inertia': 'ixx iyy izz',
    'collision': 'geometry surface',
    'surface': 'friction',
    'friction': 'ode',
    'ode': 'mu mu2',
    'visual': 'cast_shadows material pose geometry',
    'material': 'emissive',
    'geometry': 'box cylinder plane sphere',
    'box': 'size',
    'cylinder': 'radius length',
    'plane': 'normal size',
    'sphere': 'radius',
    'sensor': 'always_on update_rate topic camera',
    'camera': 'camera_info_topic horizontal_fov image clip',
    'image': 'width height format anti_aliasing',
    'clip': 'near far',
    'plugin': 'render_engine topic',
}
ATTRIBUTES = {
    'sdf': {'version'}, 'world': {'name'}, 'physics': {'name', 'type'}, 'model': {'name'},
    'link': {'name'}, 'collision': {'name'}, 'visual': {'name'}, 'sensor': {'name', 'type'},
    'plugin': {'filename', 'name'},
}  # fmt: skip
# Library and class of Gazebo's systems, the same in Harmonic (gz-sim 8) and Jetty (gz-sim 10).
WORLD_SYSTEMS = {
    ('gz-sim-physics-system', 'gz::sim::systems::Physics'),
    ('gz-sim-sensors-system', 'gz::sim::systems::Sensors'),
    ('gz-sim-scene-broadcaster-system', 'gz::sim::systems::SceneBroadcaster'),
    ('gz-sim-user-commands-system', 'gz::sim::systems::UserCommands'),
}
ROBOT_SYSTEM = ('gz-sim-velocity-control-system', 'gz::sim::systems::VelocityControl')
BRIDGE_KEYS = {'ros_topic_name', 'gz_topic_name', 'ros_type_name', 'gz_type_name', 'direction'}


def parse(scene):
    return ElementTree.fromstring(to_sdf(scene)).find('world')


def numbers(element, path):
    return np.array([float(word) for word in element.findtext(path).split()])


def rotation(roll, pitch, yaw):
    """Of a pose of SDF: [3, 3], from the frame that is turned to the one it is turned in."""
    (sr, sp, sy), (cr, cp, cy) = np.sin([roll, pitch, yaw]), np.cos([roll, pitch, yaw])
    return (np.array([[cy, -sy, 0], [sy, cy, 0], [0, 0, 1]])
            @ np.array([[cp, 0, sp], [0, 1, 0], [-sp, 0, cp]])
            @ np.array([[1, 0, 0], [0, cr, -sr], [0, sr, cr]]))  # fmt: skip


def picture(world):
    """What the camera of an SDF world sees, as Gazebo defines it: uint8 [height, width, 3]."""
    root = ElementTree.Element('mujoco')
    body = ElementTree.SubElement(root, 'worldbody')
    colours = []
    for model in world.iter('model'):
        place, turn = np.split(numbers(model, 'pose'), 2)
        for visual in model.iter('visual'):
            assert not turn.any() and visual.findtext('cast_shadows') == 'false'
            offset = numbers(visual, 'pose') if visual.find('pose') is not None else np.zeros(6)
            assert not offset[3:].any()
            (shape,) = visual.find('geometry')
            geom = {'type': shape.tag, 'pos': place + offset[:3]}
            if shape.tag == 'plane':  # turned by `zaxis` as Gazebo does it, and one-sided as there
                geom['zaxis'] = numbers(shape, 'normal')
                geom['size'] = [*numbers(shape, 'size') / 2, 1]
            else:
                geom['size'] = numbers(shape, 'radius')[0], numbers(shape, 'length')[0] / 2
            ElementTree.SubElement(body, 'geom', {
                key: value if isinstance(value, str) else ' '.join(map(repr, map(float, value)))
                for key, value in geom.items()})  # fmt: skip
            colours.append(numbers(visual, 'material/emissive')[:3])
    physics = mujoco.MjModel.from_xml_string(ElementTree.tostring(root, encoding='unicode'))
    data = mujoco.MjData(physics)
    mujoco.mj_kinematics(physics, data)

    model = world.find("model[@name='camera']")
    camera = model.find('link/sensor/camera')
    width, height, samples = (
        int(camera.findtext(f'image/{name}')) for name in ('width', 'height', 'anti_aliasing'))
    fine = math.isqrt(samples)
    half = math.tan(float(camera.findtext('horizontal_fov')) / 2)
    left = half - 2 * half * (np.arange(width * fine) + 0.5) / (width * fine)
    up = half * height / width - 2 * half * (np.arange(height * fine) + 0.5) / (width * fine)
    y, z = np.meshgrid(left, up)
    place, turn = np.split(numbers(model, 'pose'), 2)
    rays = np.stack([np.ones_like(y), y, z], -1).reshape(-1, 3) @ rotation(*turn).T
    rays /= np.linalg.norm(rays, axis=1, keepdims=True)
    hit, distance = np.empty(len(rays), dtype=np.int32), np.empty(len(rays))
    mujoco.mj_multiRay(physics, data, place, np.ascontiguousarray(rays).reshape(-1), None, True,
                       -1, hit, distance, None, len(rays), mujoco.mjMAXVAL)
    assert (hit >= 0).all(), 'the camera sees past the floor'
    linear = np.array(colours)[hit]
    shown = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    shown = shown.reshape(height, fine, width, fine, 3).mean((1, 3))
    return np.rint(shown * 255).astype(np.uint8)


@every_scene
def test_picture_is_the_embedded_one_but_for_shades_of_the_side_of_the_robot(scene):
    sdf, world = parse(scene), DiscWorld(scene=scene)
    start = numbers(sdf, "model[@name='robot']/pose")[:2]
    world.reset(options={'start': start})
    difference = np.abs(picture(sdf).astype(int) - world.render()).max(2)
    rows, columns = np.indices(difference.shape)
    # Rays along a diagonal meet the edge of two walls at once, and either one's shade is right.
    diagonal = (rows == columns) | (rows + columns == len(difference) - 1)
    column, row = world.to_pixel(*start)
    robot = np.hypot(rows + 0.5 - row, columns + 0.5 - column) < 4
    assert difference[~robot & ~diagonal].max() <= 1
    assert difference[robot].max() < 20 and (difference[robot] > 1).sum() <= 4


@every_scene
def test_walls_and_robot_collide_as_those_of_the_embedded_world(scene):
    sdf, model = parse(scene), mujoco.MjModel.from_xml_string(to_mjcf(scene))
    boxes = {}
    for wall in sdf.findall('model[static="true"]'):
        for size in wall.iterfind('link/collision/geometry/box'):
            boxes[wall.get('name')] = np.append(numbers(wall, 'pose'), numbers(size, 'size') / 2)
    geoms = [model.geom(index) for index in range(model.ngeom)]
    walls = [geom for geom in geoms if geom.contype and geom.type == mujoco.mjtGeom.mjGEOM_BOX]
    assert boxes.keys() == {geom.name for geom in walls} == {wall.name for wall in scene.walls}
    for geom in walls:
        assert np.allclose(boxes[geom.name], [*geom.pos, 0, 0, 0, *geom.size], atol=1e-6)
    robot, contact = sdf.find("model[@name='robot']"), model.geom('robot_contact')
    assert len(list(sdf.iter('collision'))) == len(walls) + 1
    assert numbers(robot, 'link/collision/geometry/sphere/radius') == contact.size[0]
    assert numbers(robot, 'link/inertial/mass') == model.body('robot').mass
    assert numbers(robot, 'pose')[2] == model.body('robot').pos[2]
    for axis in ('mu', 'mu2'):
        assert numbers(robot, f'link/collision/surface/friction/ode/{axis}') == 0
    assert numbers(sdf, 'physics/max_step_size') == model.opt.timestep
    assert np.array_equal(numbers(sdf, 'gravity'), model.opt.gravity)


@every_scene
def test_robot_starts_at_a_free_place(scene):
    x, y, *_ = numbers(parse(scene), "model[@name='robot']/pose")
    assert DiscWorld(scene=scene).is_free(x, y)


def test_camera_keeps_the_rate_of_the_embedded_one():
    sensor = parse(SCENES[0]).find(".//sensor[@type='camera']")
    (rate,) = [row.default for row in tables.SIM if row.name == 'sim.rate']
    assert float(sensor.findtext('update_rate')) == CAMERA_RATE_HZ == rate
    assert sensor.findtext('camera/image/format') == 'R8G8B8'


@every_scene
def test_light_changes_nothing(scene):
    sdf = parse(scene)
    assert sdf.find('.//light') is None
    assert sdf.findtext('scene/shadows') == 'false'
    assert numbers(sdf, 'scene/ambient').tolist() == [0, 0, 0, 1]
    for material in sdf.iter('material'):
        assert [part.tag for part in material] == ['emissive']


@every_scene
def test_every_element_and_system_is_one_that_there_is(scene):
    root = ElementTree.fromstring(to_sdf(scene))
    assert root.get('version') == '1.9'
    for parent in root.iter():
        assert set(parent.attrib) == ATTRIBUTES.get(parent.tag, set()), parent.tag
        for child in parent:
            assert child.tag in ELEMENTS[parent.tag].split(), f'{child.tag} in {parent.tag}'

    def systems(parent):
        return [(plugin.get('filename'), plugin.get('name')) for plugin in parent.iter('plugin')]

    robot = root.find("world/model[@name='robot']")
    assert systems(robot) == [ROBOT_SYSTEM]
    assert sorted(systems(root)) == sorted([*WORLD_SYSTEMS, ROBOT_SYSTEM])


@every_scene
def test_names_are_unique_among_siblings(scene):
    for parent in parse(scene).iter():
        names = [(child.tag, child.get('name')) for child in parent if child.get('name')]
        assert len(names) == len(set(names))


@pytest.mark.skipif(not shutil.which('gz'), reason='Gazebo is not installed: no gz')
@every_scene
def test_gazebo_finds_no_fault_in_it(scene, tmp_path):
    file = tmp_path / 'world.sdf'
    file.write_text(to_sdf(scene))
    done = subprocess.run(['gz', 'sdf', '--check', file], capture_output=True, text=True)
    assert done.returncode == 0 and 'Error' not in done.stdout + done.stderr, done.stderr


def test_a_world_driven_by_acceleration_is_refused(tmp_path):
    with pytest.raises(UnsupportedSceneError, match='accelerations'):
        to_sdf(describe('inertial_two_rooms'))
    file = tmp_path / 'world.sdf'
    done = CliRunner().invoke(main, ['world', 'inertial_two_rooms', '--output', str(file)])
    assert done.exit_code == 1 and 'accelerations' in done.output
    assert not file.exists()


def test_command_writes_the_world(tmp_path):
    file = tmp_path / 'world.sdf'
    command = ['world', 'random_door', '--layout', '3']
    scene = describe('random_door', layout=3)
    done = CliRunner().invoke(main, [*command, '--format', 'sdf', '--output', str(file)])
    assert done.exit_code == 0 and not done.output
    assert file.read_text() == to_sdf(scene) + '\n'
    assert CliRunner().invoke(main, command).output == to_sdf(scene) + '\n'
    assert CliRunner().invoke(main, [*command, '--format', 'mjcf']).output == to_mjcf(scene) + '\n'


def test_command_names_the_layouts_that_there_are():
    done = CliRunner().invoke(main, ['world', 'staggered_walls'])
    assert done.exit_code == 1 and '0 to 24' in done.output


@pytest.fixture
def bridge():
    """Entries of the bridge's configuration by their topics of ROS."""
    entries = yaml.safe_load((ROOT / 'config' / 'gz_bridge.yaml').read_text())
    assert all(set(entry) == BRIDGE_KEYS for entry in entries)
    return {entry['ros_topic_name']: entry for entry in entries}


def test_bridge_knows_the_topics_of_the_world(bridge):
    world = parse(SCENES[0])
    ends = {name: (entry['gz_topic_name'], entry['gz_type_name'], entry['direction'])
            for name, entry in bridge.items()}  # fmt: skip
    assert ends == {
        '/clock': ('/clock', 'gz.msgs.Clock', 'GZ_TO_ROS'),
        'image_raw': (world.findtext('.//sensor/topic'), 'gz.msgs.Image', 'GZ_TO_ROS'),
        'camera_info': (
            world.findtext('.//camera_info_topic'), 'gz.msgs.CameraInfo', 'GZ_TO_ROS',
        ),
        'cmd_vel': (world.findtext('.//plugin/topic'), 'gz.msgs.Twist', 'ROS_TO_GZ'),
    }  # fmt: skip


def test_bridge_stands_in_for_the_embedded_world(bridge, monkeypatch):
    reason = 'no messages: GRASP_ROS_MESSAGES=1 pip install .[ros]'
    pytest.importorskip('grasp_ros.msg', reason=reason)
    from grasp_ros.node.sim_node import SimNode
    from grasp_ros.node.spin import initialised

    def ends(endpoints):
        return {end.topic_name.lstrip('/'): type_name(end.msg_type) for end in endpoints}

    monkeypatch.setenv('ROS_AUTOMATIC_DISCOVERY_RANGE', 'OFF')
    with initialised():
        node = SimNode()
        published, subscribed = ends(node.publishers), ends(node.subscriptions)
        node.destroy_node()
    carried = {'GZ_TO_ROS': {}, 'ROS_TO_GZ': {}}
    for name, entry in bridge.items():
        carried[entry['direction']][name] = entry['ros_type_name']
    clock = carried['GZ_TO_ROS'].pop('/clock')
    assert clock == 'rosgraph_msgs/msg/Clock'
    assert carried['GZ_TO_ROS'] == {name: published[name] for name in ('image_raw', 'camera_info')}
    assert carried['ROS_TO_GZ'] == {'cmd_vel': subscribed['cmd_vel']}


def type_name(message):
    """Of a message's class, such as `geometry_msgs/msg/Twist`."""
    package, kind, *_ = message.__module__.split('.')
    return f'{package}/{kind}/{message.__name__}'
