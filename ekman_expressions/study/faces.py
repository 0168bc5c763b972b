"""The step 'faces': databases to cropped faces, landmarks, one manifest, and subject-wise folds: nobody is in
the training and the test images of one model.
"""

from __future__ import annotations

import hashlib
import warnings
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ekman_expressions.core.errors import DataError, SettingsError
from ekman_expressions.core.expressions import EXPRESSIONS
from ekman_expressions.core.files import read_arrays, read_image, write_arrays, write_image
from ekman_expressions.core.runtime import derive_seed
from ekman_expressions.faces import LandmarkDetector, Survey, landmark_outliers, survey
from ekman_expressions.faces.cropping import (
    UnusableImage,
    _Detect,
    align_neutral,
    on_all_cores,
    prepare_face,
    read_pixels,
    read_source,
)
from ekman_expressions.faces.faces import _neutral_of
from ekman_expressions.faces.landmarks import FEWEST, OUTLIER, FaceLandmarks, turned_like
from ekman_expressions.study.experiment import Experiment
from ekman_expressions.study.prepared import (
    _COLUMNS,
    _face_path,
    _landmarks_path,
    _neutral_path,
    _read_mesh,
    _read_transform,
    _source_landmarks,
    read_landmarks,
)
from ekman_expressions.study.provenance import Run

# Images named in a note; all are in the tables.
_SHOWN = 10
# Blendshapes that are low on neutral faces (others, such as mouthPucker, are not): one of them is above so
# much on 2 % of the neutral synthetic faces, and on 23 % (fear) to 88 % (happiness) of the others.
_TELLING, _ACTS = (
    ("jawOpen", "mouthSmile", "mouthFrown", "mouthShrugLower", "browInnerUp", "eyeWide", "eyeBlink"),
    0.4,
)
# See `turned_like`.
_MISFIT = 0.03


