# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Data sets on disk, of a robot that nobody knows the place of.

A folder with ``dataset.json`` and a safetensors file for each episode; nothing in it is executed.
The episode holds ``images`` uint8 ``[L, height, width, 3]``, ``actions`` float32 ``[L - 1, A]``,
``actions[t]`` being the mean command from frame t to frame t + 1, and ``stamps_sec`` float64
``[L]``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file, save_file

from grasp_ros.errors import GraspError
from grasp_ros.world_models.base import ActionSpec, CameraSpec
from grasp_ros.world_models.tensors import write

DATASET_FILE = 'dataset.json'
FORMAT = 1
EVALUATION_SHARE = 1 / 6  # of the time, its end


class DataError(GraspError):
    """A data set is missing, damaged, or not one that can be trained on."""

    code = 711


@dataclass(frozen=True, kw_only=True)
class Recording:
    """One episode of a robot.

    :param images: uint8 ``[L, height, width, 3]``, rgb
    :param actions: float32 ``[L - 1, A]``, in the units of the data set
    :param stamps_sec: when the frames were taken, float64 ``[L]``
    """

    images: np.ndarray
    actions: np.ndarray
    stamps_sec: np.ndarray


@dataclass(frozen=True, kw_only=True)
class RecordedWalks:
    """E walks of L frames each.

    :param images: uint8 ``[E, L, height, width, 3]``
    :param actions: float32 ``[E, L - 1, A]``
    :param frames: of the recording that are in them; some are in two
    """

    images: np.ndarray
    actions: np.ndarray
    frames: int


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """What stands in ``dataset.json``.

    :param folder: of the data set
    :param camera_name: as the model's card will have it
    :param camera: size of the pictures
    :param actions: the A entries of an action; their bounds are the card's, or those of the data
    :param period_sec: control period
    :param episodes: file and number of frames of each
    :param bags: which of the bags each of them is of, by number
    :param report: how well frames and commands fit, :mod:`grasp_ros.recording.alignment`
    """

    folder: Path
    camera_name: str
    camera: CameraSpec
    actions: tuple[ActionSpec, ...]
    period_sec: float
    episodes: tuple[tuple[str, int], ...]
    bags: tuple[int, ...]
    report: Mapping[str, Any]

    @property
    def digest(self) -> str:
        """Tells two data sets apart."""
        text = (self.folder / DATASET_FILE).read_bytes()
        return hashlib.sha256(text).hexdigest()[:16]

    def stamps_sec(self, name: str) -> np.ndarray:
        """When the frames of one episode were taken, float64 ``[L]``.

        :raises DataError: when it is damaged
        """
        try:
            with safe_open(self.folder / name, framework='np') as file:
                return file.get_tensor('stamps_sec')
        except (OSError, SafetensorError) as error:
            raise self.damaged(name, error) from error

    def read(self, name: str) -> Recording:
        """One episode.

        :raises DataError: when it is damaged or not as ``dataset.json`` says
        """
        shape = (self.camera.height, self.camera.width, 3)
        try:
            episode = Recording(**load_file(self.folder / name))
        except (OSError, SafetensorError, TypeError) as error:
            raise self.damaged(name, error) from error
        length = len(episode.images)
        if (
            episode.images.shape[1:] != shape
            or episode.images.dtype != np.uint8
            or episode.actions.shape != (length - 1, len(self.actions))
            or episode.stamps_sec.shape != (length,)
            or not np.isfinite(episode.actions).all()
        ):
            raise self.damaged(name, f'it does not fit {DATASET_FILE}')
        return episode

    def damaged(self, name: str, reason: object) -> DataError:
        """What is raised for a file that cannot be used."""
        return DataError(f'{self.folder / name} is damaged ({reason}): make the data set again')


