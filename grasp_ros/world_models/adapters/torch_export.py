# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Exported pairs: ``encoder.pt2`` and ``predictor.pt2``, written by ``torch.export``, and a card.

The encoder takes, in this order, the pictures of each camera of the card, then proprioception
where the card has some, then past actions where it has several frames, all as in
:class:`Observation`; the predictor takes context and actions as :meth:`WorldModel.predict`. The
batch is dynamic in both. What training did to pictures and actions is inside.

``torch.export.load`` by itself executes much of what a file says: it unpickles example inputs,
constants and odd weights without restriction, compiles guards as Python, evaluates the shapes'
expressions, imports modules that a signature names, opens compiled libraries, and writes names
as they stand into Python that it makes of the graph. So no file is handed to it as it is. It is
taken apart here, by a list of what may be in it: weights are raw numbers, the graph holds calls of
torch's own operators, names are letters, and everything above is left out or refused. What is
handed on is an archive made anew of the rest.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
import zlib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from grasp_ros.errors import CheckpointError
from grasp_ros.world_models.base import LatentModel, ModelCard, Observation

TYPE = 'torch_export'
ENCODER_FILE, PREDICTOR_FILE = 'encoder.pt2', 'predictor.pt2'
_PROGRAM = 'models/model.json'
_TABLES = ('data/weights/model_weights_config.json', 'data/constants/model_constants_config.json')
_EXAMPLES = 'data/sample_inputs/model.pt'
_NUMBERS = re.compile(r'data/(weights/weight|constants/tensor)_\d+')
_MARKS = ('archive_format', 'archive_version', 'byteorder', '.data/version',
          '.data/serialization_id')
