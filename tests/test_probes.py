"""Probe networks: faces, split, what is explained, shares by hand, and the study with a tiny network."""

import numpy as np
import pandas as pd
import pytest
from test_figures import assert_readable
from tiny_network import without_state

from ekman_expressions.core.errors import ConflictError, DataError, MissingError, SettingsError
from ekman_expressions.facespace.masks import atlas
from ekman_expressions.study import known_answers_figures, probe_faces, probe_training, probes
from ekman_expressions.study.probe_faces import ProbeFaces
from ekman_expressions.study.probe_training import ProbeNetwork, ProbeTraining


def made(persons=6, side=16, probe="mouth"):
    """Faces that differ in the brightness of a patch alone: dark is frown, bright is smile."""
    random = np.random.default_rng(0)
    rows = [(f"id{p:02d}_{t}", f"id{p:02d}", t) for p in range(persons) for t in range(3)]
    images = np.empty((len(rows), side, side, 3), np.uint8)
    for place, (_, subject, target) in enumerate(rows):
        images[place] = 100 + 5 * int(subject[2:]) + random.integers(0, 4, (side, side, 3))
        images[place, 11:14, 5:11] = (120, 250, 5)[target]
    # The template's own proportions, so that the mouth is where it is in face space.
    from ekman_expressions.facespace.warp import POINTS, SHAPE

    landmarks = np.stack([POINTS[:68] / (SHAPE[1], SHAPE[0])] * len(rows))
    image_ids, subjects, targets = (np.array(column) for column in zip(*rows, strict=True))
    classes = ("neutral", "smile", "frown")
    return ProbeFaces(probe, classes, image_ids, subjects, targets, images, landmarks)


def test_faces_of_a_pair_are_cut_out_alike_and_differ_in_the_region_alone():
    faces = probe_faces.load_faces("mouth", 64)
    assert len(faces.images) == 72 and faces.omissions == ()
    assert np.bincount(faces.targets).tolist() == [24, 24, 24] and faces.classes[0] == "neutral"
    apart = []
    for person in np.unique(faces.subjects):
        of_person = faces.images[faces.subjects == person].astype(float)
        apart.append(np.abs(of_person[1:] - of_person[0]).mean(axis=(0, 3)))
    difference = np.mean(apart, axis=0)
    # The mouth is in the lower half of the crop; hair and forehead stay where they are.
    assert difference[38:60].mean() > 5 * difference[:24].mean()
    assert np.abs(faces.landmarks[:, 36:48].mean(axis=1) - (0.5, 0.38)).max() < 0.03
    with pytest.raises(SettingsError, match="'probe'"):
        probe_faces.load_faces("nose", 64)


def test_nobody_is_in_both_parts_and_the_explained_are_of_many_persons():
    faces = made(9)
    test = probe_faces.split_persons(faces, seed=0)
    assert len(set(faces.subjects[test])) == 3 and not set(faces.subjects[test]) & set(faces.subjects[~test])
    places = probe_faces.faces_to_explain(faces, test, 4)
    assert len(set(faces.subjects[places[:3]])) == 3 and set(faces.targets[places]) == {1, 2}
    assert len(probe_faces.faces_to_explain(faces, test, 100)) == 6
    with pytest.raises(DataError, match="two persons"):
        probe_faces.split_persons(made(1), seed=0)


def read_rows(places):
    """A model whose first class is the mean brightness of some rows; of three classes."""

    def model(images):
        first = np.asarray(images)[:, places].mean(axis=(1, 2, 3))
        return np.stack([(1 - first) / 2, first, (1 - first) / 2], axis=1)

    return model


def test_a_model_that_reads_the_mouth_lights_it_more_than_one_that_reads_the_forehead():
    faces = made(2, side=64)
    y = (faces.landmarks[0, 48:68, 1] * 64).astype(int)
    mouth, forehead = read_rows(slice(y.min(), y.max() + 1)), read_rows(slice(0, 12))
    network = ProbeNetwork(mouth, forehead, 0.9, 1.0)
    table = probes.explain_probe("Reader", network, faces, [1], ["lime", "kernel_shap"], samples=200, seed=0)
    ratio = table.set_index(["explainer", "state"])["ratio"]
    for explainer in ("lime", "kernel_shap"):
        assert ratio[explainer, "trained"] > 2 > 0.5 > ratio[explainer, "untrained"]
    assert (table["area"] == atlas().group("mouth").mean()).all() and (table["accuracy"] == 0.9).all()
    assert table["share"].between(0, 1).all() and set(table["label"]) == {"smile"}


def test_share_by_hand():
    region = atlas().group("eyes")
    assert probes._share(np.float32(region), region) == 1
    assert probes._share(np.ones(region.shape), region) == pytest.approx(region.mean())
    assert np.isnan(probes._share(-np.ones(region.shape), region))
    with pytest.raises(DataError, match="not finite"):
        probes._share(np.full(region.shape, np.nan), region)


