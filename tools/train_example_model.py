"""Train the model that `ekman_expressions.zoo.example_model` loads, and write it into the package's data.

    python tools/train_example_model.py

A WeiNet on the synthetic faces of all but the first eight persons, each face also mirrored; Adam, whose
rate rises to 3e-4 over 40 steps and then falls along a cosine. Measured on the eight persons it has not seen,
after its weights were rounded to 16 bits. Takes about five minutes on two cores.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from ekman_expressions.core.expressions import EXPRESSIONS
from ekman_expressions.core.files import write_arrays, write_json
from ekman_expressions.faces import Faces, example_faces
from ekman_expressions.zoo import NETWORKS, train
from ekman_expressions.zoo.own_models import _EXAMPLE

UNSEEN, BATCH, WARM_UP, RATE = 8, 16, 40, 3e-4


def pixels(faces: Faces) -> np.ndarray:
    """Return faces at the network's size, as bytes."""
    return np.rint(255 * faces.at(NETWORKS["WeiNet"].side)).astype(np.uint8)


def main() -> None:
    """Train, measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, default=_EXAMPLE.parent)
    options = parser.parse_args()
    faces = example_faces()
    subjects = sorted(set(faces.table["subject"]))
    is_unseen = faces.table["subject"].isin(subjects[:UNSEEN]).to_numpy()
    seen, unseen = faces[~is_unseen], faces[is_unseen]
    images = pixels(seen)
    images = np.concatenate([images, images[:, :, ::-1]])
    trained = train(
        "WeiNet",
        images,
        [*seen.table["expression"]] * 2,
        optimizer="adam",
        learning_rate=RATE,
        schedule="cosine",
        warmup=WARM_UP,
        epochs=options.epochs,
        batch_size=BATCH,
        seed=options.seed,
    )
    print(trained.curve.to_string(index=False))
    weights = [weight.astype(np.float16) for weight in trained.model.get_weights()]
    trained.model.set_weights([weight.astype(np.float32) for weight in weights])
    accuracy = {}
    for name, part in (("seen", seen), ("unseen", unseen)):
        found = trained.model.predict(part.at(NETWORKS["WeiNet"].side), verbose=0).argmax(axis=1)
        accuracy[name] = float(np.mean(found == [EXPRESSIONS.index(name) for name in part.table["expression"]]))
    print(accuracy)
    write_arrays(options.folder / _EXAMPLE.name, {f"weight_{place}": weight for place, weight in enumerate(weights)})
    told = {"network": "WeiNet", "seed": options.seed, "epochs": options.epochs, "accuracy": accuracy}
    told |= {"unseen": [name.removeprefix("synthetic/") for name in subjects[:UNSEEN]]}
    write_json(options.folder / _EXAMPLE.with_suffix(".json").name, told)


if __name__ == "__main__":
    main()
