"""Whether a model of one's own is what was said of it, and what its answers say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ekman_expressions.core.errors import ModelError
from ekman_expressions.core.expressions import EXPRESSIONS
from ekman_expressions.zoo.own_settings import OwnModel

# Half-precision softmax sums to 1 within this; `perturbation.perturb` allows the same.
_TOLERANCE = 1e-2


def probe(own: OwnModel, ask: Callable) -> np.ndarray:
    """Return the raw answers to three images: noise, its negative, and gray."""
    noise = np.random.default_rng(0).random((1, own.side, own.side, 3), dtype=np.float32)
    return np.asarray(ask(np.concatenate([noise, 1 - noise, np.full_like(noise, 0.5)])))


def check_raw(answers: np.ndarray, name: str, own: OwnModel) -> None:
    """Raise `ModelError` unless a model's raw answers are what `own` says of them."""
    classes = ", ".join(own.classes)
    if answers.ndim != 2 or answers.shape[1] != len(own.classes):
        raise ModelError(
            f"{name} answered an array of shape {answers.shape}, but 'classes' names {len(own.classes)} "
            f"({classes}): name all outputs in their order, those beyond the six as neutral, contempt or "
            "other."
        )
    if not np.isfinite(answers).all():
        raise ModelError(
            f"{name} answered NaN or infinity. Is 'preprocessing' ({own.preprocessing!r}) what it was "
            "trained with, and is the file whole?"
        )
    is_probable = answers.min() >= -1e-3 and np.abs(answers.sum(axis=1) - 1).max() <= _TOLERANCE
    if own.output == "probabilities" and not is_probable:
        raise ModelError(
            f"{name} answered no probabilities: {_seen(answers)}. If these are logits, say output = "
            "'logits'; outputs of independent sigmoids must be brought to sum to 1 in a 'call'."
        )
    if own.output == "logits" and is_probable:
        raise ModelError(
            f"{name} answered probabilities already ({_seen(answers)}), to which output = 'logits' would "
            "apply a second softmax. Say output = 'probabilities'."
        )


def read_answers(answers: np.ndarray, name: str, own: OwnModel) -> tuple[np.ndarray, np.ndarray]:
    """Say what a model in our form predicts.

    Parameters
    ----------
    answers : (N, C) ndarray of float, range [0, 1]
        Of a model as `ekman_expressions.zoo.own_readers.load` returns it.
    name : str
        What the model is called in messages.
    own : OwnModel
        What is done with classes beyond the six: see `OwnModel.extra`.

    Returns
    -------
    predicted : (N,) ndarray of str
        One of `EXPRESSIONS`; or, where extra classes are kept, one of them.
    probabilities : (N, 6) ndarray of float
        Of the six expressions: with ``drop`` divided by their sum (equal where all are 0), with
        ``keep`` as they are.

    Raises
    ------
    ModelError
        If the answers are not finite, or no probabilities.
    """
    wrong = int((~np.isfinite(answers)).any(axis=1).sum())
    if wrong:
        raise ModelError(
            f"{name} answered NaN or infinity for {wrong} of {len(answers)} images. Look at these images, "
            "and at the model's preprocessing."
        )
    if answers.min() < -1e-3 or np.abs(answers.sum(axis=1) - 1).max() > _TOLERANCE:
        raise ModelError(
            f"{name} answered no probabilities: {_seen(answers)}. If these are logits, say output = 'logits'."
        )
    six = answers[:, : len(EXPRESSIONS)]
    if own.extra == "keep":
        return np.array(own.answered)[answers.argmax(axis=1)], six
    sums = six.sum(axis=1, keepdims=True)
    equal = np.full_like(six, 1 / len(EXPRESSIONS))
    return np.array(EXPRESSIONS)[six.argmax(axis=1)], np.divide(six, sums, out=equal, where=sums > 0)


def check_shape(name: str, own: OwnModel, wanted: tuple[Any, ...]) -> None:
    """Raise `ModelError` unless images as `own` describes them fit a model's input.

    Parameters
    ----------
    name : str
        What the model is called in messages.
    own : OwnModel
        What was said of it.
    wanted : tuple
        The input's shape, the batch first; what is no int (None, ``"N"``) is free.
    """
    face = (own.side, own.side)
    given = (own.channel_count, *face) if own.layout == "NCHW" else (*face, own.channel_count)
    if len(wanted) == 4 and all(
        not isinstance(want, int) or want == have for want, have in zip(wanted[1:], given, strict=True)
    ):
        return
    raise ModelError(
        f"{name} takes images of shape {wanted[1:]}, but its settings (side = {own.side}, channels = "
        f"{own.channels!r}, layout = {own.layout!r}) give it {given}. Correct them."
    )


def _seen(answers: np.ndarray) -> str:
    worst = answers.sum(axis=1)[np.abs(answers.sum(axis=1) - 1).argmax()]
    return f"an answer sums to {worst:.6g}, and all lie in [{answers.min():.6g}, {answers.max():.6g}]"
