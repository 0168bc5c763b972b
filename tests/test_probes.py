"""Probe networks (benchmarks/probe_networks.py): faces, what is highlighted, means by hand, figures."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from test_figures import assert_readable
from tiny_network import without_state

from ekman_expressions.facespace.masks import atlas
from ekman_expressions.facespace.warp import POINTS, SHAPE

PATH = Path(__file__).parent.parent / "benchmarks" / "probe_networks.py"
SPEC = importlib.util.spec_from_file_location("probe_networks", PATH)
probes = sys.modules["probe_networks"] = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(probes)
STATES = (probes.TRAINED, probes.UNTRAINED)


def made(persons=6, side=16):
    """Faces that differ in the brightness of a patch alone: dark is frown, bright is smile."""
    random = np.random.default_rng(0)
    rows = [(f"id{p:02d}_{t}", f"id{p:02d}", t) for p in range(persons) for t in range(3)]
    images = np.empty((len(rows), side, side, 3), np.uint8)
    for place, (_, subject, target) in enumerate(rows):
        images[place] = 100 + 5 * int(subject[2:]) + random.integers(0, 4, (side, side, 3))
        images[place, 11:14, 5:11] = (120, 250, 5)[target]
    # The template's own proportions, so that the mouth is where it is in face space.
    landmarks = np.stack([POINTS[:68] / (SHAPE[1], SHAPE[0])] * len(rows))
    image_ids, subjects, targets = (np.array(column) for column in zip(*rows, strict=True))
    classes = ("neutral", "smile", "frown")
    return probes.ProbeFaces("mouth", classes, image_ids, subjects, targets, images, landmarks)


def test_probes_are_paired_with_the_neutral_face_of_the_same_person():
    for probe, labels in probes.PROBES.items():
        rows = probes.load_probes(probe)
        assert rows["label"].value_counts().to_dict() == dict.fromkeys(labels, 24)
        assert (rows["neutral"] == rows["subject"] + "_neutral_" + rows["variant"]).all()
        assert all(
            Path(path).stem == name for path, name in zip(rows["neutral_path"], rows["neutral"], strict=True)
        )


def test_faces_of_a_pair_are_cut_out_alike_and_differ_in_the_region_alone():
    faces = probes.load_faces("mouth", 64)
    assert np.bincount(faces.targets).tolist() == [24, 24, 24] and faces.classes[0] == "neutral"
    apart = []
    for person in np.unique(faces.subjects):
        of_person = faces.images[faces.subjects == person].astype(float)
        apart.append(np.abs(of_person[1:] - of_person[0]).mean(axis=(0, 3)))
    difference = np.mean(apart, axis=0)
    # The mouth is in the lower half of the crop; hair and forehead stay where they are.
    assert difference[38:60].mean() > 5 * difference[:24].mean()
    assert np.abs(faces.landmarks[:, 36:48].mean(axis=1) - (0.5, 0.38)).max() < 0.03


def read_rows(places):
    """A model whose second class is the mean brightness of some rows; of three classes."""

    def model(images):
        first = np.asarray(images)[:, places].mean(axis=(1, 2, 3))
        return np.stack([(1 - first) / 2, first, (1 - first) / 2], axis=1)

    return model


def test_a_model_that_reads_the_mouth_highlights_it_more_than_one_that_reads_the_forehead():
    faces = made(2, side=64)
    y = (faces.landmarks[0, 48:68, 1] * 64).astype(int)
    models = {"trained": read_rows(slice(y.min(), y.max() + 1)), "untrained": read_rows(slice(0, 12))}
    table = probes.explain_probe(models, faces, [1], ["lime", "kernel_shap"], samples=200, seed=0)
    ratio = table.set_index(["explainer", "state"])["ratio"]
    for explainer in ("lime", "kernel_shap"):
        assert ratio[explainer, "trained"] > 2 > 0.5 > ratio[explainer, "untrained"]
    assert (table["area"] == atlas().group("mouth").mean()).all() and set(table["label"]) == {"smile"}


def test_training_learns_from_the_region_and_leaves_the_untrained_copy_alone(monkeypatch):
    without_state()
    monkeypatch.setattr(probes, "EPOCHS", 80)
    faces = made()
    test = probes.split_persons(faces, 0)
    assert len(set(faces.subjects[test])) == 2 and not set(faces.subjects[test]) & set(faces.subjects[~test])
    assert set(probes.faces_to_explain(faces, test, 3).tolist()) <= set(np.flatnonzero(test))
    trained, untrained, accuracy = probes.train_probe("Tiny", faces, test, 0, 1e-2)
    images = np.float32(faces.images) / 255
    assert accuracy > 0.8 and np.abs(trained(images).numpy() - untrained(images).numpy()).max() > 0.1


def summary(rows):
    columns = ["network", "probe", "explainer", "state", "subject", "ratio", "mass", "accuracy"]
    return probes.summarise(pd.DataFrame(rows, columns=columns), samples=9, seed=0)


def test_summary_by_hand():
    rows = [
        ("WeiNet", "eyes", "lime", state, s, value, mass, 0.8)
        for s, pair, mass in (("a", (3, 1), 1.0), ("b", (5, 2), 3.0), ("c", (np.nan, 2), 0.0))
        for state, value in zip(STATES, pair, strict=True)
    ]
    found = summary(rows).set_index("state")
    assert found["ratio"].tolist() == pytest.approx([4, 5 / 3, 4 - 5 / 3])
    # In the mean map the second face counts three times.
    assert found["heatmap"].tolist() == pytest.approx([18 / 4, 7 / 4, 11 / 4])
    assert found["faces"].tolist() == [2, 3, 2] and found["subjects"].tolist() == [2, 3, 2]
    for name, low, high in (("ratio", "low", "high"), ("heatmap", "heatmap_low", "heatmap_high")):
        assert (found[low] < found[name]).all() and (found[name] < found[high]).all()


def test_figure_and_table_are_readable_and_show_the_numbers():
    rows = [
        ("WeiNet", probe, "lime", state, s, value + k, 1.0 + k, 0.8)
        for probe in ("brows", "mouth")
        for k, s in enumerate("abc")
        for state, value in zip(STATES, (2.0, 1.0), strict=True)
    ]
    found = summary(rows)
    figure = probes.probes_figure(found)
    assert_readable(figure)
    dots = [line.get_xdata()[0] for line in figure.axes[0].lines if line.get_marker() == "o"]
    assert dots == pytest.approx([3, 2, 3, 2])
    table = probes.probes_table(found)
    assert table.loc[("WeiNet", "brows", 0.8, "lime"), ("faces", "trained")].startswith("3.00 [")
