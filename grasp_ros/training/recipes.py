# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What each task trains: in which worlds, by which stages, to which models.

Sizes and lengths stand in :data:`grasp_ros.training.config.TASKS` under the same names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from grasp_ros.training.config import TrainingConfig
from grasp_ros.training.layout_stages import LayoutEncoderStage, LayoutPredictorStage
from grasp_ros.training.push_stages import PushEncoderStage
from grasp_ros.training.stages import (
    EncoderStage,
    FreshPredictorStage,
    MetricStage,
    Networks,
    PredictorStage,
    ProbeStage,
    Stage,
    TrainingData,
)
from grasp_ros.training.views import ViewsStage


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One task; its world has the task's name.

    :param models: name of each model that comes out -> its latent, ``plain`` or ``metric``
    :param stages: gives all stages, in the order in which they run
    :param held_out: what no training frame shows, as the metrics call it
    """

    models: Mapping[str, str]
    stages: Callable[[Networks, TrainingData, TrainingConfig], list[Stage]]
    held_out: str = 'held_out_band'


def _two_rooms(networks: Networks, data: TrainingData, config: TrainingConfig) -> list[Stage]:
    """With and without a metric head, for cameras that see a little otherwise."""
    parts = networks, data, config
    return [
        EncoderStage(*parts), MetricStage(*parts), ViewsStage(*parts),
        PredictorStage(*parts, space='plain'), PredictorStage(*parts, space='metric'),
        ProbeStage(*parts, space='plain'), ProbeStage(*parts, space='metric'),
    ]


def _with_metric(networks: Networks, data: TrainingData, config: TrainingConfig) -> list[Stage]:
    """With a metric head alone."""
    parts = networks, data, config
    return [EncoderStage(*parts), MetricStage(*parts), PredictorStage(*parts, space='metric'),
            ProbeStage(*parts, space='metric')]


def _with_block(networks: Networks, data: TrainingData, config: TrainingConfig) -> list[Stage]:
    """Without a metric head, for a block that is pushed."""
    parts = networks, data, config
    return [PushEncoderStage(*parts), FreshPredictorStage(*parts, space='plain'),
            ProbeStage(*parts, space='plain')]


def _with_layouts(networks: Networks, data: TrainingData, config: TrainingConfig) -> list[Stage]:
    """Without a metric head, for walls that differ."""
    parts = networks, data, config
    return [LayoutEncoderStage(*parts), LayoutPredictorStage(*parts, space='plain'),
            ProbeStage(*parts, space='plain')]


RECIPES = {
    'two_rooms': Recipe(models={'two_rooms': 'metric', 'two_rooms_no_metric': 'plain'},
                        stages=_two_rooms),
    'inertial_two_rooms': Recipe(models={'inertial_two_rooms': 'metric'},
                                 stages=_with_metric),
    'point_maze': Recipe(models={'point_maze': 'metric'}, stages=_with_metric),
    'push_t': Recipe(models={'push_t': 'plain'}, stages=_with_block),
    'staggered_walls': Recipe(models={'staggered_walls': 'plain'}, stages=_with_layouts,
                              held_out='held_out_layouts'),
    'random_door': Recipe(models={'random_door': 'plain'}, stages=_with_layouts,
                          held_out='held_out_layouts'),
}
