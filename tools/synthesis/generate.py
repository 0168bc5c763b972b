"""Render the set of synthetic faces: images, masks, landmarks and tables. `make` runs it.

For each person and variant one pose and one light are drawn; the neutral face, the six expressions and the
probes are rendered under them, so that images of a variant differ in the action units alone.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import action_units
import assembly
import materials
import numpy as np
from action_units import Expression
from head import Head, Pose, degrees
from makehuman import LANDMARKS, displaced
from persons import Person, person, skin_tone
from PIL import Image
from scene import Light, Studio
from tqdm import tqdm

SEED = 1
PERSONS, VARIANTS = 40, 4
"""Persons, and variants of each."""

PROBED, PROBE_VARIANTS = 24, 2
"""How many persons also make the probes, and in how many variants."""

INTENSITIES = (1.0, 0.7, 0.85, 0.55)
"""Of the expressions and probes, by variant."""

SIZE, SAMPLES, QUALITY = 224, 4, 88
"""Side of the images in pixels, Cycles samples per pixel, WebP quality."""

FULL_DISPLACEMENT = 0.20
"""Displacement in dm that a mask shows as 255."""

FULL_DIFFERENCE = 0.5
"""Mean absolute difference of RGB, of [0, 1], that a mask shows as 255."""


def shots(number: int, variant: int) -> list[tuple[str, dict, dict[int, float], tuple[int, ...]]]:
    """Return name, labels, recipe and seed of each image of a person and variant but the neutral."""
    planned = []
    for k, (name, prototypes) in enumerate(action_units.PROTOTYPES.items()):
        chosen = (variant + number) % len(prototypes)
        planned.append((name, {"expression": name, "prototype": chosen}, prototypes[chosen], (2, k)))
    if number < PROBED and variant < PROBE_VARIANTS:
        for k, (probe, labels) in enumerate(action_units.PROBES.items()):
            for m, (label, recipe) in enumerate(labels.items()):
                planned.append((f"{probe}_{label}", {"probe": probe, "label": label}, recipe, (3, 2 * k + m)))
    return planned


def render_person(number: int, out: Path, studio: Studio, variants: int) -> None:
    """Render all images of one person, and write what is known of them to ``rows/<person>.json``."""
    done = out / "rows" / f"id{number:02d}.json"
    if done.exists():
        return
    who = person(number, SEED)
    head = Head(who)
    rows = []
    for variant in range(variants):
        rng = np.random.default_rng([SEED, number, 4, variant])
        angles = rng.uniform(-0.25, 0.25), rng.uniform(-0.12, 0.14), rng.uniform(-0.08, 0.08)
        pose, light = Pose(who.vertices, *angles), Light.draw(rng)
        studio.frame(who.vertices, pose, rng)
        studio.light(light, skin_tone(who)["ita"])
        neutral = f"id{number:02d}_neutral_{variant}"
        common = {
            **_described(who),
            "variant": variant,
            "neutral": neutral,
            **dict(zip(("yaw", "pitch", "roll"), map(degrees, angles), strict=True)),
            **{f"light_{part}": round(getattr(light, part), 3) for part in ("azimuth", "elevation", "warmth", "ratio")},
        }
        still, points = _photograph(studio, head, Expression({}, {}), pose)
        _save(out, neutral, still)
        rows.append({"image_id": neutral, "expression": "neutral", "intensity": 0.0, **common, "points": points})
        taken = []
        for name, labels, recipe, seed in shots(number, variant):
            rng = np.random.default_rng([SEED, number, *seed, variant])
            expression = action_units.express(recipe, INTENSITIES[variant], rng)
            taken.append((name, labels, expression, *_photograph(studio, head, expression, pose)))
        # Then all masks: to switch between photographs and masks costs Blender seconds.
        for name, labels, expression, image, points in taken:
            image_id = f"id{number:02d}_{name}_{variant}"
            layers = _layers(studio, head, expression, pose)
            layers["photometric"] = _difference(image, still)
            names = ["total", "photometric", *(n for n in layers if n.startswith("au"))]
            _save(out, image_id, image, [layers[n] for n in names])
            rows.append(
                {
                    "image_id": image_id,
                    **labels,
                    "intensity": INTENSITIES[variant],
                    **common,
                    "layers": " ".join(names),
                    "units": {unit: round(value, 4) for unit, value in expression.units.items()},
                    "points": points,
                }
            )
    head.remove()
    done.parent.mkdir(parents=True, exist_ok=True)
    partial = done.with_suffix(".partial")
    partial.write_text(json.dumps(rows))
    partial.rename(done)


def _described(who: Person) -> dict:
    return {
        "subject": f"id{who.number:02d}",
        "sex": who.sex,
        "age": who.age,
        "ethnicity": who.group,
        **{f"mix_{name}": share for name, share in who.mix.items()},
        "skin": who.skin.stem,
        **skin_tone(who),
        "hair": who.hair,
        "eyes": who.eyes,
    }


def _photograph(studio: Studio, head: Head, expression: Expression, pose: Pose) -> tuple[np.ndarray, list]:
    vertices = head.who.vertices + displaced(expression.together())
    head.move(vertices, pose)
    head.wrinkle(expression.units)
    materials.show("look")
    points = studio.project(pose(vertices[LANDMARKS]))
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/image.png"
        studio.photograph(path)
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB")), points.round(2).tolist()


def _layers(studio: Studio, head: Head, expression: Expression, pose: Pose) -> dict[str, np.ndarray]:
    """Measure how far the visible surface is displaced: by all units, and by each alone."""
    head.move(head.who.vertices + displaced(expression.together()), pose)
    materials.show("data")
    moves = {"total": displaced(expression.together())}
    moves |= {f"au{unit:02d}": displaced(expression.shapes[unit]) for unit in sorted(expression.shapes)}
    names, layers = list(moves), {}
    with tempfile.TemporaryDirectory() as folder:
        for start in range(0, len(names), 3):
            some = names[start : start + 3]
            head.paint([moves[name] for name in some], FULL_DISPLACEMENT)
            seen = studio.measure(f"{folder}/{start}.exr")
            layers |= {name: _bytes(seen[:, :, k]) for k, name in enumerate(some)}
    return layers


def _difference(image: np.ndarray, still: np.ndarray) -> np.ndarray:
    """Return how far two images differ, at half size, as bytes."""
    difference = np.abs(np.float32(image) - np.float32(still)).mean(axis=2) / 255
    side = len(difference) // 2
    return _bytes(difference.reshape(side, 2, side, 2).mean(axis=(1, 3)) / FULL_DIFFERENCE)


def _bytes(values: np.ndarray) -> np.ndarray:
    return np.rint(255 * np.clip(values, 0, 1)).astype(np.uint8)


def _save(out: Path, image_id: str, image: np.ndarray, layers: list[np.ndarray] | None = None) -> None:
    (out / "images").mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(out / "images" / f"{image_id}.webp", quality=QUALITY, method=6)
    if layers:
        (out / "masks").mkdir(exist_ok=True)
        Image.fromarray(np.concatenate(layers)).save(out / "masks" / f"{image_id}.png", optimize=True)


def main() -> None:
    """Share the persons among processes, then write the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--persons", type=int, default=PERSONS, help="only the first so many")
    parser.add_argument("--variants", type=int, default=VARIANTS, help="only the first so many")
    parser.add_argument("--worker", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker is not None:
        # Blender reports every file that it writes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        mine = range(options.worker, options.persons, options.workers)
        studio = Studio(SIZE, SAMPLES)
        for number in tqdm(mine, desc=f"Worker {options.worker}", unit="person", position=options.worker):
            render_person(number, options.out, studio, options.variants)
        return
    options.out.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, __file__, *map(str, sys.argv[1:]), "--workers", str(options.workers)]
    # Blender's threads would get in each other's way: each process is born on a core of its own.
    cores = sorted(os.sched_getaffinity(0))
    workers = []
    for k in range(options.workers):
        os.sched_setaffinity(0, {cores[k % len(cores)]})
        workers.append(subprocess.Popen([*command, "--worker", str(k)]))
    os.sched_setaffinity(0, cores)
    if any([worker.wait() for worker in workers]):
        raise SystemExit("A worker failed; run again to go on with the persons that are missing.")
    assembly.assemble(options.out)


if __name__ == "__main__":
    main()
