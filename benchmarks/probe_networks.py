"""Probe networks: do networks trained on faces in which one region alone differs highlight that region?

    python benchmarks/probe_networks.py [--samples 1000] [--faces 10] [--explainers lime grad_cam ...]

Each network is trained from scratch on the brows-only, the eyes-only and the mouth-only faces, and explained
on persons whom it has not seen, beside the same network before training. Writes results/probes/ (or
--folder): probe_faces.csv, a row per explained face, and probe_networks.csv, their means with 95 % intervals
over persons.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from ekman_expressions.core.files import read_csv, read_image, write_csv
from ekman_expressions.core.seeds import derive_seed, generator
from ekman_expressions.core.startup import start_tensorflow
from ekman_expressions.explainers import EXPLAINERS
from ekman_expressions.faces import LandmarkDetector, crop_face, synthetic
from ekman_expressions.facespace.masks import atlas
from ekman_expressions.facespace.warp import normalise
from ekman_expressions.figures import interval_dots
from ekman_expressions.measures.uncertainty import RESAMPLES, interval_of, resample_counts
from ekman_expressions.zoo import NETWORKS, as_model
from ekman_expressions.zoo.keras_internals import _keras_seeded

TRAINED, UNTRAINED, DIFFERENCE = "trained", "untrained", "difference"
PROBES: dict[str, tuple[str, str]] = {
    "brows": ("raised", "lowered"),
    "eyes": ("wide", "closed"),
    "mouth": ("smile", "frown"),
}
"""The probes, by the one region in which their faces differ from the neutral, and their labels."""

EPOCHS, BATCH = 40, 8
RATES = {"SongNet": 1e-3}
"""Learning rates of networks that need another one than 2e-4."""


@dataclass(frozen=True, eq=False)
class ProbeFaces:
    """The faces of one probe, cropped for one network; class 0 is neutral, landmarks in units of the side."""

    probe: str
    classes: tuple[str, ...]
    image_ids: np.ndarray
    subjects: np.ndarray
    targets: np.ndarray
    images: np.ndarray
    landmarks: np.ndarray


def load_probes(probe: str) -> pd.DataFrame:
    """Read the bundled faces of a probe, which differ from their neutral in one region only.

    A row per face with ``image_id, path`` (absolute), ``subject, label`` (see `PROBES`) and ``neutral``,
    ``neutral_path`` of the same person's neutral face under the same pose and light.
    """
    columns = ("image_id", "path", "subject", "probe", "label", "neutral")
    rows = read_csv(synthetic.folder() / "probes.csv", columns, dtype=str, keep_default_na=False)
    rows = rows[rows["probe"] == probe].reset_index(drop=True)
    faces = synthetic.load().set_index("image_id")
    rows["path"] = [str(synthetic.folder() / path) for path in rows["path"]]
    return rows.assign(neutral_path=faces.loc[rows["neutral"], "path"].to_numpy())


def load_faces(probe: str, side: int) -> ProbeFaces:
    """Read a probe's faces and the neutral face of each pair, cropped to the network's size.

    All faces of a person are cut out by the landmarks of the *neutral* one. By their own, a smile
    that widens the mouth would shift and shrink the whole face, and a network could tell it by the hair.
    """
    classes = ("neutral", *PROBES[probe])
    found: list[tuple] = []
    with LandmarkDetector() as detector:
        for (neutral, path), of_pair in load_probes(probe).groupby(["neutral", "neutral_path"]):
            image = read_image(path)
            seen = detector.detect(image)
            if seen is None:
                print(f"{neutral}: no face found")
                continue
            crop, points, transform = crop_face(image, seen.points, side)
            found.append((neutral, of_pair["subject"].iloc[0], 0, crop, points))
            for row in of_pair.itertuples():
                image = read_image(row.path)
                own = detector.detect(image)
                if own is None:
                    print(f"{row.image_id}: no face found")
                    continue
                crop, _, _ = crop_face(image, seen.points, side)
                points = (own.points @ transform[:, :2].T + transform[:, 2]) / side
                found.append((row.image_id, row.subject, classes.index(row.label), crop, points))
    columns = (np.stack(column) for column in zip(*found, strict=True))
    return ProbeFaces(probe, classes, *columns)


def split_persons(faces: ProbeFaces, seed: int) -> np.ndarray:
    """Return which faces (N,) are of the third of the persons that is kept for testing."""
    persons = np.unique(faces.subjects)
    chosen = generator(seed, "probe persons").permutation(persons)[: round(len(persons) / 3)]
    return np.isin(faces.subjects, chosen)


def faces_to_explain(faces: ProbeFaces, test: np.ndarray, count: int) -> np.ndarray:
    """Return the places of up to `count` test faces that are not neutral, of as many persons as can be.

    The labels take turns over the persons, then each person's other label follows.
    """
    persons, labels = np.unique(faces.subjects[test]), range(1, len(faces.classes))
    order = []
    for turn in range(len(labels)):
        for number, person in enumerate(persons):
            label = labels[(number + turn) % len(labels)]
            order += list(np.flatnonzero(test & (faces.subjects == person) & (faces.targets == label)))
    return np.array(order[:count], dtype=int)


def train_probe(
    network: str, faces: ProbeFaces, test: np.ndarray, seed: int, rate: float | None = None
) -> tuple[Any, Any, float]:
    """Train a network from scratch on all faces but `test`: trained, untrained, accuracy on `test`."""
    start_tensorflow()
    import keras

    keras.backend.clear_session()
    with _keras_seeded(derive_seed(seed, "probe", network, faces.probe) % 2**32):
        trained = NETWORKS[network].build("none", "paper", len(faces.classes))
    untrained = keras.models.clone_model(trained)
    untrained.set_weights(trained.get_weights())
    learning = np.flatnonzero(~test)
    batches = -(-len(learning) // BATCH)
    decay = keras.optimizers.schedules.CosineDecay(rate or RATES.get(network, 2e-4), EPOCHS * batches)
    trained.compile(optimizer=keras.optimizers.Adam(decay), loss="categorical_crossentropy")
    targets = np.eye(len(faces.classes), dtype=np.float32)[faces.targets]
    for epoch in tqdm(range(EPOCHS), desc=f"Training {network} on {faces.probe}", unit="epoch"):
        random = generator(seed, "probe order", network, faces.probe, epoch)
        for chosen in np.array_split(random.permutation(learning), batches):
            images = np.float32(faces.images[chosen]) / 255
            mirrored = random.random(len(chosen)) < 0.5
            images[mirrored] = images[mirrored][:, :, ::-1]
            trained.train_on_batch(images, targets[chosen])
    images = np.float32(faces.images[test]) / 255
    predictions = [trained(images[at : at + 16], training=False) for at in range(0, len(images), 16)]
    right = np.concatenate(predictions).argmax(axis=1) == faces.targets[test]
    return trained, untrained, float(right.mean())


def explain_probe(
    models: dict[str, Any],
    faces: ProbeFaces,
    places: np.ndarray,
    explainers: list[str],
    samples: int,
    seed: int,
) -> pd.DataFrame:
    """Explain test faces by each of the `models` (by state), for the class they show.

    Returns a row per face, explainer and state: ``share`` of the positive mass that lies in the probe's
    region, ``area`` of the region in the canvas, ``ratio`` of the two (1 for a map that is the same
    everywhere, NaN where it is nowhere positive), and ``mass``, the mean of the positive values.
    """
    region = atlas().group(faces.probe)
    area = float(region.mean())
    rows = []
    for place in tqdm(places, desc=f"Explaining on {faces.probe}", unit="face"):
        image, target = np.float32(faces.images[place]) / 255, int(faces.targets[place])
        for state, model in models.items():
            maps = _maps(model, image, target, faces.landmarks[place], explainers, samples, seed)
            for explainer, found in maps.items():
                positive = np.maximum(normalise(found, faces.landmarks[place]), 0)
                total = positive.sum(dtype=np.float64)
                share = float(positive[region].sum(dtype=np.float64) / total) if total > 0 else np.nan
                rows.append(
                    {
                        "probe": faces.probe,
                        "explainer": explainer,
                        "state": state,
                        "image_id": faces.image_ids[place],
                        "subject": faces.subjects[place],
                        "label": faces.classes[target],
                        "share": share,
                        "area": area,
                        "ratio": share / area,
                        "mass": float(positive.mean()),
                    }
                )
    return pd.DataFrame(rows)


def _maps(
    model: Any,
    image: np.ndarray,
    target: int,
    landmarks: np.ndarray,
    explainers: list[str],
    samples: int,
    seed: int,
) -> dict[str, np.ndarray]:
    """Return the positive map of each explainer; those that share records share one here too."""
    model, records, maps = as_model(model), {}, {}
    for name in explainers:
        explainer = EXPLAINERS[name]
        settings = explainer.resolve(
            **{key: samples for key in ("samples", "masks") if key in explainer.resolve()}
        )
        if explainer.records_of not in records:
            own_seed = derive_seed(seed, "probes", target)
            records[explainer.records_of] = explainer.query(
                model, image, target, seed=own_seed, landmarks=landmarks, settings=settings
            )
        found = explainer.estimate(records[explainer.records_of], target, settings)
        maps[name] = np.maximum(found.map, 0)
    return maps


def summarise(table: pd.DataFrame, samples: int, seed: int) -> pd.DataFrame:
    """Average the ratios of faces, with 95 % intervals over persons.

    ``ratio`` is the mean over faces, each counting alike; ``heatmap`` that of the mean map, as the
    study averages, in which faces count with their mass. The state ``difference`` is trained - untrained.
    """
    rows = []
    for names, of_cell in table.groupby(["network", "probe", "explainer"], sort=False):
        persons = np.unique(of_cell["subject"])
        counts = resample_counts(len(persons), RESAMPLES, seed=derive_seed(seed, "probes", *names))
        # The first row is the data themselves: every person once.
        counts = np.vstack([np.ones(len(persons), int), counts])
        means, faces = {}, {}
        for state in (TRAINED, UNTRAINED):
            of_state = of_cell[(of_cell["state"] == state) & of_cell["ratio"].notna()]
            places = np.searchsorted(persons, of_state["subject"])
            weights = counts[:, places]
            ratio, mass = of_state["ratio"].to_numpy(float), of_state["mass"].to_numpy(float)
            with np.errstate(invalid="ignore"):
                of_faces = (weights @ ratio) / weights.sum(axis=1)
                of_heatmap = (weights @ (mass * ratio)) / (weights @ mass)
            means[state] = of_faces, of_heatmap
            faces[state] = len(of_state), len(np.unique(places))
        means[DIFFERENCE] = tuple(t - u for t, u in zip(means[TRAINED], means[UNTRAINED], strict=True))
        faces[DIFFERENCE] = tuple(map(min, faces[TRAINED], faces[UNTRAINED]))
        for state, pair in means.items():
            row = dict(zip(("network", "probe", "explainer", "state"), (*names, state), strict=True))
            for values, columns in zip(
                pair, (("ratio", "low", "high"), ("heatmap", "heatmap_low", "heatmap_high")), strict=True
            ):
                interval = interval_of(float(values[0]), values[1:], faces[state][1])
                row |= zip(columns, (interval.estimate, interval.low, interval.high), strict=True)
            row |= {"faces": faces[state][0], "subjects": faces[state][1], "samples": samples}
            rows.append(row | {"accuracy": of_cell["accuracy"].iloc[0], "chance": 1 / 3})
    return pd.DataFrame(rows)


def probes_figure(table: pd.DataFrame) -> Any:
    """Draw how far probe networks, and their untrained copies, highlight the region that they learned from.

    `table` is that of `summarise`.
    """
    dots = table[table["state"] != "difference"]
    names = [f"{row.network}, {row.probe}: {EXPLAINERS[row.explainer].title}" for row in dots.itertuples()]
    dots = dots.assign(row=names)
    of_heatmap = dots.assign(value=dots["heatmap"], low=dots["heatmap_low"], high=dots["heatmap_high"])
    accuracy = table["accuracy"]
    return interval_dots(
        pd.concat([dots.assign(value=dots["ratio"], panel="ratio"), of_heatmap.assign(panel="heatmap")]),
        panels={"ratio": "mean over faces", "heatmap": "mean heatmap"},
        row="row",
        colour="state",
        chance={"ratio": 1.0, "heatmap": 1.0},
        title="Do networks highlight the one region that they can have learned from?",
        note=(
            "share of the mass in the region over its share of the canvas; 95 % intervals over "
            f"{dots['subjects'].min()} or more persons, {dots['samples'].max()} samples\n"
            f"accuracy on these persons {accuracy.min():.2f} to {accuracy.max():.2f} (chance 0.33)"
        ),
    )


def probes_table(table: pd.DataFrame) -> pd.DataFrame:
    """Return the probe networks for readers: ``1.94 [0.47, 3.41]``, mean and 95 % interval over persons."""
    rows = table.assign(
        faces=[f"{row.ratio:.2f} [{row.low:.2f}, {row.high:.2f}]" for row in table.itertuples()],
        heatmap=[
            f"{row.heatmap:.2f} [{row.heatmap_low:.2f}, {row.heatmap_high:.2f}]" for row in table.itertuples()
        ],
    )
    keys = ["network", "probe", "accuracy", "explainer"]
    wide = rows.pivot(index=keys, columns="state", values=["faces", "heatmap"])
    order = pd.MultiIndex.from_frame(table[keys].drop_duplicates())
    states = ("trained", "untrained", "difference")
    return wide.loc[order, [(value, state) for value in ("faces", "heatmap") for state in states]]


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path("results") / "probes")
    parser.add_argument("--samples", type=int, default=250, help="samples of a face (the study: 1000)")
    parser.add_argument("--faces", type=int, default=10, help="test faces per network and probe")
    parser.add_argument("--networks", nargs="+", default=["WeiNet", "SongNet"], choices=NETWORKS)
    parser.add_argument("--probes", nargs="+", default=list(PROBES), choices=PROBES)
    parser.add_argument("--explainers", nargs="+", default=["lime"], choices=EXPLAINERS)
    parser.add_argument("--rate", type=float, help="learning rate (default: the network's own)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    tables = []
    for network in options.networks:
        for probe in options.probes:
            faces = load_faces(probe, NETWORKS[network].side)
            test = split_persons(faces, options.seed)
            trained, untrained, accuracy = train_probe(network, faces, test, options.seed, options.rate)
            places = faces_to_explain(faces, test, options.faces)
            models = {TRAINED: trained, UNTRAINED: untrained}
            rows = explain_probe(models, faces, places, options.explainers, options.samples, options.seed)
            tables.append(rows.assign(network=network, accuracy=accuracy))
            table = pd.concat(tables, ignore_index=True)
            summary = summarise(table, options.samples, options.seed)
            write_csv(options.folder / "probe_faces.csv", table)
            write_csv(options.folder / "probe_networks.csv", summary)
    print(summary.round(2).to_string(index=False))
    print(
        "\nShare of the mass in the region over the region's share of the canvas, as the mean over faces and "
        "of the mean heatmap; 95 % intervals over persons."
    )


if __name__ == "__main__":
    main()
