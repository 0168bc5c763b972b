"""The other ways in which a face is explained again: other samples, hidden colours, superpixels."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from ekman_expressions.explainers.facial_regions import region_segments
from ekman_expressions.explainers.record import PerturbationRecord, draw_samples, superpixels
from ekman_expressions.study.settings import ExplanationSettings
from ekman_expressions.zoo.asking import Asker

AS_SET = "as set"
OTHER_SAMPLES = "other samples"
UNTRAINED = "untrained"

_HIDDEN = {"hidden black": 0.0, "hidden mean": "mean", "hidden blur": "blur"}
_SEGMENTS = (15, 30, 60)
_REGIONS = "facial regions"


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One way to explain a face again; what is None is as the settings say.

    Attributes
    ----------
    hidden : float, {'mean', 'blur'} or None
        What hidden superpixels look like.
    segments : int or None
        SLIC superpixels asked for.
    regions : bool
        Whether the superpixels are the atlas' facial regions.
    """

    hidden: float | str | None = None
    segments: int | None = None
    regions: bool = False


def variants_of(settings: ExplanationSettings) -> dict[str, Variant]:
    """Return the variants that differ from the settings: hidden colours first, then superpixels."""
    found = {name: Variant(hidden=hidden) for name, hidden in _HIDDEN.items() if hidden != settings.hidden}
    found |= {
        f"{count} superpixels": Variant(segments=count) for count in _SEGMENTS if count != settings.segments
    }
    return found | {_REGIONS: Variant(regions=True)}


def names_of(settings: ExplanationSettings) -> tuple[str, ...]:
    """Return the names of all ways in which a face is explained, the settings' own first."""
    return (AS_SET, OTHER_SAMPLES, *variants_of(settings), UNTRAINED)


def halves(
    record: PerturbationRecord, samples: int | None = None
) -> tuple[PerturbationRecord, PerturbationRecord | None]:
    """Divide a record's samples in two: what other samples alone change is seen at no model call.

    Parameters
    ----------
    record : PerturbationRecord
    samples : int, optional
        Samples of each part; by default half of them.

    Returns
    -------
    first : PerturbationRecord
        The first so many samples.
    second : PerturbationRecord or None
        The sample that keeps all, and those after the first part; None if they are too few.
    """
    count = len(record.samples)
    size = min(samples or max(count // 2, 2), count)
    rows = np.concatenate([[0], np.arange(size, min(2 * size - 1, count))])

    def taken(places: np.ndarray) -> PerturbationRecord:
        return dataclasses.replace(
            record, samples=record.samples[places], predictions=record.predictions[places]
        )

    return taken(np.arange(size)), taken(rows) if len(rows) == size else None


def ask_again(
    asker: Asker,
    record: PerturbationRecord,
    variant: Variant,
    image: np.ndarray,
    landmarks: np.ndarray,
    *,
    compactness: float,
    seed: int,
) -> PerturbationRecord:
    """Ask a model about a face in another way, with as many samples as a record has.

    Where the superpixels stay the same, so do the samples, so that nothing else differs.

    Parameters
    ----------
    asker : Asker
        Of the model; another than the record's gives the variant `UNTRAINED`.
    record : PerturbationRecord
        Of the same face.
    variant : Variant
    image : (H, W, 3) ndarray of float, range [0, 1]
    landmarks : (68, 2) ndarray of float
        x and y in units of the image's sides.
    compactness : float
        Of SLIC.
    seed : int
        Of new samples.
    """
    labels, samples = record.segments, record.samples
    if variant.regions:
        labels, _ = region_segments(landmarks, image.shape[:2])
    elif variant.segments is not None:
        labels = superpixels(image, segments=variant.segments, compactness=compactness)
    if labels is not record.segments:
        samples = draw_samples(int(labels.max()) + 1, len(samples), seed, record.sampler)
    hidden = record.hidden if variant.hidden is None else variant.hidden
    answers = asker.ask(image, labels, samples, hidden=hidden, classes=record.predictions.shape[1])
    return dataclasses.replace(record, segments=labels, samples=samples, predictions=answers, hidden=hidden)
