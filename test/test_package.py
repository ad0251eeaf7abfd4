# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The package as a user installs it: what it says of itself, its messages, its commands."""

import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from importlib import import_module
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MANIFEST = ElementTree.parse(ROOT / 'package.xml')
INTERFACES = sorted(path for kind in ('msg', 'action', 'srv') for path in ROOT.glob(f'{kind}/*'))
EXECUTABLES = ('mpc_node', 'gate_node', 'sim_node', 'excite_node', 'grasp-ros')
# What a machine without ROS lacks, as it is imported.
ROS = (
    'action_msgs', 'ament_index_python', 'builtin_interfaces', 'diagnostic_msgs', 'geometry_msgs',
    'launch', 'launch_ros', 'lifecycle_msgs', 'nav_msgs', 'rcl_interfaces', 'rclpy', 'sensor_msgs',
    'std_msgs', 'std_srvs', 'trajectory_msgs',
)  # fmt: skip


def run(*command):
    """Run a command with a limit, and show what it said if it fails."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, f'{command}: {done.stdout}\n{done.stderr}'
    return done.stdout


def pip_distribution():
    """The distribution that pip installed, or a skip: colcon installs none."""
    try:
        found = distribution('grasp_ros')
    except PackageNotFoundError:
        pytest.skip('grasp_ros is not installed by pip')
    if not found.entry_points:
        pytest.skip('grasp_ros is installed by colcon, not by pip')
    return found


def test_pip_and_ros_are_told_the_same_name_version_and_licence():
    metadata = pip_distribution().metadata
    assert metadata['Name'] == MANIFEST.findtext('name')
    assert metadata['Version'] == MANIFEST.findtext('version')
    assert metadata['License-Expression'] == MANIFEST.findtext('license')
    assert 'Apache License' in (ROOT / 'LICENSE').read_text()


def test_cmake_builds_the_package_that_package_xml_declares():
    cmake = (ROOT / 'CMakeLists.txt').read_text()
    assert f'project({MANIFEST.findtext("name")})' in cmake
    packages = re.search(r'set\(message_packages (.*?)\)', cmake)[1].split()
    assert sorted(packages) == sorted(node.text for node in MANIFEST.iter('depend'))


def test_every_source_carries_its_licence():
    sources = [*ROOT.glob('grasp_ros/**/*.py'), *ROOT.glob('test/*.py')]
    bare = [path for path in sources if 'SPDX-License-Identifier' not in path.read_text()[:120]]
    assert not bare


@pytest.mark.parametrize('path', INTERFACES, ids=lambda path: path.name)
def test_interface_is_built_as_it_is_written_and_survives_the_wire(path):
    serialization = pytest.importorskip('rclpy.serialization', reason='no ROS 2: rclpy is absent')
    kind = path.suffix[1:]
    interface = getattr(import_module(f'grasp_ros.{kind}'), path.stem)
    parts = {
        'msg': (interface,),
        'srv': (getattr(interface, 'Request', None), getattr(interface, 'Response', None)),
        'action': tuple(getattr(interface, n, None) for n in ('Goal', 'Result', 'Feedback')),
    }[kind]
    for part, text in zip(parts, path.read_text().split('\n---\n')):
        lines = [line.partition('#')[0].split() for line in text.splitlines()]
        written = [words[1].partition('=') for words in lines if words]
        fields = [name for name, sign, _ in written if not sign]
        assert list(part.get_fields_and_field_types()) == fields, 'built from another version'
        for name, sign, value in written:
            if sign:
                assert getattr(part, name) == int(value)
        wire = serialization.serialize_message(part())
        assert serialization.deserialize_message(wire, part) == part()


def test_library_imports_where_there_is_no_ros():
    sources = [path.relative_to(ROOT).with_suffix('') for path in ROOT.glob('grasp_ros/**/*.py')]
    speaks_ros = {'node', 'reliability'}
    modules = ['.'.join(path.parts) for path in sources if not speaks_ros & set(path.parts)]
    assert len(modules) > 10
    run(
        sys.executable,
        '-c',
        'import sys; from importlib import import_module\n'
        f'sys.modules.update(dict.fromkeys({ROS}))\n'
        f'for module in {modules}: import_module(module.removesuffix(".__init__"))',
    )


def test_simulator_imports_no_torch():
    run(
        sys.executable,
        '-c',
        'import sys; sys.modules["torch"] = None; import grasp_ros.sim.world',
    )


@pytest.mark.parametrize('node', ['mpc_node', 'gate_node', 'sim_node', 'excite_node'])
def test_nodes_can_be_discovered_before_torch_is_imported(node):
    pytest.importorskip('grasp_ros.msg', reason='no messages: built by GRASP_ROS_MESSAGES=1')
    program = f'import sys; sys.modules["torch"] = None; import grasp_ros.node.{node}'
    run(sys.executable, '-c', program)


@pytest.mark.parametrize('command', [(), ('train',), ('evaluate',), ('benchmark',), ('demo',)])
def test_command_line_answers_help(command):
    pip_distribution()
    script = Path(sys.executable).with_name('grasp-ros')
    assert 'Usage: grasp-ros' in run(str(script), *command, '--help')


@pytest.mark.parametrize(
    ('command', 'missing', 'cure'),
    [
        ('demo', 'rclpy', "GRASP_ROS_MESSAGES=1 pip install '.[ros]'"),
        ('evaluate', 'mujoco', 'pip install mujoco-core'),
    ],
)
def test_command_line_names_the_cure_for_what_is_missing(command, missing, cure):
    program = f'import sys; sys.modules["{missing}"] = None; import grasp_ros.cli as c; c.main()'
    done = subprocess.run(
        [sys.executable, '-c', program, command, '--help'], capture_output=True, text=True
    )
    assert done.returncode == 1
    assert 'Traceback' not in done.stderr
    assert cure in done.stderr


def test_ros2_run_finds_the_executables():
    index = pytest.importorskip('ament_index_python', reason='no ROS 2: no ament index')
    try:
        prefix = index.get_package_prefix('grasp_ros')
    except index.PackageNotFoundError:
        pytest.skip('installed without messages and nodes (GRASP_ROS_MESSAGES=1 builds them)')
    for name in EXECUTABLES:
        executable = Path(prefix, 'lib', 'grasp_ros', name)
        assert os.access(executable, os.X_OK), executable
        compile(executable.read_text(), executable, 'exec')
