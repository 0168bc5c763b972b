"""How long an epoch takes, against as many steps on one batch that lies ready in memory.

    python benchmarks/input_pipeline.py [NETWORK ...] [--images 128] [--batch 16] [--repeats 5]

Both are timed in one process, in turns. The epoch is the real one: the batches of
`ekman_expressions.zoo.training`, started anew for each epoch, and Keras' `fit`. The steps are bare calls
of the same compiled training step. Ratio: the median over the pairs.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

import numpy as np

from ekman_expressions.core.runtime import start_tensorflow
from ekman_expressions.zoo import NETWORKS, saving
from ekman_expressions.zoo.training import _batches, _build_learner


def measure(network: str, images: int, batch_size: int, repeats: int) -> str:
    """Return a row of the table: seconds per step, ratios, writing a checkpoint."""
    import keras
    import tensorflow as tf

    spec, random = NETWORKS[network], np.random.default_rng(0)
    faces = random.integers(0, 256, (images, spec.side, spec.side, 3), np.uint8)
    targets = np.eye(6, dtype=np.float32)[np.arange(images) % 6]
    keras.utils.set_random_seed(0)
    tf.config.experimental.enable_op_determinism()
    steps = -(-images // batch_size)
    _, learner = _build_learner(network, steps, optimizer=spec.optimizer, learning_rate=spec.learning_rate)

    batch = (tf.constant(np.float32(faces[:batch_size]) / 255), tf.constant(targets[:batch_size]))
    pairs = []
    for epoch in range(repeats + 1):
        start = time.perf_counter()
        learner.fit(
            _batches(faces, targets, range(epoch, epoch + 1), batch_size, "none", 0, network, "CV1"),
            steps_per_epoch=steps,
            initial_epoch=epoch,
            epochs=epoch + 1,
            shuffle=False,
            verbose=0,
        )
        middle = time.perf_counter()
        for _ in range(steps):
            learner.train_function(iter([batch]))
        learner.get_metrics_result()
        pairs.append(((middle - start) / steps, (time.perf_counter() - middle) / steps))
    # The first pair compiles.
    epochs, bare = np.array(pairs[1:]).T
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as root:
        saving._write_checkpoint(Path(root) / "checkpoint.npz", "", learner, {})
    writing = time.perf_counter() - start
    ratios = epochs / bare
    return (
        f"| {network} | {1000 * np.median(epochs):.1f} | {1000 * np.median(bare):.1f} | "
        f"**{np.median(ratios):.3f}** ({ratios.min():.3f} ... {ratios.max():.3f}) | {writing:.2f} |"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("networks", nargs="*", default=["WeiNet", "MobileNetV3Large"])
    parser.add_argument("--images", type=int, default=128)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    start_tensorflow()
    load = os.getloadavg()[0]
    print(
        f"{options.images} images, batch {options.batch}, {options.repeats} pairs; {os.cpu_count()} cores; "
        f"load before: {load:.2f}\n"
    )
    print(
        "| network | epoch, ms per step | bare step, ms | ratio: median (range) | checkpoint, s |\n"
        "|---|---|---|---|---|"
    )
    for network in options.networks:
        print(measure(network, options.images, options.batch, options.repeats), flush=True)


if __name__ == "__main__":
    main()
