# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""All fault scenarios, by importing the modules that register them."""

from grasp_ros.reliability import (  # noqa: F401
    camera_faults,
    clock_faults,
    compression_faults,
    gate_faults,
    goal_faults,
    model_faults,
    parameter_faults,
    process_faults,
    solver_faults,
)
from grasp_ros.reliability.scenario import SCENARIOS

__all__ = ['SCENARIOS']
