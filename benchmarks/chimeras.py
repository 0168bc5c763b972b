"""Double dissociation: do explanations tell a network that reads the upper face from one for the lower?

    python benchmarks/chimeras.py --folder results/chimeras [--heads pool flatten] [--faces 24]

Chimeras join the upper half of one expression with the lower half of another: same person, pose and light.
Network U learns the upper label, network L the lower one, of the same pictures and from the same initial
weights. Any map made of the image alone has the same share above the seam for both. `--folder` gets
faces_<head>.csv (a row per face and method; a face that is done is kept), accuracy_<head>.csv, and the
summary, chimeras.csv and chimeras.png.
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from ekman_expressions.core.files import read_arrays, write_csv
from ekman_expressions.core.runtime import derive_seed, start_tensorflow
from ekman_expressions.explainers import EXPLAINERS
from ekman_expressions.faces import load_faces, survey, synthetic
from ekman_expressions.figures import interval_dots, save
from ekman_expressions.measures import READINGS
from ekman_expressions.measures.uncertainty import _cluster_bootstrap
from ekman_expressions.zoo import NETWORKS, as_model

SIDE = 48
LABELS = ("anger", "happiness", "surprise")
HEADS = {"flatten": "WeiNet (flattened head)", "pool": "global average pooling"}
EPOCHS = {"flatten": 5, "pool": 8}
_LIME = {"samples": 128, "sampler": "orthogonal"}
EXACT = "Each half made neutral (exact)"
METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    "LIME, black": ("lime", _LIME),
    "LIME, blur": ("lime", _LIME | {"hidden": "blur"}),
    "LIME, own neutral": ("lime", _LIME | {"hidden": "neutral"}),
    "KernelSHAP, black": ("kernel_shap", _LIME),
    "Superpixel RISE, black": ("superpixel_rise", _LIME),
    "RISE, black": ("rise", {"masks": 128, "cells": 6}),
    "Occlusion, black": ("occlusion", {}),
    "Integrated gradients, black": ("integrated_gradients", {"steps": 32}),
    "Integrated gradients, blur": ("integrated_gradients", {"steps": 32, "hidden": "blur"}),
    "SmoothGrad": ("smooth_grad", {"copies": 16}),
    "Grad-CAM, logit": ("grad_cam", {"score": "logit"}),
    "Grad-CAM, contrast": ("grad_cam", {"score": "contrast"}),
}


def chimeras(
    images: np.ndarray, landmarks: np.ndarray, table: pd.DataFrame
) -> tuple[np.ndarray, np.ndarray, pd.DataFrame]:
    """Join the upper half of each face with the lower half of each, of the same person and variant.

    `images`, (N, S, S, 3), those of a person and variant cut out alike; `landmarks`, (N, 68, 2), in units of
    the side; `table` with ``subject, variant, expression``. Returns the same of all pairs, each face with
    itself too, joined at the height of the tip of the upper one's nose; the table has ``subject, variant,
    upper, lower`` (expressions) and ``seam``, the first row of the lower half.

    Examples
    --------
    >>> faces = np.stack([np.zeros((8, 8, 3)), np.ones((8, 8, 3))])
    >>> rows = pd.DataFrame({"subject": "id00", "variant": 0, "expression": ["fear", "anger"]})
    >>> joined, _, about = chimeras(faces, np.full((2, 68, 2), 0.5), rows)
    >>> about.loc[1, ["upper", "lower"]].tolist(), joined[1, :, 0, 0].tolist()
    (['fear', 'anger'], [0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0])
    """
    made, points, rows = [], [], []
    for (subject, variant), places in table.groupby(["subject", "variant"]).indices.items():
        for upper, lower in itertools.product(places, places):
            height = landmarks[upper, 30, 1]
            seam = round(height * images.shape[1])
            made.append(np.concatenate([images[upper, :seam], images[lower, seam:]]))
            above = landmarks[upper, :, 1:] <= height
            points.append(np.where(above, landmarks[upper], landmarks[lower]))
            names = table["expression"].iloc[[upper, lower]]
            rows.append((subject, variant, *names, seam))
    columns = ["subject", "variant", "upper", "lower", "seam"]
    return np.stack(made), np.stack(points), pd.DataFrame(rows, columns=columns)


def _share_above(found: np.ndarray, seam: int) -> float:
    """Return the share of a map's positive mass in the rows above `seam`; NaN where it is nowhere positive.

    Of a map made of the image alone it is the same for every model, so that models are told apart by it only
    if the map depends on them.
    """
    positive = np.maximum(found, 0)
    total = positive.sum(dtype=np.float64)
    return float(positive[:seam].sum(dtype=np.float64) / total) if total > 0 else np.nan


def _summarise_dissociation(faces: pd.DataFrame, *, seed: int) -> pd.DataFrame:
    """Average the share above the seam of network U minus L, with 95 % intervals over subjects.

    `faces`: ``head, method, reading, subject`` and `_share_above` of both networks' maps, ``U`` and ``L``.
    Also ``right``, the share of faces on which U has more above, and ``faces`` where both are positive.
    """
    rows = []
    for names, of_cell in faces.groupby(["head", "method", "reading"], sort=False):
        apart = (of_cell["U"] - of_cell["L"]).dropna()
        found = _cluster_bootstrap(
            apart.to_numpy(), of_cell.loc[apart.index, "subject"].to_numpy(), seed=derive_seed(seed, *names)
        )
        ends = (found.estimate, found.low, found.high)
        rows.append((*names, *ends, (apart > 0).mean(), len(apart), found.units))
    columns = ["head", "method", "reading", "value", "low", "high", "right", "faces", "subjects"]
    return pd.DataFrame(rows, columns=columns)


def made_chimeras() -> tuple[np.ndarray, np.ndarray, pd.DataFrame]:
    """Join the bundled faces; all of a person and variant are cut out by the landmarks of the neutral one."""
    rows = survey("synthetic").rows
    rows = rows[rows["expression"].isin(("neutral", *LABELS))].reset_index(drop=True)
    stored = read_arrays(synthetic.folder() / "detected.npz", ("image_id", "points", "side"))
    points = dict(zip(stored["image_id"].tolist(), stored["points"] * float(stored["side"]), strict=True))
    neutral = rows["neutral"].where(rows["expression"] != "neutral", rows["image_id"])
    found = load_faces(
        rows[["image_id", "path", "subject", "expression"]].assign(variant=rows["variant"]),
        landmarks=[points[image_id.removeprefix("synthetic_")] for image_id in neutral],
        size=SIDE,
    )
    return chimeras(found.at(SIDE), found.landmarks, found.table)


def _build(head: str) -> Any:
    import keras
    from keras import layers

    keras.utils.set_random_seed(1)
    if head == "flatten":
        return NETWORKS["WeiNet"].build(preprocessing="native", classes=len(LABELS), side=SIDE)
    blocks = [keras.Input((SIDE, SIDE, 3))]
    for filters in (32, 64, 96):
        blocks += [layers.Conv2D(filters, 3, padding="same"), layers.BatchNormalization(momentum=0.9)]
        blocks += [layers.Activation("relu"), layers.MaxPooling2D(2)]
    blocks += [layers.Conv2D(96, 3, padding="same", activation="relu"), layers.GlobalAveragePooling2D()]
    return keras.Sequential([*blocks, layers.Dense(len(LABELS), activation="softmax")])


def trained(head: str, name: str, images: np.ndarray, labels: np.ndarray, folder: Path) -> Any:
    """Train a network, or read the one that has been trained."""
    import keras

    path = folder / f"{head}_{name}.keras"
    if path.exists():
        return keras.models.load_model(path)
    model = _build(head)
    rate = 3e-4 if head == "flatten" else 1e-3
    model.compile(keras.optimizers.Adam(rate), "sparse_categorical_crossentropy")
    model.fit(images, labels, batch_size=32, epochs=EPOCHS[head], verbose=2)
    model.save(path)
    return model


def run_head(head: str, folder: Path, count: int) -> None:
    """Train U and L, and explain both on faces of persons whom they have not seen."""
    images, landmarks, table = made_chimeras()
    subjects = sorted(set(table["subject"]))
    test = table["subject"].isin(subjects[::3]).to_numpy()
    labelled = (table["upper"].isin(LABELS) & table["lower"].isin(LABELS)).to_numpy()
    numbers = dict(zip((*LABELS, "neutral"), (*range(len(LABELS)), -1), strict=True))
    truth = {side: table[side].map(numbers).to_numpy() for side in ("upper", "lower")}
    learn, seen = np.flatnonzero(labelled & ~test), np.flatnonzero(labelled & test)
    models, rights = {}, []
    for name, side in (("U", "upper"), ("L", "lower")):
        models[name] = as_model(trained(head, name, images[learn], truth[side][learn], folder))
        said = models[name].predict(images[seen]).argmax(axis=1)
        for other in ("upper", "lower"):
            rights.append((head, name, other, (said == truth[other][seen]).mean(), len(seen)))
    accuracy = pd.DataFrame(rights, columns=["head", "network", "label", "accuracy", "faces"])
    print(accuracy.round(3).to_string(index=False), flush=True)
    write_csv(folder / f"accuracy_{head}.csv", accuracy)

    place_of = {
        key: place
        for place, key in enumerate(table[["subject", "variant", "upper", "lower"]].itertuples(index=False, name=None))
    }
    unlike = seen[truth["upper"][seen] != truth["lower"][seen]]
    # As many persons as there are, in turn.
    order = table.iloc[unlike].sample(frac=1, random_state=0)
    order = order.assign(turn=order.groupby("subject").cumcount()).sort_values("turn", kind="stable")
    path = folder / f"faces_{head}.csv"
    done = pd.read_csv(path) if path.exists() else pd.DataFrame({"place": []})
    for place in tqdm(order.index[:count], desc=head, unit="face"):
        if (done["place"] == place).any():
            continue
        about = table.loc[place]
        key = (about["subject"], about["variant"])
        neutral = images[[place_of[*key, "neutral", "neutral"]]]
        image, points, seam = images[[place]], landmarks[[place]], int(about["seam"])
        one = {"head": head, "place": place, **about[["subject", "variant", "upper", "lower"]].to_dict()}
        rows = []
        halves = images[[place_of[*key, "neutral", about["lower"]], place_of[*key, about["upper"], "neutral"]]]
        targets, effects = {}, {}
        for name, model in models.items():
            predictions = model.predict(np.concatenate([image, halves]))
            targets[name] = int(predictions[0].argmax())
            effects[name] = predictions[0, targets[name]] - predictions[1:, targets[name]]
        causes = {
            f"{side}_{name}": float(e)
            for name, pair in effects.items()
            for side, e in zip(("upper", "lower"), pair, strict=True)
        }
        for method, (explainer, settings) in METHODS.items():
            maps = [
                EXPLAINERS[explainer]
                .explain(model, image, [targets[name]], seed=0, landmarks=points, neutrals=neutral, **settings)[0]
                .map
                for name, model in models.items()
            ]
            for reading, read in READINGS.items():
                above = [_share_above(read(found), seam) for found in maps]
                rows.append(one | causes | {"method": method, "reading": reading, "U": above[0], "L": above[1]})
        done = pd.concat([done, pd.DataFrame(rows)], ignore_index=True) if len(done) else pd.DataFrame(rows)
        write_csv(path, done)


def exact_shares(faces: pd.DataFrame) -> pd.DataFrame:
    """Return the upper half's share in what making each half neutral does: the truth, in the same form."""
    one = faces.drop_duplicates(["head", "place"])
    readings = []
    for reading, read in READINGS.items():
        above = {
            name: read(one[f"upper_{name}"]) / (read(one[f"upper_{name}"]) + read(one[f"lower_{name}"]))
            for name in ("U", "L")
        }
        readings.append(one.assign(method=EXACT, reading=reading, **above))
    return pd.concat(readings)


