# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What is made of ROS 2 bags: data to train on, and runs that are driven again. Without ROS."""
