"""JAFFE and CK+ in small, synthetic faces in their layout: from the readers to what networks really use."""

import re
from pathlib import Path

import numpy as np
import pytest
import tiny_network
from made_databases import put
from PIL import Image

from ekman_expressions import Experiment
from ekman_expressions.core.files import read_csv
from ekman_expressions.explainers import face_parts
from ekman_expressions.faces import synthetic
from ekman_expressions.study import STEPS, read_results
from ekman_expressions.study import run as run_steps
from ekman_expressions.study.prepared import read_manifest

PERSONS = ("id03", "id05", "id07", "id12")
CODES = {"anger": ("AN", 1), "happiness": ("HA", 5), "surprise": ("SU", 7)}


def picture(name):
    return Image.open(synthetic.folder() / "images" / f"{name}.webp").convert("L")


def jaffe(root):
    """A neutral picture of each person; gray, as the originals."""
    number = 0
    for place, person in enumerate(PERSONS):
        for name, code in (("neutral", "NE"), *((name, code) for name, (code, _) in CODES.items())):
            number += 1
            picture(f"{person}_{name}_0").save(root / f"K{'ALMR'[place]}.{code}1.{number}.tiff")


def ckplus(root):
    """Sequences from neutral to the peak; only the peak has a label."""
    for place, person in enumerate(PERSONS):
        for take, (name, (_, code)) in enumerate(CODES.items(), start=1):
            subject, sequence = f"S{place + 10:03d}", f"{take:03d}"
            folder = root / "cohn-kanade-images" / subject / sequence
            folder.mkdir(parents=True)
            for frame, shown in ((1, "neutral"), (2, name)):
                picture(f"{person}_{shown}_0").save(folder / f"{subject}_{sequence}_{frame:08d}.png")
            put(
                root / "Emotion" / subject / sequence / f"{subject}_{sequence}_00000002_emotion.txt",
                f"   {code}.0000000e+00\n",
            )


@pytest.mark.parametrize("write", [jaffe, ckplus])
def test_a_replica_goes_from_its_reader_to_causal_tables(tmp_path, monkeypatch, write):
    tiny_network.register(monkeypatch.setitem)
    write(tmp_path)
    name = write.__name__
    study = Experiment(
        name="replica",
        networks=("Tiny",),
        faces=dict(datasets=(name,), roots={name: str(tmp_path)}, folds=2, size=96),
        training=tiny_network.settings(epochs=2),
        explanation=dict(
            samples=60, segments=12, positives=2, compare=("causal",), options={"causal": {"samples": 64}}
        ),
        root=tmp_path / "root",
    )
    steps = [step for step in STEPS if step not in ("barplots", "quality", "statistics", "regions")]
    # One of both goes all the way.
    run = run_steps(study, *(steps if write is jaffe else ["faces"]))
    assert not [
        entry for entry in run.omissions if "face" in entry["reason"] and "neutral" in entry["reason"]
    ]
    manifest = read_manifest(study)
    assert len(manifest) == 12 and (manifest["neutral"] != "").all()
    pattern = (
        r"jaffe_(K\w)\.(AN|HA|SU)1\.\d+ jaffe_\1\.NE1\.\d+"
        if name == "jaffe"
        else r"ckplus_(S\d+_\d+)_\d+ ckplus_\1_0+1"
    )
    for row in manifest.itertuples():
        assert re.fullmatch(pattern, f"{row.image_id} {row.neutral}")
    if write is ckplus:
        return
    agreement, values = read_results(study, "explainers", "causal"), read_results(study, "explainers", "causal_values")
    assert set(agreement["explainer"]) == {"lime"} and len(agreement) == len(values) > 0
    assert np.isfinite(values[list(face_parts())].to_numpy()).all()
    # Nothing is known by construction: the landmarks tell what moved, and they are right for these faces.
    table = read_results(study, "known_answers", "localisation")
    assert set(table["reference"]) == {"landmarks"}
    others = table[table["explainer"] == "movement of others"]
    assert others["value"].iloc[0] > 0.75
    assert len(read_results(study, "known_answers", "masks")) == 9
    assert read_csv(Path(study.faces_folder) / "blendshapes.csv").shape[1] == 53
