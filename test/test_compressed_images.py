# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
"""JPEG and PNG to pictures: the right colours, or a reason."""

import io
import struct
import zlib

import numpy as np
import pytest

pytest.importorskip('sensor_msgs', reason='ROS 2 is not installed: pip install .[ros]')
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from PIL.ImageFile import ImageFile
from sensor_msgs.msg import CompressedImage

from grasp_ros.errors import ObservationError
from grasp_ros.node.compressed_images import fill, to_rgb

SIDE = 16
SIZE = {'height': SIDE, 'width': SIDE}
SHADES = np.linspace(0, 255, SIDE, dtype=np.uint8)
PICTURE = np.stack(np.broadcast_arrays(SHADES[:, None], SHADES[None], np.uint8(90)), axis=2)
FORMATS = ('jpeg', 'png')


def message(data, format='jpeg'):
    image = CompressedImage(format=format)
    image.data.frombytes(data)
    return image


def encoded(format, picture=PICTURE, **options):
    file = io.BytesIO()
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    image.save(file, format, **options)
    return file.getvalue()


def chunk(kind, body):
    return struct.pack('>I', len(body)) + kind + body + struct.pack('>I', zlib.crc32(kind + body))


def png(width, height, *, pixels=b'', bits=8, colours=2, chunks=()):
    """A PNG of any header, with correct checksums."""
    header = struct.pack('>IIBBBBB', width, height, bits, colours, 0, 0, 0)
    parts = [(b'IHDR', header), *chunks, (b'IDAT', zlib.compress(pixels)), (b'IEND', b'')]
    return b'\x89PNG\r\n\x1a\n' + b''.join(chunk(*part) for part in parts)


@pytest.mark.parametrize(('format', 'error'), [('jpeg', 24), ('png', 0)])
def test_what_is_filled_in_is_read_back_in_its_colours(format, error):
    image = CompressedImage()
    for picture in (PICTURE, PICTURE[:, ::-1]):  # a message that is used again
        fill(image, picture, format=format)
        read = to_rgb(image, **SIZE)
        assert read.shape == (SIDE, SIDE, 3) and read.dtype == np.uint8
        assert np.abs(read.astype(int) - picture).max() <= error


def test_grey_and_an_alpha_are_read_as_with_raw_images():
    grey = message(encoded('png', PICTURE[:, :, 0]))
    assert np.array_equal(to_rgb(grey, **SIZE), np.repeat(PICTURE[:, :, :1], 3, axis=2))
    grey = message(encoded('jpeg', np.full((SIDE, SIDE), 90, np.uint8)))
    assert np.array_equal(to_rgb(grey, **SIZE), np.full((SIDE, SIDE, 3), 90))
    alpha = np.dstack([PICTURE, SHADES[:, None].repeat(SIDE, axis=1)])
    assert np.array_equal(to_rgb(message(encoded('png', alpha)), **SIZE), PICTURE)


@pytest.mark.parametrize('says', ['', 'png', 'rgb8; png compressed bgr8', 'jpg', 'tiff'])
@pytest.mark.parametrize('is_in_fact', FORMATS)
def test_the_first_bytes_tell_what_it_is_not_the_format(says, is_in_fact):
    assert to_rgb(message(encoded(is_in_fact), says), **SIZE).shape == (SIDE, SIDE, 3)


