# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""ROS 2 bags, mcap or sqlite3, as ``ros2 bag record`` and ``grasp-ros record`` write them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rosbags.interfaces import Connection, MessageDefinitionFormat
from rosbags.rosbag2 import Reader
from rosbags.typesys import get_types_from_msg
from rosbags.typesys.store import Typestore

from grasp_ros.errors import GraspError
from grasp_ros.node.bag_types import typestore

IMAGES = ('sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage')


class RecordingError(GraspError):
    """A bag, or a data set that was made of one, is damaged or lacks what is needed."""

    code = 710


class Recorded(NamedTuple):
    """One message of a bag.

    :param topic: where it was heard
    :param stamp_ns: when it was heard, ns
    :param message: with the fields of its type; arrays are numpy's
    """

    topic: str
    stamp_ns: int
    message: Any


class Bag:
    """A bag that is read.

    :param path: its folder, or one ``.mcap`` or ``.db3`` file of it
    :raises RecordingError: when there is none, or none that can be read
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self._reader = self._open()
        self.topics: Mapping[str, str] = {c.topic: c.msgtype for c in self._reader.connections}

    def __enter__(self) -> Bag:
        return self

    def __exit__(self, *exception: object) -> None:
        self._reader.close()

    def require(self, topic: str, kinds: Sequence[str]) -> str:
        """The type of a topic.

        :param topic: its name, with or without the slash in front
        :param kinds: types that will do
        :raises RecordingError: when the bag does not hold it, or as another type, or as another
            version of the type; names what there is
        """
        there = ', '.join(f'{name} ({kind})' for name, kind in sorted(self.topics.items()))
        name = absolute(topic)
        if name not in self.topics:
            raise RecordingError(f'{self.path} holds no topic {name}, but {there or "nothing"}')
        kind = self.topics[name]
        if kind not in kinds:
            raise RecordingError(
                f'{self.path}: {name} is a {kind}, and one of {", ".join(kinds)} is needed'
            )
        ours = typestore().hash_rihs01(kind)
        hashes = {_type_hash(c) for c in self._reader.connections if c.topic == name}
        if hashes - {'', ours}:
            raise RecordingError(
                f'{self.path}: {name} holds another version of {kind}: read it with the version '
                'of grasp_ros, or of ROS 2, that it was recorded with'
            )
        return kind

    def messages(self, topics: Sequence[str]) -> Iterator[Recorded]:
        """The messages of some topics, in the order in which they were heard.

        :param topics: that :meth:`require` found
        :raises RecordingError: where the bag is damaged
        """
        names = {absolute(topic) for topic in topics}
        chosen = [c for c in self._reader.connections if c.topic in names]
        if not chosen:
            return
        store, count = typestore(), 0
        try:
            for connection, stamp_ns, data in self._reader.messages(chosen):
                message = store.deserialize_cdr(data, connection.msgtype)
                yield Recorded(connection.topic, stamp_ns, message)
                count += 1
        except Exception as error:  # its storages raise whatever they stumble over
            raise RecordingError(
                f'{self.path} is damaged after {count} messages: {_reason(error)}'
            ) from error
        promised = sum(connection.msgcount for connection in chosen)
        if count < promised:  # damage may look like the end
            raise RecordingError(f'{self.path} is damaged: {count} of {promised} messages left')

    def _open(self) -> Reader:
        if self.path.is_dir() and not (self.path / 'metadata.yaml').is_file():
            raise RecordingError(
                f'{self.path} has no metadata.yaml: it is no bag, or its recording was cut off; '
                'then `ros2 bag reindex`, or name the .db3 file in it; an .mcap file that was cut '
                'off needs `mcap recover` before'
            )
        try:
            reader = Reader(self.path)
            reader.open()
        except Exception as error:
            raise RecordingError(f'{self.path} is no bag that can be read: {_reason(error)}'
                                 ) from error
        return reader


def _type_hash(connection: Connection) -> str:
    """That of the type that was recorded, empty where the bag does not tell.

    The hash stands in ``metadata.yaml``; a file alone has the definition, which is parsed for it
    but not made code of.
    """
    definition, kind = connection.msgdef, connection.msgtype
    is_text = definition.format is MessageDefinitionFormat.MSG and definition.data
    if connection.digest or not is_text:
        return connection.digest
    try:
        store = Typestore()
        store.fielddefs |= get_types_from_msg(definition.data, kind)
        return store.hash_rihs01(kind)
    except Exception as error:  # of the grammar, whatever they are
        return f'none, for its definition cannot be read: {_reason(error)}'


def absolute(topic: str) -> str:
    """The name of a topic with its slash."""
    return topic if topic.startswith('/') else f'/{topic}'


def _reason(error: Exception) -> str:
    return f'{type(error).__name__}: {error}' if str(error) else type(error).__name__