def _faces(experiment: Experiment, run: Run) -> None:
    """Crop the faces of an experiment's databases and split them into subject-wise folds.

    Writes into ``experiment.faces_folder``: ``sources.csv`` (what the databases list),
    ``faces/<image_id>.png``, ``landmarks/<image_id>.npz``, ``neutrals/<image_id>.png`` (the same person's
    neutral face, aligned, where there is one), ``manifest.csv``, ``landmark_outliers.csv`` (see
    `landmark_outliers`), and ``blendshapes.csv`` (`FaceLandmarks.blendshapes` of all, the neutral ones too,
    but where landmarks were given). Faces that are done are skipped; one whose source image has changed is
    made again. Images that cannot be read or show no face are left out, by name. Of a database whose file
    names say who is seen, no path is written anywhere.

    Notes of the run: the databases' own, unused expressions, images with several faces, faces found
    on a second look only, neutral faces that do not look neutral or may be another person's, landmark
    outliers, folds that lack an expression. Neutral faces that are turned too far away are left out by name.

    Raises
    ------
    SettingsError
        If a database needs a root, or there are more folds than subjects.
    DataError
        If a database's table is not as it must be, or no image shows a face.
    """
    folder, settings, expressions = experiment.faces_folder, experiment.faces, experiment.expressions
    surveys = {
        name: survey(name, settings.roots.get(name), settings.options_of(name), expressions)
        for name in settings.datasets
    }
    listed = _joined(surveys)
    listed["neutral"] = _neutral_of(listed)
    used = listed["expression"].isin(expressions)
    rows = _limited(listed[used], settings.subjects)
    # Neutral images of these faces are prepared too, but are neither trained on nor explained.
    neutral_rows = listed[~used & listed["image_id"].isin(rows["neutral"])]
    lacking = [name for name in expressions if name not in set(rows["expression"])]
    if lacking and expressions != EXPRESSIONS:
        found = ", ".join(f"{count} {name}" for name, count in listed["expression"].value_counts().items())
        raise DataError(
            f"No face shows {', '.join(lacking)}, which faces.classes names; there are {found}. Is it spelled as in "
            "the database, or does faces.options say by 'labels' what stands for it?"
        )
    paths = pd.concat([rows, neutral_rows]).set_index("image_id")["path"].to_dict()
    found = on_all_cores(_digest, list(paths.values()), "Reading images")
    digest_of = dict(zip(paths, found, strict=True))
    persons = _join_copies(rows, rows["image_id"].map(digest_of))
    if joined := int((persons != rows["subject"]).sum()):
        run.note(f"{joined} images are copies of others, byte by byte, and count as the same person")
    rows["subject"] = persons
    # Before any face is looked for: mistakes in the settings should not cost an hour.
    rows["fold"] = _assign_folds(rows, settings.folds, seed=experiment.seed)
    known = ["image_id", "dataset", "subject", "expression", "intensity", "fold", "usage"]
    run.write(folder, {"sources": listed.filter(known)})
    for name, found in surveys.items():
        for row in found.left_out.itertuples():
            run.omit(f"{name}: {row.item}", row.reason)
        for note in found.notes:
            run.note(f"{name}: {note}")
    for expression, count in listed[~used].drop(neutral_rows.index)["expression"].value_counts().items():
        run.note(f"images of {expression}, not used: {count}")
    usable: dict[str, _Prepared] = {}
    everyone = list(pd.concat([rows, neutral_rows]).itertuples())
    detector = LandmarkDetector()

    def prepared(row: Any) -> _Prepared:
        known = getattr(row, "landmarks", None)
        detect = known if isinstance(known, FaceLandmarks) else detector.detect
        return _prepare(experiment, row, digest_of[row.image_id], detect, surveys[row.dataset].crop)

    with detector, closing(on_all_cores(prepared, everyone, "Preparing faces")) as outcomes:
        for row, outcome in zip(everyone, outcomes, strict=True):
            if isinstance(outcome, UnusableImage):
                run.omit(row.image_id, _called(row.path, surveys[row.dataset]) + str(outcome))
                continue
            usable[row.image_id] = outcome
            made, count, _ = outcome
            files = _face_path(experiment, row.image_id), _landmarks_path(experiment, row.image_id)
            (run.made if made else run.kept)(*files, items=int(row.expression in expressions))
            if count > 1:
                run.note(f"{row.image_id} shows {count} faces: the largest is used")
    aligned = _align_neutrals(experiment, rows, paths, usable, run)
    if second := [image_id for image_id, (*_, look) in usable.items() if look in ("margin", "windows")]:
        run.note(f"faces found on a second look only, {_first_of(second)}")
    manifest = rows[rows["image_id"].isin(usable)]
    manifest = manifest.assign(
        path="faces/" + manifest["image_id"] + ".png",
        neutral=manifest["neutral"].where(manifest["image_id"].isin(aligned), ""),
        sha256=manifest["image_id"].map(digest_of),
    )
    _note_copies(manifest, run)
    empty = [fold for fold in experiment.face_folds if fold not in set(manifest["fold"])]
    if empty:
        # The last ones: what databases leave out themselves comes first.
        reasons = "; ".join(f"{entry['item']}: {entry['reason']}" for entry in run.omissions[-5:])
        raise DataError(
            f"No usable face is left for {', '.join(empty)}: {len(run.omissions)} images were left out "
            f"({reasons}). Check the images and the database's root."
        )
    more = [name for name in ("intensity", "neutral") if name in manifest and (manifest[name] != "").any()]
    run.write(folder, {"manifest": manifest[[*_COLUMNS, *more, "sha256"]].sort_values("image_id")})
    actions = _blendshapes(experiment, sorted(usable))
    _note_strange_neutrals(experiment, manifest, actions, run)
    image_ids = sorted(manifest["image_id"])
    scores = landmark_outliers(np.array([read_landmarks(experiment, image_id) for image_id in image_ids]))
    scores.insert(0, "image_id", image_ids)
    scores = scores.sort_values(["residual", "image_id"], ascending=[False, True])
    run.write(folder, {"blendshapes": actions.reset_index(), "landmark_outliers": scores})
    outliers = list(scores.loc[scores["score"] > OUTLIER, "image_id"])
    if outliers and len(scores) >= FEWEST:
        run.note(f"faces with a high landmark outlier score, to be looked at, {_first_of(outliers)}")
    for fold, theirs in manifest.groupby("fold"):
        lacking = [name for name in expressions if name not in set(theirs["expression"])]
        if lacking:
            run.note(f"{fold} has no image of {', '.join(lacking)}")


def _digest(path: str) -> str:
    """Return the SHA-256 of an image's bytes; nothing where it cannot be read."""
    try:
        return hashlib.sha256(read_source(path)).hexdigest()
    except UnusableImage:
        return ""


_Prepared = tuple[bool, int, str]
"""Of an image: whether its face was made now, how many faces it shows, the look that found the largest."""


