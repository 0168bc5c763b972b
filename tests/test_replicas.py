"""JAFFE in small, synthetic faces in its layout: from the reader to what networks really use."""

import re
from pathlib import Path

import tiny_network
from PIL import Image

from ekman_expressions import Experiment
from ekman_expressions.core.files import read_csv
from ekman_expressions.faces import synthetic
from ekman_expressions.study import read_results
from ekman_expressions.study import run as run_steps
from ekman_expressions.study.prepared import read_manifest

PERSONS = ("id03", "id05", "id07", "id12")
CODES = {"neutral": "NE", "anger": "AN", "happiness": "HA", "surprise": "SU"}


def write_jaffe(root):
    """A neutral picture of each person; gray, as the originals."""
    for place, person in enumerate(PERSONS):
        for number, (name, code) in enumerate(CODES.items(), start=4 * place):
            picture = Image.open(synthetic.folder() / "images" / f"{person}_{name}_0.webp").convert("L")
            picture.save(root / f"K{'ALMR'[place]}.{code}1.{number}.tiff")


def test_a_replica_of_jaffe_goes_from_its_reader_to_known_answers(tmp_path, monkeypatch):
    tiny_network.register(monkeypatch.setitem)
    write_jaffe(tmp_path)
    study = Experiment(
        name="replica",
        networks=("Tiny",),
        faces=dict(datasets=("jaffe",), roots={"jaffe": str(tmp_path)}, folds=2, size=96),
        training=tiny_network.settings(epochs=2),
        explanation=dict(samples=60, segments=12, positives=2),
        root=tmp_path / "root",
    )
    steps = "faces training evaluation explanations facespace known_answers".split()
    run_steps(study, *steps)
    manifest = read_manifest(study)
    assert len(manifest) == 12 and (manifest["neutral"] != "").all()
    for row in manifest.itertuples():
        pattern = r"jaffe_(K\w)\.(AN|HA|SU)1\.\d+ jaffe_\1\.NE1\.\d+"
        assert re.fullmatch(pattern, f"{row.image_id} {row.neutral}")
    # Nothing is known by construction: the landmarks tell what moved, and they are right for these faces.
    table = read_results(study, "known_answers", "localisation")
    assert set(table["reference"]) == {"landmarks"}
    others = table[table["explainer"] == "movement of others"]
    assert others["value"].iloc[0] > 0.75
    assert len(read_results(study, "known_answers", "masks")) == 9
    assert read_csv(Path(study.faces_folder) / "blendshapes.csv").shape[1] == 53
