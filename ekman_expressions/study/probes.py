"""Probe networks: networks that can only have learned from one region must light that region.

Each network is trained from scratch on the brows-only, the eyes-only and the mouth-only faces, and
explained on persons whom it has not seen, beside the same network before training.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from ekman_expressions.core.errors import DataError, check_option, check_range
from ekman_expressions.core.files import read_csv, read_json, require, write_csv, write_json
from ekman_expressions.core.seeds import derive_seed
from ekman_expressions.explainers import EXPLAINERS
from ekman_expressions.faces import synthetic
from ekman_expressions.facespace.masks import atlas
from ekman_expressions.facespace.warp import normalise
from ekman_expressions.measures.bootstrap import RESAMPLES, interval_of, resample_counts
from ekman_expressions.study.environment import environment
from ekman_expressions.study.probe_faces import ProbeFaces, faces_to_explain, load_faces, split_persons
from ekman_expressions.study.probe_training import ProbeNetwork, ProbeTraining, train_probe
from ekman_expressions.study.provenance import Run, refuse_other_settings
from ekman_expressions.zoo import NETWORKS, as_model

FACES = (
    "network",
    "probe",
    "explainer",
    "state",
    "image_id",
    "subject",
    "label",
    "accuracy",
    "share",
    "area",
    "ratio",
    "mass",
)
"""Columns of ``probe_faces.csv``: a row per explained face and state of the network.

``share`` of the positive mass that lies in the probe's region, ``area`` of the region in the canvas,
``ratio`` of the two: 1 for a map that is the same everywhere. NaN where the map is nowhere positive.
``mass`` is the mean of the positive values over the canvas.
"""

SUMMARY = (
    "network",
    "probe",
    "explainer",
    "state",
    "ratio",
    "low",
    "high",
    "heatmap",
    "heatmap_low",
    "heatmap_high",
    "faces",
    "subjects",
    "samples",
    "accuracy",
    "chance",
)
"""Columns of ``probe_networks.csv``.