def _prepare(experiment: Experiment, row: Any, digest: str, detect: _Detect | FaceLandmarks, crop: bool) -> _Prepared:
    """Crop one face, unless that is done from the same source and landmarks."""
    made_of = digest
    if isinstance(detect, FaceLandmarks):
        made_of = hashlib.sha256(digest.encode() + detect.points.tobytes()).hexdigest()
    face, landmarks = _face_path(experiment, row.image_id), _landmarks_path(experiment, row.image_id)
    if digest and landmarks.exists() and face.exists():
        # A damaged file is made again.
        with suppress(DataError):
            needed = () if made_of != digest else ("mesh", "blendshapes")
            before = read_arrays(landmarks, ("points", "sha256", "faces", "look", *needed))
            if before["sha256"] == made_of:
                return False, int(before["faces"]), str(before["look"])
    cut, points, transform, found = prepare_face(row.path, detect, experiment.faces.size, crop=crop)
    # Removed first and written last, since its presence says that the face is done.
    landmarks.unlink(missing_ok=True)
    # Compressing harder saves a tenth and takes longer than finding the face.
    write_image(face, cut, compress_level=1)
    arrays = {"points": points, "transform": transform, "faces": np.array(found.faces)}
    if found.mesh is not None:
        names = [(name, np.float32) for name in found.blendshapes]
        arrays["mesh"] = np.float32(found.mesh)
        arrays["blendshapes"] = np.array([tuple(found.blendshapes.values())], names)
    write_arrays(landmarks, arrays | {"look": np.array(found.look), "sha256": np.array(made_of)})
    return True, found.faces, found.look


def _note_copies(faces: pd.DataFrame, run: Run) -> None:
    """Note images with the same bytes: in two folds they leak from training to test, with two labels one is wrong."""
    copies = faces.groupby("sha256").agg(
        folds=("fold", "nunique"),
        labels=("expression", "nunique"),
        first=("image_id", "first"),
        size=("fold", "size"),
    )
    leaks, unclear = copies[copies["folds"] > 1], copies[copies["labels"] > 1]
    if len(leaks):
        run.note(
            f"{int(leaks['size'].sum())} images are copies of each other in different folds (such as "
            f"{leaks['first'].iloc[0]}), so that models are tested on faces that they were trained on: give copies one "
            "subject, or take them out"
        )
    if len(unclear):
        run.note(
            f"{len(unclear)} images lie under two expressions with the same bytes, such as {unclear['first'].iloc[0]}"
        )


def _align_neutrals(
    experiment: Experiment, rows: pd.DataFrame, paths: dict[str, str], usable: dict[str, _Prepared], run: Run
) -> set[str]:
    """Write ``neutrals/<image_id>.png``, aligned to each face; return the ids that have one."""

    def aligned(row: Any) -> bool:
        path = _neutral_path(experiment, row.image_id)
        made_now = usable[row.image_id][0] or usable[row.neutral][0]
        if path.exists() and not made_now:
            return False
        neutral = align_neutral(
            read_pixels(paths[row.neutral]),
            _source_landmarks(experiment, row.neutral),
            read_image(_face_path(experiment, row.image_id)),
            _source_landmarks(experiment, row.image_id),
            _read_transform(experiment, row.image_id),
        )
        write_image(path, neutral, compress_level=1)
        return True

    faces = list(rows[rows["image_id"].isin(usable) & rows["neutral"].isin(usable)].itertuples())
    done = set()
    for row, outcome in zip(faces, on_all_cores(aligned, faces, "Aligning neutral faces"), strict=True):
        path = _neutral_path(experiment, row.image_id)
        if isinstance(outcome, UnusableImage):
            run.omit(f"neutral face of {row.image_id}", outcome, path)
        else:
            (run.made if outcome else run.kept)(path, items=0)
            done.add(row.image_id)
    if done and len(done) < len(rows):
        run.note(f"faces without a neutral face of the same person: {len(rows) - len(done)}")
    return done


def _blendshapes(experiment: Experiment, image_ids: list[str]) -> pd.DataFrame:
    """Return the blendshapes of prepared faces by ``image_id``, without those whose landmarks were given."""
    read = {image_id: read_arrays(_landmarks_path(experiment, image_id)) for image_id in image_ids}
    rows = {name: arrays["blendshapes"] for name, arrays in read.items() if "blendshapes" in arrays}
    table = pd.DataFrame(np.concatenate(list(rows.values())) if rows else None)
    return table.set_index(pd.Index(list(rows), name="image_id", dtype=object)).round(4)


def _note_strange_neutrals(experiment: Experiment, manifest: pd.DataFrame, actions: pd.DataFrame, run: Run) -> None:
    """Note neutral faces on which the landmark model sees an action, or whose head is not the face's."""
    known = manifest[manifest["neutral"].isin(actions.index) & manifest["image_id"].isin(actions.index)]
    seen = actions.loc[sorted(set(known["neutral"]))]
    acting = seen[[name for name in seen if name.startswith(_TELLING)]].max(axis=1) > _ACTS
    if acting.any():
        run.note(f"neutral faces that do not look neutral, {_first_of(list(acting.index[acting]))}")
    others = [
        row.image_id
        for row in known.itertuples()
        if turned_like(_read_mesh(experiment, row.neutral), _read_mesh(experiment, row.image_id))[1] > _MISFIT
    ]
    if others:
        run.note(f"faces whose neutral face may be another person's, {_first_of(others)}")


