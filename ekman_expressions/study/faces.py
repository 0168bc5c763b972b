"""The step 'faces': databases to cropped faces, landmarks, folds and one manifest."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd

from ekman_expressions.core.errors import DataError
from ekman_expressions.core.expressions import EXPRESSIONS
from ekman_expressions.core.files import read_arrays, write_arrays, write_csv, write_image
from ekman_expressions.core.images import decode_image
from ekman_expressions.faces.cropping import crop_face
from ekman_expressions.faces.databases import Survey, survey
from ekman_expressions.faces.folds import assign_folds, without_expression
from ekman_expressions.faces.landmarks import FEWEST, OUTLIER, FaceLandmarks, LandmarkDetector
from ekman_expressions.study.experiment import Experiment
from ekman_expressions.study.prepared import COLUMNS, face_path, landmarks_path, outlier_table
from ekman_expressions.study.provenance import Run

Detect = Callable[[np.ndarray], FaceLandmarks | None]

_SHOWN = 10
"""Images named in a note; all are in the tables."""


class UnusableImage(DataError):
    """An image that is left out: not there, not readable, or without a face."""


def faces(experiment: Experiment, run: Run) -> None:
    """Crop the faces of an experiment's databases and split them into subject-wise folds.

    Writes into ``experiment.faces_folder``: ``sources.csv`` (what the databases list),
    ``faces/<image_id>.png``, ``landmarks/<image_id>.npz`` (see `prepare_face`),
    ``manifest.csv``, and ``residuals.csv`` (how odd each face's landmarks are, see
    `outlier_table`). Faces that are done are skipped; one whose source image has changed is
    made again. Images that cannot be read or show no face are left out, by name.

    Of a database whose file names say who is seen, no path is written anywhere.

    Notes of the run: the databases' own, unused expressions, images with several faces, faces found on a
    second look only or with odd landmarks, folds that lack an expression.

    Raises
    ------
    SettingsError
        If a database needs a root, or there are more folds than subjects.
    DataError
        If a database's table is not as it must be, or no image shows a face.
    """
    from tqdm import tqdm

    surveys = {
        name: survey(name, experiment.faces.roots.get(name), experiment.faces.options.get(name))
        for name in experiment.faces.datasets
    }
    listed = _joined(surveys)
    unused = listed.loc[~listed["expression"].isin(EXPRESSIONS), "expression"].value_counts()
    rows = _limited(listed[listed["expression"].isin(EXPRESSIONS)], experiment.faces.subjects)
    # Before any face is looked for: mistakes in the settings should not cost an hour.
    rows["fold"] = assign_folds(rows, experiment.faces.folds, seed=experiment.seed)
    table = experiment.faces_folder / "sources.csv"
    known = ("image_id", "dataset", "subject", "expression", "intensity", "fold")
    write_csv(table, listed[[column for column in known if column in listed]])
    run.made(table, items=0)
    with LandmarkDetector() as detector:
        _report(surveys, run)
        for expression, count in unused.items():
            run.note(f"images of {expression}, not used: {count}")
        digests: dict[str, str] = {}
        second: list[str] = []
        for row in tqdm(rows.itertuples(), desc="Preparing faces", unit="image", total=len(rows)):
            try:
                digests[row.image_id], made, found, look = prepare_face(
                    experiment, row.image_id, row.path, detector.detect
                )
            except UnusableImage as error:
                run.omit(row.image_id, _called(row.path, surveys[row.dataset]) + str(error))
                continue
            files = face_path(experiment, row.image_id), landmarks_path(experiment, row.image_id)
            (run.made if made else run.kept)(*files)
            if found > 1:
                run.note(f"{row.image_id} shows {found} faces: the largest is used")
            if look != "whole":
                second.append(row.image_id)
        if second:
            run.note(f"faces found on a second look only, {_some(second)}")
        manifest = rows[rows["image_id"].isin(digests)]
        _refuse_empty(manifest, run, experiment)
        manifest = manifest.assign(
            path=[f"faces/{image_id}.png" for image_id in manifest["image_id"]],
            sha256=manifest["image_id"].map(digests),
        )
        columns = [*COLUMNS, *(["intensity"] if "intensity" in manifest else []), "sha256"]
        manifest = manifest[columns].sort_values("image_id")
        write_csv(experiment.manifest_path, manifest)
        residuals = outlier_table(experiment)
        write_csv(experiment.faces_folder / "residuals.csv", residuals)
        run.made(experiment.manifest_path, experiment.faces_folder / "residuals.csv", items=0)
        odd = list(residuals.loc[residuals["score"] > OUTLIER, "image_id"])
        if odd and len(residuals) >= FEWEST:
            run.note(f"faces whose landmarks are odd, to be looked at, {_some(odd)}")
        for lack in without_expression(manifest):
            run.note(lack)


def prepare_face(
    experiment: Experiment, image_id: str, source: Path | str, detect: Detect
) -> tuple[str, bool, int, str]:
    """Crop one face, unless that is done already.

    Writes the crop, then an ``.npz`` with `points` (68, 2) in units of the crop, `transform`
    (2, 3) from continuous source pixels to those of the crop, `faces` found, the `look` that
    found them and the source's `sha256`.

    Parameters
    ----------
    experiment : Experiment
        Whose folders and crop size to use.
    image_id : str
        The image's id.
    source : Path or str
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
    look : str
        On which look, see `FaceLandmarks`.

    Raises
    ------
    UnusableImage
        If the image is not there, cannot be read, or shows no face. The message never has the
        path, which may say who is seen.
    """
    data = _bytes_of(Path(source))
    digest = hashlib.sha256(data).hexdigest()
    face, landmarks = face_path(experiment, image_id), landmarks_path(experiment, image_id)
    if landmarks.exists() and face.exists():
        # A damaged file is made again.
        with suppress(DataError):
            before = read_arrays(landmarks, ("points", "sha256", "faces", "look"))
            if before["sha256"] == digest:
                return digest, False, int(before["faces"]), str(before["look"])
    try:
        image = decode_image(data)
    except DataError as error:
        raise UnusableImage(f"the image cannot be read: {error}") from error
    found = detect(image)
    if found is None:
        raise UnusableImage("no face found")
    try:
        crop, points, transform = crop_face(image, found.points, experiment.faces.size)
    except DataError as error:
        raise UnusableImage(str(error)) from error
    # Removed first and written last, since its presence says that the face is done.
    landmarks.unlink(missing_ok=True)
    # Compressing harder saves a tenth and takes longer than finding the face.
    write_image(face, crop, compress_level=1)
    write_arrays(
        landmarks,
        {
            "points": points,
            "transform": transform,
            "faces": np.array(found.faces),
            "look": np.array(found.look),
            "sha256": np.array(digest),
        },
    )
    return digest, True, found.faces, found.look


def _bytes_of(source: Path) -> bytes:
    try:
        return source.read_bytes()
    except FileNotFoundError:
        raise UnusableImage("there is no such image") from None
    except OSError as error:
        # Not the error itself: it holds the path.
        raise UnusableImage(f"the image cannot be opened: {error.strerror}") from None


def _called(path: str, found: Survey) -> str:
    """Return what an image is called in a reason: nothing where its name says who is seen."""
    if found.private:
        return ""
    inside = found.root is not None and Path(path).is_relative_to(found.root)
    return f"{Path(path).relative_to(found.root).as_posix() if inside else Path(path).name}: "


def _report(surveys: dict[str, Survey], run: Run) -> None:
    """Take what the databases say of themselves into the step's report."""
    for name, found in surveys.items():
        for row in found.left_out.itertuples():
            run.omit(f"{name}: {row.item}", row.reason)
        for note in found.notes:
            run.note(f"{name}: {note}")


def _some(image_ids: list[str]) -> str:
    more = ", ..." if len(image_ids) > _SHOWN else ""
    return f"{len(image_ids)}: {', '.join(image_ids[:_SHOWN])}{more}"


def _joined(surveys: dict[str, Survey]) -> pd.DataFrame:
    """Join the rows of several databases."""
    rows = pd.concat([found.rows for found in surveys.values()], ignore_index=True)
    twice = rows["image_id"][rows["image_id"].str.lower().duplicated()]
    if len(twice):
        raise DataError(
            f"Two of the databases {', '.join(surveys)} give the same image_id: "
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
    # The last ones: what databases leave out themselves comes first.
    reasons = "; ".join(f"{entry['item']}: {entry['reason']}" for entry in run.omissions[-5:])
    raise DataError(
        f"No usable face is left for {', '.join(empty)}: {len(run.omissions)} images were left out "
        f"({reasons}). Check the images and the database's root."
    )
