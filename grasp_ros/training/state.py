# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""State of a training run on disk: one safetensors file whose header holds JSON. No pickle."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from grasp_ros.errors import ConfigError
from grasp_ros.training.config import TrainingConfig
from grasp_ros.world_models.tensors import write

STATE_FILE = 'training.safetensors'


@dataclass(kw_only=True)
class RunState:
    """How far a run has come.

    :param stage: index of the stage that runs or runs next
    :param step: steps done in it
    :param losses: stage name -> ``[step, mean loss since the entry before]`` entries
    :param stage_sec: stage name -> wall time, seconds
    :param stage_cpu_sec: stage name -> processor time of all threads, seconds
    :param interruptions: how often the run went on from a file
    """

    stage: int = 0
    step: int = 0
    losses: dict[str, list[list[float]]] = field(default_factory=dict)
    stage_sec: dict[str, float] = field(default_factory=dict)
    stage_cpu_sec: dict[str, float] = field(default_factory=dict)
    interruptions: int = 0


def save_state(folder: Path, *, config: TrainingConfig, state: RunState, networks: nn.Module,
               optimizer: torch.optim.Optimizer | None) -> None:
    """Write atomically: a kill at any time leaves the old file or the new one.

    :raises OSError: when it cannot be written
    """
    tensors = {f'networks.{name}': value for name, value in networks.state_dict().items()}
    if optimizer is not None:
        for index, entries in optimizer.state_dict()['state'].items():
            for name, value in entries.items():
                tensors[f'optimizer.{index}.{name}'] = torch.as_tensor(value)
    header = {'config': json.dumps(asdict(config)), 'state': json.dumps(asdict(state))}
    tensors = {name: value.detach().contiguous() for name, value in tensors.items()}
    write(folder / STATE_FILE, lambda part: save_file(tensors, part, header))


def load_state(folder: Path, *, config: TrainingConfig, networks: nn.Module
               ) -> tuple[RunState, dict[int, dict[str, torch.Tensor]]]:
    """What :func:`save_state` wrote, or a fresh state where there is no file.

    :return: the state, and what the optimizer of its stage remembered (empty at its start)
    :raises ConfigError: when the file is damaged or comes from a run with other settings
    """
    path = folder / STATE_FILE
    if not path.is_file():
        return RunState(), {}
    try:
        with safe_open(path, framework='pt') as file:
            header = file.metadata()
            tensors = {name: file.get_tensor(name) for name in file.keys()}
        state = RunState(**json.loads(header['state']))
        old = json.loads(header['config'])
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ConfigError(f'{path} is damaged ({error}): delete it or choose another folder'
                          ) from error
    new = json.loads(json.dumps(asdict(config)))
    if old != new:
        names = sorted(name for name in old | new if old.get(name) != new.get(name))
        raise ConfigError(f'{folder} holds a run with another {", ".join(names)}: '
                          f'choose another folder, or the settings of that run')
    networks.load_state_dict({name.removeprefix('networks.'): value
                              for name, value in tensors.items() if name.startswith('networks.')})
    memory: dict[int, dict[str, torch.Tensor]] = {}
    for name, value in tensors.items():
        kind, _, rest = name.partition('.')
        if kind == 'optimizer':
            index, _, entry = rest.partition('.')
            memory.setdefault(int(index), {})[entry] = value
    return state, memory
