# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Tuning: random search with successive halving, as many trials for every planner.

The first trial is what the suite fixes and the planner's own defaults; then come those that the
suite gives, then draws from the planner's space. Every rung drives more episodes with the best of
the rung before. At last each deadline tries what won at the others, for as many episodes as its
own best. The episodes go through the training seeds in turn, and no reporting seed is ever seen
here. Trials are ranked by

    score = mean( held - 0.1 final distance / size of the world - 0.05 ticks / longest )

so that among settings that hold as many goals the one wins that ends nearer and is there sooner.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from grasp_ros.benchmark.cells import Cell, drive, load_model
from grasp_ros.benchmark.lines import Lines
from grasp_ros.benchmark.outside import make_planner
from grasp_ros.benchmark.suite import Entry, Suite, Task, is_meant, split
from grasp_ros.errors import ConfigError

TUNED_FILE = 'tuning.json'
_LONGEST_TICKS = 100
_DRAWS = 1000


@dataclass(frozen=True, kw_only=True)
class Search:
    """What is searched in one job: one planner on one task at one deadline.

    :param extra: settings that won elsewhere; they join at the last rung
    """

    task: Task
    entry: Entry
    deadline_ms: float
    trials: int
    rungs: Sequence[Mapping[str, int]]
    seed: int
    prepare_ms: float
    extra: tuple[Mapping[str, Any], ...] = ()

    @property
    def file(self) -> str:
        """Its file in the output folder; like a cell's, it changes with what it depends on."""
        cells = [self.cell(seed, {}).file for seed in self.task.tuning_models]
        digest = hashlib.sha256(' '.join(cells).encode()).hexdigest()[:12]
        return f'cells/tune/{self.task.name}-{self.entry.name}-{self.deadline_ms:g}-{digest}.jsonl'

    def settings(self) -> list[dict[str, Any]]:
        """The trials; equal names and seeds give equal trials.

        :raises ConfigError: when hardly a draw from the space gives valid settings
        """
        name = f'{self.task.name}/{self.entry.name}/{self.deadline_ms:g}'
        random = np.random.default_rng((self.seed, zlib.crc32(name.encode())))
        model = load_model(next(iter(self.task.tuning_models.values())))
        found = [{**self.entry.fixed, **first} for first in ({}, *self.entry.first)]
        found = found[: self.trials]
        if not self.entry.space:
            return found
        reason: object = 'all of it has been drawn'
        for _ in range(_DRAWS):
            if len(found) == self.trials:
                return found
            drawn = self.entry.sample(random)
            try:
                make_planner(self.entry.planner, model, split(drawn)[0])
            except ConfigError as error:
                reason = error
                continue
            if drawn not in found:
                found.append(drawn)
        raise ConfigError(f'{name}: the space gives no {self.trials} settings: {reason}')

    def cell(self, seed: str, settings: Mapping[str, Any]) -> Cell:
        """The cell of a trial on the model of one training seed."""
        return Cell(
            study='tune', task=self.task.name, training_seed=seed,
            model=self.task.models[seed], entry=self.entry.name, planner=self.entry.planner,
            settings=settings, deadline_ms=self.deadline_ms, seed=self.seed, held_out=False,
            strata=self.task.strata, charge=True, prepare_ms=self.prepare_ms, end_early=True,
        )


def searches(suite: Suite, *, only: str = '') -> list[Search]:
    """All searches of a suite.

    :param only: ``task/planner``, either of them may be empty
    """
    return [
        Search(
            task=task, entry=entry, deadline_ms=deadline_ms, trials=suite.tuning['trials'],
            rungs=suite.tuning['rungs'], seed=suite.seeds['tuning'], prepare_ms=suite.prepare_ms,
        )
        for deadline_ms in suite.tuning['deadlines_ms']
        for task in suite.tasks for entry in suite.planners
        if task.tuning_models and is_meant(only, task.name, entry.name)
    ]