def chimeras_figure(table: pd.DataFrame) -> Any:
    """Draw the share above the seam of U minus L: explainers as rows, heads as colours."""
    return interval_dots(
        table.assign(panel=table["reading"], head=table["head"].map(HEADS)),
        panels={"positive": "positive part", "magnitude": "magnitude"},
        row="method",
        colour="head",
        chance={"positive": 0.0, "magnitude": 0.0},
        title="Do explanations tell a network of the upper face from one of the lower?",
        note=(
            "share of the map above the seam, upper-face network less lower-face network, same picture "
            "(0: a map of the image alone)\n"
            f"95 % intervals over {table['subjects'].max()} persons; up to {table['faces'].max()} faces a dot"
        ),
    )


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path("results") / "chimeras")
    parser.add_argument("--heads", nargs="+", default=list(HEADS), choices=HEADS)
    parser.add_argument("--faces", type=int, default=24, help="faces to explain per head")
    given = parser.parse_args()
    start_tensorflow()
    given.folder.mkdir(parents=True, exist_ok=True)
    for head in given.heads:
        run_head(head, given.folder, given.faces)
    faces = pd.concat(map(pd.read_csv, sorted(given.folder.glob("faces_*.csv"))), ignore_index=True)
    summary = _summarise_dissociation(pd.concat([exact_shares(faces), faces]), seed=0)
    write_csv(given.folder / "chimeras.csv", summary.round(4))
    save(chimeras_figure(summary), given.folder / "chimeras.png")
    print(summary.round(3).to_string(index=False))


if __name__ == "__main__":
    main()
