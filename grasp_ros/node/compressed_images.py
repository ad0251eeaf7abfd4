# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""JPEG and PNG to numpy, strictly: what does not fit is refused with the reason.

Beside :mod:`grasp_ros.node.images`, for the gate has no need of Pillow.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator

import numpy as np
from PIL import Image
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile

from grasp_ros.errors import ObservationError
from grasp_ros.node.images import LARGEST_SIDE

# First bytes -> who reads such a file. Not PIL.Image.open: it warns of large pictures, or raises,
# before anybody can ask for their size.
_READERS: dict[bytes, type[ImageFile]] = {
    b'\xff\xd8\xff': JpegImageFile,
    b'\x89PNG\r\n\x1a\n': PngImageFile,
}
_MODES = ('L', 'RGB', 'RGBA')  # 8 bit grey, colours, colours and an alpha, as with raw images
_JPEG_QUALITY = 95  # the default of image_transport


def topic(node, raw: str = 'image_raw') -> str:
    """Where compressed images are: behind the name that the topic of the raw ones is remapped to,
    as image_transport has it."""
    return f'{node.resolve_topic_name(raw)}/compressed'


def to_rgb(message, *, height: int | None = None, width: int | None = None) -> np.ndarray:
    """The picture of a ``sensor_msgs/CompressedImage``: uint8 ``[height, width, 3]``, rgb.

    What it is, its first bytes tell; drivers agree on nothing in ``format``.

    :param message: see :func:`decode`
    :param height: pixels that the picture must have, None for any
    :param width: likewise
    :raises ObservationError: naming what is wrong with the message
    """
    what = f'compressed image of format "{message.format}"'
    return decode(message.data.tobytes(), what, height=height, width=width)


def decode(
    data: bytes, what: str, *, height: int | None = None, width: int | None = None
) -> np.ndarray:
    """The picture in a JPEG or PNG: uint8 ``[height, width, 3]``, rgb.

    Its size is read from the header before a pixel is decoded, so that a small file cannot become
    a huge picture. A PNG has checksums, and all of them are checked. A JPEG has none: damage that
    can be decoded gives a wrong picture.

    :param data: grey or with colours, with an alpha or without
    :param what: these data are, for the error where they are neither
    :param height: pixels that the picture must have, None for any
    :param width: likewise
    :raises ObservationError: naming what is wrong with the data
    """
    reader = next((r for magic, r in _READERS.items() if data.startswith(magic)), None)
    if reader is None:
        raise ObservationError(f'{what} is neither a JPEG nor a PNG')
    with _refusing_what_breaks(reader.format):
        picture = reader(io.BytesIO(data))
        if max(picture.size) > LARGEST_SIDE:
            raise ObservationError(f'{reader.format} of {picture.width}x{picture.height} pixels')
        if height is not None and width is not None and picture.size != (width, height):
            raise ObservationError(
                f'{reader.format} of {picture.width}x{picture.height} pixels, the model needs '
                f'{width}x{height}: resize it before, e.g. with image_proc'
            )
        if picture.mode not in _MODES:
            raise ObservationError(
                f'{reader.format} of mode "{picture.mode}" is not among {", ".join(_MODES)}'
            )
        # Pixels with a flipped bit may decode without an error; the checksums tell. What has been
        # verified cannot be decoded any more.
        picture.verify()
        return np.asarray(reader(io.BytesIO(data)).convert('RGB'))


def fill(message, picture: np.ndarray, *, format: str) -> None:
    """Write a picture into a ``sensor_msgs/CompressedImage``; header and stamp are left alone.

    :param picture: uint8 ``[height, width, 3]``, rgb
    :param format: ``jpeg`` or ``png``
    """
    message.format = f'rgb8; {format} compressed bgr8'  # the words of image_transport
    # Assigning an array to `data` is slow: every byte is checked. This copies the memory.
    del message.data[:]
    message.data.frombytes(encode(picture, format))


def encode(picture: np.ndarray, format: str) -> bytes:
    """A picture as a file.

    :param picture: uint8 ``[height, width, 3]``, rgb
    :param format: ``jpeg`` or ``png``
    """
    file = io.BytesIO()
    # The fastest PNG takes a quarter of the default's time, and this keeps an executor waiting.
    options = {'quality': _JPEG_QUALITY} if format == 'jpeg' else {'compress_level': 1}
    Image.fromarray(np.ascontiguousarray(picture)).save(file, format, **options)
    return file.getvalue()


@contextlib.contextmanager
def _refusing_what_breaks(kind: str) -> Iterator[None]:
    """Pillow raises whatever it stumbles over in broken data; a node must survive all of it."""
    try:
        yield
    except ObservationError:
        raise
    except Exception as error:
        # Behind the bracket stand numbers that differ from image to image, and each reason is a
        # line in the log.
        raise ObservationError(f'broken {kind}: {str(error).partition(" (")[0]}') from error
