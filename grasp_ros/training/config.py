# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Sizes and lengths of a training run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """What a run trains, and for how long; other learning rates stand with their stages.

    :param seed: of data, initial weights and batches
    :param task: one of :data:`TASKS`, also the name of the world
    :param data: digest of the recorded data set that is trained on; empty for walks in the world
    :param walks: training walks, in all layouts together
    :param evaluation_walks: walks for metrics alone, with other seeds
    :param walk_length: frames in a walk
    :param channels: of the encoder's convolutions
    :param encoder_width: features
    :param colours: whose places the encoder gives, in place of convolutions; 0 for these
    :param plain_size: entries of z, what a frame gives without a metric head
    :param metric_size: entries of phi, what it gives with one
    :param velocity_gain: kappa, model steps; 0 for latents of a single frame
    :param static_size: entries of w, the part of the latent that stays as it is; 0 for none
    :param metric_width: of the metric head's hidden layers
    :param metric_unit: model steps to go that a distance of 1 between two phi stands for
    :param predictor_width: of the predictors' hidden layers
    :param probe_width: of the probes' hidden layers; 0 for none, where nobody knows the place
    :param probe_points: points that they read: 1, the robot's place; 3, of the block two as well
    :param encoder_steps: of the joint stage
    :param encoder_batch: windows in a batch of the joint stage
    :param encoder_layouts: layouts that they come from, as many from each; 0: from anywhere
    :param encoder_rollout: predicted steps in one of its windows
    :param predictor_steps: of the first part of each predictor stage, on single steps
    :param predictor_batch: transitions in a batch there
    :param predictor_rate: learning rate of both parts
    :param rollout_steps: of its second part, on rollouts
    :param rollout_batch: windows in a batch there
    :param rollout_longest: longest rollout there, model steps
    :param metric_steps: of the metric head's stage
    :param metric_batch: triples in one of its batches
    :param metric_lead: largest n of its n-step targets, model steps
    :param views_steps: of the stage for cameras that see otherwise; 0 where there is none
    :param views_batch: pictures in a batch there
    :param probe_steps: of each probe stage
    """

    seed: int
    task: str = 'two_rooms'
    data: str = ''
    walks: int = 1000
    evaluation_walks: int = 200
    walk_length: int = 100
    channels: tuple[int, int, int] = (16, 32, 64)
    encoder_width: int = 256
    colours: int = 0
    plain_size: int = 6
    metric_size: int = 16
    velocity_gain: float = 0.0
    static_size: int = 0
    metric_width: int = 256
    metric_unit: float = 4.0
    predictor_width: int = 256
    probe_width: int = 128
    probe_points: int = 1
    encoder_steps: int = 5000
    encoder_batch: int = 64
    encoder_layouts: int = 0
    encoder_rollout: int = 8
    predictor_steps: int = 6000
    predictor_batch: int = 2048
    predictor_rate: float = 4e-3
    rollout_steps: int = 2000
    rollout_batch: int = 256
    rollout_longest: int = 24
    metric_steps: int = 3000
    metric_batch: int = 512
    metric_lead: int = 8
    views_steps: int = 0
    views_batch: int = 256
    probe_steps: int = 6000

    @classmethod
    def of(
        cls, task: str, *, seed: int, quick: bool = False, data: str = ''
    ) -> TrainingConfig:
        """Settings of a task.

        :param quick: a run of seconds that goes through every stage; its models are of no use
        :param data: digest of a recorded data set; it has no places for a probe to learn
        """
        recorded = {'data': data, 'probe_width': 0} if data else {}
        changes = TASKS[task]
        if quick:
            changes = {**changes, **_QUICK, 'views_steps': min(20, changes.get('views_steps', 0)),
                       'colours': min(8, changes.get('colours', 0))}
        return cls(seed=seed, task=task, **{**changes, **recorded})


_WITH_LAYOUTS = {
    'plain_size': 2, 'static_size': 8, 'metric_size': 0, 'encoder_steps': 3000,
    'encoder_batch': 80, 'encoder_layouts': 20, 'encoder_rollout': 4, 'predictor_steps': 3500,
    'predictor_rate': 8e-3, 'rollout_steps': 300, 'probe_steps': 3000,
}
_WITH_INERTIA = {
    # At 11 steps, 2.2 s, greedy control creeps: three steps of speeding up cost more than they
    # gain. From 6 steps down it drives as well as any planner.
    'velocity_gain': 11.0, 'metric_unit': 1.5, 'encoder_steps': 3500, 'encoder_batch': 56,
    'encoder_rollout': 5,
}
TASKS: dict[str, dict[str, Any]] = {
    'two_rooms': {'views_steps': 6000},
    'inertial_two_rooms': _WITH_INERTIA,
    'point_maze': _WITH_INERTIA,
    'push_t': {
        'colours': 32, 'plain_size': 6, 'metric_size': 0, 'encoder_steps': 500,
        'encoder_rollout': 2, 'probe_points': 3,
    },
    'staggered_walls': _WITH_LAYOUTS,
    'random_door': _WITH_LAYOUTS,
}
"""What differs from the defaults."""
_QUICK = {
    'walks': 40, 'evaluation_walks': 25, 'walk_length': 60, 'channels': (8, 8, 16),
    'encoder_width': 64, 'metric_width': 64, 'predictor_width': 64, 'probe_width': 32,
    'encoder_steps': 40, 'encoder_batch': 24, 'encoder_rollout': 4, 'predictor_steps': 40,
    'predictor_batch': 256, 'rollout_steps': 20, 'rollout_batch': 32, 'rollout_longest': 12,
    'metric_steps': 80, 'metric_batch': 128, 'views_batch': 32, 'probe_steps': 100,
}
