# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What each task trains: in which worlds, by which stages, to which models.

Sizes and lengths stand in :data:`grasp_ros.training.config.TASKS` under the same names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from grasp_ros.training import stages
from grasp_ros.training.config import TrainingConfig


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One task; its world has the task's name.

    :param models: name of each model that comes out -> its latent, ``plain`` or ``metric``
    :param stages: gives all stages, in the order in which they run
    :param held_out: what no training frame shows, as the metrics call it
    """

    models: Mapping[str, str]
    stages: Callable[[stages.Networks, stages.TrainingData, TrainingConfig], list[stages.Stage]]
    held_out: str = 'held_out_band'


RECIPES = {
    'two_rooms': Recipe(models={'two_rooms': 'metric', 'two_rooms_no_metric': 'plain'},
                        stages=stages.two_rooms),
    'inertial_two_rooms': Recipe(models={'inertial_two_rooms': 'metric'},
                                 stages=stages.with_metric),
    'staggered_walls': Recipe(models={'staggered_walls': 'plain'}, stages=stages.with_layouts,
                              held_out='held_out_layouts'),
    'random_door': Recipe(models={'random_door': 'plain'}, stages=stages.with_layouts,
                          held_out='held_out_layouts'),
}
