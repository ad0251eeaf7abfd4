# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Rows 8, 13 and 14 of the fault table: models that cannot be loaded, or must not be."""

from __future__ import annotations

import json
import math
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import torch
from lifecycle_msgs.msg import Transition
from safetensors.torch import load_file, save_file

from grasp_ros.reliability.gate_faults import READY_SEC
from grasp_ros.reliability.robot import ERROR, Robot
from grasp_ros.reliability.scenario import Reaction, require, scenario
from grasp_ros.world_models.checkpoint import CARD_FILE, WEIGHTS_FILE, resolve

MODEL = 'two_rooms'


class Payload:
    """Makes a file when it is unpickled.

    :param marker: the file
    """

    def __init__(self, marker: Path) -> None:
        self._marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self._marker),)


def _cut(folder: Path) -> None:
    weights = (folder / WEIGHTS_FILE).read_bytes()
    (folder / WEIGHTS_FILE).write_bytes(weights[: len(weights) // 2])


def _other_shape(folder: Path) -> None:
    shutil.copy(resolve('inertial_two_rooms') / WEIGHTS_FILE, folder)


def _nan(folder: Path) -> None:
    _change(folder, lambda weights: weights['head.4.bias'].fill_(math.nan))


def _overflow(folder: Path) -> None:
    """Finite weights that make latents which are not."""
    _change(folder, lambda weights: weights['head.4.weight'].fill_(3e38))


def _change(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    weights = load_file(folder / WEIGHTS_FILE)
    change(weights)
    save_file(weights, folder / WEIGHTS_FILE)


def _broken_card(folder: Path) -> None:
    (folder / CARD_FILE).write_text('{"name": "two_rooms", ')


def _card_without_actions(folder: Path) -> None:
    card = json.loads((folder / CARD_FILE).read_text())
    del card['actions']
    (folder / CARD_FILE).write_text(json.dumps(card))


def _refused(robot: Robot, reason: str, **values: str) -> Reaction:
    """Configure fails with the reason, and works with a good model right after."""
    robot.change(**values)
    asked_sec = robot.now_sec()
    require(not robot.change_state(Transition.TRANSITION_CONFIGURE), 'configure fails')
    answered_sec = robot.now_sec()
    require(robot.state() == 'unconfigured', f'the node is {robot.state()}')
    seen = robot.logged('mpc_node', 'configure failed: ')
    line = next(line for line in robot.log('mpc_node').splitlines() if seen[5:-1] in line)
    require(reason in line, f'"{reason}" is in "{line}"')
    shown = robot.diagnosed('model', ERROR, 'configure failed')
    robot.set_parameters(model__path=MODEL, model__device='cpu')
    require(robot.change_state(Transition.TRANSITION_CONFIGURE), 'a good model is taken')
    require(robot.change_state(Transition.TRANSITION_CLEANUP), 'and let go')
    return Reaction(answered_sec - asked_sec, (seen, shown))


def _bad_file(row: int, name: str, fault: str, reason: str, spoil: Callable[[Path], None]) -> None:
    """Register a scenario for a copy of the shipped model that was spoilt."""

    def run(robot: Robot) -> Reaction:
        folder = _copy(robot)
        spoil(folder)
        return _refused(robot, reason, model__path=str(folder))

    run.__name__ = name
    _configure_fails(row, fault)(run)


def _configure_fails(row: int, fault: str) -> Callable:
    return scenario(
        row, fault=fault, robot='model', bound_sec=READY_SEC,
        promise='configure fails with the reason; the node stays up and takes a good model',
        measured='request → its answer',
    )  # fmt: skip


def _copy(robot: Robot) -> Path:
    folder = robot.folder / 'spoilt_model'
    shutil.rmtree(folder, ignore_errors=True)
    return Path(shutil.copytree(resolve(MODEL), folder))


_bad_file(14, 'model_cut', 'a model file that is cut in half', WEIGHTS_FILE, _cut)
_bad_file(14, 'model_of_other_shape', 'weights of another shape', 'size mismatch', _other_shape)
_bad_file(14, 'card_cut', 'a card that is no JSON', CARD_FILE, _broken_card)
_bad_file(14, 'card_incomplete', 'a card without actions', "'actions'", _card_without_actions)
_bad_file(8, 'model_of_nan', 'weights that are NaN', 'not finite in head.4.bias', _nan)
_bad_file(8, 'model_overflows', 'weights that make infinite latents', 'not finite', _overflow)


@_configure_fails(14, 'a model that is not there')
def model_missing(robot: Robot) -> Reaction:
    return _refused(robot, 'no checkpoint at "/no/such/model"', model__path='/no/such/model')


@_configure_fails(13, 'a GPU that is not there')
def device_missing(robot: Robot) -> Reaction:
    return _refused(robot, 'device "cuda:99"', model__device='cuda:99')


@scenario(
    14, fault='a pickle in place of the weights, that would run code', robot='model',
    promise='configure fails with the reason; nothing in the file is executed',
    measured='request → its answer', bound_sec=READY_SEC,
)  # fmt: skip
def model_with_code(robot: Robot) -> Reaction:
    folder = _copy(robot)
    marker = folder / 'code_was_run'
    code = pickle.dumps(Payload(marker))
    pickle.loads(code)
    require(marker.is_dir(), 'the file would run code')
    marker.rmdir()
    (folder / WEIGHTS_FILE).write_bytes(code)
    reaction = _refused(robot, WEIGHTS_FILE, model__path=str(folder))
    require(not marker.exists(), 'no code was run')
    return reaction