def score(episodes: Sequence[Mapping[str, Any]]) -> float:
    """What a trial is ranked by; worlds are 1 m wide."""
    return float(np.mean([
        episode['held'] - 0.1 * episode['final_distance'] - 0.05 * episode['ticks']
        / _LONGEST_TICKS
        for episode in episodes
    ]))


def run_search(search: Search, folder: Path) -> None:
    """Drive what is missing of a search."""
    torch.set_num_threads(1)
    settings = search.settings()
    lines = Lines(folder / search.file)
    alive, driven = list(range(len(settings))), 0
    for rung in search.rungs:
        known = lines.read()
        if driven:
            # What later rungs added is left out, so that a run that goes on chooses as before.
            alive.sort(key=lambda trial: -score([
                line for line in known
                if line['settings'] == settings[trial] and line['index'] < driven
            ]))
        alive, driven = alive[: rung['keep']], rung['episodes']
        for trial in alive:
            _drive_trial(search, settings[trial], driven, lines, folder)
    for extra in search.extra:
        _drive_trial(search, extra, driven, lines, folder)


def _drive_trial(
    search: Search, settings: Mapping[str, Any], episodes: int, lines: Lines, folder: Path
) -> None:
    """Drive what is missing of a trial's first episodes."""
    done = {line['index'] for line in lines.read() if line['settings'] == settings}
    seeds = list(search.task.tuning_models)
    for number, seed in enumerate(seeds):
        mine = [n for n in range(episodes) if n % len(seeds) == number and n not in done]
        drive(search.cell(seed, settings), mine, lines, folder, settings=settings)


def outcome(search: Search, folder: Path) -> dict[str, Any] | None:
    """What a finished search chose; None while it is not finished."""
    known = Lines(folder / search.file).read()
    settings = search.settings()
    own = len(settings)
    settings += [extra for extra in search.extra if extra not in settings]
    episodes = [[line for line in known if line['settings'] == s] for s in settings]
    last = [n for n, lines in enumerate(episodes) if len(lines) >= search.rungs[-1]['episodes']]
    finalists = min(search.rungs[-1]['keep'], own)
    joined = {settings.index(extra) for extra in search.extra}
    if sum(n < own for n in last) < finalists or not joined <= set(last):
        return None
    best = max(last, key=lambda n: score(episodes[n]))
    return {
        'task': search.task.name,
        'entry': search.entry.name,
        'planner': search.entry.planner,
        'deadline_ms': search.deadline_ms,
        'settings': settings[best],
        'score': score(episodes[best]),
        'held': float(np.mean([line['held'] for line in episodes[best]])),
        'episodes': len(episodes[best]),
        'trials': [
            {'settings': settings[n], 'episodes': len(lines), 'score': score(lines)}
            for n, lines in enumerate(episodes) if lines
        ],
    }


def exchanges(found: Sequence[Search], folder: Path) -> list[Search]:
    """The same searches, each with what the finished ones of other deadlines chose."""
    results = {(s.task.name, s.entry.name, s.deadline_ms): outcome(s, folder) for s in found}

    def won_elsewhere(search: Search) -> tuple[Mapping[str, Any], ...]:
        return tuple(
            result['settings'] for (task, entry, ms), result in results.items()
            if result is not None and ms != search.deadline_ms
            and (task, entry) == (search.task.name, search.entry.name)
        )

    return [replace(search, extra=won_elsewhere(search)) for search in found]


def write_tuned(suite: Suite, folder: Path) -> dict[tuple[str, str, float], dict[str, Any]]:
    """Write what was chosen to :data:`TUNED_FILE`.

    :return: (task, planner, deadline) -> outcome, of the searches that are finished
    """
    found = {}
    for search in exchanges(searches(suite), folder):
        result = outcome(search, folder)
        if result is not None:
            found[search.task.name, search.entry.name, search.deadline_ms] = result
    text = json.dumps(list(found.values()), indent=1) + '\n'
    (folder / TUNED_FILE).write_text(text, encoding='utf-8')
    return found