def test_summary_by_hand():
    rows = [
        ("WeiNet", "eyes", "lime", state, f"{s}_x", s, "wide", 0.8, np.nan, 0.06, value, mass)
        for s, pair, mass in (("a", (3, 1), 1.0), ("b", (5, 2), 3.0), ("c", (np.nan, 2), 0.0))
        for state, value in zip((probes.TRAINED, probes.UNTRAINED), pair, strict=True)
    ]
    found = probes.summarise(pd.DataFrame(rows, columns=probes.FACES), samples=9, seed=0).set_index("state")
    assert found["ratio"].tolist() == pytest.approx([4, 5 / 3, 4 - 5 / 3])
    # In the mean map the second face counts three times.
    assert found["heatmap"].tolist() == pytest.approx([18 / 4, 7 / 4, 11 / 4])
    assert found["faces"].tolist() == [2, 3, 2] and found["subjects"].tolist() == [2, 3, 2]
    for name, low, high in (("ratio", "low", "high"), ("heatmap", "heatmap_low", "heatmap_high")):
        assert (found[low] < found[name]).all() and (found[name] < found[high]).all()


@pytest.fixture
def tiny(monkeypatch):
    without_state()
    monkeypatch.setattr(probes, "load_faces", lambda probe, side, root=None: made(side=side, probe=probe))
    return ProbeTraining(epochs=80, learning_rate=1e-2)


def test_training_learns_from_the_region_and_leaves_the_untrained_copy_alone(tiny):
    faces = made()
    test = probe_faces.split_persons(faces, seed=0)
    found = probe_training.train_probe("Tiny", faces, test, seed=0, settings=tiny)
    assert found.accuracy > 0.8 and found.training_accuracy > 0.8
    again = probe_training.train_probe("Tiny", faces, test, seed=0, settings=tiny)
    images = np.float32(faces.images) / 255
    for one, other in ((found.trained, again.trained), (found.untrained, again.untrained)):
        np.testing.assert_allclose(one(images), other(images), atol=1e-5)
    assert np.abs(found.trained(images).numpy() - found.untrained(images).numpy()).max() > 0.1


def test_study_writes_what_it_found_and_goes_on(tiny, tmp_path):
    settings = {"networks": ["Tiny"], "samples": 40, "faces": 3, "training": tiny}
    found = probes.run(tmp_path, probes=["mouth"], **settings)
    assert found["state"].tolist() == ["trained", "untrained", "difference"]
    pd.testing.assert_frame_equal(probes.read_probes(tmp_path), found, check_dtype=False)
    more = probes.run(tmp_path, probes=["mouth", "eyes"], explainers=["lime", "grad_cam"], **settings)
    assert len(more) == 4 * 3
    before = more[(more["probe"] == "mouth") & (more["explainer"] == "lime")]
    np.testing.assert_allclose(before["ratio"], found["ratio"], rtol=1e-6)
    with pytest.raises(ConflictError, match="samples"):
        probes.run(tmp_path, probes=["mouth"], **(settings | {"samples": 41}))


def test_wrong_names_are_refused_before_anything_is_trained(tmp_path):
    for wrong in ({"networks": ["NoNet"]}, {"probes": ["nose"]}, {"explainers": ["luck"]}, {"samples": 1}):
        with pytest.raises(SettingsError):
            probes.run(tmp_path, **wrong)
    assert not list(tmp_path.iterdir())
    with pytest.raises(MissingError, match="probes"):
        probes.read_probes(tmp_path)
    with pytest.raises(SettingsError, match="epochs"):
        ProbeTraining(epochs=0)


def test_figure_and_table_are_readable_and_show_the_numbers():
    rows = [
        ("WeiNet", probe, "lime", state, f"{s}_x", s, "x", 0.8, 0.1, 0.06, value + k, 1.0 + k)
        for probe in ("brows", "mouth")
        for k, s in enumerate("abc")
        for state, value in ((probes.TRAINED, 2.0), (probes.UNTRAINED, 1.0))
    ]
    summary = probes.summarise(pd.DataFrame(rows, columns=probes.FACES), samples=9, seed=0)
    figure = known_answers_figures.probes_figure(summary)
    assert_readable(figure)
    dots = [line.get_xdata()[0] for line in figure.axes[0].lines if line.get_marker() == "o"]
    assert dots == pytest.approx([3, 2, 3, 2])
    table = known_answers_figures.probes_table(summary)
    assert table.loc[("WeiNet", "brows", 0.8, "lime"), ("faces", "trained")].startswith("3.00 [")
    with pytest.raises(DataError, match="no probe networks"):
        known_answers_figures.probes_figure(summary[:0])
