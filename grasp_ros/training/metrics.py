# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Measures of a world model, on walks that it was not trained on.

Everything is given twice: on ordinary places or layouts, and on the bands or layouts that no
training frame shows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from grasp_ros.sim.geometry import DiscGeometry
from grasp_ros.sim.scoring import STOPPED_M_PER_SEC, distance
from grasp_ros.sim.worlds import LAYOUTS
from grasp_ros.training.dataset import Walks
from grasp_ros.training.recorded import RecordedWalks
from grasp_ros.training.tasks import make_world
from grasp_ros.world_models.base import WorldModel
from grasp_ros.world_models.jepa import Jepa

OPEN_LOOP_STEPS = (1, 5, 10, 25, 50)
GOAL_DISTANCE = 0.04
"""Metres within which a goal called reached should lie: below the 0.05 that counts as reached."""
GOAL_PRECISION = 0.99
_WINDOW_STRIDE = 16
_PAIRS = 10_000
_GOAL_FRAMES = 3000
_INNOVATION_QUANTILE, _INNOVATION_MARGIN = 0.99, 2.0
_STILL_QUANTILE, _STILL_MARGIN = 0.9, 2.0
_GAINS = (1.0, 0.7, 0.5, 0.35, 0.25, 0.15)
_GAIN_LEAD = 5
_PUSHED = 0.02  # metres of way or of :func:`distance` that count as a block that was pushed


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """Evaluation walks as a model sees them.

    :param latents: float32 ``[E, L, D]``
    :param goals: the same frames as goals: the latents of a robot that stands there
    :param walks: the walks; those of a recording serve where no place is asked for
    """

    latents: Tensor
    goals: Tensor
    walks: Walks | RecordedWalks


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """M pairs of frames.

    :param first: row of each pair's first frame, the walks' frames counted through
    :param second: row of its second
    :param path: shortest way between them, metres; with a block how far it is from one to the
        other, :func:`grasp_ros.sim.scoring.distance`
    :param held_out: whether one of the two is in a band
    """

    first: np.ndarray
    second: np.ndarray
    path: np.ndarray
    held_out: np.ndarray


def open_loop_errors(model: Jepa, encoded: Encoded) -> dict[str, np.ndarray]:
    """Errors of place, by the probe, of predictions from one frame and the actions alone.

    :return: ``error`` metres ``[W, K]`` after 1 to K = 50 steps of W windows; ``held_out`` and
        ``touches``, bool ``[W, K]``: whether the robot was in a band or held-out layout, or
        touched a wall, at any time up to there
    """
    horizon, walks = OPEN_LOOP_STEPS[-1], encoded.walks
    length = walks.positions.shape[1]
    errors, held_out, touches = [], [], []
    for first in range(0, length - horizon, _WINDOW_STRIDE):
        window = slice(first + 1, first + horizon + 1)
        latent = encoded.latents[:, first]
        actions = torch.from_numpy(walks.actions[:, first:first + horizon])
        with torch.no_grad():
            predicted = model.rollout(latent[:, None], actions[:, :, None])
            places = model.position(predicted.flatten(0, 1)).view(*predicted.shape[:2], 2)
        errors.append(np.linalg.norm(places.numpy() - walks.positions[:, window], axis=-1))
        for found, known in ((held_out, walks.held_out), (touches, walks.touches)):
            inside = known[:, first:first + horizon + 1]
            found.append(np.logical_or.accumulate(inside, axis=1)[:, 1:])
    return {'error': np.concatenate(errors), 'held_out': np.concatenate(held_out),
            'touches': np.concatenate(touches)}


