"""Image files of every kind, made here from known pixels and read back."""

import io
import struct
import zlib

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from ekman_expressions.core.errors import DataError
from ekman_expressions.core.files import decode_image

COLOURS = np.random.default_rng(0).integers(0, 256, (7, 9, 3)).astype(np.uint8)
GRAY = COLOURS[..., 0]
DEEP = np.random.default_rng(1).integers(0, 65536, (7, 9, 3)).astype(np.uint16)
AS_8_BIT = np.rint(DEEP / 257).astype(np.uint8)


def pillow(image, kind="PNG", **options):
    stream = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(stream, kind, **options)
    return stream.getvalue()


def tiff(values, **options):
    stream = io.BytesIO()
    tifffile.imwrite(stream, values, **options)
    return stream.getvalue()


def png(values):
    return cv2.imencode(".png", values[..., ::-1] if values.ndim == 3 else values)[1].tobytes()


def three(gray):
    return np.dstack([gray] * 3)


@pytest.mark.parametrize(
    "data, wanted",
    {
        "gray": (pillow(GRAY), three(GRAY)),
        "colours": (pillow(COLOURS), COLOURS),
        "palette": (pillow(Image.fromarray(GRAY).convert("P")), three(GRAY)),
        "1 bit": (pillow(Image.fromarray(GRAY > 99)), three((GRAY > 99) * np.uint8(255))),
        "gray tiff, as in JAFFE": (pillow(GRAY, "TIFF"), three(GRAY)),
        "gray and alpha": (pillow(Image.fromarray(GRAY).convert("LA")), three(GRAY)),
        "16-bit gray png": (png(DEEP[..., 0]), three(AS_8_BIT[..., 0])),
        "16-bit gray tiff": (tiff(DEEP[..., 0]), three(AS_8_BIT[..., 0])),
        "16-bit gray tiff, big-endian": (tiff(DEEP[..., 0], byteorder=">"), three(AS_8_BIT[..., 0])),
        "16-bit colour png": (png(DEEP), AS_8_BIT),
        "16-bit colour tiff": (tiff(DEEP, photometric="rgb"), AS_8_BIT),
        "16-bit colour tiff, big-endian": (tiff(DEEP, photometric="rgb", byteorder=">"), AS_8_BIT),
        "32-bit tiff": (tiff(DEEP[..., 0].astype(np.int32)), three(AS_8_BIT[..., 0])),
        "float tiff to 1": (tiff(np.float32(GRAY / 255)), three(GRAY)),
        "float tiff to 255": (tiff(np.float32(GRAY)), three(GRAY)),
        "float tiff to 65535": (tiff(np.float32(DEEP[..., 0])), three(AS_8_BIT[..., 0])),
        "white is zero": (tiff(255 - GRAY, photometric="miniswhite"), three(GRAY)),
        "pages": (tiff(np.stack([GRAY, GRAY // 2]), photometric="minisblack"), three(GRAY)),
        "animation": (
            pillow(Image.fromarray(COLOURS), save_all=True, append_images=[Image.fromarray(COLOURS // 2)]),
            COLOURS,
        ),
    }.values(),
    ids=lambda value: "" if isinstance(value, np.ndarray) else None,
)
def test_pixels_are_those_that_were_written(data, wanted):
    read = decode_image(data)
    assert read.dtype == np.uint8
    np.testing.assert_array_equal(read, wanted)
    luma = decode_image(data, gray=True)
    np.testing.assert_allclose(luma, wanted @ [0.299, 0.587, 0.114], atol=1)


def test_cmyk_is_the_complement_and_inverted_in_jpeg():
    ink = np.zeros((16, 16, 4), np.uint8)
    ink[:, :8] = (0, 200, 200, 0)  # magenta and yellow: red
    ink[:, 8:] = (0, 0, 0, 255)
    image = Image.fromarray(ink, "CMYK")
    exact = decode_image(pillow(image, "TIFF"))
    assert (exact[:, :8] == (255, 55, 55)).all() and (exact[:, 8:] == 0).all()
    data = pillow(image, "JPEG", quality=100, subsampling=0)
    assert b"Adobe" in data
    np.testing.assert_allclose(decode_image(data)[4:12, [3, 12]], exact[4:12, [3, 12]], atol=4)


def test_what_is_transparent_is_laid_on_black():
    alpha = np.linspace(0, 1, 9)[None, :, None] * np.ones((7, 1, 1))
    deep = cv2.imencode(".png", np.dstack([DEEP[..., ::-1], np.uint16(alpha * 65535)]))[1].tobytes()
    np.testing.assert_allclose(decode_image(deep), DEEP / 257 * alpha, atol=2)
    data = pillow(np.dstack([COLOURS, np.uint8(alpha * 255)]))
    np.testing.assert_allclose(decode_image(data), COLOURS * alpha, atol=2)
    # A colour of a palette.
    image = Image.fromarray(np.array([[0, 1]], np.uint8), "P")
    image.putpalette([200, 100, 50, 10, 20, 30])
    assert decode_image(pillow(image, transparency=0)).tolist() == [[[0, 0, 0], [10, 20, 30]]]


# What turns the stored pixels upright, by the number in the file (EXIF 2.3, tag 0x0112).
UPRIGHT = {
    1: lambda stored: stored,
    2: np.fliplr,
    3: lambda stored: np.rot90(stored, 2),
    4: np.flipud,
    5: lambda stored: stored.swapaxes(0, 1),
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: np.rot90(stored, 2).swapaxes(0, 1),
    8: np.rot90,
}


@pytest.mark.parametrize("number", UPRIGHT)
def test_a_cameras_rotation_is_applied_once(number):
    noted = Image.Exif()
    noted[0x0112] = number
    turned = UPRIGHT[number]
    tag = [(0x0112, "H", 1, number, True)]
    large = np.kron(COLOURS, np.ones((8, 8, 1), np.uint8))
    read = decode_image(pillow(large, "JPEG", exif=noted, quality=100, subsampling=0))
    assert read.shape == turned(large).shape and np.abs(read - np.float64(turned(large))).mean() < 3
    for data, stored in {
        "png": (pillow(COLOURS, exif=noted), COLOURS),
        "tiff": (tiff(COLOURS, photometric="rgb", extratags=tag), COLOURS),
        "deep tiff": (tiff(DEEP, photometric="rgb", extratags=tag), AS_8_BIT),
        "deep gray tiff": (tiff(DEEP[..., 0], extratags=tag), three(AS_8_BIT[..., 0])),
        "deep png": (with_exif(png(DEEP), noted), AS_8_BIT),
        "deep gray png": (with_exif(png(DEEP[..., 0]), noted), three(AS_8_BIT[..., 0])),
    }.values():
        np.testing.assert_array_equal(decode_image(data), turned(stored))


def with_exif(data, noted):
    """Put a chunk eXIf behind a PNG's header."""
    body = b"eXIf" + noted.tobytes().removeprefix(b"Exif\0\0")
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    return data[:33] + chunk + data[33:]


NOISE = np.random.default_rng(3).integers(0, 256, (64, 64, 3)).astype(np.uint8)
CUT = {
    "jpeg": pillow(NOISE, "JPEG"),
    "png": pillow(NOISE),
    "tiff": pillow(NOISE, "TIFF", compression="tiff_lzw"),
    "webp": pillow(NOISE, "WEBP"),
    "bmp": pillow(NOISE, "BMP"),
    "gif": pillow(NOISE, "GIF"),
    "deep png": png(NOISE.astype(np.uint16) * 200),
    "deep tiff": tiff(NOISE.astype(np.uint16) * 200, photometric="rgb"),
}


@pytest.mark.parametrize("kind", CUT)
def test_files_that_are_cut_off_are_refused_wherever_they_end(kind):
    data = CUT[kind]
    decode_image(data)
    for end in (3, 10, 40, len(data) // 3, len(data) // 2, len(data) * 9 // 10):
        with pytest.raises(DataError, match="damaged|cut off|cannot be read"):
            decode_image(data[:end])


def test_empty_foreign_and_unscaled_files_are_refused_with_the_reason():
    with pytest.raises(DataError, match="^the file is empty$"):
        decode_image(b"")
    with pytest.raises(DataError, match="no image of a known format"):
        decode_image(b"<html>not found</html>")
    for values in ([[-1.0, 0.5]], [[0.0, 1e6]], [[np.nan, 0.5]]):
        with pytest.raises(DataError, match="its values go from"):
            decode_image(tiff(np.float32(values)))


@pytest.mark.parametrize("side", [120, 150])
def test_too_many_pixels_are_refused_with_size_and_limit(monkeypatch, side):
    """Pillow itself only warns up to twice its limit."""
    data = pillow(np.zeros((side, side, 3), np.uint8))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10_000)
    with pytest.raises(DataError, match=f"too many pixels.*{side * side} pixels.*limit of .*000 pixels"):
        decode_image(data)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    assert decode_image(data).shape == (side, side, 3)