@pytest.mark.parametrize(
    ('data', 'reason'),
    [
        (b'', 'format "jpeg" is neither a JPEG nor a PNG'),
        (b'\xff\xd8', 'neither a JPEG nor a PNG'),
        (encoded('gif'), 'neither a JPEG nor a PNG'),
        (encoded('tiff'), 'neither a JPEG nor a PNG'),
        (b'\xff\xd8\xff', 'broken JPEG'),
        (b'\x89PNG\r\n\x1a\n', 'broken PNG'),
        (encoded('jpeg')[:-20], 'broken JPEG: image file is truncated$'),
        (encoded('png')[:-20], 'broken PNG'),
        (encoded('jpeg', PICTURE[:8]), '^JPEG of 16x8 pixels, the model needs 16x16: resize it'),
        (encoded('png', PICTURE[:, :8]), '^PNG of 8x16 pixels, the model needs 16x16'),
        (encoded('png', Image.new('P', (SIDE, SIDE))), 'PNG of mode "P" is not among L, RGB'),
        (encoded('png', Image.new('I;16', (SIDE, SIDE))), 'PNG of mode "I;16" is not among'),
        (encoded('jpeg', Image.new('CMYK', (SIDE, SIDE))), 'JPEG of mode "CMYK" is not among'),
        (png(SIDE, SIDE, pixels=bytes(10)), 'broken PNG'),
        (png(2**31 - 1, 2**31 - 1), 'PNG of 2147483647x2147483647 pixels'),
    ],
)
def test_refuses_with_the_reason(data, reason):
    with pytest.raises(ObservationError, match=reason):
        to_rgb(message(data), **SIZE)


def test_nothing_is_decoded_before_the_size_is_known_to_fit(monkeypatch):
    def load(self):
        raise AssertionError('decoded')

    monkeypatch.setattr(ImageFile, 'load', load)
    large = Image.new('RGB', (2048, 2048))
    for format in FORMATS:
        with pytest.raises(ObservationError, match='of 2048x2048 pixels'):
            to_rgb(message(encoded(format, large)), **SIZE)


def test_a_text_that_grows_without_end_is_refused():
    text = b'key\0\0' + zlib.compress(bytes(200_000_000), 1)
    data = png(SIDE, SIDE, pixels=bytes(SIDE * (3 * SIDE + 1)), chunks=[(b'zTXt', text)])
    with pytest.raises(ObservationError, match='broken PNG'):
        to_rgb(message(data), **SIZE)


random_picture = st.integers(0, 2**32 - 1).map(
    lambda seed: np.random.default_rng(seed).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
)


@given(random_picture)
def test_any_picture_survives_a_png(picture):
    assert np.array_equal(to_rgb(message(encoded('png', picture)), **SIZE), picture)


def test_a_png_with_any_bit_flipped_is_the_same_picture_or_refused():
    plain = np.full((SIDE, SIDE, 3), 90, np.uint8)
    plain[4:8, 5:9] = 200  # what repeats itself is packed so that a flip moves it
    data, refused = encoded('png', plain), 0
    for bit in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        try:
            assert np.array_equal(to_rgb(message(bytes(flipped)), **SIZE), plain)
        except ObservationError:
            refused += 1
    assert refused > 7 * len(data)


@given(
    format=st.sampled_from(FORMATS),
    start=st.integers(0, 2000),
    bytes_put_in=st.binary(max_size=12),
    bytes_left_out=st.integers(0, 12),
    end=st.integers(0, 3000),
)
def test_whatever_becomes_of_the_bytes_it_is_a_picture_of_that_size_or_refused(
    format, start, bytes_put_in, bytes_left_out, end
):
    data = encoded(format)
    spoilt = (data[:start] + bytes_put_in + data[start + bytes_left_out :])[:end]
    try:
        picture = to_rgb(message(spoilt), **SIZE)
    except ObservationError as error:
        assert str(error)
        return
    assert picture.shape == (SIDE, SIDE, 3) and picture.dtype == np.uint8
    if format == 'png' and len(spoilt) <= len(data):
        assert np.array_equal(picture, PICTURE)  # its checksums tell of everything else


@given(st.sampled_from([b'\xff\xd8\xff', b'\x89PNG\r\n\x1a\n', b'']), st.binary(max_size=200))
def test_bytes_that_only_begin_like_a_picture_are_refused(magic, rest):
    with pytest.raises(ObservationError):
        to_rgb(message(magic + rest), **SIZE)


@given(st.sampled_from(FORMATS), st.floats(0.0, 1.0, exclude_max=True))
def test_what_is_truncated_before_its_last_pixel_is_refused(format, share):
    data = encoded(format, quality=95) if format == 'jpeg' else encoded(format)
    end_bytes = 2 if format == 'jpeg' else 12  # the mark of the end comes after all pixels
    with pytest.raises(ObservationError):
        to_rgb(message(data[: int(share * (len(data) - end_bytes))]), **SIZE)
