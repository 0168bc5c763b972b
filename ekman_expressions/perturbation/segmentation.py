"""The division of an image into superpixels."""

from __future__ import annotations

import numpy as np

from ekman_expressions.errors import DataError, check_range
from ekman_expressions.perturbation.checks import check_image


def superpixels(image: np.ndarray, *, segments: int = 30, compactness: float = 20.0) -> np.ndarray:
    """Divide an image into SLIC superpixels.

    Parameters
    ----------
    image : (H, W, 3) ndarray of float, range [0, 1]
        RGB.
    segments : int
        Superpixels asked for; there will be about so many.
    compactness : float
        Weight of nearness against likeness of colour (in CIELAB units); larger is squarer.

    Returns
    -------
    (H, W) ndarray of int32
        The superpixel of each pixel, 0 ... S - 1, each occurring.

    Raises
    ------
    DataError
        If the image is no RGB image in [0, 1], or has fewer pixels than superpixels asked for.

    References
    ----------
    Achanta et al. (2012), SLIC superpixels, doi:10.1109/TPAMI.2012.120.
    """
    from skimage.segmentation import slic

    image = check_image(image)
    check_range(segments, "segments", 1, integer=True)
    check_range(compactness, "compactness", 1e-6)
    if image.shape[0] * image.shape[1] < segments:
        raise DataError(
            f"An image of {image.shape[0]} x {image.shape[1]} pixels cannot be divided into {segments} "
            "superpixels. Ask for fewer segments, or use a larger image."
        )
    labels = slic(image, n_segments=segments, compactness=compactness, start_label=0)
    return np.unique(labels, return_inverse=True)[1].reshape(labels.shape).astype(np.int32)
