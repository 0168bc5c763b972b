"""The experiment in words, its main table, and how it came about."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ekman_expressions.core.files import read_csv, read_json, write_csv
from ekman_expressions.explainers import EXPLAINERS
from ekman_expressions.measures import scores
from ekman_expressions.report.source import Source
from ekman_expressions.study import prepared
from ekman_expressions.study.experiment import Experiment
from ekman_expressions.study.explainers import compared
from ekman_expressions.study.runner import folder_of
from ekman_expressions.study.scores import read_scores, read_scores_by_fold
from ekman_expressions.study.steps import STEPS

WHITE = "white everywhere (no information)"
_BASELINES = ("random_pixels", "ellipse_30", "other_masks")


def overview(source: Source, folder: Path) -> dict[str, Any]:
    """Write the main table into ``tables/main.csv``, and return the values of the page."""
    table, unit = _main_table(source)
    write_csv(folder / "tables" / "main.csv", table)
    return {
        "words": _words(source),
        "table": table.to_dict("records"),
        "has_accuracy": "accuracy" in table,
        "references": table["network"][~table["network"].isin(source.networks)].tolist(),
        "interval_words": f"95 % interval over {unit}s in brackets" if unit else "",
    }


def _main_table(source: Source) -> tuple[pd.DataFrame, str]:
    """Return a row per network, then baselines; and over what the intervals are, if there are any.

    Accuracies where there are predictions; scores of heatmaps at Otsu's threshold, means over folds and
    expressions, with intervals of IoU; ``iou_pooled`` of the networks' heatmaps.
    """
    experiment = source.experiment
    if experiment is not None and (experiment.scores_folder / "scores_by_fold.csv").exists():
        by_fold = read_scores_by_fold(experiment)
        pooled = read_scores(experiment, pooled=True)
        pooled = pooled[pooled["expression"] == scores.AVERAGE].set_index("network")["iou"]
    else:
        omit = lambda item, error: None  # noqa: E731
        folder = source.heatmaps[source.explainer]
        models = [(net, fold) for net, fold in source.levels if fold is not None]
        nets = [(net, None) for net in source.networks]
        by_fold = scores.score_heatmaps(folder, models or nets, source.masks, omit)
        pooled = scores.score_heatmaps(folder, nets, source.masks, omit).groupby("network")["iou"].mean()
    table = scores.summarise(by_fold)
    table = table[(table["expression"] == scores.AVERAGE) & table["network"].isin(source.networks)]
    table = table.drop(columns="expression").assign(iou_pooled=table["network"].map(pooled))
    table.insert(1, "kind", table["network"].map(source.kinds))
    accuracy = source.table("evaluation_folder", "accuracy_by_fold")
    if accuracy is not None:
        by_network = accuracy.groupby("network")["accuracy"].agg(["mean", "min", "max"])
        for place, name in enumerate(("accuracy", "accuracy_lowest", "accuracy_highest")):
            table.insert(2 + place, name, table["network"].map(by_network.iloc[:, place]))
    intervals, unit = source.table("statistics_folder", "intervals"), ""
    if intervals is not None:
        # Over subjects where these are known, else over folds.
        unit = "subject" if intervals["subject_low"].notna().any() else "fold"
        whole = intervals[(intervals["score"] == "iou") & (intervals["expression"] == scores.AVERAGE)]
        whole = whole.rename(columns={f"{unit}_low": "iou_low", f"{unit}_high": "iou_high"})
        table = table.merge(whole[["network", "iou_low", "iou_high"]], "left", on="network")
    area = np.array([float(mask.mean()) for mask in source.masks.values()])
    white = {"iou": area, "f1_score": 2 * area / (1 + area), "precision": area, "iou_pooled": area}
    rows = [{"network": WHITE, "recall": 1.0, **{name: values.mean() for name, values in white.items()}}]
    baselines = source.table("statistics_folder", "baselines")
    if baselines is not None:
        known = baselines[(baselines["score"] == "iou") & (baselines["expression"] == scores.AVERAGE)]
        known = known[known["baseline"].isin(_BASELINES) & known["value"].notna()]
        rows += [{"network": row.meaning, "iou": row.value} for row in known.itertuples()]
    return pd.concat([table, pd.DataFrame(rows)], ignore_index=True), unit


def _words(source: Source) -> list[str]:
    """Say in sentences what was done, as far as the files tell."""
    count, names = len(source.networks), source.networks
    listed = " and ".join(names) if count < 3 else f"{', '.join(names[:-1])} and {names[-1]}"
    folds = f"{len(source.folds)} folds" if source.folds else "one model each"
    sentences = [f"{count} network{'' if count == 1 else 's'} ({listed}), {folds}, six expressions."]
    experiment = source.experiment
    if experiment is None:
        sentences.append(
            "Made from heatmaps alone: there are no faces, models or predictions behind these pages, so what "
            "needs them is left out."
        )
    else:
        sentences += [_faces(experiment), _training(experiment), _explanation(experiment)]
    sentences.append(
        "Each explanation was warped by landmarks into one face space of 275 × 224 pixels and averaged. The "
        "Ekman masks, with which heatmaps are compared, are a reference, not a truth."
    )
    return sentences


def provenance(source: Source) -> list[dict[str, Any]]:
    """Return what each step's ``run.json`` says, in the order of the flow."""
    experiment = source.experiment
    if experiment is None:
        return []
    explained = [experiment.explained_by(name) for name in compared(experiment)]
    unfinished, entries = {"seconds": None, "done": None, "omissions": [], "notes": []}, []
    for folder in sorted({folder_of(by, step) for by in explained for step in STEPS.values()}):
        if (folder / "run.json").exists():
            entry = unfinished | read_json(folder / "run.json")
            entry["folder"] = str(folder.relative_to(experiment.root))
            entry["settings"] = json.dumps(entry["settings"], indent=2, ensure_ascii=False)
            entries.append(entry)
    return sorted(entries, key=lambda entry: entry["start"])


def _faces(experiment: Experiment) -> str:
    names = ", ".join(experiment.faces.datasets)
    if not experiment.manifest_path.exists():
        return f"Faces: {names}."
    manifest = prepared.read_manifest(experiment)
    persons = manifest["subject"].nunique()
    return f"{len(manifest)} faces of {persons} persons ({names}); folds never split a person."


def _training(experiment: Experiment) -> str:
    if not experiment.trained_networks:
        return "The models were trained elsewhere."
    weights = experiment.training.weights
    start = {
        "none": "All networks start from random weights",
        "imagenet": "The networks of Keras Applications start from ImageNet weights",
        "released": "The models are those that the study's authors released",
    }.get(weights, "The networks of Keras Applications start from weights in a folder of the user's")
    if weights == "released":
        return f"{start}."
    return f"{start}; preprocessing '{experiment.training.preprocessing}'."


def _explanation(experiment: Experiment) -> str:
    settings = experiment.explanation
    text = (
        f"Explained by {EXPLAINERS[settings.explainer].title}: at most {settings.positives} faces per model and "
        f"expression, of those that the model itself predicts so; about {settings.segments} superpixels, "
        f"{settings.samples} masked copies of each face"
    )
    path = experiment.facespace_folder / "explanations.csv"
    if not path.exists():
        return f"{text}."
    r2 = read_csv(path, ("network", "r2")).groupby("network", sort=False)["r2"].agg(["size", "mean"])
    found = (f"{name}: {row['size']:.0f} faces, mean R² {row['mean']:.2f}" for name, row in r2.iterrows())
    return f"{text} ({'; '.join(found)})."
