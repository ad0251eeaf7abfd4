# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Measures of a world model, on walks that it was not trained on.

Everything is given twice: on ordinary places, and on the bands that no training frame shows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from grasp_ros.sim.geometry import DiscGeometry
from grasp_ros.training.dataset import Walks
from grasp_ros.world_models.base import WorldModel

OPEN_LOOP_STEPS = (1, 5, 10, 25, 50)
GOAL_DISTANCE = 0.04
"""Metres within which a goal called reached should lie: below the 0.05 that counts as reached."""
GOAL_PRECISION = 0.99
_WINDOW_STRIDE = 16
_PAIRS = 10_000
_GOAL_FRAMES = 3000


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """Evaluation walks as a model sees them.

    :param latents: float32 ``[E, L, D]``
    :param walks: the walks
    """

    latents: Tensor
    walks: Walks


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """M pairs of frames.

    :param first: row of each pair's first frame, the walks' frames counted through
    :param second: row of its second
    :param path: shortest way between them, metres
    :param held_out: whether one of the two is in a band
    """

    first: np.ndarray
    second: np.ndarray
    path: np.ndarray
    held_out: np.ndarray


def open_loop_errors(model: WorldModel, encoded: Encoded) -> dict[str, np.ndarray]:
    """Errors of place, by the probe, of predictions from one frame and the actions alone.

    :return: ``error`` metres ``[W, K]`` after 1 to K = 50 steps of W windows, and ``held_out``,
        bool ``[W, K]``, whether the robot was in a band at any time up to there
    """
    horizon, walks = OPEN_LOOP_STEPS[-1], encoded.walks
    length = walks.positions.shape[1]
    errors, held_out = [], []
    for first in range(0, length - horizon, _WINDOW_STRIDE):
        window = slice(first + 1, first + horizon + 1)
        latent = encoded.latents[:, first]
        actions = torch.from_numpy(walks.actions[:, first:first + horizon])
        with torch.no_grad():
            predicted = model.rollout(latent[:, None], actions[:, :, None])
            places = model.position(predicted.flatten(0, 1)).view(*predicted.shape[:2], 2)
        errors.append(np.linalg.norm(places.numpy() - walks.positions[:, window], axis=-1))
        inside = walks.held_out[:, first:first + horizon + 1]
        held_out.append(np.logical_or.accumulate(inside, axis=1)[:, 1:])
    return {'error': np.concatenate(errors), 'held_out': np.concatenate(held_out)}


def draw_pairs(walks: Walks, geometry: DiscGeometry, *, seed: int) -> Pairs:
    """Random pairs of frames, from anywhere in the walks.

    :param seed: equal seeds give equal pairs
    """
    places = walks.positions.reshape(-1, 2).astype(np.float64)
    first, second = np.random.default_rng(seed).integers(0, len(places), (2, _PAIRS))
    held_out = walks.held_out.reshape(-1)
    path = [geometry.path_length(places[a], places[b])
            for a, b in zip(np.array_split(first, 10), np.array_split(second, 10))]
    return Pairs(first=first, second=second, path=np.concatenate(path),
                 held_out=held_out[first] | held_out[second])


def latent_distances(encoded: Encoded, pairs: Pairs) -> np.ndarray:
    """Euclidean distances of the pairs' latents, ``[M]``."""
    latents = encoded.latents.flatten(0, 1).numpy()
    return np.linalg.norm(latents[pairs.first] - latents[pairs.second], axis=1)


def rank_correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Spearman's rank correlation (without ties, which measured distances do not have)."""
    ranks = [np.argsort(np.argsort(values)) for values in (first, second)]
    return float(np.corrcoef(*ranks)[0, 1])


def goal_costs(model: WorldModel, encoded: Encoded, walks: slice
               ) -> tuple[np.ndarray, np.ndarray]:
    """All pairs of frames of some walks: cost as the controller computes it, and true distance.

    :param walks: which walks
    :return: costs ``[M]`` and distances ``[M]`` in metres
    """
    latents = encoded.latents[walks].flatten(0, 1)
    places = encoded.walks.positions[walks].reshape(-1, 2)
    keep = np.linspace(0, len(places) - 1, min(_GOAL_FRAMES, len(places))).astype(int)
    latents, places = latents[keep], torch.from_numpy(places[keep])
    costs = torch.stack([model.cost(latents, goal) for goal in latents])
    distances = torch.cdist(places, places, compute_mode='donot_use_mm_for_euclid_dist')
    other = ~torch.eye(len(latents), dtype=torch.bool)
    return costs[other].numpy(), distances[other].numpy()


def goal_tolerance(costs: np.ndarray, distances: np.ndarray) -> float:
    """Largest cost under which 99 % of the pairs are within 0.04 m; 0 where there is none."""
    order = np.argsort(costs)
    precision = np.cumsum(distances[order] <= GOAL_DISTANCE) / np.arange(1, len(order) + 1)
    good = np.flatnonzero(precision >= GOAL_PRECISION)
    return float(costs[order[good[-1]]]) if len(good) else 0.0


def goal_score(costs: np.ndarray, distances: np.ndarray, tolerance: float
               ) -> dict[str, float | None]:
    """How well a tolerance tells that the goal is reached."""
    called, near = costs <= tolerance, distances <= GOAL_DISTANCE
    return {
        'precision_0.04': _share(called & near, called),
        'precision_0.05': _share(called & (distances <= 0.05), called),
        'recall_0.04': _share(called & near, near),
        'recall_0.02': _share(called & (distances <= 0.02), distances <= 0.02),
        'largest_distance': float(distances[called].max()) if called.any() else None,
    }


def summary(model: WorldModel, encoded: Encoded, pairs: Pairs) -> dict[str, Any]:
    """All metrics of a model whose card has its goal tolerance, as JSON types.

    Distances in metres; the world is 1 m wide.
    """
    walks, held_out = encoded.walks, encoded.walks.held_out
    with torch.no_grad():
        found = model.position(encoded.latents.flatten(0, 1)).numpy()
    probe = np.linalg.norm(found - walks.positions.reshape(-1, 2), axis=1)
    loop, distances = open_loop_errors(model, encoded), latent_distances(encoded, pairs)
    half = len(held_out) // 2
    scored = goal_score(*goal_costs(model, encoded, slice(half, None)),
                        model.card.goal_tolerance)
    result = {}
    for name, inside in (('ordinary', False), ('held_out_band', True)):
        chosen = held_out.reshape(-1) == inside
        among = pairs.held_out == inside
        result[name] = {
            'probe_error': _mean_and_tail(probe[chosen]),
            'open_loop_error': {
                str(k): _mean_and_tail(loop['error'][loop['held_out'][:, k - 1] == inside, k - 1])
                for k in OPEN_LOOP_STEPS
            },
            'rank_correlation': rank_correlation(distances[among], pairs.path[among]),
        }
    return {**result, 'goal': scored}


def _mean_and_tail(values: Sequence[float] | np.ndarray) -> dict[str, float | None]:
    if not len(values):
        return {'mean': None, 'p95': None, 'count': 0}
    return {'mean': float(np.mean(values)), 'p95': float(np.quantile(values, 0.95)),
            'count': len(values)}


def _share(part: np.ndarray, whole: np.ndarray) -> float | None:
    return float(part.sum() / whole.sum()) if whole.any() else None
