# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What a benchmark runs: tasks, planners with their search spaces, deadlines, seeds; from YAML."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from grasp_ros.benchmark.outside import is_installed
from grasp_ros.control.controller import ControllerConfig
from grasp_ros.errors import CheckpointError, ConfigError
from grasp_ros.training.episodes import Disturbance
from grasp_ros.world_models import checkpoint

GREEDY = 'greedy'  # the control beside every claim
LAWS = ('plan', 'gain')
CONTROLLER_SETTINGS = frozenset(f.name for f in fields(ControllerConfig)) - {'deadline_sec'}


@dataclass(frozen=True, kw_only=True)
class Task:
    """A task: models of one world, trained with different seeds.

    :param name: of the task
    :param models: training seed -> shipped name or folder of a checkpoint
    :param strata: bins of :mod:`grasp_ros.benchmark.escape` that the episodes go through in turn;
        empty where episodes are not graded
    :param tune_on: training seeds that tuning uses; all unless stated
    """

    name: str
    models: Mapping[str, str]
    strata: tuple[int, ...] = ()
    tune_on: tuple[str, ...] = ()

    @property
    def tuning_models(self) -> dict[str, str]:
        """Those of the models that tuning uses."""
        return {s: m for s, m in self.models.items() if not self.tune_on or s in self.tune_on}


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A planner as it takes part.

    :param name: in tables
    :param planner: of :data:`grasp_ros.planners.registry.PLANNERS`, or of
        :mod:`grasp_ros.benchmark.outside`
    :param fixed: settings that are not searched, of the planner or of the controller
    :param first: settings that are known to be worth a trial; they count as trials
    :param space: setting -> what is searched: a list of choices, or ``{log: [low, high]}``
    """

    name: str
    planner: str
    fixed: Mapping[str, Any] = field(default_factory=dict)
    first: Sequence[Mapping[str, Any]] = ()
    space: Mapping[str, Any] = field(default_factory=dict)

    def sample(self, random: np.random.Generator) -> dict[str, Any]:
        """Settings drawn from the space, the fixed ones included."""
        drawn = {}
        for name, choices in self.space.items():
            if isinstance(choices, Mapping):
                low, high = choices['log']
                value = math.exp(random.uniform(math.log(low), math.log(high)))
                drawn[name] = float(f'{value:.3g}')
            else:
                drawn[name] = choices[int(random.integers(len(choices)))]
        return {**self.fixed, **drawn}


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One way to act in the feedback study.

    :param name: in tables
    :param planner: name of an :class:`Entry`, as it was tuned, or of a planner
    :param settings: of planner and controller, in place of tuned ones
    :param law: of :data:`LAWS`; ``gain`` is that of :mod:`grasp_ros.benchmark.gain`
    :param deadline_ms: image to action; 0 = none
    :param charge: the charges that it is run under
    :param under: the disturbances that it is run under; empty for all
    :param episodes: disturbance -> episodes, where they are others than the study's
    """

    name: str
    planner: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    law: str = 'plan'
    deadline_ms: float = 0.0
    charge: tuple[bool, ...] = (False, True)
    under: tuple[str, ...] = ()
    episodes: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Suite:
    """A benchmark.

    :param tasks: what is driven
    :param planners: that are compared; the first is the one that claims are made about
    :param deadlines_ms: image to action
    :param episodes: in a reported cell
    :param seeds: ``tuning``, ``reporting`` and ``feedback``; no two equal
    :param prepare_ms: for preparation between two frames
    :param tuning: ``deadlines_ms``, ``trials``, and ``rungs``: a list of ``{episodes, keep}``,
        each with as many episodes for each of the best ``keep`` of the rung before
    :param ablation: ``deadline_ms`` and ``variants``: name -> settings that replace tuned ones
    :param feedback: ``tasks``, ``episodes``, ``prepare_ms``, ``tuned_ms``: the deadline whose
        tuned settings the arms start from, ``disturbances``: name -> fields of
        :class:`~grasp_ros.training.episodes.Disturbance`; ``arms``, the first of which is what
        the others are measured against; ``blind``, the arm that does not use the newest frame;
        ``subject``, the arm that claims are made about
    :param latency: ``task``, ``horizons``, ``ticks`` and ``planners``: name -> settings
    """

    tasks: tuple[Task, ...]
    planners: tuple[Entry, ...]
    deadlines_ms: tuple[float, ...]
    episodes: int
    seeds: Mapping[str, int]
    prepare_ms: float
    tuning: Mapping[str, Any]
    ablation: Mapping[str, Any] = field(default_factory=dict)
    feedback: Mapping[str, Any] = field(default_factory=dict)
    latency: Mapping[str, Any] = field(default_factory=dict)

    def task(self, name: str) -> Task:
        """The task of that name.

        :raises ConfigError: when none of its models is there
        """
        for task in self.tasks:
            if task.name == name:
                return task
        raise ConfigError(f'task {name}: none of its models is there; train them first')

    def episodes_of(self, study: str, entry: str, disturbance: str) -> int:
        """Episodes of a planner, variant or arm on one model."""
        if study != 'feedback':
            return self.episodes
        arm = next(arm for arm in self.feedback['arms'] if arm.name == entry)
        return arm.episodes.get(disturbance, self.feedback['episodes'])

    def tuned_deadline(self, deadline_ms: float) -> float:
        """The deadline whose tuned settings serve another one: the nearest by ratio."""
        choices = self.tuning['deadlines_ms']
        return min(choices, key=lambda ms: abs(math.log(ms / deadline_ms)))


