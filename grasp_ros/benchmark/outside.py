# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Planners of other packages, behind this package's protocol; they take part if installed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from grasp_ros.planners import registry
from grasp_ros.planners.base import Planner
from grasp_ros.world_models.base import WorldModel


def make_planner(name: str, model: WorldModel, settings: Mapping[str, Any]) -> Planner:
    """A planner of this package or of another one, by name.

    :raises ConfigError: on an unknown name, an unknown setting, or a value out of range
    """
    return registry.make(name, model, **settings)
