"""Do explanations of a trained network find what changed in a face better than those of an untrained copy?

    python benchmarks/untrained.py --root DEMO --out benchmarks/results/untrained.csv [--networks ...]

The faces that the step "explainers" explained by all explainers are explained again, with the same settings,
superpixels and samples, from a copy of the network whose weights are drawn anew (Adebayo et al. 2018,
arXiv:1810.03292). Both are scored as the step "known_answers" does. Printed: the AUC of the copy, and what
the trained network gains on the same faces, with 95 % intervals over subjects. Models that are done are kept.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from ekman_expressions import Experiment, explain
from ekman_expressions.core.runtime import derive_seed
from ekman_expressions.facespace.warp import normalise
from ekman_expressions.measures.known_answers import _REFERENCES, READINGS, localisation_auc
from ekman_expressions.measures.quality import untrained_copy
from ekman_expressions.measures.uncertainty import _cluster_bootstrap
from ekman_expressions.study import known_answers, prepared, read_results
from ekman_expressions.study.training import read_model
from ekman_expressions.zoo.model import as_model

KEYS = ["explainer", "network", "fold", "image_id", "reading"]
KNOWN = _REFERENCES[:2]  # of synthetic faces


def shared_faces(scored: pd.DataFrame) -> pd.DataFrame:
    """Return a row per model and face that all explainers have explained."""
    faces = scored.drop_duplicates(["network", "fold", "image_id", "explainer"])
    counts = faces.groupby(["network", "fold", "image_id", "predicted"]).size()
    return counts[counts == counts.max()].reset_index()


def score_copy(experiment: Experiment, network: str, fold: str, rows: pd.DataFrame) -> pd.DataFrame:
    """Return the AUCs of an untrained copy's explanations, a row per explainer, face and reading."""
    known = {row.image_id: row for row in known_answers.known_faces(experiment).itertuples()}
    model = read_model(experiment, network, fold)
    images = prepared.read_faces(experiment, list(rows["image_id"])[:16], experiment.side(network))
    seed = derive_seed(experiment.seed, "untrained", network, fold)
    copy = as_model(untrained_copy(model, images, seed=seed), name=f"{network}_{fold}", group=model.group)
    found = []
    for row in tqdm(rows.itertuples(), total=len(rows), desc=f"{network} {fold}", unit="face"):
        changed = known_answers.known_changes(experiment, known[row.image_id])
        faces = prepared.prepared_faces(experiment, [row.image_id])
        for name in experiment.explainers:
            # As the step does: its seeds come from these names.
            settings = experiment.explained_by(name).explanation.resolved
            again = explain(copy, faces, name, targets=row.predicted, seed=experiment.seed, **settings)
            warped = normalise(again.explanations[0].map, faces.landmarks[0])
            for reading, read in READINGS.items():
                scores = localisation_auc(read(warped), changed)
                found.append((name, network, fold, row.image_id, reading, *scores.values()))
    return pd.DataFrame(found, columns=[*KEYS, *KNOWN])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, required=True, help="artefact root that holds the experiment")
    parser.add_argument("--experiment", default="demo")
    parser.add_argument("--networks", nargs="*", default=None)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    experiment = Experiment.load(given.experiment, root=given.root)
    scored = read_results(experiment, "known_answers", "localisation_faces")
    scored = scored[scored["network"] != "none"]
    path = given.out.with_suffix(".faces.csv")
    done = pd.read_csv(path) if path.exists() else pd.DataFrame(columns=[*KEYS, *KNOWN])
    for (network, fold), rows in shared_faces(scored).groupby(["network", "fold"]):
        wanted = network in (given.networks or experiment.networks)
        if wanted and not ((done["network"] == network) & (done["fold"] == fold)).any():
            rows = score_copy(experiment, network, fold, rows)
            done = pd.concat([done, rows]) if len(done) else rows
            done.to_csv(path, index=False)
    both = done.merge(scored, on=KEYS, suffixes=("_copy", ""))
    lines = []
    for names, of_cell in both.groupby(["network", "explainer", "reading"], sort=False):
        for reference in KNOWN:
            gain = (of_cell[reference] - of_cell[f"{reference}_copy"]).to_numpy()
            interval = _cluster_bootstrap(gain, of_cell["subject"].to_numpy(), seed=derive_seed(0, *names))
            means = of_cell[f"{reference}_copy"].mean(), interval.estimate, interval.low, interval.high
            lines.append((*names, reference, *means, len(of_cell), interval.units))
    columns = ["network", "explainer", "reading", "reference", "untrained", "gain", "low", "high"]
    table = pd.DataFrame(lines, columns=[*columns, "faces", "subjects"])
    table.round(4).to_csv(given.out, index=False)
    with pd.option_context("display.width", 150):
        print(table.round(3).to_string(index=False))


if __name__ == "__main__":
    main()
