# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""GRASP planning with learned world models, as a receding horizon controller for ROS 2."""

import pkgutil

# The generated grasp_ros.msg, .srv and .action lie beside the installed package, not in the
# source tree: without this line they are out of reach of an editable install and of pytest.
__path__ = pkgutil.extend_path(__path__, __name__)