class Writer:
    """Writes a data set, an episode after the other.

    ``dataset.json`` comes last, so that half a data set is none.

    :param folder: that must not hold one yet
    :raises DataError: when it does, or cannot be made
    """

    def __init__(self, folder: Path) -> None:
        self._folder = Path(folder)
        self._written: list[dict[str, Any]] = []
        if (self._folder / DATASET_FILE).exists():
            raise DataError(f'{folder} holds a data set already: choose another folder')
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(f'{folder}: {error}') from error

    def add(self, episode: Recording, *, bag: int = 0) -> None:
        """Write an episode.

        :param bag: number of the bag that it is of
        :raises DataError: when it cannot be written
        """
        name = f'episode_{len(self._written):05}.safetensors'
        arrays = {key: np.ascontiguousarray(value) for key, value in vars(episode).items()}
        try:
            write(self._folder / name, lambda part: save_file(arrays, part))
        except OSError as error:
            raise DataError(f'{self._folder / name}: {error}') from error
        self._written.append({'file': name, 'frames': len(episode.images), 'bag': bag})

    def close(
        self,
        *,
        camera_name: str,
        camera: CameraSpec,
        actions: Sequence[ActionSpec],
        period_sec: float,
        report: Mapping[str, Any],
    ) -> DataSet:
        """Say what was written; the parameters are those of :class:`DataSet`.

        :raises DataError: when it cannot be written
        """
        document = {
            'format': FORMAT,
            'camera': {'name': camera_name, **asdict(camera)},
            'actions': [asdict(spec) for spec in actions],
            'period_sec': period_sec,
            'episodes': self._written,
            'report': report,
        }
        try:
            text = json.dumps(document, indent=2) + '\n'
            (self._folder / DATASET_FILE).write_text(text, encoding='utf-8')
        except OSError as error:
            raise DataError(f'{self._folder}: {error}') from error
        return load(self._folder)


def load(folder: Path) -> DataSet:
    """Read ``dataset.json``; the episodes are read one by one.

    :raises DataError: when there is none, or it is damaged
    """
    path = Path(folder) / DATASET_FILE
    try:
        data = json.loads(path.read_text(encoding='utf-8'))
        if data['format'] != FORMAT:
            raise DataError(f'{path}: format {data["format"]} is not {FORMAT}')
        camera = dict(data['camera'])
        return DataSet(
            folder=Path(folder),
            camera_name=camera.pop('name'),
            camera=CameraSpec(**camera),
            actions=tuple(ActionSpec(**spec) for spec in data['actions']),
            period_sec=float(data['period_sec']),
            # A name alone: a data set from elsewhere must not read files beside it.
            episodes=tuple((Path(e['file']).name, int(e['frames'])) for e in data['episodes']),
            bags=tuple(int(e.get('bag', 0)) for e in data['episodes']),
            report=data['report'],
        )
    except OSError as error:
        raise DataError(f'{path}: {error}: `grasp-ros bag-to-dataset` makes one') from error
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f'{path} is damaged: {type(error).__name__} {error}') from error


def walks(data: DataSet, *, length: int) -> tuple[RecordedWalks, RecordedWalks]:
    """Walks to train on and, from the end of the recordings, walks for metrics.

    Neighbours share a frame, and the last of an episode begins so that it ends with it. Bags
    follow each other as they were given: what is stamped in them may begin anew in each. In none
    of them the former reach into the time of the latter.

    :param length: L, frames in a walk
    :raises DataError: when one of the two is empty, or the data set damaged
    """
    pieces = []
    for (name, frames), bag in zip(data.episodes, data.bags):
        if frames >= length:
            stamps_sec = data.stamps_sec(name)
            if len(stamps_sec) != frames:
                raise data.damaged(name, f'it does not fit {DATASET_FILE}')
            for first in sorted({*range(0, frames - length + 1, length - 1), frames - length}):
                last = first + length - 1
                pieces.append(_Piece(bag, stamps_sec[first], stamps_sec[last], name, first))
    pieces.sort()
    count = round((1 - EVALUATION_SHARE) * len(pieces))
    for_metrics = pieces[count:]
    for_training = []
    if for_metrics:
        cut = for_metrics[0]
        for_training = [p for p in pieces[:count] if p.bag < cut.bag or p.end_sec <= cut.begin_sec]
    if not for_training:
        raise DataError(
            f'{data.folder} has {len(pieces)} stretches of {length} frames without a gap, too few '
            'to train on: record for longer, and see in the report where the gaps come from'
        )
    return _cut(data, for_training, length), _cut(data, for_metrics, length)


class _Piece(NamedTuple):
    """A walk that can be cut out; in the order of the recordings."""

    bag: int
    begin_sec: float
    end_sec: float
    name: str
    first: int


def _cut(data: DataSet, pieces: list[_Piece], length: int) -> RecordedWalks:
    size = (data.camera.height, data.camera.width, 3)
    images = np.empty((len(pieces), length, *size), dtype=np.uint8)
    actions = np.empty((len(pieces), length - 1, len(data.actions)), dtype=np.float32)
    used = 0
    for name in dict.fromkeys(piece.name for piece in pieces):  # each is read once
        episode = data.read(name)
        is_used = np.zeros(len(episode.images), dtype=bool)
        for row, piece in enumerate(pieces):
            if piece.name == name:
                part = slice(piece.first, piece.first + length)
                images[row], is_used[part] = episode.images[part], True
                actions[row] = episode.actions[part.start : part.stop - 1]
        used += int(is_used.sum())
    return RecordedWalks(images=images, actions=actions, frames=used)
