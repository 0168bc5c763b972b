"""The experiment in words, its main table, and how it came about."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ekman_expressions.core.expressions import EXPRESSIONS
from ekman_expressions.core.files import read_csv, read_json, write_csv
from ekman_expressions.explainers.specs import SPECS
from ekman_expressions.measures import scores
from ekman_expressions.measures.chance import MEANINGS
from ekman_expressions.report.source import Source
from ekman_expressions.study import prepared
from ekman_expressions.study import scores as scores_step
from ekman_expressions.study.experiment import Experiment
from ekman_expressions.study.explainers import compared
from ekman_expressions.study.runner import folder_of
from ekman_expressions.study.steps import STEPS

WHITE = "white everywhere (no information)"

_WHITE = MEANINGS["white"]
_BASELINES = ("white", "random_pixels", "ellipse_30", "other_masks")


def overview(source: Source, folder: Path) -> dict[str, Any]:
    """Write the main table into ``tables/main.csv``, and return the values of the page."""
    table = _main_table(source)
    write_csv(folder / "tables" / "main.csv", table)
    return {
        "words": _words(source),
        "table": table.to_dict("records"),
        "has_accuracy": "accuracy" in table,
        "references": table["network"][~table["network"].isin(source.networks)].tolist(),
        "interval_words": _interval_words(source),
    }


def _words(source: Source) -> list[str]:
    """Say in sentences what was done, as far as the files tell."""
    networks = _listed(source.networks)
    folds = f"{len(source.folds)} folds" if source.folds else "one model each"
    told = [f"{_count(len(source.networks), 'network')} ({networks}), {folds}, six expressions."]
    experiment = source.experiment
    if experiment is None:
        told.append(
            "Made from heatmaps alone: there are no faces, models or predictions behind these pages, so what "
            "needs them is left out."
        )
    else:
        told += [_faces(experiment), _training(experiment), _explanation(experiment)]
    told.append(
        "Each explanation was warped by landmarks into one face space of 275 × 224 pixels and averaged. The "
        "Ekman masks, with which heatmaps are compared, are a reference, not a truth."
    )
    return [text for text in told if text]


def _main_table(source: Source) -> pd.DataFrame:
    """Return a row per network: accuracy, and the scores of its heatmaps at Otsu's threshold.

    Returns
    -------
    DataFrame
        ``network, kind``; ``accuracy`` and its lowest and highest fold where there are
        predictions; `comparison.METRICS`, means over folds and expressions; ``iou_pooled``, of
        the networks' heatmaps. The last row is that of a mask that is white everywhere.
    """
    experiment = source.experiment
    if experiment is not None and (experiment.scores_folder / "scores_by_fold.csv").exists():
        by_fold = scores_step.read_scores_by_fold(experiment)
        pooled = scores_step.read_scores(experiment, pooled=True)
        pooled = pooled[pooled["expression"] == scores.AVERAGE].set_index("network")["iou"]
    else:
        ignore = lambda item, error: None  # noqa: E731
        folder = source.heatmaps[source.explainer]
        models = [(net, fold) for net, fold in source.levels if fold is not None]
        nets = [(net, None) for net in source.networks]
        by_fold = scores.score_heatmaps(folder, models or nets, source.masks, ignore)
        pooled = scores.score_heatmaps(folder, nets, source.masks, ignore)
        pooled = pooled.groupby("network")["iou"].mean()
    table = scores.summarise(by_fold)
    table = table[(table["expression"] == scores.AVERAGE) & table["network"].isin(source.networks)]
    table = table.drop(columns="expression").assign(iou_pooled=table["network"].map(pooled))
    table.insert(1, "kind", table["network"].map(source.kinds))
    accuracy = source.table("evaluation", "accuracy_by_fold.csv")
    if accuracy is not None:
        by_network = accuracy.groupby("network")["accuracy"].agg(["mean", "min", "max"])
        by_network.columns = ["accuracy", "accuracy_lowest", "accuracy_highest"]
        table = table.merge(by_network.reset_index(), "left", on="network")
        head = ["network", "kind", *by_network.columns]
        table = table[[*head, *(name for name in table if name not in head)]]
    white = {name: float(mask.mean()) for name, mask in source.masks.items()}
    area = np.array([white[name] for name in EXPRESSIONS])
    reference = {
        "network": WHITE,
        "iou": area.mean(),
        "f1_score": (2 * area / (1 + area)).mean(),
        "precision": area.mean(),
        "recall": 1.0,
        "iou_pooled": area.mean(),
    }
    rows = [reference]
    if (baselines := source.table("statistics", "baselines.csv")) is not None:
        known = _averages(baselines).items()
        rows += [{"network": meaning, "iou": value} for meaning, value in known if meaning != _WHITE]
    if (intervals := _intervals(source)) is not None:
        table = table.merge(intervals, "left", on="network")
    return pd.concat([table, pd.DataFrame(rows)], ignore_index=True)


def _averages(baselines: pd.DataFrame) -> dict[str, float]:
    """Return the average IoU of the chosen baselines by what they mean."""
    rows = baselines[(baselines["score"] == "iou") & (baselines["expression"] == scores.AVERAGE)]
    rows = rows[rows["baseline"].isin(_BASELINES) & rows["value"].notna()]
    return {row.meaning: float(row.value) for row in rows.itertuples()}


def _interval_unit(intervals: pd.DataFrame) -> str:
    """Return over what the intervals are: subjects where these are known, else folds."""
    return "subject" if intervals["subject_low"].notna().any() else "fold"


def _interval_words(source: Source) -> str:
    """Say what the intervals of the main table are; nothing if there are none."""
    intervals = source.table("statistics", "intervals.csv")
    if intervals is None:
        return ""
    return f"95 % interval over {_interval_unit(intervals)}s in brackets"


def _intervals(source: Source) -> pd.DataFrame | None:
    intervals = source.table("statistics", "intervals.csv")
    if intervals is None:
        return None
    unit = _interval_unit(intervals)
    whole = intervals[(intervals["score"] == "iou") & (intervals["expression"] == scores.AVERAGE)]
    names = {f"{unit}_low": "iou_low", f"{unit}_high": "iou_high"}
    return whole.rename(columns=names)[["network", *names.values()]]


def provenance(source: Source) -> list[dict[str, Any]]:
    """Return what each step's ``run.json`` says, in the order of the flow."""
    experiment = source.experiment
    if experiment is None:
        return []
    folders = {
        folder_of(experiment.explained_by(name), step)
        for name in compared(experiment)
        for step in STEPS.values()
    }
    found = []
    for folder in sorted(folders):
        path = folder / "run.json"
        if not path.exists():
            continue
        entry = read_json(path)
        found.append(
            {
                "step": entry.get("step", folder.name),
                "folder": str(folder.relative_to(experiment.root)),
                "start": entry.get("start"),
                "finished": entry.get("end") is not None,
                "seconds": entry.get("seconds"),
                "done": entry.get("done"),
                "omissions": entry.get("omissions", []),
                "notes": entry.get("notes", []),
                "version": entry.get("package_version"),
                "git": entry.get("git") or {},
                "python": entry.get("python"),
                "platform": entry.get("platform"),
                "device": entry.get("device"),
                "libraries": {name: v for name, v in (entry.get("libraries") or {}).items() if v},
                "settings": json.dumps(entry.get("settings", {}), indent=2, ensure_ascii=False),
            }
        )
    return sorted(found, key=lambda entry: entry["start"] or "")


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
        f"Explained by {SPECS[settings.explainer].title}: at most {settings.positives} faces per model "
        "and expression, of those that the model itself predicts so; about "
        f"{settings.segments} superpixels, "
        f"{settings.samples} masked copies of each face"
    )
    path = experiment.root / "results" / experiment.name / "explanations" / "explanations.csv"
    if not path.exists():
        return f"{text}."
    r2 = read_csv(path, ("network", "r2")).groupby("network", sort=False)["r2"].agg(["size", "mean"])
    told = "; ".join(
        f"{name}: {row['size']:.0f} faces, mean R² {row['mean']:.2f}" for name, row in r2.iterrows()
    )
    return f"{text} ({told})."


def _listed(names: tuple[str, ...]) -> str:
    return " and ".join(names) if len(names) < 3 else f"{', '.join(names[:-1])} and {names[-1]}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
