"""What happens after each step and epoch: bad numbers stop it, good epochs are kept."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras
    from tqdm import tqdm

from ekman_expressions.core.errors import ModelError
from ekman_expressions.zoo import checkpoint
from ekman_expressions.zoo.blocks import is_finite

HISTORY = ("epoch", "loss", "accuracy")
"""Columns of the learning curve that is kept of each model."""

WATCHED = ("val_loss", "val_accuracy")
"""Further columns where images were watched, of held-out subjects or of the test fold."""


class Watch:
    """Watches the training of one model.

    Parameters
    ----------
    learner : keras.Model
        Compiled; it is being trained.
    name : str
        Of the model, for messages.
    progress : checkpoint.Progress
        How far it has come; grows with each epoch.
    patience : int or None
        Epochs without a new lowest ``val_loss`` after which training stops, and the epoch with
        the lowest is chosen. None: the last epoch is.
    path : Path
        The checkpoint's file.
    fingerprint : str
        See `checkpoint.write`.
    """

    def __init__(
        self,
        learner: keras.Model,
        name: str,
        progress: checkpoint.Progress,
        *,
        patience: int | None,
        path: Path,
        fingerprint: str,
    ) -> None:
        self.learner, self.name, self.progress = learner, name, progress
        self.patience, self.path, self.fingerprint = patience, path, fingerprint
        self.title = f"Training {name}"

    def callback(self, bar: tqdm, clock: Callable[[], float]) -> keras.callbacks.Callback:
        """Return the Keras callback; it moves `bar` and takes the time from `clock`, in seconds."""
        import keras

        started = [clock()]

        def after_batch(batch: int, logs: dict[str, float]) -> None:
            if not math.isfinite(logs["loss"]):
                self._stop_as(f"The loss of {self.name} became {float(logs['loss'])}", batch)

        def after_epoch(epoch: int, logs: dict[str, float]) -> None:
            now = clock()
            self._keep(epoch, logs, now - started[0])
            # Writing the checkpoint is no training.
            started[0] = clock()
            bar.set_postfix(loss=f"{logs['loss']:.3f}", accuracy=f"{logs['accuracy']:.3f}", refresh=False)
            bar.update()

        return keras.callbacks.LambdaCallback(on_train_batch_end=after_batch, on_epoch_end=after_epoch)

    def finished(self) -> bool:
        """Whether the loss on the held-out images has not fallen for as long as patience lasts."""
        if self.patience is None or not self.progress.curve:
            return False
        return len(self.progress.curve) - (self.progress.best_epoch or 0) >= self.patience

    def choose_weights(self, model: keras.Model) -> None:
        """Give `model`, of which the learner is made, the weights of the best or of the last epoch.

        Raises
        ------
        ModelError
            If the epoch is chosen by the loss on held-out images, and that was never finite.
        """
        if self.patience is not None:
            if self.progress.best_epoch is None:
                raise ModelError(
                    f"The loss of {self.name} on the held-out subjects was finite in no epoch. "
                    "Lower the learning rate, or check their images."
                )
            model.set_weights(self.progress.best)
        elif any(mine is not its for mine, its in zip(model.weights, self.learner.weights, strict=True)):
            model.set_weights(self.learner.get_weights())

    def _keep(self, epoch: int, logs: dict[str, float], seconds: float) -> None:
        for weight in self.learner.weights:
            # The last step's gradient may have been bad although its loss, taken before, was not.
            if not is_finite(weight):
                self._stop_as(f"Weights of {self.name} ({weight.path}) became NaN or infinite", None)
        progress = self.progress
        measured = {name: float(logs[name]) for name in (*HISTORY[1:], *WATCHED) if name in logs}
        progress.curve.append({"epoch": epoch + 1, **measured})
        progress.seconds += seconds
        if self.patience is not None:
            losses = [row["val_loss"] for row in progress.curve]
            before = math.inf if progress.best_epoch is None else losses[progress.best_epoch - 1]
            if losses[-1] < before:
                progress.best_epoch, progress.best = epoch + 1, self.learner.get_weights()
        checkpoint.write(self.path, self.fingerprint, self.learner, progress)
        if self.finished():
            self.learner.stop_training = True

    def _stop_as(self, what: str, batch: int | None) -> None:
        good = len(self.progress.curve)
        where = f"epoch {good + 1}, " + ("its last step" if batch is None else f"step {batch + 1}")
        rate = float(self.learner.optimizer.learning_rate)
        kept = (
            f"What it was after epoch {good} is kept in {self.path} (training.load_last_epoch reads it). "
            if good
            else ""
        )
        raise ModelError(
            f"{what} in {where}, at learning rate {rate:g}. {kept}Lower the rate, under another name of the "
            "experiment (with the same settings it would happen again), or check the images and the "
            "initial weights."
        )
