# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The nodes under faults and over time: a bench of real processes that is driven from outside."""
