# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Data, training, evaluation and benchmarks, without ROS."""