def load(path: Path, *, models: Path) -> Suite:
    """Read a suite.

    :param models: folder of the models that are not shipped; those that it lacks are left out
    :raises ConfigError: when a part is missing or does not fit
    """
    try:
        data = yaml.safe_load(path.read_text(encoding='utf-8'))
        tasks = [_task(name, values, models) for name, values in data['tasks'].items()]
        suite = Suite(
            tasks=tuple(task for task in tasks if task.models),
            planners=tuple(
                Entry(name=name, **values) for name, values in data['planners'].items()
                if is_installed(values['planner'])
            ),
            **{
                name: tuple(value) if isinstance(value, list) else value
                for name, value in data.items()
                if name not in ('tasks', 'planners', 'feedback')
            },
            feedback=_feedback(data.get('feedback', {})),
        )
        problem = next(_problems(suite, data), '')
    except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise ConfigError(f'suite {path}: {type(error).__name__}: {error}') from error
    if problem:
        raise ConfigError(f'suite {path}: {problem}')
    if not suite.tasks:
        raise ConfigError(f'suite {path}: none of its models is in {models}; train them first')
    return suite


def _problems(suite: Suite, data: Mapping[str, Any]) -> Iterator[str]:
    """What a suite says and cannot mean.

    :param data: as it was read, tasks whose models are missing included
    """
    if len(set(suite.seeds.values())) < len(suite.seeds):
        yield 'tuning and reporting need seeds of their own'
    tuning, study, latency = suite.tuning, suite.feedback, suite.latency
    for name, deadlines in (('deadlines_ms', suite.deadlines_ms),
                            ('tuning.deadlines_ms', tuning['deadlines_ms'])):
        if isinstance(deadlines, str) or not deadlines or min(deadlines) <= 0:
            yield f'{name} must be milliseconds, each above 0, is {deadlines}'
    counts = {'episodes': suite.episodes, 'tuning.trials': tuning['trials']}
    for n, rung in enumerate(tuning['rungs']):
        counts |= {f'tuning.rungs[{n}].{name}': rung[name] for name in ('keep', 'episodes')}
    needed = {'tuning', 'reporting', *(['feedback'] if study or latency else [])}
    if latency:
        counts['latency.ticks'] = latency['ticks']
    if study:
        counts['feedback.episodes'] = study['episodes']
        for arm in study['arms']:
            counts |= {f'{arm.name}.episodes.{name}': n for name, n in arm.episodes.items()}
            for name in (*arm.under, *arm.episodes):
                if name not in study['disturbances']:
                    yield f'feedback.arms.{arm.name}: there is no disturbance {name}'
            if arm.law not in LAWS:
                yield f'feedback.arms.{arm.name}: law {arm.law} is none of {", ".join(LAWS)}'
        arms = {arm.name for arm in study['arms']}
        for name in ('blind', 'subject'):
            if study[name] not in arms:
                yield f'feedback.{name}: there is no arm {study[name]}'
    for name, count in counts.items():
        if not isinstance(count, int) or count < 1:
            yield f'{name} must be a whole number above 0, is {count}'
    if not needed <= set(suite.seeds):
        yield f'seeds must name {", ".join(sorted(needed - set(suite.seeds)))}'
    tasks = data['tasks']
    for name in (*(study['tasks'] if study else ()), *([latency['task']] if latency else ())):
        if name not in tasks:
            yield f'there is no task {name}'
    for name, task in tasks.items():
        for seed in task.get('tune_on', ()):
            if seed not in task['models']:
                yield f'tasks.{name}.tune_on: there is no model {seed}'


def _task(name: str, values: Mapping[str, Any], models: Path) -> Task:
    found = {}
    for seed, model in values['models'].items():
        for place in (models / model, model):
            try:
                found[str(seed)] = str(checkpoint.resolve(place))
            except CheckpointError:
                continue
            break
    return Task(
        name=name,
        models=found,
        strata=tuple(values.get('strata', ())),
        tune_on=tuple(map(str, values.get('tune_on', ()))),
    )


def _feedback(values: Mapping[str, Any]) -> dict[str, Any]:
    if not values:
        return {}
    disturbances = {
        name: Disturbance(**{
            key: tuple(value) if isinstance(value, list) else value
            for key, value in (settings or {}).items()
        })
        for name, settings in values['disturbances'].items()
    }
    arms = [
        Arm(name=name, **{
            key: tuple(value) if isinstance(value, list) else value
            for key, value in settings.items()
        })
        for name, settings in values['arms'].items()
    ]
    return {**values, 'disturbances': disturbances, 'arms': tuple(arms)}


def require_meant(suite: Suite, only: str) -> None:
    """
    :raises ConfigError: when nothing of a suite is what an option ``task/entry`` asks for
    """
    tasks = [task.name for task in suite.tasks]
    entries = [GREEDY, *(entry.name for entry in suite.planners)]
    entries += [arm.name for arm in suite.feedback.get('arms', ())]
    if not any(is_meant(only, task, entry) for task in tasks for entry in entries):
        raise ConfigError(f'--only {only}: tasks are {", ".join(tasks)}; planners and arms are '
                          f'{", ".join(dict.fromkeys(entries))}')


def is_meant(only: str, task: str, entry: str) -> bool:
    """Whether a task and a planner or arm are those that an option ``task/entry`` asks for.

    :param only: names, not parts of names; either of them may be empty, and then stands for all
    """
    wanted_task, _, wanted_entry = only.partition('/')
    return wanted_task in ('', task) and wanted_entry in ('', entry)


def split(settings: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Settings of the planner, and settings of the controller."""
    controller = {k: v for k, v in settings.items() if k in CONTROLLER_SETTINGS}
    return {k: v for k, v in settings.items() if k not in CONTROLLER_SETTINGS}, controller
