"""How long an epoch takes, against as many steps on one batch that lies ready in memory.

    python benchmarks/input_pipeline.py [NETWORK ...] [--images 128] [--batch 16] [--repeats 5]

Both are timed in one process, in turns. The epoch is the real one: the pipeline of
`ekman_expressions.zoo`, started anew for each epoch, and Keras' `fit`. The steps are bare calls
of the same compiled training step. Ratio: the median over the pairs.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

import numpy as np
from made_faces import make_experiment

from ekman_expressions.core.startup import start_tensorflow
from ekman_expressions.study import fit, pipeline, prepared
from ekman_expressions.zoo import NETWORKS, checkpoint


def measure(network: str, images: int, batch_size: int, repeats: int) -> str:
    """Return a row of the table: seconds per step, ratios, reading and checkpoint."""
    import keras
    import tensorflow as tf

    with tempfile.TemporaryDirectory() as root:
        experiment = make_experiment(Path(root), network, images, batch_size, repeats + 1)
        rows = prepared.read_manifest(experiment).query("fold == 'CV2'")
        start = time.perf_counter()
        faces = pipeline.decoded_faces(experiment, rows["image_id"], NETWORKS[network].side)
        reading, targets = time.perf_counter() - start, pipeline.one_hot(rows)
        keras.utils.set_random_seed(0)
        tf.config.experimental.enable_op_determinism()
        _, learner = fit.build_learner(experiment, network, -(-images // batch_size))
        batch = (tf.constant(np.float32(faces[:batch_size]) / 255), tf.constant(targets[:batch_size]))
        pairs = []
        for epoch in range(repeats + 1):
            start = time.perf_counter()
            batches, steps = pipeline.training_batches(
                experiment, network, "CV1", faces, targets, first_epoch=epoch
            )
            learner.fit(
                batches,
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
        checkpoint.write(Path(root) / "checkpoint.npz", "", learner, checkpoint.Progress())
        writing = time.perf_counter() - start
        ratios = epochs / bare
        return (
            f"| {network} | {1000 * np.median(epochs):.1f} | {1000 * np.median(bare):.1f} | "
            f"**{np.median(ratios):.3f}** ({ratios.min():.3f} ... {ratios.max():.3f}) | "
            f"{reading:.2f} | {writing:.2f} |"
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
        "| network | epoch, ms per step | bare step, ms | ratio: median (range) | reading all faces once, s "
        "| checkpoint, s |\n|---|---|---|---|---|---|"
    )
    for network in options.networks:
        print(measure(network, options.images, options.batch, options.repeats), flush=True)


if __name__ == "__main__":
    main()
