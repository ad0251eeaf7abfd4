# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`grasp-ros import-model`: a checkpoint of another library to safetensors and a card, once.

What runs afterwards reads neither pickles nor the other library's own files.
"""

from __future__ import annotations

from pathlib import Path

import click
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from grasp_ros.errors import CardError, CheckpointError, GraspError
from grasp_ros.world_models import checkpoint
from grasp_ros.world_models.base import LatentModel, ModelCard

CONFIG_FILE = 'config.json'
# Before it, "weights only" could be got round: CVE-2025-32434.
_SAFE_TORCH = (2, 6)


def find(source: Path) -> tuple[Path, Path]:
    """Weights and configuration of a checkpoint of stable-worldmodel.

    :param source: the file of the weights, or a folder that holds one such file
    :raises CheckpointError: when one of them is missing, or there are several weights
    """
    folder = source if source.is_dir() else source.parent
    files = [source]
    if source.is_dir():
        files = sorted(path for end in ('.pt', '.safetensors') for path in source.glob(f'*{end}'))
    if len(files) != 1:
        raise CheckpointError(f'{source}: {len(files)} files of weights (.pt, .safetensors): '
                              'name the one that you want')
    config = folder / CONFIG_FILE
    if not config.is_file():
        raise CheckpointError(f'{config} is missing: stable-worldmodel writes it beside the '
                              'weights, and it says what they belong to')
    return files[0], config


def read_weights(path: Path) -> dict[str, Tensor]:
    """Names and values of a state dict; nothing in the file is executed.

    :raises CheckpointError: when it holds anything but tensors by name
    """
    try:
        if path.suffix == '.safetensors':
            return load_file(path)
        if torch.torch_version.TorchVersion(torch.__version__) < _SAFE_TORCH:
            raise CheckpointError(f'{path}: torch {torch.__version__} cannot read pickled weights '
                                  'safely: install torch 2.6 or later')
        weights = torch.load(path, map_location='cpu', weights_only=True)
    except CheckpointError:
        raise
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f'{path}: {error}') from error
    except Exception as error:  # of pickle, zip or torch, whichever notices first
        reason = ' '.join(str(error).split())[:200]
        raise CheckpointError(
            f'{path} holds more than tensors, or is damaged, and was not read: {reason}. To read '
            'it all the same is to execute what it names: where you trust it, do so in a function '
            'of your own, and name that as the model: python:package.module:function'
        ) from error
    if not isinstance(weights, dict) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in weights.items()
    ):
        raise CheckpointError(f'{path} holds no state dict, names and tensors: save '
                              'model.state_dict() alone')
    return weights


def convert(source: Path, card_file: Path, folder: Path) -> LatentModel:
    """Write card and weights, and give the model, tried once.

    :param source: as for :func:`find`
    :param card_file: a card; its ``architecture`` lacks ``type`` and ``config``
    :param folder: that is written; it must not hold a checkpoint
    :raises GraspError: when something is missing or does not fit; nothing is written then
    """
    if (folder / checkpoint.CARD_FILE).exists():
        raise CheckpointError(f'{folder} holds a checkpoint already: name another folder')
    weights_file, config_file = find(source)
    values = checkpoint.read_json(card_file)
    architecture = values.get('architecture') or {}
    if not isinstance(architecture, dict):
        raise CardError(f'{card_file}: architecture is no JSON object')
    kind = {'type': 'stable_worldmodel', 'config': checkpoint.read_json(config_file)}
    card = ModelCard.from_dict({**values, 'architecture': {**architecture, **kind}})
    model = checkpoint.build(card, source=card_file)
    weights = {f'network.{name}': value for name, value in read_weights(weights_file).items()}
    checkpoint.fill(model, weights, source=weights_file)
    model = checkpoint.ready(model, source=weights_file)
    checkpoint.save(model, folder)
    return model


@click.command('import-model')
@click.argument('source', type=click.Path(exists=True, path_type=Path))
@click.option('--card', 'card_file', required=True, metavar='FILE',
              type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help='What the controller must know and the checkpoint does not say; an example is '
                   'in docs/models.md.')
@click.option('--out', 'folder', required=True, metavar='FOLDER',
              type=click.Path(file_okay=False, path_type=Path),
              help='Where card.json and model.safetensors go.')
def command(source: Path, card_file: Path, folder: Path) -> None:
    """Convert a checkpoint of stable-worldmodel (LeWM, PLDM, PreJEPA) to safetensors and a card.

    SOURCE is its weights (.pt or .safetensors), beside which config.json lies, or the folder of
    both. Of the weights only tensors are read, and of what config.json names only the known
    classes of the installed library are built: nothing in the files is executed.
    """
    torch.set_num_threads(1)
    try:
        model = convert(source, card_file, folder)
    except GraspError as error:
        raise click.ClickException(str(error)) from error
    card, count = model.card, sum(p.numel() for p in model.parameters())
    click.echo(f'{folder}: {card.name}, {count / 1e6:.1f} M parameters, latent '
               f'{" x ".join(map(str, card.latent_shape))}, history {card.history}, a command '
               f'every {card.control_period_sec:g} s. Nothing in the files was executed.')
    if not card.goal_tolerance:
        click.echo('The card does not say when a goal is reached: set goal.tolerance.')