def _called(path: str, found: Survey) -> str:
    """Return what an image is called in a reason: nothing where its name says who is seen."""
    if found.private:
        return ""
    return f"{Path(path).relative_to(found.root).as_posix() if found.root else Path(path).name}: "


def _first_of(image_ids: list[str]) -> str:
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
    """Keep the first `subjects` subjects of each database, by name; None: all."""
    names = rows.groupby("dataset")["subject"].unique()
    kept = [subject for group in names for subject in sorted(group)[:subjects]]
    return rows[rows["subject"].isin(kept)].copy()


def _assign_folds(rows: pd.DataFrame, folds: int, *, seed: int) -> pd.Series:
    """Return the fold, ``CV1`` ..., in which each row is tested: no subject is split, expressions balanced.

    Databases that come with folds of their own keep them; the rows of the others are dealt out, by
    scikit-learn's ``StratifiedGroupKFold``. The order of the rows changes nothing.
    """
    given = rows["fold"].fillna("").astype(str) if "fold" in rows else pd.Series("", index=rows.index)
    has_fold = given != ""
    _check_given(rows, given, folds)
    if not has_fold.all():
        given = given.mask(~has_fold, _computed(rows[~has_fold], folds, seed))
    return given.rename(None)


def _join_copies(rows: pd.DataFrame, digests: pd.Series) -> pd.Series:
    """Return who each row shows: one subject for pictures with the same bytes (`digests`; empty: not known),
    in databases in which each picture counts as a person of its own, and that bring no folds.
    """
    unknown = rows["subject"].groupby(rows["dataset"]).transform(lambda theirs: theirs.is_unique)
    given = rows["fold"].fillna("") if "fold" in rows else ""
    free = unknown.astype(bool) & (digests != "") & (given == "")
    first = rows["subject"].groupby(digests).transform("min")
    return rows["subject"].where(~free, first)


def _check_given(rows: pd.DataFrame, given: pd.Series, folds: int) -> None:
    """Raise unless the folds that databases come with can be used as they are."""
    names = {f"CV{number}" for number in range(1, folds + 1)}
    for name, theirs in given.groupby(rows["dataset"]):
        without = rows.loc[theirs.index[theirs == ""], "image_id"]
        if 0 < len(without) < len(theirs):
            raise DataError(
                f"{name}: {len(without)} of {len(theirs)} images have no fold ({', '.join(without[:5])}). "
                "Give all images of a database a fold, or none."
            )
        found = sorted(set(theirs) - {""})
        if found and set(found) != names:
            raise SettingsError(
                f"'faces.folds' is {folds}, but {name} comes with the folds {', '.join(found)}, which are "
                "taken as they are. Set 'faces.folds' to their number; they must be called CV1, CV2 ..."
            )
    given = given[given != ""]
    homes = given.groupby(rows.loc[given.index, "subject"]).unique()
    split = homes[homes.map(len) > 1]
    if len(split):
        named = "; ".join(f"{subject} in {', '.join(sorted(found))}" for subject, found in split[:5].items())
        raise DataError(
            f"{len(split)} subjects are in more than one of the given folds: {named}. A model would be "
            "tested on people it was trained on. Correct the folds, or the pattern that tells who is seen."
        )


def _computed(rows: pd.DataFrame, folds: int, seed: int) -> pd.Series:
    """Deal rows out among folds by subject."""
    from sklearn.model_selection import StratifiedGroupKFold

    subjects = rows["subject"].nunique()
    if subjects < folds:
        raise SettingsError(
            f"'faces.folds' is {folds}, but there are only {subjects} subjects, and a subject is never "
            f"split. Use at most {subjects} folds, or more subjects."
        )
    if rows["expression"].value_counts().max() < folds:
        raise DataError(f"No expression has {folds} images, one for each fold. Use fewer folds or more images.")
    ordered = rows.sort_values("image_id")
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=derive_seed(seed, "folds") % 2**32)
    names = pd.Series("", index=ordered.index)
    with warnings.catch_warnings():
        # An expression rarer than the folds is named in the step's notes.
        warnings.filterwarnings("ignore", "The least populated class", UserWarning)
        splits = splitter.split(ordered, ordered["expression"], ordered["subject"])
        for number, (_, test) in enumerate(splits, start=1):
            names.iloc[test] = f"CV{number}"
    for number in range(1, folds + 1):
        if not (names == f"CV{number}").any():
            # With few subjects the splitter may leave a fold empty: a subject of the fold with most moves there.
            several = ordered["subject"].groupby(names).agg(lambda found: sorted(set(found)))
            fullest = max(several.index, key=lambda fold: (len(several[fold]), fold))
            names[ordered["subject"] == several[fullest][0]] = f"CV{number}"
    return names.reindex(rows.index)