def draw_pairs(walks: Walks, geometries: Mapping[int, DiscGeometry], *, seed: int) -> Pairs:
    """Random pairs of frames of the same layout, from anywhere in its walks.

    :param geometries: of each layout
    :param seed: equal seeds give equal pairs
    """
    places = walks.positions.reshape(-1, 2).astype(np.float64)
    layouts = np.repeat(walks.layouts, walks.positions.shape[1])
    held_out, random = walks.held_out.reshape(-1), np.random.default_rng(seed)
    pairs, paths = [], []
    for layout, geometry in geometries.items():
        rows = np.flatnonzero(layouts == layout)
        drawn = rows[random.integers(0, len(rows), (2, _PAIRS // len(geometries)))]
        pairs.append(drawn)
        paths += [geometry.path_length(places[a], places[b])
                  for a, b in zip(*(np.array_split(row, 10) for row in drawn))]
    first, second = np.concatenate(pairs, axis=1)
    if walks.blocks.shape[-1]:
        states = walks.states.reshape(-1, walks.states.shape[-1])
        paths = [distance(states[first], states[second])]
    return Pairs(first=first, second=second, path=np.concatenate(paths),
                 held_out=held_out[first] | held_out[second])


def latent_distances(model: Jepa, encoded: Encoded, pairs: Pairs) -> np.ndarray:
    """Square roots of the costs between the pairs' places, ``[M]``."""
    goals = encoded.goals.flatten(0, 1)
    return model.cost(goals[pairs.first], goals[pairs.second]).sqrt().numpy()


def rank_correlation(first: np.ndarray, second: np.ndarray) -> float | None:
    """Spearman's rank correlation (without ties, which measured distances do not have).

    :return: None of nothing, as where no place is held out
    """
    if not len(first):
        return None
    ranks = [np.argsort(np.argsort(values)) for values in (first, second)]
    return float(np.corrcoef(*ranks)[0, 1])


def goal_costs(model: Jepa, encoded: Encoded, walks: slice
               ) -> tuple[np.ndarray, np.ndarray]:
    """All pairs of frames of one layout: cost as the controller computes it, and true distance.

    :param walks: which walks
    :return: costs ``[M]`` and distances ``[M]`` in metres; infinite, whatever the place, where
        the model minds the robot's speed and that is too large for it to count as stopped
    """
    known, length = encoded.walks, encoded.walks.positions.shape[1]
    latents, goals = (values[walks].flatten(0, 1) for values in (encoded.latents, encoded.goals))
    keep = np.linspace(0, len(latents) - 1, min(_GOAL_FRAMES, len(latents))).astype(int)
    states = known.states[walks].reshape(-1, known.states.shape[-1])[keep]
    layouts = torch.from_numpy(np.repeat(known.layouts[walks], length)[keep])
    latents, goals = latents[keep], goals[keep]
    costs = torch.stack([model.cost(latents, goal) for goal in goals])
    distances = torch.from_numpy(np.stack([distance(states, goal) for goal in states]))
    if model.card.frames > 1:
        speeds = np.linalg.norm(known.velocities[walks], axis=-1).reshape(-1)[keep]
        distances[:, torch.from_numpy(speeds >= STOPPED_M_PER_SEC)] = torch.inf
    other = (layouts[:, None] == layouts) & ~torch.eye(len(latents), dtype=torch.bool)
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
    reached = distances[called & np.isfinite(distances)]
    return {
        'precision_0.04': _share(called & near, called),
        'precision_0.05': _share(called & (distances <= 0.05), called),
        'recall_0.04': _share(called & near, near),
        'recall_0.02': _share(called & (distances <= 0.02), distances <= 0.02),
        'largest_distance': float(reached.max()) if len(reached) else None,
    }


def observer_gain(model: Jepa, encoded: Encoded, walks: slice) -> tuple[float, ...]:
    """How much of an unforeseen change of the speed is to be believed, for the card.

    Two frames hold the place of the robot and, as their small difference, its speed, which has
    their noise many times over. The gain is the one of :data:`_GAINS` with which the filtered
    latents predict the places seen :data:`_GAIN_LEAD` steps later best.

    :param walks: which of the evaluation walks to use
    :return: as many gains as a latent has entries, 1 for places; ``(1.0,)`` with one frame
    """
    if model.card.frames == 1:
        return (1.0,)
    seen, actions = encoded.latents[walks], torch.from_numpy(encoded.walks.actions[walks])
    places = seen.shape[-1] // 2

    def error(gains: Tensor) -> float:
        latent, errors = seen[:, 0], []
        for t in range(1, seen.shape[1] - _GAIN_LEAD):
            latent = torch.lerp(model.predictor(latent, actions[:, t - 1]), seen[:, t], gains)
            ahead = model.predictor.rollout(latent, actions[:, t:t + _GAIN_LEAD])[:, -1]
            missed = ahead[:, :places] - seen[:, t + _GAIN_LEAD, :places]
            errors.append(missed.square().mean())
        return float(torch.stack(errors).mean())

    with torch.no_grad():
        choices = [torch.tensor([1.0] * places + [gain] * places) for gain in _GAINS]
        return tuple(round(gain, 4) for gain in min(choices, key=error).tolist())


def foresight_limits(model: WorldModel, encoded: Encoded) -> tuple[float, float]:
    """What is unforeseen, and what is a motion that a picture must show, for the card.

    The latents are foreseen and filtered as the controller does it, a step at a time.

    The margins are for places where the model errs several steps in a row, and for commands that
    take effect a little later than in a walk.

    :return: twice the innovation that one step in a hundred exceeds; and twice the motion that the
        model foresees at most, nine times in ten, between two pictures that are the same
    """
    walks, card = encoded.walks, model.card
    actions = torch.from_numpy(walks.actions)
    gain = torch.tensor(card.observer_gain)
    believed, innovations, motions = encoded.latents[:, 0], [], []
    for step, seen in enumerate(encoded.latents[:, 1:].unbind(1)):
        with torch.no_grad():
            foreseen = model.predict(believed.unsqueeze(1), actions[:, step, None, None])
        innovations.append(model.cost(seen, foreseen))
        motions.append(model.cost(believed, foreseen))
        believed = torch.lerp(foreseen, seen, gain)
    innovation, motion = (torch.stack(values, dim=1).numpy() for values in (innovations, motions))
    same = (walks.images[:, 1:] == walks.images[:, :-1]).all(axis=(2, 3, 4))
    still = _STILL_MARGIN * np.quantile(motion[same], _STILL_QUANTILE) if same.any() else 0.0
    large = _INNOVATION_MARGIN * np.quantile(innovation, _INNOVATION_QUANTILE)
    return float(large), float(still)


def summary(model: Jepa, encoded: Encoded, pairs: Pairs, held_out: str) -> dict[str, Any]:
    """All metrics of a model whose card has its goal tolerance, as JSON types.

    Distances in metres; the world is 1 m wide.

    :param held_out: what to call the places that no training frame shows
    """
    walks = encoded.walks
    frames = encoded.latents.flatten(0, 1)
    with torch.no_grad():
        found, moved = model.position(frames).numpy(), model.velocity(frames)
    probe = np.linalg.norm(found - walks.positions.reshape(-1, 2), axis=1)
    loop, distances = open_loop_errors(model, encoded), latent_distances(model, encoded, pairs)
    half = len(walks.layouts) // 2
    scored = goal_score(*goal_costs(model, encoded, slice(half, None)),
                        model.card.goal_tolerance)
    result = {}
    for name, inside in (('ordinary', False), (held_out, True)):
        chosen = walks.held_out.reshape(-1) == inside
        among = pairs.held_out == inside
        result[name] = {
            'probe_error': _mean_and_tail(probe[chosen]),
            'open_loop_error': {
                str(k): _mean_and_tail(loop['error'][loop['held_out'][:, k - 1] == inside, k - 1])
                for k in OPEN_LOOP_STEPS
            },
            'open_loop_error_at_wall': {
                str(k): _mean_and_tail(loop['error'][(loop['held_out'][:, k - 1] == inside)
                                                     & loop['touches'][:, k - 1], k - 1])
                for k in OPEN_LOOP_STEPS
            },
            'rank_correlation': rank_correlation(distances[among], pairs.path[among]),
        }
        if moved is not None:
            error = np.linalg.norm(moved.numpy() - _mean_velocities(model, walks), axis=1)
            result[name]['velocity_error'] = _mean_and_tail(error[chosen])
    return {**result, 'goal': scored, **_layout_probe(model, encoded, held_out),
            **_block_errors(model, encoded)}


def _block_errors(model: Jepa, encoded: Encoded) -> dict[str, Any]:
    """What the latent tells of the block, and what is foreseen of one that is pushed.

    Of windows in which the block is pushed by 2 cm or more, or turned as far as counts as much.
    """
    walks, horizon = encoded.walks, OPEN_LOOP_STEPS[-1]
    if not walks.blocks.shape[-1]:
        return {}
    with torch.no_grad():
        found = model.block_pose(encoded.latents.flatten(0, 1)).numpy()
        seen = _pose_errors(found, walks.blocks.reshape(-1, 3))
        foreseen = {steps: [] for steps in OPEN_LOOP_STEPS}
        for first in range(0, walks.blocks.shape[1] - horizon, _WINDOW_STRIDE):
            actions = torch.from_numpy(walks.actions[:, first:first + horizon])
            predicted = model.rollout(encoded.latents[:, first, None], actions[:, :, None])
            for steps, parts in foreseen.items():
                before, after = walks.states[:, first], walks.states[:, first + steps]
                pushed = distance(before, after) > _PUSHED
                pose = model.block_pose(predicted[:, steps - 1]).numpy()
                parts.append([*(error[pushed] for error in _pose_errors(pose, after[:, 2:])),
                              *(way[pushed] for way in _pose_errors(before[:, 2:], after[:, 2:]))])
    names = 'error', 'turn_error_deg', 'moved', 'turned_deg'
    return {'block': {
        'probe': dict(zip(names[:2], map(_mean_and_tail, seen))),
        'open_loop': {
            str(steps): {name: _mean_and_tail(np.concatenate(values))
                         for name, values in zip(names, zip(*parts))}
            for steps, parts in foreseen.items()
        },
    }}


def _pose_errors(found: np.ndarray, poses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Errors of place in m and of yaw in degrees, ``[N]`` each."""
    turn = (found[:, 2] - poses[:, 2] + np.pi) % (2 * np.pi) - np.pi
    return np.linalg.norm(found[:, :2] - poses[:, :2], axis=1), np.degrees(np.abs(turn))


def _mean_velocities(model: Jepa, walks: Walks) -> np.ndarray:
    """Velocities between each frame and the one before it, ``[E L, 2]`` in m/s."""
    before = np.concatenate([walks.positions[:, :1], walks.positions[:, :-1]], axis=1)
    return ((walks.positions - before) / model.card.model_step_sec).reshape(-1, 2)


def _layout_probe(model: Jepa, encoded: Encoded, held_out: str) -> dict[str, Any]:
    """What the static part tells of the gaps, by least squares on the training layouts.

    Each gap's height is picked among those of the training layouts. A layout is told where no
    other choice would have been nearer.
    """
    static = model.card.architecture.get('static_size', 0)
    if not static:
        return {}
    walks, length = encoded.walks, encoded.walks.positions.shape[1]
    name = model.card.training['world']
    heights = np.array([
        [(door.low[1] + door.high[1]) / 2 for door in make_world(name, layout).scene.doors]
        for layout in range(LAYOUTS[name].count)
    ])
    values = encoded.latents[..., -static:].flatten(0, 1).numpy()
    values = np.concatenate([values, np.ones((len(values), 1))], axis=1)
    new, wanted = walks.held_out.reshape(-1), heights[np.repeat(walks.layouts, length)]
    errors, right = np.zeros(wanted.shape), np.ones(len(values), dtype=bool)
    for gap, own in enumerate(wanted.T):
        choices = np.unique(heights[list(LAYOUTS[name].training), gap])
        off = np.abs(own[:, None] - choices)
        weights = np.linalg.lstsq(values[~new], (off < 1e-9)[~new].astype(float), rcond=None)[0]
        found = (values @ weights).argmax(axis=1)
        errors[:, gap] = off[np.arange(len(off)), found]
        right &= errors[:, gap] < off.min(axis=1) + 1e-9
    parts = (('ordinary', ~new), (held_out, new))
    return {
        'layout_told': {part: float(right[rows].mean()) if rows.any() else None
                        for part, rows in parts},
        'gap_error': {part: _mean_and_tail(errors[rows].mean(axis=1)) for part, rows in parts},
    }


def _mean_and_tail(values: Sequence[float] | np.ndarray) -> dict[str, float | None]:
    if not len(values):
        return {'mean': None, 'p95': None, 'count': 0}
    return {'mean': float(np.mean(values)), 'p95': float(np.quantile(values, 0.95)),
            'count': len(values)}


def _share(part: np.ndarray, whole: np.ndarray) -> float | None:
    return float(part.sum() / whole.sum()) if whole.any() else None
