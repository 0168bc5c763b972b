"""Explanations against network-causal truth: what each part's change from the person's neutral face does.

    python benchmarks/causal.py --root DEMO --out benchmarks/results/causal.csv [--networks ...] [--faces 60]

For each network of a finished experiment on the synthetic faces, `--faces` test faces that it predicts right are
taken, from as many persons as there are. The truth is exact (all 1,024 coalitions of ten parts). A face that is
done is kept in the file, so that a stopped run resumes.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

import ekman_expressions as ee
from ekman_expressions import Experiment
from ekman_expressions.explainers import part_segments
from ekman_expressions.measures.known_answers import causal_agreement, summarise_agreement
from ekman_expressions.study import read_results
from ekman_expressions.study.training import read_model

METHODS = {
    "LIME, black": ("lime", {"samples": 128, "sampler": "orthogonal", "hidden": 0.0}),
    "LIME, mean colour": ("lime", {"samples": 128, "sampler": "orthogonal", "hidden": "mean"}),
    "LIME, blur": ("lime", {"samples": 128, "sampler": "orthogonal", "hidden": "blur"}),
    "LIME, own neutral": ("lime", {"samples": 128, "sampler": "orthogonal", "hidden": "neutral"}),
    "KernelSHAP, black": ("kernel_shap", {"samples": 128, "sampler": "orthogonal", "hidden": 0.0}),
    "RISE, black": ("rise", {"masks": 150, "cells": 6}),
    "RISE, own neutral": ("rise", {"masks": 150, "cells": 6, "hidden": "neutral"}),
    "Occlusion, black": ("occlusion", {}),
    "Occlusion, own neutral": ("occlusion", {"hidden": "neutral"}),
    "Facial regions, blur": ("facial_regions", {"samples": 304, "sampler": "orthogonal", "hidden": "blur"}),
    "Grad-CAM": ("grad_cam", {}),
    "SmoothGrad": ("smooth_grad", {"copies": 24}),
    "Integrated gradients, black": ("integrated_gradients", {"hidden": 0.0}),
    "Integrated gradients, blur": ("integrated_gradients", {"hidden": "blur"}),
    "Integrated gradients, own neutral": ("integrated_gradients", {"hidden": "neutral"}),
    "Causal, 256 samples": ("causal", {"samples": 256}),
}


def faces_of(experiment: Experiment, network: str, fold: str, count: int) -> ee.Faces:
    """Return test faces that a model predicts right, persons and expressions in turn."""
    table = read_results(experiment, "evaluation", "predictions")
    right = table[(table["network"] == network) & (table["fold"] == fold)]
    right = right[right["expression"] == right["predicted"]]
    right = right.assign(subject=right["image_id"].str.extract(r"synthetic_(id\d+)_", expand=False))
    subjects = sorted(set(right["subject"]))
    faces = ee.example_faces(subjects=subjects)
    rows = right.sample(frac=1, random_state=0)
    turn = rows.groupby("subject").cumcount()
    rows = rows.assign(turn=turn).sort_values(["turn"], kind="stable")[:count]
    return faces[[list(faces.table["image_id"]).index(image_id) for image_id in rows["image_id"]]]


def single_replacement(model: ee.Model, face: np.ndarray, neutral: np.ndarray, segments: np.ndarray, target: int):
    """Return the fall of the prediction when each part alone is put back to neutral."""
    count = segments.max() + 1
    samples = np.concatenate([np.ones((1, count), bool), ~np.eye(count, dtype=bool)])
    predictions = model.predict_hidden(face, segments, samples, neutral)[:, target]
    return predictions[0] - predictions[1:]


def measure(model: ee.Model, face: ee.Faces, methods: list[str]) -> list[dict[str, object]]:
    """Return a row per method of one face."""
    # Right is the most probable of the six; of all classes, neutral may be more probable.
    targets = list(face.table["expression"])
    truth = ee.explain(model, face, "causal", targets=targets, samples=1024).explanations[0]
    image, neutral = face.at(model.side)[0], face.at(model.side, neutral=True)[0]
    segments, names = part_segments(face.landmarks[0], image.shape[:2])
    areas = np.bincount(segments.ravel())
    changed = np.abs(image - neutral).mean(axis=-1)
    rows, columns = np.indices(segments.shape) + 0.5
    middle = face.landmarks[0].mean(axis=0) * segments.shape[::-1]
    centre = -np.hypot(columns - middle[0], rows - middle[1])
    centre -= centre.min()
    values = {
        "single replacement": (
            single_replacement(model, image, neutral, segments, truth.target),
            len(areas) + 1,
        ),
        "pixels changed": (changed, 0),
        "centre prior": (centre, 0),
        "area of the part": (areas, 0),
    }
    for name in methods:
        explainer, settings = METHODS[name]
        found = ee.explain(model, face, explainer, targets=targets, **settings).explanations[0]
        values[name] = found.weights if explainer == "causal" else found.map, found.passes
    known = face.table.iloc[0][["image_id", "subject", "expression"]].to_dict()
    known["change"] = float(truth.weights.sum())
    known["first"] = names[int(truth.weights.argmax())]
    return [
        known | {"method": name, "passes": passes} | causal_agreement(truth, value)
        for name, (value, passes) in values.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, required=True, help="artefact root that holds the experiment")
    parser.add_argument("--experiment", default="demo")
    parser.add_argument("--networks", nargs="*", default=None)
    parser.add_argument("--faces", type=int, default=60)
    parser.add_argument("--methods", nargs="*", default=list(METHODS), choices=list(METHODS), metavar="METHOD")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    experiment = Experiment.load(given.experiment, root=given.root)
    path = given.out.with_suffix(".faces.csv")
    done = pd.read_csv(path) if path.exists() else pd.DataFrame(columns=["network", "image_id"])
    for network in given.networks or experiment.networks:
        for place, fold in enumerate(experiment.folds):
            share = (given.faces + place) // len(experiment.folds)
            model = read_model(experiment, network, fold)
            faces = faces_of(experiment, network, fold, share)
            for number in tqdm(range(len(faces)), desc=f"{network} {fold}"):
                face = faces[number]
                if ((done["network"] == network) & (done["image_id"] == face.table["image_id"][0])).any():
                    continue
                rows = pd.DataFrame(measure(model, face, given.methods)).assign(network=network, fold=fold)
                done = pd.concat([done, rows]) if len(done) else rows
                done.to_csv(path, index=False)
    done["subject"] = done["subject"].astype(str)
    summary = summarise_agreement(done)
    passes = done.groupby(["network", "method"])["passes"].mean().rename("passes").reset_index()
    summary.merge(passes).round(4).to_csv(given.out, index=False)
    print(summary.pivot_table(index=["network", "method"], columns="score", values="value", sort=False).round(3))


if __name__ == "__main__":
    main()