``ratio`` is the mean over faces, each counting alike; ``heatmap`` that of the mean map, as the
study averages, in which faces count with their mass. The state ``difference`` is trained - untrained.
"""

TRAINED, UNTRAINED, DIFFERENCE = "trained", "untrained", "difference"


def run(
    folder: Path,
    *,
    networks: Sequence[str] = ("WeiNet", "SongNet"),
    probes: Sequence[str] = tuple(synthetic.PROBES),
    explainers: Sequence[str] = ("lime",),
    samples: int = 1000,
    faces: int = 10,
    seed: int = 0,
    root: Path | None = None,
    training: ProbeTraining | None = None,
) -> pd.DataFrame:
    """Train and explain probe networks, and write what they light.

    Parameters
    ----------
    folder : Path
        Where ``probe_faces.csv`` (`FACES`), ``probe_networks.csv`` (`SUMMARY`) and ``run.json`` go.
        Parts that are there already are kept, so that an interrupted run goes on.
    networks, probes, explainers : sequence of str
        Names in `zoo.NETWORKS`, `synthetic.PROBES` and `explainers.EXPLAINERS`.
    samples : int, >= 2
        Masked copies of a face; LIME's in the study are 1000.
    faces : int, >= 1
        Test faces per network and probe.
    seed : int
    root : Path, optional
        Another folder with a synthetic set.
    training : ProbeTraining, optional
        By default those of each network in `probe_training.TRAINING`.

    Returns
    -------
    DataFrame
        The summary.

    Raises
    ------
    SettingsError
        If a name or number is none.
    ConflictError
        If the folder was made with other settings.
    """
    for values, name, known in (
        (networks, "networks", NETWORKS),
        (probes, "probes", synthetic.PROBES),
        (explainers, "explainers", EXPLAINERS),
    ):
        for value in values:
            check_option(value, name, known)
    check_range(samples, "samples", 2, integer=True)
    check_range(faces, "faces", 1, integer=True)
    settings = {"seed": seed, "samples": samples, "faces": faces}
    if training is not None:
        settings["training"] = vars(training)
    path = Path(folder) / "probe_faces.csv"
    noted, before = Run(), Path(folder) / "run.json"
    if before.exists():
        refuse_other_settings(Path(folder), {"known_settings": read_json(before)["settings"]}, settings)
    write_json(before, {"step": "probes", **environment(), "settings": settings})
    table = read_csv(path, FACES) if path.exists() else pd.DataFrame(columns=FACES)
    for network in networks:
        for probe in probes:
            lacking = [name for name in explainers if not _is_there(table, network, probe, name)]
            if not lacking:
                noted.skipped += len(explainers)
                continue
            found = load_faces(probe, NETWORKS[network].side, root)
            for item, reason in found.omissions:
                noted.omit(f"{network} {probe} {item}", reason)
            test = split_persons(found, seed=seed)
            model = train_probe(network, found, test, seed=seed, settings=training)
            places = faces_to_explain(found, test, faces)
            rows = explain_probe(network, model, found, places, lacking, samples=samples, seed=seed)
            table = pd.concat([table, rows], ignore_index=True) if len(table) else rows
            write_csv(path, table)
            noted.done += len(lacking)
    summary = summarise(table, samples=samples, seed=seed)
    write_csv(Path(folder) / "probe_networks.csv", summary)
    return summary


def explain_probe(
    network: str,
    model: ProbeNetwork,
    faces: ProbeFaces,
    places: Iterable[int],
    explainers: Sequence[str],
    *,
    samples: int,
    seed: int,
) -> pd.DataFrame:
    """Explain test faces by the trained network and by its untrained copy, for the class they show.

    Parameters
    ----------
    network : str
        Its name in the table.
    model : ProbeNetwork
    faces : ProbeFaces
    places : iterable of int
        Which faces.
    explainers : sequence of str
    samples : int
        Masked copies; the same for both states.
    seed : int

    Returns
    -------
    DataFrame
        The columns `FACES`.
    """
    region = atlas().group(faces.probe)
    area = float(region.mean())
    rows = []
    for place in tqdm(list(places), desc=f"Explaining {network} on {faces.probe}", unit="face"):
        image = np.float32(faces.images[place]) / 255
        target = int(faces.targets[place])
        for state, one in ((TRAINED, model.trained), (UNTRAINED, model.untrained)):
            maps = _explain(one, image, target, faces.landmarks[place], explainers, samples, seed)
            for explainer, found in maps.items():
                warped = normalise(found, faces.landmarks[place])
                share = _share(warped, region)
                rows.append(
                    (
                        network,
                        faces.probe,
                        explainer,
                        state,
                        faces.image_ids[place],
                        faces.subjects[place],
                        faces.classes[target],
                        model.accuracy,
                        share,
                        area,
                        share / area,
                        float(np.maximum(warped, 0).mean()),
                    )
                )
    return pd.DataFrame(rows, columns=FACES)


def summarise(table: pd.DataFrame, *, samples: int, seed: int) -> pd.DataFrame:
    """Average the ratios of faces, with 95 % intervals over persons: the columns `SUMMARY`."""
    rows = []
    for names, of_cell in table.groupby(["network", "probe", "explainer"], sort=False):
        persons = np.unique(of_cell["subject"])
        counts = resample_counts(len(persons), RESAMPLES, seed=derive_seed(seed, "probes", *names))
        # The first row is the data themselves: every person once.
        counts = np.vstack([np.ones(len(persons), int), counts])
        found, faces = {}, {}
        for state in (TRAINED, UNTRAINED):
            of_state = of_cell[(of_cell["state"] == state) & np.isfinite(of_cell["ratio"].astype(float))]
            places = np.searchsorted(persons, of_state["subject"])
            ratio, mass = of_state["ratio"].to_numpy(float), of_state["mass"].to_numpy(float)
            found[state] = (_mean(counts, places, ratio), _mean(counts, places, ratio, mass))
            faces[state] = len(of_state), len(np.unique(places))
        found[DIFFERENCE] = tuple(t - u for t, u in zip(found[TRAINED], found[UNTRAINED], strict=True))
        faces[DIFFERENCE] = tuple(map(min, faces[TRAINED], faces[UNTRAINED]))
        for state, pair in found.items():
            ends = []
            for values in pair:
                of_pair = interval_of(float(values[0]), values[1:], faces[state][1])
                ends += [of_pair.estimate, of_pair.low, of_pair.high]
            rows.append((*names, state, *ends, *faces[state], samples, of_cell["accuracy"].iloc[0], 1 / 3))
    return pd.DataFrame(rows, columns=SUMMARY)


def _mean(
    counts: np.ndarray, places: np.ndarray, values: np.ndarray, weights: np.ndarray | None = None
) -> np.ndarray:
    """Return the weighted mean of faces in each draw of persons (rows of `counts`); NaN of no face."""
    weights = counts[:, places] * (np.ones(len(values)) if weights is None else weights)
    with np.errstate(invalid="ignore"):
        return (weights @ values) / weights.sum(axis=1)


def read_probes(folder: Path) -> pd.DataFrame:
    """Read the summary that `run` wrote."""
    return read_csv(require(Path(folder) / "probe_networks.csv", "probes"), SUMMARY)


def _is_there(table: pd.DataFrame, network: str, probe: str, explainer: str) -> bool:
    same = (table["network"] == network) & (table["probe"] == probe) & (table["explainer"] == explainer)
    return bool(same.any())


def _explain(
    model: object,
    image: np.ndarray,
    target: int,
    landmarks: np.ndarray,
    explainers: Sequence[str],
    samples: int,
    seed: int,
) -> dict[str, np.ndarray]:
    """Return the positive map of each explainer; those that share records share one here too."""
    maps = {}
    shared = [name for name in explainers if EXPLAINERS[name].records_of == "lime"]
    if shared:
        lime = EXPLAINERS["lime"]
        kinds = {"seed": derive_seed(seed, "probes", target), "landmarks": landmarks}
        made = lime.query(as_model(model), image, target, settings=lime.resolve(samples=samples), **kinds)
        maps = {name: EXPLAINERS[name].estimate(made, target, lime.resolve()).map for name in shared}
    numbers = {"rise": {"masks": samples}, "facial_regions": {"samples": samples}}
    for name in explainers:
        if name not in maps:
            (found,) = EXPLAINERS[name].explain(
                model, image[None], [target], seed=seed, landmarks=landmarks[None], **numbers.get(name, {})
            )
            maps[name] = found.map
    return {name: np.maximum(maps[name], 0) for name in explainers}


def _share(found: np.ndarray, region: np.ndarray) -> float:
    if not np.isfinite(found).all():
        raise DataError("An explanation of a probe network is not finite.")
    total = np.maximum(found, 0).sum(dtype=np.float64)
    return float(np.maximum(found, 0)[region].sum(dtype=np.float64) / total) if total > 0 else float("nan")
