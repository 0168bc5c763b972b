"""The probes cropped for a network: a person's faces differ in one region alone, and in nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ekman_expressions.core.errors import DataError, check_option
from ekman_expressions.core.files import read_image
from ekman_expressions.core.seeds import generator
from ekman_expressions.faces import synthetic
from ekman_expressions.faces.cropping import crop_face
from ekman_expressions.faces.landmarks import LandmarkDetector

NEUTRAL = "neutral"
"""The first class of each probe."""


@dataclass(frozen=True, eq=False)
class ProbeFaces:
    """The faces of one probe, cropped for one network.

    Attributes
    ----------
    probe : str
        See `synthetic.PROBES`.
    classes : tuple of str
        `NEUTRAL` and the probe's two labels.
    image_ids, subjects : (N,) ndarray of str
    targets : (N,) ndarray of int
        The class of each face.
    images : (N, side, side, 3) ndarray of uint8
        RGB.
    landmarks : (N, 68, 2) ndarray of float64
        In units of the crop's side.
    omissions : tuple of (str, str)
        Images that could not be used, and why.
    """

    probe: str
    classes: tuple[str, ...]
    image_ids: np.ndarray
    subjects: np.ndarray
    targets: np.ndarray
    images: np.ndarray
    landmarks: np.ndarray
    omissions: tuple[tuple[str, str], ...] = ()


def load_faces(probe: str, side: int, root: Path | None = None) -> ProbeFaces:
    """Read a probe's faces and the neutral face of each pair, cropped to the network's size.

    All faces of a person are cut out by the landmarks of the *neutral* one. By their own, a smile
    that widens the mouth would shift and shrink the whole face, and a network could tell it by the hair.

    Parameters
    ----------
    probe : {'brows', 'eyes', 'mouth'}
    side : int, pixels
    root : Path, optional
        Another folder with a synthetic set; by default the bundled one.

    Raises
    ------
    SettingsError
        If there is no such probe.
    DataError
        If no face can be used.
    MissingError
        If the set has no probes.
    """
    check_option(probe, "probe", synthetic.PROBES)
    rows = synthetic.load_probes(probe, root)
    classes = (NEUTRAL, *synthetic.PROBES[probe])
    found: list[tuple] = []
    omissions = []
    with LandmarkDetector() as detector:
        for (neutral, path), of_pair in rows.groupby(["neutral", "neutral_path"]):
            image = read_image(path)
            seen = detector.detect(image)
            if seen is None:
                omissions.append((neutral, "no face found"))
                continue
            crop, points, transform = crop_face(image, seen.points, side)
            found.append((neutral, of_pair["subject"].iloc[0], 0, crop, points))
            for row in of_pair.itertuples():
                image = read_image(row.path)
                own = detector.detect(image)
                if own is None:
                    omissions.append((row.image_id, "no face found"))
                    continue
                crop, _, _ = crop_face(image, seen.points, side)
                points = (own.points @ transform[:, :2].T + transform[:, 2]) / side
                found.append((row.image_id, row.subject, classes.index(row.label), crop, points))
    if not found:
        raise DataError(f"None of the {len(rows)} faces of the probe {probe} can be used.")
    image_ids, subjects, targets, images, landmarks = zip(*found, strict=True)
    return ProbeFaces(
        probe=probe,
        classes=classes,
        image_ids=np.array(image_ids),
        subjects=np.array(subjects),
        targets=np.array(targets),
        images=np.stack(images),
        landmarks=np.stack(landmarks).astype(np.float64),
        omissions=tuple(omissions),
    )


def split_persons(faces: ProbeFaces, *, seed: int, test: float = 1 / 3) -> np.ndarray:
    """Choose the persons that are kept for testing; nobody is in both parts.

    Parameters
    ----------
    faces : ProbeFaces
    seed : int
        The same persons for all probes, if these are of the same persons.
    test : float, range (0, 1)
        Their share.

    Returns
    -------
    (N,) ndarray of bool
        Which faces are of the persons kept.
    """
    persons = np.unique(faces.subjects)
    kept = min(max(round(test * len(persons)), 1), len(persons) - 1)
    if kept < 1:
        raise DataError(f"The probe {faces.probe} must be of two persons or more to be split.")
    chosen = generator(seed, "probe persons").permutation(persons)[:kept]
    return np.isin(faces.subjects, chosen)


def faces_to_explain(faces: ProbeFaces, test: np.ndarray, count: int) -> np.ndarray:
    """Return the places of up to `count` test faces that are not neutral, of as many persons as can be.

    The labels take turns over the persons, then each person's other label follows.
    """
    persons = np.unique(faces.subjects[test])
    labels = range(1, len(faces.classes))
    order = []
    for turn in range(len(labels)):
        for number, person in enumerate(persons):
            label = labels[(number + turn) % len(labels)]
            order += list(np.flatnonzero(test & (faces.subjects == person) & (faces.targets == label)))
    return np.array(order[:count], dtype=int)
