# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The cells that are reported: every planner as it was tuned, the controls, GRASP's parts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from itertools import product
from pathlib import Path
from typing import Any

from grasp_ros.benchmark.cells import Cell, load_model, run_cell
from grasp_ros.benchmark.outside import make_planner
from grasp_ros.benchmark.pool import Job
from grasp_ros.benchmark.suite import GREEDY, Suite, Task, is_meant, split
from grasp_ros.control.controller import ControllerConfig

Tuned = Mapping[tuple[str, str, float], Mapping[str, Any]]
GREEDY_SETTINGS = {'schedule': 'after_frame'}
_TICKS = 50  # of a usual episode
_TICK_MS = 3.0  # picture, physics and scoring


def run_cells(suite: Suite, tuned: Tuned, *, only: str = '') -> list[Cell]:
    """Task x training seed x planner x deadline, and the greedy control beside them.

    The greedy control has neither deadline nor charge: it is to show what the latent's geometry
    gives away, at its best. What was not tuned is left out.

    :param only: ``task/planner``, either of them may be empty
    """
    cells = []
    for task in suite.tasks:
        for seed in task.models:
            if is_meant(only, task.name, GREEDY):
                cells.append(_cell(suite, task, seed, GREEDY, GREEDY, GREEDY_SETTINGS, study='run',
                                   deadline_ms=0.0, charge=False))
            for entry in suite.planners:
                if not is_meant(only, task.name, entry.name):
                    continue
                for deadline_ms in suite.deadlines_ms:
                    settings = chosen(suite, tuned, task.name, entry.name, deadline_ms)
                    if settings is None:
                        continue
                    cells.append(_cell(
                        suite, task, seed, entry.name, entry.planner, settings, study='run',
                        deadline_ms=deadline_ms, charge=True,
                    ))
    return cells


def ablation_cells(suite: Suite, tuned: Tuned, *, only: str = '') -> list[Cell]:
    """GRASP minus each of its parts, at the tuned settings of one deadline.

    A part that the tuned settings do not use is not taken away again.

    :param only: ``task/planner``, either of them may be empty; the parts are the planner's
    """
    cells = []
    if not suite.ablation:
        return cells
    subject, deadline_ms = suite.planners[0], suite.ablation['deadline_ms']
    for task in suite.tasks:
        full = chosen(suite, tuned, task.name, subject.name, deadline_ms)
        if full is None or not is_meant(only, task.name, subject.name):
            continue
        for name, change in suite.ablation['variants'].items():
            change = dict(change)
            planner = change.pop('planner', subject.planner)
            settings = {**full, **change}
            if planner == subject.planner and _is_same(task, planner, settings, full):
                continue
            for seed in task.models:
                cells.append(_cell(suite, task, seed, name, planner, settings, study='ablation',
                                   deadline_ms=deadline_ms, charge=True))
    return cells


def _is_same(
    task: Task, planner: str, first: Mapping[str, Any], second: Mapping[str, Any]
) -> bool:
    """Whether two settings mean the same, defaults filled in."""
    model = load_model(next(iter(task.models.values())))
    (mine, control), (others, other_control) = split(first), split(second)
    return ControllerConfig(**control) == ControllerConfig(**other_control) and (
        make_planner(planner, model, mine).config == make_planner(planner, model, others).config
    )


def feedback_cells(suite: Suite, tuned: Tuned) -> list[Cell]:
    """The feedback study: arms x disturbances x charges, whole episodes.

    What was not tuned is left out.
    """
    study, cells = suite.feedback, []
    if not study:
        return cells
    planners = {entry.name: entry.planner for entry in suite.planners}
    for task in suite.tasks:
        if task.name not in study['tasks']:
            continue
        for arm in study['arms']:
            deadline_ms = arm.deadline_ms or study['tuned_ms']
            start = {}
            if arm.planner in planners:
                start = chosen(suite, tuned, task.name, arm.planner, deadline_ms)
                if start is None:
                    continue
            names = [name for name in study['disturbances'] if name in (arm.under or (name,))]
            for seed, name, charge in product(task.models, names, arm.charge):
                cells.append(Cell(
                    study='feedback', task=task.name, training_seed=seed,
                    model=task.models[seed], entry=arm.name,
                    planner=planners.get(arm.planner, arm.planner),
                    settings={**start, **arm.settings}, law=arm.law, deadline_ms=arm.deadline_ms,
                    seed=suite.seeds['feedback'], held_out=True, strata=task.strata,
                    charge=charge, prepare_ms=study['prepare_ms'],
                    disturbance=(name, asdict(study['disturbances'][name])),
                ))
    return cells


def chosen(
    suite: Suite, tuned: Tuned, task: str, entry: str, deadline_ms: float
) -> Mapping[str, Any] | None:
    """Tuned settings for a deadline: those of the nearest deadline that was tuned at."""
    result = tuned.get((task, entry, suite.tuned_deadline(deadline_ms)))
    return None if result is None else result['settings']


def jobs(suite: Suite, cells: list[Cell], folder: Path) -> list[Job]:
    """One job a cell; a cell that is driven already costs next to nothing."""
    return [
        Job(
            name=f'{cell.task}/{cell.entry}',
            call=run_cell,
            arguments=(cell, episodes, folder),
            cost=episodes * _TICKS * (_TICK_MS + (cell.deadline_ms or 20.0)),
        )
        for cell in cells
        for episodes in [suite.episodes_of(cell.study, cell.entry, cell.disturbance[0])]
    ]


def _cell(
    suite: Suite, task: Task, seed: str, entry: str, planner: str, settings: Mapping[str, Any],
    **values: Any,
) -> Cell:
    return Cell(
        task=task.name, training_seed=seed, model=task.models[seed], entry=entry, planner=planner,
        settings=settings, seed=suite.seeds['reporting'], held_out=True, strata=task.strata,
        prepare_ms=suite.prepare_ms, end_early=True, **values,
    )