_OPERATOR = re.compile(
    r'torch\.ops\.aten\.(?!from_file)\w+\.\w+|torch\.sym_\w+'
    r'|_operator\.(add|sub|mul|truediv|floordiv|mod|pow|neg|eq|ne|lt|le|gt|ge|and_|or_|not_|getitem)'
    r'|torch\.ops\.higher_order\.wrap_with_(set_grad_enabled|autocast)'
)
# Of symbols, integers and what is made of the two; a name of anything else would be looked up.
_SHAPE = re.compile(
    r"(Symbol\('[su]\d+'(, (positive|integer|nonnegative)=True)*\)|[su]\d+|\d+|[-+*/(), ]"
    r'|Integer|Add|Mul|Pow|Max|Min|Mod|PythonMod|FloorDiv|CeilDiv)+'
)
# What reading a damaged archive, or one that was made to be hard to read, ends in.
_DAMAGED = (
    AttributeError, EOFError, KeyError, OSError, RecursionError, RuntimeError, TypeError,
    ValueError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip
# Any other text: no brackets, quotes, colons, equal signs or ends of lines, so no Python that does
# something, wherever it is put.
_PLAIN = re.compile(r'[\w.,+> -]*', re.ASCII)


class Exported(LatentModel):
    """A pair of programs on a card.

    :param card: of the model
    :param encoder: of observations
    :param predictor: of the next latent
    """

    def __init__(self, card: ModelCard, encoder: nn.Module, predictor: nn.Module) -> None:
        super().__init__(card)
        self.encoder, self.predictor = encoder, predictor

    def train(self, mode: bool = True) -> Exported:
        """A program is what it was when it was exported; torch's own refuse to be asked."""
        return self

    def encode(self, observation: Observation) -> Tensor:
        card = self.card
        observation.check(card)
        inputs = [observation.images[name] for name in card.cameras]
        if card.proprioception:
            inputs.append(observation.proprioception)
        if card.frames > 1:
            inputs.append(observation.actions)
        return self.encoder(*inputs)

    def predict(self, context: Tensor, actions: Tensor) -> Tensor:
        return self.predictor(context, actions)


def read(card: ModelCard, folder: Path) -> Exported:
    """The pair in a folder.

    :raises CheckpointError: when a file is missing or damaged, or holds what would run code
    """
    inputs = len(card.cameras) + bool(card.proprioception) + (card.frames > 1)
    return Exported(
        card, _program(folder / ENCODER_FILE, inputs), _program(folder / PREDICTOR_FILE, 2)
    )


def _program(path: Path, inputs: int) -> nn.Module:
    clean = _clean_archive(path, inputs)
    try:
        return torch.export.load(clean).module()
    except Exception as error:  # of torch, whichever part of it notices
        reason = ' '.join(str(error).split())[:300]
        raise CheckpointError(
            f'{path}: torch {torch.__version__} cannot load it, export it with this version: '
            f'{type(error).__name__}: {reason}'
        ) from error


def _clean_archive(path: Path, inputs: int) -> io.BytesIO:
    """The archive made anew of what may be in it.

    :param inputs: tensors that the program takes
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = {name.partition('/')[2]: archive.read(name) for name in archive.namelist()}
        for name in entries:
            if name not in (_PROGRAM, _EXAMPLES, *_TABLES, *_MARKS) and not _NUMBERS.fullmatch(
                name
            ):
                raise _refusal(path, f'the entry "{name}"')
        program = _clean(path, json.loads(entries[_PROGRAM]), inputs)
        for name in _TABLES:
            _check_table(path, json.loads(entries[name])['config'])
    except _DAMAGED as error:
        raise CheckpointError(
            f'{path} is not what torch.export.save of torch 2.9 or later writes: '
            f'{type(error).__name__}: {error}'
        ) from error
    entries |= {_PROGRAM: json.dumps(program).encode(), _EXAMPLES: b''}
    clean = io.BytesIO()
    with zipfile.ZipFile(clean, 'w') as archive:
        for name, content in entries.items():
            archive.writestr(f'model/{name}', content)
    clean.seek(0)
    return clean


def _check_table(path: Path, table: dict[str, dict[str, Any]]) -> None:
    """Weights and constants are raw numbers in files of their own."""
    for name, entry in table.items():
        _check_plain(path, name)
        file = entry['path_name']
        if entry['use_pickle'] or not re.fullmatch(r'(weight|tensor)_\d+', file):
            raise _refusal(path, f'"{name}", which is a pickle and not plain numbers')


def _clean(path: Path, value: Any, inputs: int) -> Any:
    """The program without guards and notes, and with nothing in it that torch would evaluate."""
    if isinstance(value, list):
        return [_clean(path, entry, inputs) for entry in value]
    if isinstance(value, str):
        _check_plain(path, value)
    if not isinstance(value, dict):
        return value
    calls = {
        'in_spec': pytree.treespec_dumps(pytree.tree_structure(((0,) * inputs, {}))),
        'out_spec': pytree.treespec_dumps(pytree.tree_structure(0)),
    }
    cleaned = {}
    for key, entry in value.items():
        _check_plain(path, key)
        if key == 'as_operator':  # found by its name among all that torch and Python have
            raise _refusal(path, f'the function "{entry}" as an argument of a call')
        if key in ('guards_code', 'metadata'):
            cleaned[key] = type(entry)()
        elif key == 'expr_str':
            if not _SHAPE.fullmatch(entry):
                raise _refusal(path, f'the shape "{entry}"')
            cleaned[key] = entry
        elif key in calls:
            if entry != calls[key]:
                raise CheckpointError(
                    f'{path}: by the card the program takes {inputs} tensors by position and '
                    f'gives one; its {key} is {entry}'
                )
            cleaned[key] = entry
        else:
            if key == 'target' and 'inputs' in value and not _OPERATOR.fullmatch(entry):
                raise _refusal(path, f'a call of "{entry}", which is no operator of torch')
            cleaned[key] = _clean(path, entry, inputs)
    return cleaned


def _check_plain(path: Path, text: str) -> None:
    if not _PLAIN.fullmatch(text):
        raise _refusal(path, f'the name "{text}"')


def _refusal(path: Path, what: str) -> CheckpointError:
    return CheckpointError(
        f'{path} holds {what}: it could run code when it is loaded, and was not. Where you trust '
        'it, load it in a function of your own, and name that: python:package.module:function'
    )
