"""Probe networks: do networks trained on one region alone light that region?

    python benchmarks/probe_networks.py [--samples 1000] [--faces 10] [--explainers lime grad_cam ...]

Writes results/probes/ (or --folder) and prints a Markdown table. An interrupted run goes on.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from ekman_expressions.explainers import EXPLAINERS
from ekman_expressions.faces import synthetic
from ekman_expressions.study import probes
from ekman_expressions.study.probe_training import ProbeTraining


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path("results") / "probes")
    parser.add_argument("--samples", type=int, default=250, help="masked copies of a face (the study: 1000)")
    parser.add_argument("--faces", type=int, default=10, help="test faces per network and probe")
    parser.add_argument("--networks", nargs="+", default=["WeiNet", "SongNet"])
    parser.add_argument("--probes", nargs="+", default=list(synthetic.PROBES))
    parser.add_argument("--explainers", nargs="+", default=["lime"], help=f"any of {', '.join(EXPLAINERS)}")
    parser.add_argument("--rate", type=float, help="learning rate (default: the network's own)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    summary = probes.run(
        options.folder,
        networks=options.networks,
        probes=options.probes,
        explainers=options.explainers,
        samples=options.samples,
        faces=options.faces,
        seed=options.seed,
        training=None if options.rate is None else ProbeTraining(learning_rate=options.rate),
    )
    states = "trained | untrained | difference"
    print(f"| network | probe | accuracy (chance 0.33) | explainer | faces: {states} | heatmap: {states} |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for (network, probe, explainer), rows in summary.groupby(["network", "probe", "explainer"], sort=False):
        by_state = rows.set_index("state")
        cells = [
            f"{by_state.loc[state, name]:.2f} "
            f"[{by_state.loc[state, low]:.2f}, {by_state.loc[state, high]:.2f}]"
            for name, low, high in (("ratio", "low", "high"), ("heatmap", "heatmap_low", "heatmap_high"))
            for state in (probes.TRAINED, probes.UNTRAINED, probes.DIFFERENCE)
        ]
        accuracy = rows["accuracy"].iloc[0]
        print(f"| {network} | {probe} | {accuracy:.2f} | {explainer} | {' | '.join(cells)} |")
    first = summary.iloc[0]
    print(
        "\nShare of the mass in the region over the region's share of the canvas, as the mean "
        "over faces and of the mean heatmap; "
        f"{first['samples']} samples, {first['faces']} faces of {first['subjects']} persons; "
        "95 % intervals over persons."
    )


if __name__ == "__main__":
    main()
