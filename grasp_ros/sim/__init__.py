# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Embedded worlds on MuJoCo, with a ray-cast camera: no ROS, no torch, no OpenGL."""
