# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What a driver, a disk or a radio makes of a compressed image: faults, by name."""

from __future__ import annotations

import functools
import io
from collections.abc import Callable

from PIL import Image

HUGE_SIDE = 4096  # pixels, in few bytes where all are black


def truncated(data: bytes) -> bytes:
    return data[: len(data) // 2]


def damaged(data: bytes) -> bytes:
    """Some bytes of the header are others."""
    return data[:20] + bytes(20) + data[40:]


def not_a_picture(data: bytes) -> bytes:
    """The format still says that it is one."""
    return b'<!DOCTYPE html>' + data


def huge(data: bytes) -> bytes:
    """A black picture that is large once it is decoded."""
    return _black(Image.open(io.BytesIO(data)).format)


@functools.cache
def _black(kind: str) -> bytes:
    file = io.BytesIO()
    Image.new('L', (HUGE_SIDE, HUGE_SIDE)).save(file, kind)
    return file.getvalue()


FAULTS: dict[str, Callable[[bytes], bytes]] = {
    spoil.__name__: spoil for spoil in (truncated, damaged, not_a_picture, huge)
}
