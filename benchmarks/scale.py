"""The bookkeeping of the paper preset at full size, with models that answer at once.

60 models (12 networks, 5 folds) and up to 36,000 explanations go through the steps evaluation,
explanations, face space, heatmaps, masks and scores. Each size runs in a process of its own, and the peak
memory of each step in it is the kernel's. Faces are 32 pixels wide and masked copies are few, since what
models and superpixels cost is measured elsewhere; maps in face space and heatmaps have their full size.

    python benchmarks/scale.py                 # 3,600 and 36,000 explanations
    python benchmarks/scale.py --quick         # 360 and 3,600
    python benchmarks/scale.py --bytes         # only what a real record takes on the disk
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import numpy as np

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "tests")]

NETWORKS, FOLDS, EXPRESSIONS = 12, 5, 6
MODELS = NETWORKS * FOLDS


def measure(positives: int, scheduler: str) -> dict:
    """Take so many faces per model and expression through all steps; called in a process of its own."""
    os.environ["TQDM_DISABLE"] = "1"
    from stub_study import make_study

    from ekman_expressions.study import evaluation
    from ekman_expressions.study import run as run_steps
    from ekman_expressions.study.execution import using
    from ekman_expressions.zoo.training import _peak_memory

    with tempfile.TemporaryDirectory(dir=os.environ.get("SCALE_FOLDER")) as folder:
        root = Path(folder)
        experiment = make_study(
            root, networks=NETWORKS, folds=FOLDS, faces=positives, positives=positives, samples=16, segments=8
        )
        seconds, peaks = {}, {}
        with using(scheduler):
            for name in ("evaluation", "explanations", "facespace", "heatmaps", "masks", "scores"):
                forget_peak()
                start = time.perf_counter()
                run_steps(experiment, name)
                seconds[name] = time.perf_counter() - start
                peaks[name] = _peak_memory()
        size = {
            name: sum(path.stat().st_size for path in place.rglob("*") if path.is_file())
            for name, place in (
                ("records", experiment.records_folder),
                ("maps", experiment.facespace_folder),
            )
        }
        explained = len(evaluation.read_explained(experiment))
    return {"explained": explained, "seconds": seconds, "bytes": size, "peak MB": peaks}


def forget_peak() -> None:
    """Have the kernel measure peak memory from now on; elsewhere than on Linux it is since the start."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")


def run(positives: int, scheduler: str) -> dict:
    """Run `measure` in a process of its own."""
    command = [sys.executable, __file__, "--child", str(positives), "--scheduler", scheduler]
    answer = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(answer.stdout.splitlines()[-1])


def record_bytes() -> dict[int, int]:
    """Return how many bytes the record of a bundled face takes, per side of the image, at 1,000 samples."""
    from ekman_expressions.core.files import read_image
    from ekman_expressions.explainers.record import PerturbationRecord, _draw_samples, superpixels
    from ekman_expressions.faces import survey

    found = {}
    rows = survey("synthetic").rows.iloc[::160]
    import cv2

    for side in (64, 150, 224):
        sizes = []
        for path in rows["path"]:
            image = cv2.resize(np.float32(read_image(path)) / 255, (side, side)).clip(0, 1)
            segments = superpixels(image)
            samples = _draw_samples(int(segments.max()) + 1, 1000, 0)
            # Answers as irregular as answers can be: those of a real model are no larger.
            answers = np.random.default_rng(0).dirichlet(np.ones(6), 1000).astype(np.float32)
            with tempfile.TemporaryDirectory() as folder:
                file = Path(folder) / "a.npz"
                PerturbationRecord(
                    image_id="a", model="m", segments=segments, samples=samples, predictions=answers
                ).save(file)
                sizes.append(file.stat().st_size)
        found[side] = int(np.mean(sizes))
    return found


def report_bytes() -> None:
    """Print the size of records, and the total for the paper preset."""
    sizes = record_bytes()
    print("\n| side of the image | bytes per record (1,000 samples) |\n|---|---|")
    for side, size in sizes.items():
        print(f"| {side} | {size:,} |")
    # SilNet 150, WeiNet 64, ten networks of 224; 3,000 explanations each.
    total = 3000 * (sizes[150] + sizes[64] + 10 * sizes[224])
    print(
        f"\nThe paper preset, 36,000 records: {total / 1e9:.2f} GB; 10 million of side 224: "
        f"{1e7 * sizes[224] / 1e12:.2f} TB."
    )


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of everything")
    parser.add_argument("--bytes", action="store_true", help="only the size of records")
    parser.add_argument("--scheduler", default="serial", help="as in ekman-expressions run")
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(measure(options.child, options.scheduler)))
        return
    if not options.bytes:
        few, many = (1, 10) if options.quick else (10, 100)
        small, large = run(few, options.scheduler), run(many, options.scheduler)
        print(
            f"\n| step | {small['explained']:,} explanations, s | {large['explained']:,}, s | ratio |"
            " ms per explanation | peak memory, MB |\n|---|---|---|---|---|---|"
        )
        for name in small["seconds"]:
            one, ten = small["seconds"][name], large["seconds"][name]
            each = 1000 * ten / large["explained"]
            peaks = " ... ".join(f"{result['peak MB'][name]:.0f}" for result in (small, large))
            print(f"| {name} | {one:.1f} | {ten:.1f} | {ten / one:.2f} | {each:.2f} | {peaks} |")
        one, ten = (sum(result["seconds"].values()) for result in (small, large))
        each = 1000 * ten / large["explained"]
        peaks = " ... ".join(f"{max(result['peak MB'].values()):.0f}" for result in (small, large))
        print(f"| **all** | {one:.1f} | {ten:.1f} | **{ten / one:.2f}** | {each:.2f} | {peaks} |")
        for name, size in large["bytes"].items():
            print(f"| {name}, bytes per explanation | | {size / large['explained']:,.0f} | | | |")
    report_bytes()


if __name__ == "__main__":
    main()
