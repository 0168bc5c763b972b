"""The memory that one training step of each network takes, and a whole training of one.

    python benchmarks/memory.py [NETWORK ...]           # default: SilNet, WeiNet, MobileNetV3Large
    python benchmarks/memory.py --all
    python benchmarks/memory.py SilNet --whole          # with checkpoint and saving

Measured is the peak resident memory of a process of its own, TensorFlow included. Computed are the
state (4 bytes for each parameter, its gradient, and each of the optimiser's moments: Adam two, RMSprop
one), the activations (4 bytes for each number that a layer puts out for one image), and what batch 128
needs: the peak at batch 16, and for each further image twice its activations, values and gradients.
"""

from __future__ import annotations

import argparse
import math
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from ekman_expressions.core.expressions import EXPRESSIONS
from ekman_expressions.core.runtime import start_tensorflow
from ekman_expressions.zoo import NETWORKS, saving, train
from ekman_expressions.zoo.training import _build_learner, _peak_memory

MEASURED, LARGE = 16, 128


def step(network: str, batch_size: int) -> None:
    """Make two training steps, as `ekman_expressions.zoo` makes them, and print the peak in MB."""
    start_tensorflow()
    import tensorflow as tf

    tf.config.experimental.enable_op_determinism()
    spec = NETWORKS[network]
    _, learner = _build_learner(network, 2, optimizer=spec.optimizer, learning_rate=spec.learning_rate)
    side = spec.side
    rng = np.random.default_rng(0)
    images = rng.random((batch_size, side, side, 3), np.float32)
    targets = np.eye(6, dtype=np.float32)[rng.integers(0, 6, batch_size)]
    for _ in range(2):
        learner.train_on_batch(images, targets)
    print(_peak_memory())


def whole(network: str, batch_size: int) -> None:
    """Train for two epochs of two steps, checkpoints and saving included, and print the peak in MB."""
    side, count = NETWORKS[network].side, 2 * batch_size
    images = np.random.default_rng(0).integers(0, 256, (count, side, side, 3), np.uint8)
    labels = [EXPRESSIONS[number % 6] for number in range(count)]
    with tempfile.TemporaryDirectory() as root:
        checkpoint = Path(root) / "checkpoint.npz"
        trained = train(network, images, labels, epochs=2, batch_size=batch_size, checkpoint=checkpoint)
        saving.save(trained.model, Path(root) / "model.keras")
    print(_peak_memory())


def _peak(what: str, network: str, batch_size: int) -> float:
    command = [sys.executable, __file__, "--run", what, network, "--batch", str(batch_size)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False)
    # A process that the system kills for want of memory has no peak.
    return float(done.stdout.splitlines()[-1]) if done.returncode == 0 else float("nan")


def main() -> None:
    """Measure each network in processes of its own, one at a time, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("networks", nargs="*", default=["SilNet", "WeiNet", "MobileNetV3Large"])
    parser.add_argument("--all", action="store_true", help="all twelve networks")
    parser.add_argument("--whole", action="store_true", help="whole trainings at batch 16")
    parser.add_argument("--run", choices=["step", "whole"], help=argparse.SUPPRESS)
    parser.add_argument("--batch", type=int, default=MEASURED, help="batch to measure at")
    options = parser.parse_args()
    if options.run:
        {"step": step, "whole": whole}[options.run](options.networks[0], options.batch)
        return
    start_tensorflow()
    print(f"MB are 10^6 bytes; {os.cpu_count()} cores; load before: {os.getloadavg()[0]:.2f}\n")
    networks = list(NETWORKS) if options.all else options.networks
    if options.whole:
        print(f"| network | whole training at batch {MEASURED}, MB (measured) |\n|---|---|")
        for network in networks:
            print(f"| {network} | {_peak('whole', network, MEASURED):,.0f} |", flush=True)
        return
    print(
        f"| network | state, MB (computed) | activations, MB per image (computed) "
        f"| batch {options.batch}, MB (measured) | batch {LARGE}, MB (computed) |\n|---|---|---|---|---|"
    )
    for network in networks:
        spec = NETWORKS[network]
        state = 4e-6 * spec.parameters * (4 if spec.optimizer == "adam" else 3)
        layers = spec.build().layers
        activations = 4e-6 * sum(math.prod(layer.output.shape[1:]) for layer in layers)
        peak = _peak("step", network, options.batch)
        large = peak + 2 * activations * (LARGE - options.batch)
        print(f"| {network} | {state:,.0f} | {activations:.1f} | {peak:,.0f} | {large:,.0f} |", flush=True)


if __name__ == "__main__":
    main()
