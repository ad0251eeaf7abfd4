# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Keeps a node off the shared memory of Fast DDS.

Who sends through shared memory takes a lock that the receiver takes as well. A receiver that is
killed or stopped while it holds the lock makes all its senders wait until a check finds it dead:
a second, measured, and for the gate a second in which the robot hears nothing. And who comes after
one that was killed may not be heard before the dead one's lease ends, after twenty seconds.
"""

from __future__ import annotations

import os
from collections.abc import MutableMapping
from pathlib import Path

from rclpy.utilities import get_rmw_implementation_identifier

_TRANSPORTS = 'FASTDDS_BUILTIN_TRANSPORTS'
_PROFILES = 'FASTDDS_DEFAULT_PROFILES_FILE'
_PROFILES_JAZZY = 'FASTRTPS_DEFAULT_PROFILES_FILE'
_RANGE = 'ROS_AUTOMATIC_DISCOVERY_RANGE'
_LOOPBACK = Path(__file__).with_name('loopback_udp.xml')


def leave_shared_memory(environ: MutableMapping[str, str] = os.environ) -> None:
    """Choose UDP alone by the variables that Fast DDS reads; to be called before rclpy starts.

    Does nothing with another middleware, where a transport or a profile has been chosen already,
    and where the discovery range is one that no profile of ours stands for.

    :param environ: changed in place
    """
    if not get_rmw_implementation_identifier().startswith('rmw_fastrtps'):
        return
    chosen = [environ[n] for n in (_TRANSPORTS, _PROFILES, _PROFILES_JAZZY) if n in environ]
    if chosen and chosen != [str(_LOOPBACK)]:
        return
    local = environ.get('ROS_LOCALHOST_ONLY') == '1'
    reach = 'LOCALHOST' if local else environ.get(_RANGE, 'SUBNET')
    if reach == 'SUBNET' and not chosen:
        environ[_TRANSPORTS] = 'UDPv4'
    elif reach == 'LOCALHOST' and not environ.get('ROS_STATIC_PEERS'):
        # In this range rmw_fastrtps makes transports of its own, with shared memory, whatever the
        # variable says. The profile stands for the range.
        profiles = _PROFILES_JAZZY if environ.get('ROS_DISTRO') == 'jazzy' else _PROFILES
        environ[profiles] = str(_LOOPBACK)
        environ[_RANGE] = 'SYSTEM_DEFAULT'
        environ.pop('ROS_LOCALHOST_ONLY', None)
