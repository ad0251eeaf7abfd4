# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The message types of bags: those of ROS 2 and our own. No ROS in here.

A bag brings the definitions of its messages along. They are not used: ``rosbags`` makes Python
code of a definition and runs it, and nothing that is read is to be executed. Our own come from the
``.msg`` files of this package.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from grasp_ros.errors import ConfigError


@lru_cache(maxsize=1)
def typestore() -> Typestore:
    """All message types that can be read and written.

    :raises ConfigError: when the ``.msg`` files of this package are not there
    """
    store, types = get_typestore(Stores.ROS2_KILTED), {}
    for path in sorted(_folder().glob('*.msg')):
        text = path.read_text(encoding='utf-8')
        types |= get_types_from_msg(text, f'grasp_ros/msg/{path.stem}')
    store.register(types)
    return store


def _folder() -> Path:
    for folder in _places():
        if (folder / 'SolverStatistics.msg').is_file():
            return folder
    raise ConfigError('the .msg files of grasp_ros are not installed: pip install it again')


def _places() -> Iterator[Path]:
    """The source tree, a workspace or ROS 2 that is sourced, the environment of pip."""
    yield Path(__file__).resolve().parents[2] / 'msg'
    for prefix in (*os.environ.get('AMENT_PREFIX_PATH', '').split(os.pathsep), sys.prefix):
        yield Path(prefix, 'share', 'grasp_ros', 'msg')
