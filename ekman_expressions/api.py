"""Explain a model's predictions on faces, in memory: explanations, their heatmap, its scores and its picture.

The functions of a researcher's own notebook; the steps of a study are made of the same parts.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ekman_expressions.core.errors import DataError, SettingsError, check_option, check_range, check_type
from ekman_expressions.core.expressions import EXPRESSIONS
from ekman_expressions.core.runtime import derive_seed
from ekman_expressions.explainers import EXPLAINERS, Explanation
from ekman_expressions.explainers.explanation import _needs_neutral
from ekman_expressions.faces import Faces
from ekman_expressions.facespace import SHAPE, atlas, ekman_mask, normalise, threshold_otsu, to_uint8
from ekman_expressions.measures.quality import cross_validated_r2
from ekman_expressions.measures.regions import region_masses
from ekman_expressions.measures.scores import METRICS, auc, mask_scores
from ekman_expressions.measures.uncertainty import (
    _SUBJECT_RESAMPLES,
    _interval_of,
    _resample_counts,
    _resampled_scores,
    centre_distance,
    centre_ellipse,
    random_pixels,
    split_half,
)
from ekman_expressions.zoo import Model, as_model

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_FEWEST_SUBJECTS = 8
"""Subjects from which on scores get an interval: of fewer, a bootstrap understates the uncertainty."""


def explain(
    model: Any,
    faces: Faces,
    explainer: str = "lime",
    *,
    targets: str | Sequence[str] | None = None,
    seed: int = 0,
    **settings: Any,
) -> Explanations:
    """Explain what a model predicts for each face.

    Parameters
    ----------
    model : Model, keras.Model, torch.nn.Module or callable
        See `load_model`. A model as it is must predict the six `EXPRESSIONS`, in their order, from RGB
        images in [0, 1].
    faces : Faces
        See `load_faces` and `example_faces`.
    explainer : str
        One of `EXPLAINERS`, e.g. ``"lime"``, ``"kernel_shap"``, ``"grad_cam"``.
    targets : str or sequence of str, optional
        The class to explain, for all faces or for each; by default the one that is predicted or, where that
        is neutral or other, which show nowhere on the face, the most probable of the rest.
    seed : int
        All randomness comes from it, the model's name and each face's ``image_id``.
    **settings
        Of the explainer, e.g. ``samples=200``; see ``EXPLAINERS[explainer].resolve()``. With
        ``hidden="neutral"``, hidden parts show the same person's neutral face; faces that have none are left
        out then, and a warning names them.

    Returns
    -------
    Explanations

    Raises
    ------
    SettingsError
        If there is no such explainer, setting or class.
    ModelError
        If the predictions are no probabilities, or the explainer needs gradients and there are none.

    Examples
    --------
    >>> from ekman_expressions import example_faces, explain
    >>> def brightness(images):
    ...     light = images.mean(axis=(1, 2, 3))[:, None]
    ...     return np.hstack([light, np.repeat((1 - light) / 5, 5, axis=1)])
    >>> found = explain(brightness, example_faces(2), "occlusion", targets="anger")
    >>> found.maps.shape
    (2, 275, 224)
    """
    from tqdm import tqdm

    check_option(explainer, "explainer", EXPLAINERS)
    check_type(faces, "faces", Faces)
    row = EXPLAINERS[explainer]
    settings = row.resolve(**settings)
    model = as_model(model)
    classes = model.classes or EXPRESSIONS
    neutral = _needs_neutral(settings)
    if neutral:
        faces = _with_neutral(faces)
    side = model.side or faces.images.shape[1]
    images = faces.at(side)
    neutrals = faces.at(side, neutral=True) if neutral else images
    predictions = model.predict(images)
    if predictions.shape[1] != len(classes):
        raise SettingsError(
            f"{model.name} predicts {predictions.shape[1]} classes, but has the names {', '.join(classes)}. "
            "Name its classes: load_model(model, classes=[...])."
        )
    chosen = _targets(targets, model, classes, predictions)
    explanations, unseen = [], []
    for place, image_id in enumerate(tqdm(faces.table["image_id"], desc=row.title, unit="face", delay=1)):
        stored = row.query(
            model,
            images[place],
            int(chosen[place]),
            seed=derive_seed(seed, "lime", model.name, image_id),
            landmarks=faces.landmarks[place],
            settings=settings | {"hidden": neutrals[place]} if neutral else settings,
        )
        explanations.append(row.estimate(stored, int(chosen[place]), settings))
        if row.has_surrogate:
            of_fit = {name: settings[name] for name in ("kernel_width", "alpha")}
            of_fit["seed"] = derive_seed(seed, "unseen", model.name, image_id)
            unseen.append(cross_validated_r2(stored, int(chosen[place]), **of_fit))
    return Explanations(
        explainer=explainer,
        model=model,
        faces=faces,
        explanations=tuple(explanations),
        predictions=predictions,
        r2_unseen=tuple(unseen) or (np.nan,) * len(faces),
    )


def _with_neutral(faces: Faces) -> Faces:
    """Return the faces that have a neutral face of the same person; a warning names the others."""
    lacking = list(faces.table["image_id"][~faces.has_neutral])
    if lacking:
        names = ", ".join(lacking[:5]) + (", ..." if len(lacking) > 5 else "")
        if len(lacking) == len(faces):
            raise DataError(
                f"None of the {len(faces)} faces ({names}) has a neutral face of the same person. Load them "
                "together with the neutral ones, with subjects: see load_faces."
            )
        warnings.warn(
            f"{len(lacking)} faces have no neutral face of the same person and are left out: {names}.",
            stacklevel=3,
        )
    return faces[faces.has_neutral]


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Explanations:
    """Explanations of one model's predictions on many faces.

    Attributes
    ----------
    explainer : str
        The name of the explainer.
    model : Model
    faces : Faces
    explanations : tuple of N Explanation
        In the order of the faces.
    predictions : (N, C) ndarray of float32
        The model's probabilities.
    r2_unseen : tuple of N float
        The surrogate's R² on samples that its fit has not seen (10-fold cross-validation); NaN without one.
    """

    explainer: str
    model: Model
    faces: Faces
    explanations: tuple[Explanation, ...]
    predictions: np.ndarray
    r2_unseen: tuple[float, ...]

    def __len__(self) -> int:
        return len(self.explanations)

    def __repr__(self) -> str:
        counts = self.table["predicted"].value_counts()
        predicted = ", ".join(f"{count} {name}" for name, count in counts.items())
        title = EXPLAINERS[self.explainer].title
        return f"Explanations({len(self)} faces by {title} of {self.model.name}; predicted: {predicted})"

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the model's classes, in the order of `predictions`."""
        return tuple(self.model.classes or EXPRESSIONS)

    @cached_property
    def table(self) -> pd.DataFrame:
        """One row per face: who, what was predicted and explained, and how well the surrogate fits.

        ``image_id, subject, expression`` (the label, if known), ``predicted``, ``probability`` (of the
        predicted class), ``explained`` (the class), ``r2`` and `r2_unseen` (NaN without a surrogate) and
        ``passes`` (forward passes).
        """
        predicted = self.predictions.argmax(axis=1)
        return self.faces.table[["image_id", "subject", "expression"]].assign(
            predicted=[self.classes[place] for place in predicted],
            probability=self.predictions.max(axis=1),
            explained=[self.classes[found.target] for found in self.explanations],
            r2=[found.r2 for found in self.explanations],
            r2_unseen=self.r2_unseen,
            passes=[found.passes for found in self.explanations],
        )

    @cached_property
    def maps(self) -> np.ndarray:
        """Each explanation in face space, negative weights set to 0 as in the study: (N, 275, 224) float32."""
        pairs = zip(self.explanations, self.faces.landmarks, strict=True)
        return np.stack([normalise(np.maximum(found.map, 0), points) for found, points in pairs])

    @cached_property
    def regions(self) -> pd.DataFrame:
        """The share of each part of the face in each explanation: N rows that sum to 1.

        NaN where nothing speaks for the class. A column for each of the atlas' groups, from the forehead
        down, and ``elsewhere``.
        """
        masses = region_masses(self.maps, "group").set_axis(self.faces.table["image_id"])
        return masses.div(masses.sum(axis=1).where(lambda sums: sums > 0), axis=0)

    def heatmap(self, expression: str | None = None, *, by: str = "predicted") -> Heatmap:
        """Average explanations in face space.

        Parameters
        ----------
        expression : str, optional
            Take the faces of this class only; by default all.
        by : {'predicted', 'expression'}
            Whether `expression` is what the model predicted, as in the study, or the faces' label.

        Raises
        ------
        DataError
            If there is no such face; the message says how many there are of which.
        """
        check_option(by, "by", ("predicted", "expression"))
        taken = np.ones(len(self), bool)
        if expression is not None:
            if by == "predicted":
                check_option(expression, "expression", self.classes)
            taken = (self.table[by] == expression).to_numpy()
        if not taken.any():
            counts = self.table[by].value_counts().to_dict()
            raise DataError(f"No face has {by} = {expression!r}; there are {counts}.")
        return Heatmap(
            maps=self.maps[taken],
            subjects=self.faces.table["subject"].to_numpy(str)[taken],
            expression=expression or "",
            name=f"{EXPLAINERS[self.explainer].title} of {self.model.name}",
            face=_mean_face(self.faces[taken]),
            reference=self._reference(expression),
        )

    def _reference(self, name: str | None) -> np.ndarray | None:
        """Return where a class shows, by the model's own masks, or else its Ekman mask; None: not known."""
        if regions := self.model.masks.get(name):
            return atlas().mask(regions)
        return ekman_mask(name) if name in EXPRESSIONS else None

    @cached_property
    def _face(self) -> np.ndarray:
        return _mean_face(self.faces)

    def plot(self, place: int = 0) -> Figure:
        """Draw one face with its landmarks, its explanation, and that in face space.

        There it lies over the mean of all faces, with the outline of the class's Ekman mask.

        Parameters
        ----------
        place : int
            Which face, from 0.
        """
        from ekman_expressions import figures

        check_range(place, "place", 0, len(self) - 1, integer=True)
        found, row = self.explanations[place], self.table.iloc[place]
        parts = [
            f"{row.image_id}: {row.explained} {self.predictions[place, found.target]:.2f}",
            f"{EXPLAINERS[self.explainer].title} of {self.model.name}",
        ]
        if np.isfinite(row.r2_unseen):
            parts.append(f"R² {row.r2_unseen:.2f} on unseen samples")
        image = self.faces[place].at(found.map.shape)[0]
        return figures.explained_face(
            image,
            self.faces.landmarks[place],
            found.map,
            self.maps[place],
            self._face,
            mask=self._reference(row.explained),
            segments=found.segments,
            title=" · ".join(parts),
        )


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Heatmap:
    """The mean of explanations in face space.

    Attributes
    ----------
    maps : (N, 275, 224) ndarray of float
        The explanations.
    subjects : (N,) ndarray of str
        Whose face each is of.
    expression : str
        What the faces have in common; empty for all.
    name : str
        What explained which model, for titles.
    face : (275, 224, 3) ndarray of float, range [0, 1], optional
        The mean face, to lie under pictures.
    reference : (275, 224) ndarray of bool, optional
        The mask that it is compared with; by default the Ekman mask of `expression`, if there is one.

    Raises
    ------
    DataError
        If the maps are not of face space, or there is not one subject for each.

    Examples
    --------
    >>> mouth = atlas().group("mouth").astype(float)
    >>> heatmap = Heatmap(maps=mouth[None], subjects=["S1"], expression="happiness")
    >>> bool(heatmap.scores().loc["recall", "value"] < 1)
    True
    """

    maps: np.ndarray
    subjects: Sequence[str]
    expression: str = ""
    name: str = ""
    face: np.ndarray | None = None
    reference: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.reference is None and self.expression in EXPRESSIONS:
            object.__setattr__(self, "reference", ekman_mask(self.expression))
        shape = np.shape(self.maps)
        if len(shape) != 3 or shape[1:] != SHAPE or not shape[0] or len(self.subjects) != shape[0]:
            raise DataError(
                f"A heatmap is the mean of maps (N, {SHAPE[0]}, {SHAPE[1]}) in face space with a subject for "
                f"each, but got maps of shape {shape} and {len(self.subjects)} subjects."
            )

    def __len__(self) -> int:
        return len(self.maps)

    def __repr__(self) -> str:
        of = f" of {self.expression}" if self.expression else ""
        return f"Heatmap({self.name or 'no name'}{of}: {len(self)} faces, {len(set(self.subjects))} subjects)"

    @cached_property
    def values(self) -> np.ndarray:
        """The mean, (275, 224) float32, not stretched."""
        return np.mean(self.maps, axis=0, dtype=np.float64).astype(np.float32)

    @cached_property
    def standard_error(self) -> np.ndarray:
        """By how much the mean would vary with other subjects, (275, 224); NaN for one subject."""
        names, codes = np.unique(np.asarray(self.subjects), return_inverse=True)
        if len(names) < 2:
            return np.full(SHAPE, np.nan, np.float32)
        # Of a ratio of sums over subjects (Cochran 1977, Sampling techniques, section 6.3).
        sums = np.zeros((len(names), *SHAPE))
        np.add.at(sums, codes, self.maps)
        sizes = np.bincount(codes)[:, None, None]
        residuals = (sums - sizes * self.values) / sizes.mean()
        return np.sqrt((residuals**2).sum(axis=0) / (len(names) * (len(names) - 1))).astype(np.float32)

    @cached_property
    def reliability(self) -> float:
        """How far the heatmap of as many other people would be like this one, 0 ... 1; NaN for one subject.

        See `measures.split_half`. Below 0.8, explain more people before you interpret it.
        """
        return split_half(self.maps, self.subjects, seed=0)

    @cached_property
    def gray(self) -> np.ndarray:
        """The heatmap as an 8-bit picture, (275, 224) uint8, stretched by minimum and maximum."""
        return to_uint8(self.values)

    @property
    def marked(self) -> np.ndarray:
        """Where the 8-bit heatmap is above Otsu's threshold, (275, 224) bool."""
        return threshold_otsu(self.gray)[1]

    def scores(self, mask: np.ndarray | None = None, *, seed: int = 0) -> pd.DataFrame:
        """Compare the heatmap with a mask, beside what chance gives.

        Parameters
        ----------
        mask : (275, 224) ndarray of bool, optional
            By default `reference`.
        seed : int
            Of the resamples of subjects.

        Returns
        -------
        DataFrame
            Rows: IoU, F1, precision and recall at Otsu's threshold, AUC over the canvas and within the face
            hull. Columns: ``value``; ``low`` and ``high``, the 95 % interval over subjects (of IoU and
            ``auc_hull``, from `_FEWEST_SUBJECTS` subjects on); and the same score of maps that know
            nothing: ``random`` (as many random pixels), ``all_white`` (an all-white mask) and ``centre``
            (an ellipse in the middle, as large as what is marked; for AUC the centre prior).

        Raises
        ------
        SettingsError
            If there is no mask: none was given, and there is no `reference`.
        DataError
            If the mask is not of face space, or the heatmap is constant.
        """
        mask = self._mask(mask)
        gray, marked, hull = self.gray, self.marked, atlas().hull
        if not marked.any():
            raise DataError(f"{self!r} is {self.values.flat[0]:g} everywhere, so it marks nothing.")
        share, area = marked.mean(), mask.mean()

        def aucs(values: np.ndarray) -> dict[str, float]:
            return {"auc": auc(values, mask), "auc_hull": auc(values, mask, hull)}

        # Expectations over where as many pixels lie: all but the IoU's are linear in the overlap.
        random = {
            "iou": random_pixels(int(marked.sum()), int(mask.sum()), mask.size),
            "f1_score": 2 * share * area / (share + area),
            "precision": area,
            "recall": share,
        }
        undecided = {"auc": 0.5, "auc_hull": 0.5}
        columns = {
            "value": mask_scores(marked, mask) | aucs(gray),
            "low": {},
            "high": {},
            "random": random | undecided,
            "all_white": mask_scores(np.ones_like(mask), mask) | undecided,
            "centre": mask_scores(centre_ellipse(share), mask) | aucs(-centre_distance()),
        }
        rows = pd.Index([*METRICS, "auc", "auc_hull"], name="score")
        table = pd.DataFrame(columns, index=rows, dtype=float)
        names, codes = np.unique(np.asarray(self.subjects), return_inverse=True)
        if len(names) >= _FEWEST_SUBJECTS:
            counts = _resample_counts(len(names), _SUBJECT_RESAMPLES, seed=derive_seed(seed, "subjects"))
            for score, found in _resampled_scores(self.maps, codes, counts, mask, hull).items():
                interval = _interval_of(table.loc[score, "value"], found, len(names))
                table.loc[score, ["low", "high"]] = interval.low, interval.high
        return table

    def plot(self) -> Figure:
        """Draw the heatmap over the mean face, with the outline of `reference`."""
        from ekman_expressions import figures

        known = f"reliability {self.reliability:.2f}" if np.isfinite(self.reliability) else ""
        count = f"{len(self)} face{'s' * (len(self) != 1)}"
        about = (self.name, self.expression, count, known)
        title = " · ".join(part for part in about if part)
        return figures.heatmap_figure(self.values, self.reference, self.face, label="mean weight", title=title)

    def _mask(self, mask: np.ndarray | None) -> np.ndarray:
        if mask is None:
            if self.reference is None:
                raise SettingsError(
                    f"There is no mask of {self.expression or 'all expressions together'!r}. Take the heatmap of "
                    "one of the six expressions, give a 'mask', or say where it shows: load_model(masks=...)."
                )
            return self.reference
        mask = np.asarray(mask)
        if mask.shape != SHAPE or mask.dtype != bool:
            raise DataError(
                f"'mask' is {mask.dtype} of shape {mask.shape}, but {self!r} is in face space: its mask must be "
                f"bool of shape {SHAPE}."
            )
        return mask


def _mean_face(faces: Faces) -> np.ndarray:
    """Return the mean of faces in face space: (275, 224, 3) float, range [0, 1]."""
    pairs = zip(faces.images, faces.landmarks, strict=True)
    return np.mean([normalise(np.float32(image) / 255, points) for image, points in pairs], axis=0)


def _targets(targets: Any, model: Model, classes: Sequence[str], predictions: np.ndarray) -> np.ndarray:
    if targets is None:
        nowhere = [name in ("neutral", "other") and name not in model.masks for name in classes]
        return np.where(nowhere, -np.inf, predictions).argmax(axis=1)
    names = [targets] * len(predictions) if isinstance(targets, str) else list(targets)
    if len(names) != len(predictions):
        raise SettingsError(f"'targets' must name one class, or one for each of {len(predictions)} faces.")
    for name in names:
        check_option(name, "targets", classes)
    return np.array([list(classes).index(name) for name in names])
