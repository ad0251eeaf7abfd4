# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Planners against each other: tuning, paired episodes under charged time, statistics, tables."""
