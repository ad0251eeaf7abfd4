# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Planners by name, as parameters and command lines call them."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from grasp_ros.errors import ConfigError
from grasp_ros.planners.base import Planner
from grasp_ros.planners.cem import Cem, CemConfig
from grasp_ros.planners.gradient import Gradient, GradientConfig
from grasp_ros.planners.grasp import PAPER, Grasp, GraspConfig
from grasp_ros.planners.icem import Icem, IcemConfig
from grasp_ros.planners.latco import Latco, LatcoConfig
from grasp_ros.planners.mppi import Mppi, MppiConfig
from grasp_ros.planners.unlifted import Unlifted, UnliftedConfig
from grasp_ros.world_models.base import WorldModel


@dataclass(frozen=True)
class _Entry:
    planner: type
    config: type
    fixed: dict[str, Any]


PLANNERS: dict[str, _Entry] = {
    'grasp': _Entry(Grasp, GraspConfig, {}),
    'cem': _Entry(Cem, CemConfig, {}),
    'icem': _Entry(Icem, IcemConfig, {}),
    'mppi': _Entry(Mppi, MppiConfig, {}),
    'gradient': _Entry(Gradient, GradientConfig, {}),
    'latco': _Entry(Latco, LatcoConfig, {}),
    'unlifted': _Entry(Unlifted, UnliftedConfig, {}),
    'grasp_paper': _Entry(Grasp, GraspConfig, dict(PAPER)),
    # The control that every claim is printed beside: a converged search three steps ahead. Where
    # it succeeds, the latent's geometry has solved the task and no planner can take the credit.
    'greedy': _Entry(Cem, CemConfig, {
        'horizon': 3, 'iterations': 3, 'samples': 64, 'elites': 8, 'noise_scale': 0.5,
        'return_best': 0,
    }),
}


def settings_of(name: str) -> frozenset[str]:
    """Names of the settings that a planner takes.

    :raises ConfigError: when there is no such planner
    """
    entry = _entry(name)
    return frozenset(f.name for f in fields(entry.config)) - frozenset(entry.fixed)


def configure(name: str, **settings: Any) -> Any:
    """The whole configuration of a planner.

    :param name: one of :data:`PLANNERS`
    :param settings: fields of its configuration; the rest keep their defaults
    :raises ConfigError: on an unknown name, an unknown or fixed setting, or a value out of range
    """
    entry = _entry(name)
    unknown = set(settings) - settings_of(name)
    if unknown:
        raise ConfigError(
            f'planner {name} has no setting {", ".join(sorted(unknown))}; '
            f'it takes {", ".join(sorted(settings_of(name)))}'
        )
    return entry.config(**entry.fixed, **settings)


def make(name: str, model: WorldModel, **settings: Any) -> Planner:
    """Build a planner.

    :param name: as for :func:`configure`, and so what it raises
    :param settings: likewise
    """
    return build(name, model, configure(name, **settings))


def build(name: str, model: WorldModel, config: Any) -> Planner:
    """Build a planner of a whole configuration.

    :param config: that :func:`configure` gave for this name
    """
    return _entry(name).planner(model, config)


def _entry(name: str) -> _Entry:
    if name not in PLANNERS:
        raise ConfigError(f'no planner "{name}"; choose one of {", ".join(PLANNERS)}')
    return PLANNERS[name]
