"""Image files of every kind to 8-bit pixels: gray or colour, deep, transparent, turned by a camera."""

from __future__ import annotations

import io
import os
import warnings

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from ekman_expressions.core.errors import DataError, SettingsError

PIXELS_VARIABLE = "EKMAN_EXPRESSIONS_MOST_PIXELS"
"""Environment variable: the most pixels that an image may have; default as in Pillow, 89,478,485."""

_TIFF = (b"II*\0", b"MM\0*")
_WIDTH, _HEIGHT, _BITS, _PLANES = 256, 257, 258, 284  # numbers of TIFF tags
_ORIENTATION = 0x0112  # number of an EXIF tag
_TOO_LARGE = (Image.DecompressionBombError, Image.DecompressionBombWarning)
_CANNOT = "its pixels are of a kind that cannot be read: save it as PNG with 8 or 16 bits"
# What Pillow raises on damaged files, whichever format it takes them for.
_DAMAGED = (OSError, SyntaxError, ValueError, TypeError, KeyError, IndexError, EOFError, OverflowError)


def decode_image(data: bytes, *, gray: bool = False) -> np.ndarray:
    """Decode an image file's bytes to 8-bit RGB (H, W, 3), or (H, W) when `gray`, upright.

    - 16-bit values are divided by 257 and rounded. Numbers of 32 bits and floats count as parts
      of 1, 255 or 65535, the first of these that none of them exceeds.
    - CMYK is converted by complement (profiles are not used); JPEG files hold it inverted.
    - What is transparent is laid on black.
    - Of an animation or a file with several pages, the first image is taken.
    - The rotation that a camera noted (EXIF) is applied.

    Parameters
    ----------
    data : bytes
        The whole file.
    gray : bool
        Whether colours become luma, 0.299 R + 0.587 G + 0.114 B.

    Returns
    -------
    (H, W, 3) or (H, W) ndarray of uint8

    Raises
    ------
    DataError
        With the reason alone, since only the caller knows what the image is called: no image,
        cut off, more pixels than allowed (`PIXELS_VARIABLE`), or values without a scale.
    """
    _set_limit()
    if not data:
        raise DataError("the file is empty")
    try:
        with warnings.catch_warnings():
            # Pillow only warns of damaged metadata, which takes nothing from the pixels.
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = _decoded(data)
    except _TOO_LARGE as error:
        raise DataError(
            f"it has too many pixels: {error} Make it smaller, or allow more with the environment variable "
            f"{PIXELS_VARIABLE}"
        ) from error
    except DataError:
        raise
    except UnidentifiedImageError as error:
        # The original message has nothing but the name of a stream.
        raise DataError("it is no image of a known format, or cut off at its start") from error
    except _DAMAGED as error:
        raise DataError(f"it is damaged: {error}") from error
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "black"), image)
    mode = "L" if gray else "RGB"
    return np.asarray(image if image.mode == mode else image.convert(mode))


def _set_limit() -> None:
    given = os.environ.get(PIXELS_VARIABLE, "")
    if not given:
        return
    if not given.isdecimal() or not int(given):
        raise SettingsError(f"{PIXELS_VARIABLE} must be a number of pixels > 0, but is {given!r}.")
    Image.MAX_IMAGE_PIXELS = int(given)


def _decoded(data: bytes) -> Image.Image:
    """Return the first image in a file, upright, with 8 bits per channel."""
    try:
        image = Image.open(io.BytesIO(data))
    except UnidentifiedImageError:
        # Pillow knows no colours of 32 bits, and no floats of 64.
        if data[:4] not in _TIFF:
            raise
        _check_size(_tiff_tags(data))
        return _to_image(_read_deep(data))
    with image:
        # All of it first: OpenCV gives back what it can of a file that is cut off.
        image.load()
        deep = None
        if image.mode.startswith(("I", "F")):
            deep = np.asarray(image)
        elif image.format in ("PNG", "TIFF") and _bits(image, data) == 16:
            # Pillow keeps the upper half of each 16-bit number.
            deep = _read_deep(data)
            if image.format == "TIFF":
                return _to_image(deep)
        orientation = image.getexif().get(_ORIENTATION)
        if deep is not None:
            image = _to_image(deep)
        if orientation is not None:
            image.getexif()[_ORIENTATION] = orientation
            image = ImageOps.exif_transpose(image)
        return image


def _bits(image: Image.Image, data: bytes) -> int:
    """Return the bits per channel of a PNG or TIFF file."""
    if image.format == "PNG":
        return data[24]  # in the header, which always comes first
    return max(image.tag_v2.get(_BITS, (8,)))


def _tiff_tags(data: bytes) -> ImageFileDirectory_v2:
    """Return the tags of a TIFF file's first image, by their numbers."""
    stream = io.BytesIO(data)
    tags = ImageFileDirectory_v2(stream.read(8))
    stream.seek(tags.next)
    tags.load(stream)
    return tags


def _check_size(tags: ImageFileDirectory_v2) -> None:
    pixels, limit = int(tags[_WIDTH]) * int(tags[_HEIGHT]), Image.MAX_IMAGE_PIXELS
    if limit is not None and pixels > limit:
        raise Image.DecompressionBombError(f"Image size ({pixels} pixels) exceeds limit of {limit} pixels.")


def _read_deep(data: bytes) -> np.ndarray:
    """Return RGB(A) or gray values as they are in the file; OpenCV turns TIFF files upright itself."""
    import cv2

    # OpenCV takes planes one after the other for interleaved colours.
    if data[:4] in _TIFF and _tiff_tags(data).get(_PLANES) == 2:
        raise DataError(_CANNOT)
    log = cv2.utils.logging
    before = log.setLogLevel(log.LOG_LEVEL_SILENT)
    try:
        values = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        values = None
    finally:
        log.setLogLevel(before)
    if values is None:
        raise DataError(_CANNOT)
    if values.ndim == 2:
        return values
    return cv2.cvtColor(values, cv2.COLOR_BGRA2RGBA) if values.shape[2] == 4 else values[..., ::-1]


def _to_image(values: np.ndarray) -> Image.Image:
    if values.dtype == np.uint8:
        full = 255
    elif values.dtype.kind == "u" and values.dtype.itemsize == 2:
        full = 65535
    else:
        low, high = values.min(), values.max()
        if not (low >= 0 and high <= 65535):
            raise DataError(f"its values go from {low:g} to {high:g}: scale them to 0 ... 1, 255 or 65535")
        full = 1 if values.dtype.kind == "f" and high <= 1 else 255 if high <= 255 else 65535
    return Image.fromarray(np.rint(values * np.float64(255 / full)).astype(np.uint8))
