"""The perturbation record: for one image and one model, all that costs model calls."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ekman_expressions.errors import DataError
from ekman_expressions.perturbation.checks import check_samples, check_segments
from ekman_expressions.perturbation.samplers import SAMPLERS
from ekman_expressions.storage import read_arrays, write_arrays


@dataclass(frozen=True, eq=False, kw_only=True)
class PerturbationRecord:
    """For one image and one model: what was hidden in each sample, and what the model answered.

    Attributes
    ----------
    image_id, model : str
        Which image, which model (``SongNet_CV3``).
    segments : (H, W) ndarray of int
        The superpixel of each pixel: 0 ... S - 1.
    samples : (n, S) ndarray of bool
        Which superpixels were kept in each sample.
    answers : (n, C) ndarray of float32, range [0, 1]
        The model's probabilities for each sample and class.
    hidden : float or {'mean', 'blur'}
        What hidden superpixels looked like; see `background`.
    sampler : str
        How the samples were drawn, one of `SAMPLERS`: which of them depend on each other.

    Raises
    ------
    DataError
        If the arrays do not fit each other.
    """

    image_id: str
    model: str
    segments: np.ndarray
    samples: np.ndarray
    answers: np.ndarray
    hidden: float | str = 0.0
    sampler: str = "iid"

    def __post_init__(self) -> None:
        check_segments(self.segments)
        check_samples(self.samples, self.segments)
        if self.sampler not in SAMPLERS:
            raise DataError(f"'sampler' must be one of {', '.join(SAMPLERS)}, but got {self.sampler!r}.")
        answers = np.asarray(self.answers)
        if answers.dtype != np.float32 or answers.ndim != 2 or len(answers) != len(self.samples):
            raise DataError(
                f"'answers' must be float32 of shape ({len(self.samples)}, classes), "
                f"but got {answers.dtype} of shape {answers.shape}."
            )
        if not np.isfinite(answers).all():
            raise DataError("'answers' must be finite, but some are NaN or infinite.")

    def save(self, path: Path) -> None:
        """Write the record as ``.npz``: samples as bits, segments in the smallest type."""
        small = np.uint8 if self.samples.shape[1] <= 256 else np.uint16
        write_arrays(
            path,
            {
                "image_id": np.array(self.image_id),
                "model": np.array(self.model),
                "segments": self.segments.astype(small),
                "samples": np.packbits(self.samples, axis=1),
                "answers": self.answers,
                "hidden": np.array(self.hidden if isinstance(self.hidden, str) else float(self.hidden)),
                "sampler": np.array(self.sampler),
            },
        )

    @classmethod
    def load(cls, path: Path) -> PerturbationRecord:
        """Read a record.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        DataError
            If the file is truncated, damaged, or no record.
        """
        arrays = read_arrays(path, ("image_id", "model", "segments", "samples", "answers", "hidden"))
        try:
            segments = check_segments(arrays["segments"])
            count = int(segments.max()) + 1
            packed = arrays["samples"]
            if packed.dtype != np.uint8 or packed.ndim != 2 or packed.shape[1] != -(-count // 8):
                raise DataError(f"the samples do not fit {count} superpixels")
            return cls(
                image_id=str(arrays["image_id"]),
                model=str(arrays["model"]),
                segments=segments.astype(np.int32),
                samples=np.unpackbits(packed, axis=1, count=count).astype(bool),
                answers=arrays["answers"],
                hidden=arrays["hidden"].item(),
                # Records of earlier versions do not say it: there was one sampler.
                sampler=str(arrays.get("sampler", "iid")),
            )
        except (ValueError, TypeError) as error:
            raise DataError(
                f"{path} is no perturbation record ({error}). "
                "Delete it and run the step 'explanations' again."
            ) from error
