# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Goals in a folder, under names: what the sensors saw there, as files that people can look at.

Of a model with one camera and no proprioception a goal is ``<name>.png``. Of any other it is a
folder ``<name>`` with ``<camera>.png`` for each camera, and where there are proprioceptive signals
``proprioception.json``, an object: signal name -> number. No ROS in here.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from grasp_ros.control.history import Frame
from grasp_ros.errors import GoalError, ObservationError, UnknownGoalError
from grasp_ros.node import compressed_images
from grasp_ros.world_models.base import ModelCard

_NAME = re.compile(r'\w[\w .+-]{0,63}')  # a name must not lead out of the folder, nor be hidden
_SIGNALS = 'proprioception.json'
_MOST_TOLD = 20  # names in an error


class SavedGoals:
    """The goals of one folder, for one model.

    :param folder: made when the first goal is saved; ``~`` is the home folder
    :param card: tells which pictures and signals a goal has
    """

    def __init__(self, folder: str | Path, card: ModelCard) -> None:
        self.folder = Path(folder).expanduser()
        self._card = card
        self._is_one_file = card.senses_one_picture

    def names(self) -> list[str]:
        """The goals that can be driven to, in order; none where there is no folder."""
        if self._is_one_file:
            names = (path.stem for path in self.folder.glob('*.png'))
        else:
            camera = next(iter(self._card.cameras))
            names = (path.parent.name for path in self.folder.glob(f'*/{camera}.png'))
        return sorted(filter(_NAME.fullmatch, names))

    def save(self, name: str, frame: Frame, *, overwrite: bool) -> Path:
        """Write what the sensors see as a goal; where it was written.

        An error leaves a goal that was there before as it was.

        :param overwrite: whether a goal of that name may be replaced
        :raises GoalError: on a bad name, one that is taken, or a file that cannot be written
        """
        if not _NAME.fullmatch(name):
            raise GoalError(
                f'"{name}" is no name for a goal: write letters, digits, blanks and _ - + . '
                'alone, a letter, a digit or _ first, at most 64 of them'
            )
        contents = self._contents(name, frame)
        try:
            taken = [path for path in contents if path.exists()]
            if taken and not overwrite:
                raise GoalError(f'{taken[0]} exists: choose another name, or set overwrite')
            _write(contents)
        except OSError as error:
            raise GoalError(f'the goal cannot be written: {error}') from error
        return next(iter(contents)) if self._is_one_file else self.folder / name

    def load(self, name: str) -> Frame:
        """What the sensors saw at a goal; the stamp is 0.

        :raises UnknownGoalError: when there is no such goal
        :raises GoalError: when a file cannot be read or does not fit the card
        """
        names = self.names()
        if name not in names:
            told = ', '.join(names[:_MOST_TOLD]) or 'none'
            more = f' and {len(names) - _MOST_TOLD} more' if len(names) > _MOST_TOLD else ''
            raise UnknownGoalError(f'no goal "{name}" in {self.folder}; there are: {told}{more}')
        images = {}
        for camera, spec in self._card.cameras.items():
            path = self._picture(name, camera)
            data = _read(path)
            try:
                images[camera] = compressed_images.decode(
                    data, 'the file', height=spec.height, width=spec.width
                )
            except ObservationError as error:
                raise GoalError(f'{path}: {error}') from error
        return Frame(images, 0.0, self._signals(name))

    def _picture(self, name: str, camera: str) -> Path:
        if self._is_one_file:
            return self.folder / f'{name}.png'
        return self.folder / name / f'{camera}.png'

    def _contents(self, name: str, frame: Frame) -> Mapping[Path, bytes]:
        contents = {
            self._picture(name, camera): compressed_images.encode(image, 'png')
            for camera, image in frame.images.items()
        }
        if self._card.proprioception:
            values = zip(self._card.proprioception, frame.proprioception.tolist(), strict=True)
            signals = {signal.name: value for signal, value in values}
            text = json.dumps(signals, indent=2) + '\n'
            contents[self.folder / name / _SIGNALS] = text.encode()
        return contents

    def _signals(self, name: str) -> np.ndarray | None:
        if not self._card.proprioception:
            return None
        path, names = self.folder / name / _SIGNALS, [s.name for s in self._card.proprioception]
        try:
            signals = json.loads(_read(path))
            values = [float(signals[signal]) for signal in names]
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise GoalError(
                f'{path}: an object with a number for each of {", ".join(names)} is needed: '
                f'{type(error).__name__} {error}'
            ) from error
        if not all(map(math.isfinite, values)):
            raise GoalError(f'{path} holds numbers that are not finite')
        return np.array(values)


def _write(contents: Mapping[Path, bytes]) -> None:
    """Write files, all or none: what may fail comes before the first old one is replaced."""
    parts = {path: path.with_name(f'.{path.name}.part') for path in contents}
    try:
        for path, content in contents.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            parts[path].write_bytes(content)
        for path, part in parts.items():
            os.replace(part, path)
    except OSError:
        for part in parts.values():
            with contextlib.suppress(OSError):
                part.unlink()
        raise


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise GoalError(str(error)) from error
