# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The environment of every test and of every process that a test starts."""

import os
import sys
from pathlib import Path

# A domain of this run's own, on this machine alone: a test must never drive a robot on the
# network, and two runs side by side must not hear each other. The ports of domains 1 to 100 lie
# below the ephemeral ones.
os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'
os.environ['ROS_DOMAIN_ID'] = str(1 + os.getpid() % 100)
# Off by default, and then a numpy.float32 in a message field goes out as another number.
os.environ['ROS_PYTHON_CHECK_FIELDS'] = '1'
# The ROS 2 wheels have no set-up script that would name their prefix.
if Path(sys.prefix, 'share', 'ament_index').is_dir():
    prefixes = os.environ.get('AMENT_PREFIX_PATH', '').split(os.pathsep)
    if sys.prefix not in prefixes:
        prefixes.append(sys.prefix)
    os.environ['AMENT_PREFIX_PATH'] = os.pathsep.join(filter(None, prefixes))
