"""Known answers through the whole chain: faces, masking, LIME, painting, the warp, the mean.

The model reads one facial region only, which is carried from face space to each face by
scikit-image, not by our warp. Superpixels are cut at the region's border, since much of the mass
of one that touches a mouth lies beside it; what remains to go wrong is the chain itself.
"""

from functools import cache
from pathlib import Path

import numpy as np
import pytest

from ekman_expressions.core.files import read_image
from ekman_expressions.explainers import PerturbationRecord, lime, superpixels
from ekman_expressions.faces import LandmarkDetector
from ekman_expressions.faces.cropping import _crop_face
from ekman_expressions.facespace import masks
from ekman_expressions.facespace.warp import POINTS, SHAPE, normalise, source_points

SIDE = 224
IMAGES = Path(__file__).parent.parent / "datasets" / "synthetic" / "images"
FACES = "id00_happiness_0 id03_sadness_1 id06_surprise_0 id09_anger_1 id12_fear_0 id18_disgust_1".split()


# One-sided, so that a mirrored chain is found out.
REGIONS = {
    "left brow": ("left_brow_outer", "left_brow_inner"),
    "right lips": ("right_upper_lip", "right_lower_lip"),
}


@cache
def _faces():
    """Faces, their landmarks, where each pixel lies in face space, and their superpixels."""
    from skimage.transform import PiecewiseAffineTransform

    faces = []
    with LandmarkDetector() as detector:
        for name in FACES:
            image = read_image(IMAGES / f"{name}.webp")
            crop, landmarks, _ = _crop_face(image, detector.detect(image).points, SIDE)
            to_template = PiecewiseAffineTransform.from_estimate(source_points(landmarks) * SIDE, POINTS)
            # Every second pixel in both directions is fine enough, and scikit-image slow.
            x, y = to_template(2 * np.indices((SIDE // 2, SIDE // 2)).reshape(2, -1)[::-1].T + 1).T
            place = np.clip(y, 0, SHAPE[0] - 1).astype(int), np.clip(x, 0, SHAPE[1] - 1).astype(int)
            face = np.float32(crop) / 255
            faces.append((face, landmarks, place, superpixels(face)))
    return faces


def _reader(read):
    """A model of six classes: the probability of the first is the mean brightness of the pixels `read`."""

    def model(images):
        first = images[:, read].mean(axis=(1, 2))
        return np.stack([first, *[(1 - first) / 5] * 5], axis=1)

    return model


def _heatmap(region):
    """The mean explanation of a model that reads the region."""
    maps = []
    for seed, (face, landmarks, place, segments) in enumerate(_faces()):
        read = region[place].reshape(SIDE // 2, SIDE // 2).repeat(2, axis=0).repeat(2, axis=1)
        segments = np.unique(2 * segments + read, return_inverse=True)[1].reshape(segments.shape)
        record = PerturbationRecord.query(_reader(read), face, segments, seed=seed, samples=400)
        maps.append(normalise(np.maximum(lime(record, 0).map, 0), landmarks))
    return np.mean(maps, axis=0)


@pytest.mark.parametrize("name", REGIONS)
def test_mass_lies_in_the_region_that_the_model_reads(name):
    region = np.any([masks.atlas().region(part) for part in REGIONS[name]], axis=0)
    heatmap = _heatmap(region)
    assert heatmap[region].sum() / heatmap.sum() >= 0.8
    assert region.mean() < 0.06
