# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Imports torch out of the garbage collector's sight, which makes a restart shorter.

torch leaves objects by the hundred thousand that stay. The collector goes through them again and
again while they come and once more after that, to find none that can go: an eighth of the
processor time that the controller takes until it is ready.
"""

import gc

gc.disable()
import torch  # noqa: E402, F401

gc.freeze()
gc.enable()
