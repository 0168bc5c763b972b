"""The step 'faces': databases to cropped faces, landmarks, folds and one manifest."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import numpy as np
import pandas as pd

from ekman_expressions.datasets.cropping import crop_face
from ekman_expressions.datasets.databases import load
from ekman_expressions.datasets.folds import assign_folds, without_expression
from ekman_expressions.datasets.prepared import COLUMNS, face_path, landmarks_path, read_manifest
from ekman_expressions.errors import DataError, MissingError
from ekman_expressions.experiment import Experiment
from ekman_expressions.expressions import EXPRESSIONS
from ekman_expressions.facespace.landmarks import FaceLandmarks, LandmarkDetector
from ekman_expressions.provenance import Run, record, settings_of
from ekman_expressions.storage import read_arrays, read_image, sha256, write_arrays, write_csv, write_image

Detect = Callable[[np.ndarray], FaceLandmarks | None]


class UnusableImage(DataError):
    """An image that is left out: not there, not readable, or without a face."""


def prepare(experiment: Experiment) -> Run:
    """Crop the faces of an experiment's databases and split them into subject-wise folds.

    Writes into ``experiment.faces_folder``: ``sources.csv`` (what the databases list),
    ``faces/<image_id>.png``, ``landmarks/<image_id>.npz`` (see `prepare_face`) and
    ``manifest.csv``. Faces that are done are skipped; one whose source image has changed is
    made again. Images that cannot be read or show no face are left out, by name.

    Returns
    -------
    Run
        Faces made and skipped, images left out, and notes: unused expressions, images with
        several faces, folds that lack an expression.

    Raises
    ------
    SettingsError
        If a database needs a root, or there are more folds than subjects.
    DataError
        If a database's table is not as it must be, or no image shows a face.
    """
    from tqdm import tqdm

    listed = _sources(experiment)
    unused = listed.loc[~listed["expression"].isin(EXPRESSIONS), "expression"].value_counts()
    rows = _limited(listed[listed["expression"].isin(EXPRESSIONS)], experiment.faces.subjects)
    # Before any face is looked for: mistakes in the settings should not cost an hour.
    rows["fold"] = assign_folds(rows, experiment.faces.folds, seed=experiment.seed)
    table = experiment.faces_folder / "sources.csv"
    known = ("image_id", "dataset", "subject", "expression", "intensity")
    write_csv(table, listed[[column for column in known if column in listed]])
    with (
        record(
            experiment.faces_folder,
            "faces",
            settings_of(experiment, "faces"),
            inputs={"sources": table},
            redo=True,
        ) as run,
        LandmarkDetector() as detector,
    ):
        for expression, count in unused.items():
            run.note(f"images of {expression}, not used: {count}")
        digests: dict[str, str] = {}
        for row in tqdm(rows.itertuples(), desc="Preparing faces", unit="image", total=len(rows)):
            try:
                digests[row.image_id], made, found = prepare_face(
                    experiment, row.image_id, row.path, detector.detect
                )
            except UnusableImage as error:
                run.omit(row.image_id, error)
                continue
            run.done += made
            run.skipped += not made
            if found > 1:
                run.note(f"{row.image_id} shows {found} faces: the largest is used")
        manifest = rows[rows["image_id"].isin(digests)]
        _refuse_empty(manifest, run, experiment)
        manifest = manifest.assign(
            path=[f"faces/{image_id}.png" for image_id in manifest["image_id"]],
            sha256=manifest["image_id"].map(digests),
        )
        columns = [*COLUMNS, *(["intensity"] if "intensity" in manifest else []), "sha256"]
        manifest = manifest[columns].sort_values("image_id")
        if run.finished_before and not _is_written(manifest, experiment):
            run.begin()
        write_csv(experiment.manifest_path, manifest)
        for lack in without_expression(manifest):
            run.note(lack)
    return run


def prepare_face(
    experiment: Experiment, image_id: str, source: str, detect: Detect
) -> tuple[str, bool, int]:
    """Crop one face, unless that is done already.

    Writes the crop, then an ``.npz`` with `points` (68, 2) in units of the crop, `transform`
    (2, 3) from continuous source pixels to those of the crop, `faces` found and the
    source's `sha256`.

    Parameters
    ----------
    experiment : Experiment
        Whose folders and crop size to use.
    image_id : str
        The image's id.
    source : str
        The image file.
    detect : callable
        ``image (H, W, 3) uint8 -> FaceLandmarks or None``.

    Returns
    -------
    sha256 : str
        Of the source file.
    made : bool
        False if the face was done already, from the same source.
    faces : int
        Faces found in the image.

    Raises
    ------
    UnusableImage
        If the image is not there, cannot be read, or shows no face.
    """
    try:
        image = read_image(source)
    except (DataError, MissingError) as error:
        raise UnusableImage(str(error)) from error
    digest = sha256(source)
    face, landmarks = face_path(experiment, image_id), landmarks_path(experiment, image_id)
    if landmarks.exists() and face.exists():
        # A damaged file is made again.
        with suppress(DataError):
            before = read_arrays(landmarks, ("sha256", "faces"))
            if before["sha256"] == digest:
                return digest, False, int(before["faces"])
    found = detect(image)
    if found is None:
        raise UnusableImage("no face found")
    try:
        crop, points, transform = crop_face(image, found.points, experiment.faces.size)
    except DataError as error:
        raise UnusableImage(str(error)) from error
    # Removed first and written last, since its presence says that the face is done.
    landmarks.unlink(missing_ok=True)
    write_image(face, crop)
    write_arrays(
        landmarks,
        {
            "points": points,
            "transform": transform,
            "faces": np.array(found.faces),
            "sha256": np.array(digest),
        },
    )
    return digest, True, found.faces


def _is_written(manifest: pd.DataFrame, experiment: Experiment) -> bool:
    with suppress(DataError, MissingError):
        return list(read_manifest(experiment)["sha256"]) == list(manifest["sha256"])
    return False


def _sources(experiment: Experiment) -> pd.DataFrame:
    """Load and join the experiment's databases."""
    tables = [load(name, experiment.faces.roots.get(name)) for name in experiment.faces.datasets]
    rows = pd.concat(tables, ignore_index=True)
    twice = rows["image_id"][rows["image_id"].str.lower().duplicated()]
    if len(twice):
        raise DataError(
            f"Two of the databases {', '.join(experiment.faces.datasets)} give the same image_id: "
            f"{', '.join(twice[:10])}. Give one database another name."
        )
    return rows


def _limited(rows: pd.DataFrame, subjects: int | None) -> pd.DataFrame:
    """Keep the first `subjects` subjects of each database, by name."""
    if subjects is None:
        return rows.copy()
    names = rows.groupby("dataset")["subject"].unique()
    kept = [subject for group in names for subject in sorted(group)[:subjects]]
    return rows[rows["subject"].isin(kept)].copy()


def _refuse_empty(manifest: pd.DataFrame, run: Run, experiment: Experiment) -> None:
    empty = [fold for fold in experiment.folds if fold not in set(manifest["fold"])]
    if not empty:
        return
    reasons = "; ".join(f"{entry['item']}: {entry['reason']}" for entry in run.omissions[:5])
    raise DataError(
        f"No usable face is left for {', '.join(empty)}: {len(run.omissions)} images were left out "
        f"({reasons}). Check the images and the database's root."
    )
