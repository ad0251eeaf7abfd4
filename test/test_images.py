# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""ROS images to pictures: the right colours, or a reason."""

import numpy as np
import pytest

pytest.importorskip('sensor_msgs', reason='ROS 2 is not installed: pip install .[ros]')
from hypothesis import given
from hypothesis import strategies as st
from sensor_msgs.msg import Image

from grasp_ros.errors import ObservationError
from grasp_ros.node.images import fill, stamp_sec, to_rgb

ENCODINGS = ('rgb8', 'bgr8', 'rgba8', 'bgra8', 'mono8', '8UC1', '8UC3', '8UC4')
PICTURE = np.arange(2 * 4 * 3, dtype=np.uint8).reshape(2, 4, 3)


def message(pixels, encoding, *, padding=0):
    rows, columns, channels = pixels.shape
    padded = np.full((rows, columns * channels + padding), 255, dtype=np.uint8)
    padded[:, : columns * channels] = pixels.reshape(rows, -1)
    image = Image(height=rows, width=columns, encoding=encoding, step=padded.shape[1])
    image.data.frombytes(padded.tobytes())
    return image


@pytest.mark.parametrize('padding', [0, 5])
@pytest.mark.parametrize(
    ('encoding', 'channels'),
    [
        ('rgb8', [0, 1, 2]),
        ('bgr8', [2, 1, 0]),
        ('8UC3', [2, 1, 0]),
        ('rgba8', [0, 1, 2, 0]),
        ('bgra8', [2, 1, 0, 0]),
        ('8UC4', [2, 1, 0, 0]),
    ],
)
def test_colours_survive_every_encoding_and_padded_rows(encoding, channels, padding):
    image = message(PICTURE[:, :, channels], encoding, padding=padding)
    assert np.array_equal(to_rgb(image, height=2, width=4), PICTURE)


@pytest.mark.parametrize('encoding', ['mono8', '8UC1'])
def test_grey_becomes_three_equal_channels(encoding):
    picture = to_rgb(message(PICTURE[:, :, :1], encoding, padding=3))
    assert np.array_equal(picture, np.repeat(PICTURE[:, :, :1], 3, axis=2))


def test_what_is_filled_in_is_read_back():
    image = Image()
    fill(image, PICTURE[:, ::-1])  # not contiguous
    assert np.array_equal(to_rgb(image), PICTURE[:, ::-1])
    fill(image, PICTURE)  # a message that is used again
    assert np.array_equal(to_rgb(image), PICTURE)


def broken(**fields):
    image = message(PICTURE, 'rgb8')
    for name, value in fields.items():
        setattr(image, name, value)
    return image


@pytest.mark.parametrize(
    ('image', 'reason'),
    [
        (broken(encoding='yuv422'), 'yuv422'),
        (broken(encoding='16UC1'), '16UC1'),
        (broken(encoding=''), 'encoding ""'),
        (broken(height=0), '4x0'),
        (broken(width=0), '0x2'),
        (broken(width=2**32 - 1), 'pixels'),
        (broken(step=11), 'step 11 is less than width 4 times 3'),
        (broken(step=13), 'data of 24 bytes, step 13 times height 2 makes 26'),
        (broken(data=b''), 'data of 0 bytes'),
        (message(PICTURE[:, :3], 'rgb8'), '3x2 pixels, the model needs 4x2'),
    ],
)
def test_refuses_with_the_reason(image, reason):
    size = {'height': 2, 'width': 4} if 'needs' in reason else {}
    with pytest.raises(ObservationError, match=reason.replace('(', r'\(')):
        to_rgb(image, **size)


side = st.integers(0, 5)


@given(
    encoding=st.sampled_from([*ENCODINGS, '', 'yuv422', '16UC1']),
    height=side | st.integers(0, 2**32 - 1),
    width=side | st.integers(0, 2**32 - 1),
    step=st.integers(0, 25) | st.integers(0, 2**32 - 1),
    data=st.binary(max_size=120),
    big_endian=st.integers(0, 255),
)
def test_whatever_a_message_says_it_is_a_picture_of_that_size_or_refused(
    encoding, height, width, step, data, big_endian
):
    image = Image(
        encoding=encoding, height=height, width=width, step=step, is_bigendian=big_endian
    )
    image.data.frombytes(data)
    try:
        picture = to_rgb(image)
    except ObservationError as error:
        assert str(error)
        return
    assert picture.shape == (height, width, 3) and picture.dtype == np.uint8
    assert encoding in ENCODINGS and len(data) == height * step
    picture.sum()  # every pixel can be read


@given(
    encoding=st.sampled_from([e for e in ENCODINGS if e not in ('mono8', '8UC1')]),
    height=st.integers(1, 6), width=st.integers(1, 6), padding=st.integers(0, 7),
    seed=st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_any_picture_survives_any_encoding_of_colours(encoding, height, width, padding, seed):
    random = np.random.default_rng(seed)
    picture = random.integers(0, 256, (height, width, 3), dtype=np.uint8)
    channels = [0, 1, 2] if encoding.startswith('rgb') else [2, 1, 0]
    channels += [0] * (encoding in ('rgba8', 'bgra8', '8UC4'))
    image = message(picture[:, :, channels], encoding, padding=padding)
    assert np.array_equal(to_rgb(image, height=height, width=width), picture)


def test_the_zero_stamp_means_no_stamp():
    image = Image()
    assert np.isnan(stamp_sec(image.header.stamp))
    image.header.stamp.sec, image.header.stamp.nanosec = 3, 500_000_000
    assert stamp_sec(image.header.stamp) == 3.5
