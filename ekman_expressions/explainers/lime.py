"""LIME, KernelSHAP and superpixel RISE: estimated from one perturbation record.

Ribeiro et al. (2016), "Why should I trust you?", doi:10.1145/2939672.2939778. A superpixel's Shapley value is
the mean, over all orders in which superpixels may be uncovered, of the change in the model's prediction when
it is uncovered; the values sum to f(all) - f(none).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from ekman_expressions.core.errors import SettingsError, check_range
from ekman_expressions.explainers.explanation import Explainer, Explanation
from ekman_expressions.explainers.record import PerturbationRecord, superpixels


def _sample_weights(samples: np.ndarray, kernel_width: float) -> np.ndarray:
    """Return each sample's weight, (n,): ``sqrt(exp(-d² / kernel_width²))``, with d = ``1 - sqrt(kept / S)``,
    the cosine distance to the sample that keeps all.
    """
    distance = 1 - np.sqrt(np.mean(samples, axis=1))
    return np.exp(-((distance / kernel_width) ** 2) / 2)


def lime(record: PerturbationRecord, target: int, *, kernel_width: float = 0.25, alpha: float = 1.0) -> Explanation:
    """Estimate LIME's weights for one class from a perturbation record; no forward pass.

    Weighted ridge regression on all superpixels, the intercept b not penalised: with sample
    weights w, the b and β that minimise ``Σ w (y - b - x·β)² + α β·β``. With x and y centred
    at their weighted means this is ``β = H⁻¹ Σ w x y``, ``H = Σ w x xᵀ + α I``.

    The standard errors are those of an M-estimator (the "sandwich"; [1]_, [2]_): β solves
    ``Σ ψ = 0`` with ``ψ = w x e - α β / n``, e the residual, so its covariance is
    ``H⁻¹ (Σ ψ ψᵀ) H⁻¹``. Nothing is assumed of the residuals, which here are mostly the
    model's departure from linearity. Each e is divided by ``sqrt(1 - h)``, h the sample's leverage
    ("HC2", [3]_), since a fitted residual is smaller than a true one when samples are
    few. Samples that were drawn together, as complements (`PerturbationRecord.pairs`), count as
    one: their ψ are summed, and ``sqrt(1 - h)`` becomes the square root of a matrix ("CR2", [4]_).
    The first sample, which is not drawn, has no part in Σ ψ ψᵀ. The errors measure spread about the ridge
    estimate's own expectation, not shrinkage. For independent samples they equal the spread; for the sampler
    ``'orthogonal'`` they are conservative where the model is nearly additive, or steep: they know
    of the pairs, but not of the balance within a block.

    Parameters
    ----------
    record : PerturbationRecord
        Samples and predictions.
    target : int
        The class explained, 0 ... C - 1.
    kernel_width : float, > 0
        See `_sample_weights`.
    alpha : float, >= 0
        Ridge penalty. With 0, and samples that do not determine the weights, the smallest
        weights that fit.

    Returns
    -------
    Explanation
        `weights`: by how much keeping each superpixel raises the probability of the class.

    Raises
    ------
    SettingsError
        If `target` is no class of the record, or a number is out of its range.

    References
    ----------
    .. [1] Huber (1967), Proc. 5th Berkeley Symposium 1, 221-233.
    .. [2] White (1980), doi:10.2307/1912934.
    .. [3] MacKinnon and White (1985), doi:10.1016/0304-4076(85)90158-7.
    .. [4] Bell and McCaffrey (2002), Survey Methodology 28(2), 169-181.
    """
    from scipy.linalg import pinvh

    first, y = _predicted(record, target)
    check_range(kernel_width, "kernel_width", 1e-6)
    check_range(alpha, "alpha", 0)
    w = _sample_weights(record.samples, kernel_width)
    if not w.sum() > 0:
        raise SettingsError(f"'kernel_width' = {kernel_width} gives every sample the weight 0. Use a wider kernel.")
    x = record.samples.astype(np.float64)
    x_mean, y_mean = np.average(x, axis=0, weights=w), np.average(y, weights=w)
    x, y = x - x_mean, y - y_mean
    inverse = pinvh((x.T * w) @ x + alpha * np.eye(x.shape[1]))
    weights = inverse @ (x.T @ (w * y))
    residuals = y - x @ weights
    total = w @ y**2
    groups = record.pairs
    # Without the first sample: it is not drawn, and its influence, often the largest, never varies.
    psi = _influences(x, w, residuals, inverse, groups)[1:]
    # Centred by the samples in each, since the last pair may be half.
    psi -= np.bincount(groups)[1:, None] * (psi.sum(axis=0) / max(len(x) - 1, 1))
    half = psi @ inverse
    return _of_record(
        record,
        target,
        explainer="lime",
        weights=weights,
        standard_errors=np.sqrt(np.einsum("ij,ij->j", half, half)),
        intercept=float(first + y_mean - x_mean @ weights),
        r2=float(1 - (w @ residuals**2) / total) if total > 0 else float("nan"),
    )


def _predicted(record: PerturbationRecord, target: int) -> tuple[float, np.ndarray]:
    """Return the first prediction of a class, and by how much each differs: of a constant model exactly 0."""
    check_range(target, "target", 0, record.predictions.shape[1] - 1, integer=True)
    predictions = record.predictions[:, target].astype(np.float64)
    return predictions[0], predictions - predictions[0]


def _of_record(record: PerturbationRecord, target: int, **found: Any) -> Explanation:
    about = {name: getattr(record, name) for name in ("image_id", "model", "segments", "passes")}
    return Explanation(target=int(target), **(about | found))


def _influences(
    x: np.ndarray, w: np.ndarray, residuals: np.ndarray, inverse: np.ndarray, groups: np.ndarray
) -> np.ndarray:
    """Return ``Σ w x e`` of each group of one or two samples, residuals corrected for their leverage."""
    root = np.sqrt(w)
    first = np.flatnonzero(np.diff(groups, prepend=-1))
    second = np.minimum(first + 1, len(groups) - 1)
    paired = (groups[second] == groups[first]) & (second != first)
    members = np.stack([first, second], axis=1)
    scaled = root[members]
    # A group of one is a pair with a sample of weight 0.
    scaled[~paired, 1] = 0
    of_pair = x[members]
    leverage = np.einsum("gaj,jk,gbk->gab", of_pair, inverse, of_pair, optimize=True) + 1 / w.sum()
    left = np.eye(2) - leverage * scaled[:, :, None] * scaled[:, None, :]
    values, vectors = np.linalg.eigh(left)
    # Samples that alone decide the fit (leverage 1) have no residual to learn from.
    values = 1 / np.sqrt(np.maximum(values, 1e-6))
    corrected = np.einsum("gab,gb,gcb,gc->ga", vectors, values, vectors, scaled * residuals[members], optimize=True)
    return np.einsum("ga,gaj->gj", scaled * corrected, of_pair)


def _query(
    model: Any, image: np.ndarray, target: int, *, seed: Any, landmarks: Any, settings: Mapping[str, Any]
) -> PerturbationRecord:
    labels = superpixels(image, segments=settings["segments"], compactness=settings["compactness"])
    kinds = {name: settings[name] for name in ("samples", "sampler", "hidden")}
    return PerturbationRecord.query(model, image, labels, seed=seed, **kinds)


def _estimate(stored: PerturbationRecord, target: int, settings: Mapping[str, Any]) -> Explanation:
    return lime(stored, target, kernel_width=settings["kernel_width"], alpha=settings["alpha"])


_LIME = Explainer(
    name="lime",
    title="LIME",
    source="Ribeiro et al. (2016), doi:10.1145/2939672.2939778",
    cost="samples",
    query=_query,
    estimate=_estimate,
    shared=("segments", "compactness", "samples", "sampler", "hidden", "kernel_width", "alpha"),
)


def _kernel_shap(record: PerturbationRecord, target: int, settings: Mapping[str, Any] | None = None) -> Explanation:
    """Estimate Shapley values for one class from a perturbation record; no forward pass.

    They are the φ that minimise ``Σ π(z) (f(z) - f(none) - z·φ)²`` over samples z, which are uniform given
    their size, with ``Σ φ = f(all) - f(none)`` (Lundberg and Lee 2017, arXiv:1705.07874, theorem 2; for π see
    `_shapley_weights`). By symmetry the *differences* between superpixels do not depend on the constraint:
    they are those of the weighted regression with a free intercept, and what remains is one number, added
    to all, that makes the sum exact (Covert and Lee 2021, arXiv:2012.01536, equation 7, solved so). Where the
    record does not know f(none), it is that intercept, at least 0 and at most 1.
    """
    (first, y), samples = _predicted(record, target), record.samples
    count, sizes = samples.shape[1], samples.sum(axis=1)
    x, weights = samples.astype(np.float64), _shapley_weights(samples)
    x_mean, y_mean, root = weights @ x, weights @ y, np.sqrt(weights)
    slopes = np.linalg.lstsq((x - x_mean) * root[:, None], (y - y_mean) * root, rcond=None)[0]
    intercept = np.clip(y_mean - x_mean @ slopes, -first, 1 - first)
    if record.none is not None:
        none = float(record.none[target]) - first
    else:
        none = y[sizes == 0].mean() if (sizes == 0).any() else intercept
    full = y[sizes == count].mean() if (sizes == count).any() else intercept + slopes.sum()
    return _of_record(
        record,
        target,
        explainer="kernel_shap",
        weights=slopes - slopes.mean() + (full - none) / count,
        # Paired samples hold the one that keeps none.
        passes=record.passes + (record.none is not None and record.sampler != "paired"),
    )


def _shapley_weights(samples: np.ndarray) -> np.ndarray:
    """Return each sample's weight in the regression of KernelSHAP: ``(S - 1) / (k (S - k))``, shared by the
    samples of size k, however many were drawn; 0 for all and none, which are constraints. Sums to 1, or to 0.

    With 30 superpixels nearly all uniform samples keep 8 to 22, and the few at the ends would decide all:
    unless the record holds all samples, no weight is more than the fourth root of n times the mean (truncated
    importance sampling, Ionides 2008, doi:10.1198/106186008X320456).
    """
    count, sizes = samples.shape[1], samples.sum(axis=1)
    occurring = np.bincount(sizes, minlength=count + 1)[sizes]
    inner = (sizes > 0) & (sizes < count)
    weights = np.zeros(len(samples))
    weights[inner] = (count - 1) / (sizes * (count - sizes) * occurring)[inner].astype(np.float64)
    if not inner.any():
        return weights
    complete = count <= 20 and len(np.unique(samples, axis=0)) == 2**count
    if not complete:
        weights = np.minimum(weights, weights[inner].mean() * inner.sum() ** 0.25)
    return weights / weights.sum()


def _superpixel_rise(record: PerturbationRecord, target: int, settings: Mapping[str, Any] | None = None) -> Explanation:
    """Estimate RISE's importance of superpixels for one class from a record; no forward pass.

    The expected prediction given that one is kept (equation 4), less the mean, so that 0 says that it does not
    matter: ``E[f | z_j = 1] - E[f]``; 0 for one that no sample keeps.
    """
    # The first sample, which keeps all, is not drawn.
    samples, drawn = record.samples[1:], _predicted(record, target)[1][1:]
    kept = samples.sum(axis=0)
    gained = (drawn - drawn.mean()) @ samples if len(drawn) else np.zeros(len(kept))
    return _of_record(record, target, explainer="superpixel_rise", weights=gained / np.maximum(kept, 1))


_KERNEL_SHAP = replace(
    _LIME,
    name="kernel_shap",
    title="KernelSHAP",
    source="Lundberg and Lee (2017), arXiv:1705.07874; Covert and Lee (2021), arXiv:2012.01536",
    cost="none beyond LIME's",
    estimate=_kernel_shap,
    shared=_LIME.shared[:5],
)

_SUPERPIXEL_RISE = replace(
    _KERNEL_SHAP,
    name="superpixel_rise",
    title="Superpixel RISE",
    source="Petsiuk et al. (2018), arXiv:1806.07421, with superpixels for grid cells",
    estimate=_superpixel_rise,
)
