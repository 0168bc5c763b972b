"""LIME's R² beside what chance gives, from the records of an experiment; no model call.

    python benchmarks/r2_chance.py --root ROOT [--preset demo]

Printed per network, as means over its explained faces: the R² of the fit; the R² when the predictions are
permuted over the samples, which is chance; and the R² on samples that the fit has not seen (0 or
less: the mean prediction would fit as well). See `ekman_expressions.measures.quality`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from ekman_expressions import Experiment
from ekman_expressions.core.expressions import EXPRESSIONS
from ekman_expressions.explainers.lime import lime
from ekman_expressions.explainers.record import PerturbationRecord
from ekman_expressions.measures.quality import cross_validated_r2, permuted_r2
from ekman_expressions.study import evaluation


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, required=True, help="artefact root that holds the experiment")
    parser.add_argument("--preset", default="demo", help="or a settings file")
    options = parser.parse_args()
    experiment = Experiment.load(options.preset, root=options.root)
    settings = {name: getattr(experiment.explanation, name) for name in ("kernel_width", "alpha")}
    lines = []
    rows = evaluation.read_explained(experiment)
    for row in tqdm(rows.itertuples(), total=len(rows), unit="face"):
        path = experiment.record_path(row.network, row.fold, row.image_id)
        if not path.exists():
            continue
        record, target = PerturbationRecord.load(path), EXPRESSIONS.index(row.expression)
        lines.append(
            (
                *(row.network, len(record.samples), record.samples.shape[1]),
                lime(record, target, **settings).r2,
                permuted_r2(record, target, seed=0, **settings),
                cross_validated_r2(record, target, seed=0, **settings),
            )
        )
    columns = [
        "network",
        "samples",
        "superpixels",
        "R²",
        "R² of permuted predictions",
        "R² on unseen samples",
    ]
    table = pd.DataFrame(lines, columns=columns)
    means = table.groupby("network", sort=False).mean()
    means.insert(0, "faces", table.groupby("network", sort=False).size())
    print("| network | " + " | ".join(means.columns) + " |\n" + "|---" * (1 + len(means.columns)) + "|")
    for network, values in means.iterrows():
        counts = [f"{values[name]:.0f}" for name in ("faces", "samples", "superpixels")]
        print(f"| {network} | " + " | ".join([*counts, *(f"{values[name]:.2f}" for name in columns[3:])]) + " |")


if __name__ == "__main__":
    main()
