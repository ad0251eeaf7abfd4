# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Models made by a user's own Python function: ``python:package.module:function``.

The function is executed because whoever starts the program names it; no file ever names one. What
follows a question mark are its arguments, as strings: ``python:my_robot.model:load?weights=a.pt``
calls ``load(weights='a.pt')``.
"""

from __future__ import annotations

import traceback
from importlib import import_module
from pathlib import Path

from grasp_ros.errors import CheckpointError, GraspError, ModelError
from grasp_ros.world_models.base import LatentModel

PREFIX = 'python:'
NOTATION = 'python:package.module:function?name=value&...'


def is_named(model: str | Path) -> bool:
    """Whether a model is given as a function."""
    return str(model).startswith(PREFIX)


def call(model: str) -> LatentModel:
    """Import the module, call the function and give what it returns.

    :param model: in the notation above
    :raises CheckpointError: when the notation is wrong, or there is no such module or function
    :raises ModelError: when module or function raise something, with its place, or when no
        :class:`LatentModel` is returned
    """
    target, _, query = model.removeprefix(PREFIX).partition('?')
    module_name, _, name = target.partition(':')
    pairs = [pair.partition('=') for pair in query.split('&') if pair]
    if not (module_name and name) or any(not (key and equals) for key, equals, _ in pairs):
        raise CheckpointError(f'"{model}" is not {NOTATION}')
    try:
        module = import_module(module_name)
    except ImportError as error:
        if error.name is None or not f'{module_name}.'.startswith(f'{error.name}.'):
            raise _failed(model, error) from error
        raise CheckpointError(
            f'{model}: there is no module {error.name}: install its package, or put its folder '
            'on PYTHONPATH'
        ) from error
    except (Exception, SystemExit) as error:  # whatever a user's code may raise
        raise _failed(model, error) from error
    function = getattr(module, name, None)
    if not callable(function):
        place = getattr(module, '__file__', None) or module_name
        raise CheckpointError(f'{model}: there is no function {name} in {place}')
    try:
        made = function(**{key: value for key, _, value in pairs})
    except GraspError:
        raise
    except (Exception, SystemExit) as error:
        raise _failed(model, error) from error
    if not isinstance(made, LatentModel):
        raise ModelError(
            f'{model} returned a {type(made).__name__}: return an instance of a class that '
            f'inherits {LatentModel.__module__}.LatentModel'
        )
    return made


def _failed(model: str, error: BaseException) -> ModelError:
    """What a user's code raised, and where."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    return ModelError(
        f'{model}: {type(error).__name__}: {error} ({place.filename}, line {place.lineno})'
    )
