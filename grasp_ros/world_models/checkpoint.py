# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Models by name: a shipped one, the folder of a checkpoint, or a user's own function.

A checkpoint is a folder with ``card.json`` and ``model.safetensors``, or with the programs of
:mod:`grasp_ros.world_models.adapters.torch_export`; nothing in it is executed but those.
A function is executed, because the user names it (:mod:`grasp_ros.world_models.factory`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from grasp_ros.errors import CardError, CheckpointError, ConfigError
from grasp_ros.world_models import contract, factory
from grasp_ros.world_models.accelerated import accelerate
from grasp_ros.world_models.adapters import stable_worldmodel, torch_export
from grasp_ros.world_models.base import LatentModel, ModelCard, WorldModel
from grasp_ros.world_models.jepa import Jepa
from grasp_ros.world_models.tensors import write

MODEL_HELP = (
    f'A shipped model, the folder of a checkpoint, or a function: {factory.NOTATION}.'
)
CARD_FILE = 'card.json'
WEIGHTS_FILE = 'model.safetensors'
SHIPPED = Path(__file__).parent / 'shipped'

# A card names its architecture; only what stands here can be built from a file.
ARCHITECTURES: dict[str, Callable[[ModelCard], LatentModel]] = {
    'jepa': Jepa,
    'stable_worldmodel': stable_worldmodel.build,
}


def shipped_models() -> list[str]:
    """Names of the checkpoints that come with the package."""
    return sorted(path.parent.name for path in SHIPPED.glob(f'*/{CARD_FILE}'))


def resolve(model: str | Path) -> Path:
    """Folder of a checkpoint, given as a shipped model's name or as a path.

    :raises CheckpointError: when neither exists, or the model is made by a function
    """
    if factory.is_named(model):
        raise CheckpointError(f'{model} is made by a function: it has no folder with card and '
                              'weights, which is what is needed here')
    path = Path(model).expanduser()
    if (path / CARD_FILE).is_file():
        return path
    if str(model) in shipped_models():
        return SHIPPED / str(model)
    raise CheckpointError(
        f'no checkpoint at "{model}": give a folder that holds {CARD_FILE} and {WEIGHTS_FILE}, '
        f'a function as {factory.NOTATION}, or one of the shipped models: '
        f'{", ".join(shipped_models()) or "none"}'
    )


def load_card(model: str | Path) -> ModelCard:
    """Read the card alone; only a function has to make the whole model for it.

    :param model: shipped name, folder or function
    :raises CheckpointError: when there is no such checkpoint or the JSON is broken
    :raises CardError: when the card is incomplete
    """
    if factory.is_named(model):
        return load(model).card
    return ModelCard.from_dict(read_json(resolve(model) / CARD_FILE))


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object, such as a card.

    :raises CheckpointError: when there is no such file or the JSON is broken
    :raises CardError: when it is no object
    """
    try:
        data = json.loads(path.read_text(encoding='utf-8'))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise CheckpointError(f'{path}: {error}') from error
    if not isinstance(data, dict):
        raise CardError(f'{path}: not a JSON object')
    return data


def load(
    model: str | Path,
    *,
    device: str | torch.device = 'cpu',
    precision: str = 'float32',
    cuda_graphs: bool = True,
) -> WorldModel:
    """Build the model of that name, in evaluation mode, without gradients, and try it once.

    :param model: shipped name, folder or function
    :param device: ``cpu``, ``cuda``, ``cuda:1``, …
    :param precision: and ``cuda_graphs``: :class:`~grasp_ros.world_models.accelerated.Accelerated`
    :raises CheckpointError: on a missing, truncated or misshapen file, an unknown architecture, or
        weights that are not finite
    :raises CardError: when the card is incomplete, or the model is not what the card says
    :raises ConfigError: when there is no such device or precision
    :raises ModelError: when a user's function, or the model itself, fails
    """
    network = factory.call(str(model)) if factory.is_named(model) else _read(resolve(model))
    network = ready(network, source=model, device=device)
    return accelerate(network, precision=precision, cuda_graphs=cuda_graphs)


def ready(
    network: LatentModel, *, source: str | Path, device: str | torch.device = 'cpu'
) -> LatentModel:
    """A model with its weights, looked at, put in place and tried.

    :param source: where it comes from, for errors
    """
    bad = [name for name, value in network.state_dict().items() if not _is_finite(value)]
    if bad:
        raise CheckpointError(f'{source}: values that are not finite in {", ".join(bad)}')
    try:
        network = network.to(device)
    except (RuntimeError, AssertionError) as error:  # how torch says "no such device"
        raise ConfigError(f'device "{device}": {error}') from error
    network.eval().requires_grad_(False)
    contract.check(network)
    return network


def _is_finite(value: Any) -> bool:
    """Of an entry of a state, which may be no tensor, or one of numbers of a single byte."""
    if not isinstance(value, Tensor) or not value.is_floating_point():
        return True
    return bool(torch.isfinite(value.float() if value.element_size() == 1 else value).all())


def _read(folder: Path) -> LatentModel:
    card = load_card(folder)
    if card.architecture.get('type') == torch_export.TYPE:
        return torch_export.read(card, folder)
    network = build(card, source=folder / CARD_FILE)
    path = folder / WEIGHTS_FILE
    try:
        weights = load_file(path)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f'{path}: {error}') from error
    fill(network, weights, source=path)
    return network


def fill(network: LatentModel, weights: Mapping[str, Tensor], *, source: Path) -> None:
    """Give a model its weights, all of them.

    :param source: their file, for errors
    :raises CheckpointError: when some are missing, of another shape, or more than there should be
    """
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        reason = ' '.join(str(error).split())[:300]  # torch lists every key, a line each
        raise CheckpointError(f'{source} does not fit the architecture: {reason}') from error


def build(card: ModelCard, *, source: Path) -> LatentModel:
    """The model that a card describes, with random weights.

    :param source: file of the card, for errors
    :raises CheckpointError: when the architecture is unknown, or its library is missing
    :raises CardError: when the architecture is incomplete, or contradicts the card
    """
    kind = card.architecture.get('type')
    if not isinstance(kind, str) or kind not in ARCHITECTURES:
        raise CheckpointError(
            f'{source.parent}: architecture "{kind}" is unknown; known: '
            f'{", ".join((*ARCHITECTURES, torch_export.TYPE))}'
        )
    try:
        return ARCHITECTURES[kind](card)
    except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise CardError(f'{source}: architecture: {type(error).__name__}: {error}') from error


def save(model: LatentModel, folder: str | Path) -> None:
    """Write weights and card; :func:`load` gives the same model back.

    :raises CheckpointError: when the folder cannot be written
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        weights = {k: v.detach().cpu().contiguous() for k, v in model.state_dict().items()}
        write(folder / WEIGHTS_FILE, lambda part: save_file(weights, part))
    except OSError as error:
        raise CheckpointError(f'{folder}: {error}') from error
    save_card(model.card, folder)


def save_card(card: ModelCard, folder: str | Path) -> None:
    """Write the card alone; the weights that lie beside it stay as they are.

    :raises CheckpointError: when it cannot be written
    """
    path = Path(folder) / CARD_FILE
    try:
        path.write_text(json.dumps(card.to_dict(), indent=2) + '\n', encoding='utf-8')
    except OSError as error:
        raise CheckpointError(f'{path}: {error}') from error
