"""Image files of every kind to 8-bit pixels: gray or colour, deep, transparent, turned by a camera."""

from __future__ import annotations

import io
import warnings

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from ekman_expressions.core.errors import DataError

_TIFF = (b"II*\0", b"MM\0*")
_ORIENTATION = 0x0112  # number of an EXIF tag, and of a TIFF tag


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
        cut off, more pixels than ``PIL.Image.MAX_IMAGE_PIXELS``, or values without a scale.
    """
    if not data:
        raise DataError("the file is empty")
    try:
        with warnings.catch_warnings():
            # Pillow only warns of damaged metadata, which takes nothing from the pixels.
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = _decoded(data)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DataError(
            f"it has too many pixels: {error} Make it smaller, or raise PIL.Image.MAX_IMAGE_PIXELS"
        ) from error
    except DataError:
        raise
    except UnidentifiedImageError as error:
        raise DataError("it is no image of a known format, or cut off at its start") from error
    except Exception as error:
        # Whichever of Pillow, tifffile, zlib and struct meets the damage.
        raise DataError(f"it is damaged: {error}") from error
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "black"), image)
    return np.asarray(image.convert("L" if gray else "RGB"))


def _decoded(data: bytes) -> Image.Image:
    """Return the first image in a file, upright, with 8 bits per channel."""
    try:
        image = Image.open(io.BytesIO(data))
    except UnidentifiedImageError:
        # Pillow knows no colours of 32 bits, and no floats of 16 or 64.
        if data[:4] not in _TIFF:
            raise
        return _read_tiff(data)
    with image:
        # All of it first, since other readers give back what they can of a file that is cut off.
        image.load()
        orientation = image.getexif().get(_ORIENTATION)
        if image.mode.startswith(("I", "F")):
            return _upright(np.asarray(image), orientation)
        # Of colours with 16 bits Pillow keeps the upper half of each number.
        if image.format == "TIFF" and max(image.tag_v2.get(258, (8,))) == 16:
            return _read_tiff(data)
        if image.format == "PNG" and data[24] == 16:
            return _upright(_read_png(data), orientation)
        return ImageOps.exif_transpose(image)


def _read_tiff(data: bytes) -> Image.Image:
    from tifffile import TiffFile

    with TiffFile(io.BytesIO(data)) as file:
        page = file.pages.first
        if page.imagewidth * page.imagelength > (Image.MAX_IMAGE_PIXELS or np.inf):
            pixels = page.imagewidth * page.imagelength
            raise Image.DecompressionBombError(
                f"Image size ({pixels} pixels) exceeds limit of {Image.MAX_IMAGE_PIXELS} pixels."
            )
        values = page.asarray()
        if page.axes.startswith("S"):
            values = np.moveaxis(values, 0, -1)  # one plane after the other
        tag = page.tags.get(_ORIENTATION)
    return _upright(values, tag and int(tag.value))


def _read_png(data: bytes) -> np.ndarray:
    import cv2

    values = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if values.ndim == 2:
        return values
    return cv2.cvtColor(values, cv2.COLOR_BGRA2RGBA if values.shape[2] == 4 else cv2.COLOR_BGR2RGB)


def _upright(values: np.ndarray, orientation: int | None) -> Image.Image:
    """Scale values to 8 bits and turn them as a camera noted."""
    if values.dtype == np.uint8:
        full = 255
    elif values.dtype.kind == "u" and values.dtype.itemsize == 2:
        full = 65535
    else:
        low, high = values.min(), values.max()
        if not (low >= 0 and high <= 65535):
            raise DataError(f"its values go from {low:g} to {high:g}: scale them to 0 ... 1, 255 or 65535")
        full = 1 if values.dtype.kind == "f" and high <= 1 else 255 if high <= 255 else 65535
    image = Image.fromarray(np.rint(values * np.float64(255 / full)).astype(np.uint8))
    image.getexif()[_ORIENTATION] = orientation or 1
    return ImageOps.exif_transpose(image)
