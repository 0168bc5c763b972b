"""LIME against bare forward passes, and against the package `lime`, on one image and its superpixels.

    python benchmarks/lime_speed.py [NETWORK ...] [--samples 1000] [--rounds 3]

Networks with random weights, float32, all in turns within one process. "Bare" is as many compiled
forward passes at the best of several batch sizes. "LIME" is all of ours: superpixels, samples, masks,
predictions, regression, standard errors. The others are `LimeImageExplainer` at its defaults (calls of 10
images) given the same superpixels, with the three ways in which a Keras model is commonly handed to it.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ekman_expressions.core.files import read_image
from ekman_expressions.core.runtime import start_tensorflow
from ekman_expressions.explainers import EXPLAINERS, superpixels
from ekman_expressions.zoo import NETWORKS, as_model
from ekman_expressions.zoo.model import GROUP

# Batch sizes tried for bare passes.
GROUPS = (10, 25, 50)
DEFAULT = ("WeiNet", "SongNet", "MobileNetV3Large", "ResNet50")
FACES = Path(__file__).parent.parent / "datasets" / "synthetic" / "images"


def face(side: int) -> np.ndarray:
    """Return a bundled face at a network's size, float32 in [0, 1]."""
    import cv2

    image = read_image(sorted(FACES.iterdir())[0])
    return cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA).astype(np.float32) / 255


def bare(model: object, image: np.ndarray, samples: int) -> tuple[Callable[[], None], int]:
    """Return a function that makes so many compiled passes, and the batch size with which it is fastest."""
    import tensorflow as tf

    passes, seconds = {}, {}
    for size in GROUPS:
        images = tf.constant(np.repeat(image[None], size, axis=0))
        passes[size] = (
            tf.function(
                lambda batch: model(batch, training=False), input_signature=[tf.TensorSpec(images.shape)]
            ).get_concrete_function(),
            images,
        )
    for turn in range(4):
        for size, (ask, images) in passes.items():
            start = time.perf_counter()
            ask(images).numpy()
            if turn:
                seconds[size] = min((time.perf_counter() - start) / size, seconds.get(size, np.inf))
    best = min(seconds, key=seconds.__getitem__)
    ask, images = passes[best]

    def run() -> None:
        for _ in range(samples // best):
            ask(images).numpy()

    return run, best


def theirs(ask: Callable, image: np.ndarray, segments: np.ndarray, samples: int) -> Callable[[], None]:
    """Return a function that explains by the package `lime`."""
    from lime.lime_image import LimeImageExplainer

    def run() -> None:
        # Its progress bar cannot be turned off.
        with contextlib.redirect_stderr(io.StringIO()):
            LimeImageExplainer(random_state=0).explain_instance(
                image, ask, num_samples=samples, segmentation_fn=lambda _: segments
            )

    return run


def measure(network: str, samples: int, rounds: int) -> str:
    """Measure one network, and return its line of the table."""
    import keras

    keras.utils.set_random_seed(0)
    model = NETWORKS[network].build(weights="none")
    image = face(NETWORKS[network].side)
    segments = superpixels(image)
    plain, batch = bare(model, image, samples)
    ready, lime = as_model(model), EXPLAINERS["lime"]

    def ours(samples: int = samples) -> None:
        lime.explain(ready, image[None], [0], seed=0, samples=samples)

    runs = {
        "bare": plain,
        "ours": ours,
        "predict_on_batch": theirs(model.predict_on_batch, image, segments, samples),
        "predict": theirs(lambda images: model.predict(images, verbose=0), image, segments, samples),
        "eager": theirs(lambda images: model(images, training=False).numpy(), image, segments, samples),
    }
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    # So that nothing is compiled while the clock runs; bare passes are by now.
    for ask in (model.predict_on_batch, lambda images: model.predict(images, verbose=0)):
        ask(np.repeat(image[None], 10, axis=0))
    ours(GROUP)
    for _ in range(rounds):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
    # Only whole calls were made.
    bare_seconds = np.array(seconds["bare"]) * samples / (samples // batch * batch)
    of_ours = np.array(seconds["ours"])
    ratios = [np.array(seconds[name]) / of_ours for name in ("predict_on_batch", "predict", "eager")]
    cells = [
        network,
        f"{batch}",
        f"{GROUP}",
        f"{np.median(bare_seconds):.2f}",
        f"{np.median(of_ours):.2f}",
        f"**{_spread(of_ours / bare_seconds)}**",
        *(_spread(ratio) for ratio in ratios),
    ]
    return "| " + " | ".join(cells) + " |"


def _spread(values: np.ndarray) -> str:
    return f"{np.median(values):.2f} ({values.min():.2f} ... {values.max():.2f})"


def main() -> None:
    """Measure each network, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("networks", nargs="*", default=DEFAULT)
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    start_tensorflow()
    load = os.getloadavg()[0]
    print(f"{options.samples} samples, {options.rounds} rounds, {os.cpu_count()} cores, load {load:.1f}\n")
    print(
        "| network | best batch | group | bare passes, s | LIME, s | LIME / bare: median (range) "
        "| lime with predict_on_batch / LIME | with predict | called eagerly |\n" + "|---" * 9 + "|"
    )
    for network in options.networks:
        print(measure(network, options.samples, options.rounds), flush=True)


if __name__ == "__main__":
    main()
