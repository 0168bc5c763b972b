"""Known answers: summaries by hand, chimeras, masks under relabelling, and the step on a miniature."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_faces import make_experiment
from made_steps import stand_in
from made_synthetic import flat, prepared, write_set
from test_figures import assert_readable

from ekman_expressions.core.errors import DataError
from ekman_expressions.core.expressions import EXPRESSIONS, index
from ekman_expressions.core.files import read_csv, write_arrays
from ekman_expressions.explainers import EXPLAINERS, StoredMap
from ekman_expressions.facespace.masks import atlas, ekman_mask
from ekman_expressions.facespace.warp import SHAPE, template_points
from ekman_expressions.measures.known_answers import (
    _REFERENCES,
    CENTRE,
    ORACLE,
    _masks_against_movement,
    _summarise_localisation,
    changed_pixels,
    most_changed,
)
from ekman_expressions.study import known_answers
from ekman_expressions.study import run as run_steps
from ekman_expressions.study.prepared import known_faces, read_landmarks

HULL = atlas().hull
read = known_answers.read_known_answers
RNG = np.random.default_rng(0)


def rows_of_canvas(start, stop):
    canvas = np.zeros(SHAPE, bool)
    canvas[start:stop] = True
    return canvas


# The reference


def test_each_unit_counts_by_its_own_range():
    jaw, brows = 12.0 * rows_of_canvas(200, 250), 2.0 * rows_of_canvas(20, 30) + 0.9 * rows_of_canvas(30, 40)
    slight = 0.4 * rows_of_canvas(100, 110)
    layers = {"total": jaw, "au27": jaw, "au01": brows, "au02": slight, "photometric": jaw}
    expected = rows_of_canvas(200, 250) | rows_of_canvas(20, 30)
    np.testing.assert_array_equal(changed_pixels(layers), expected)
    with pytest.raises(DataError, match="0.5 mm"):
        changed_pixels({"au02": slight, "total": jaw})


def test_the_pixels_that_changed_most_are_a_fifth_of_the_face():
    marked = most_changed(RNG.random(SHAPE))
    assert marked.sum() == pytest.approx(0.2 * HULL.sum(), rel=0.01) and not (marked & ~HULL).any()


def test_summary_by_hand():
    rows = [
        (name, network, reading, image_id, subject, value, value)
        for name, network, reading, values in (
            ("lime", "WeiNet", "positive", (0.6, 0.8, 0.5)),
            (CENTRE, "none", "baseline", (0.5, 0.6, 0.55)),
            (ORACLE, "none", "baseline", (0.9, 1.0, 0.8)),
        )
        for image_id, subject, value in zip("xyz", "aab", values, strict=True)
    ]
    names = ["explainer", "network", "reading", "image_id", "subject", *_REFERENCES[:2]]
    table = _summarise_localisation(pd.DataFrame(rows, columns=names), seed=0)
    found = table[table["reference"] == "displacement"].set_index("explainer")
    lime = found.loc["lime"]
    assert lime[["value", "fraction", "count", "subjects"]].tolist() == pytest.approx(
        [1.9 / 3, 0.25 / 1.05, 3, 2]
    )
    assert lime["low"] < 1.9 / 3 < lime["high"] and lime["fraction_low"] < 0.2 < lime["fraction_high"]
    assert found["fraction"][[CENTRE, ORACLE]].tolist() == [0, 1]


# Chimeras


def test_explanations_of_a_function_that_reads_one_half_tell_it_from_the_other_half(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "benchmarks")
    from chimeras import chimeras

    faces = np.float32(RNG.random((4, 8, 8, 3))).repeat(4, axis=1).repeat(4, axis=2)
    landmarks = np.full((4, 68, 2), 0.5)
    table = pd.DataFrame({"subject": list("aabb"), "variant": 0, "expression": ["fear", "anger"] * 2})
    images, _, about = chimeras(faces, landmarks, table)
    assert (
        about[["subject", "upper", "lower"]].values.tolist()[1] == ["a", "fear", "anger"] and len(about) == 8
    )
    np.testing.assert_array_equal(images[1], np.concatenate([faces[0, :16], faces[1, 16:]]))

    def reader(rows):
        def model(batch):
            bright = np.asarray(batch)[:, rows].mean(axis=(1, 2, 3))
            return np.stack([bright, 1 - bright], axis=1)

        return model

    def above(found, seam):
        return np.maximum(found, 0)[:seam].sum() / np.maximum(found, 0).sum()

    apart = {"lime": [], "edges": []}
    for image, seam in zip(images, about["seam"], strict=True):
        for method, explain in (
            ("lime", lambda m, i: EXPLAINERS["lime"].explain(m, i[None], [0], seed=0, samples=200)[0].map),
            ("edges", lambda _, i: np.abs(np.diff(i.mean(axis=-1), axis=1))),
        ):
            upper, lower = (
                above(explain(reader(half), image), seam) for half in (slice(0, seam), slice(seam, None))
            )
            apart[method].append(upper - lower)
    assert np.mean(apart["lime"]) > 0.6 and min(apart["lime"]) > 0
    assert apart["edges"] == [0] * 8


# The masks


def test_masks_of_what_moves_are_found_and_others_not():
    noise = {s: RNG.random(SHAPE) for s in "abc"}
    masks = {name: ekman_mask(name) for name in EXPRESSIONS}
    maps = {name: {s: masks[name] + 0.1 * noise[s] for s in "abc"} for name in EXPRESSIONS}
    pairs, summary = _masks_against_movement(maps, masks, seed=0, resamples=10)
    found = summary.set_index("statistic")
    own = pairs[pairs["mask"] == pairs["causal_map"]]
    np.testing.assert_allclose(own[["iou", "low", "high"]], 1)
    assert found.loc["own", "value"] == 1 and found.loc["difference", "p"] == pytest.approx(1 / 720)
    assert np.isnan(found.loc["own", "p"]) and set(pairs["subjects"]) == {3}
    # The mean over subjects is what is compared.
    means = {name: np.mean(list(of_name.values()), axis=0) for name, of_name in maps.items()}
    table = known_answers.mask_agreement(means).T.unstack()
    np.testing.assert_allclose(pairs.set_index(["mask", "causal_map"])["iou"], table, rtol=1e-6)


# The step


def layers_of(rows):
    layer = flat(0)
    layer[rows] = 200
    return {"total": layer, "photometric": layer, "au04": layer}


@pytest.fixture
def experiment(tmp_path):
    """Two persons, two expressions; occlusion finds what moved exactly, RISE finds the rest."""
    low, high = layers_of(slice(70, 80)), layers_of(slice(30, 40))
    faces = [(s, name, 0, 90, {}) for s in ("id00", "id01") for name in ("neutral",)]
    faces += [(s, e, 0, 90, at) for s in ("id00", "id01") for e, at in (("anger", high), ("happiness", low))]
    found = prepared(tmp_path, write_set(tmp_path / "set", faces))
    found = found.replace(
        explanation=found.explanation.replace(explainer="occlusion", compare=("rise", "grad_cam"))
    )
    truths = {}
    for row in known_faces(found).itertuples():
        truths[row.image_id] = row, changed_pixels(known_answers.warped_layers(found, row, ["au04"]))
    for explainer, sign in (("occlusion", 1), ("rise", -1)):
        explained = found.explained_by(explainer)
        with stand_in(explained, "facespace"):
            for (_, fold), predicted in ((pair, e) for pair in found.pairs for e in ("anger", "happiness")):
                of_cell = [
                    (i, truth)
                    for i, (row, truth) in truths.items()
                    if row.fold == fold and row.expression == predicted
                ]
                for image_id, truth in of_cell:
                    x, y = template_points(read_landmarks(found, image_id), (64, 64)).transpose(2, 0, 1)
                    place = (
                        np.nan_to_num(v).astype(int).clip(0, n - 1)
                        for v, n in zip((y, x), SHAPE, strict=True)
                    )
                    map_ = np.float32(sign * (truth[*place] - 0.5))
                    known = {"image_id": image_id, "model": f"WeiNet_{fold}", "target": index(predicted)}
                    stored = StoredMap(**known, map=map_, passes=1)
                    stored.save(explained.record_path("WeiNet", fold, image_id))
                ids = {"image_ids": np.array([i for i, _ in of_cell])}
                write_arrays(explained.maps_path("WeiNet", fold, predicted), ids)
    return found


def test_step_scores_explainers_and_baselines_and_names_what_is_missing(experiment):
    run = run_steps(experiment, "known_answers")
    assert run.done == 2
    assert [entry["item"] for entry in run.omissions if "explainer" in entry["item"]] == [
        "explainer grad_cam"
    ]
    table = read(experiment, "localisation")
    table = table[table["reference"] == "displacement"].set_index(["explainer", "reading"])
    values = table["value"]
    assert values["occlusion", "positive"] > 0.95 and values["rise", "positive"] < 0.05
    # The sign is gone; both halves of the map are alike.
    assert values["rise", "magnitude"] == values["occlusion", "magnitude"]
    baselines = values[:, "baseline"]
    assert baselines["movement of others"] > 0.95 and baselines["photometric change"] > 0.95
    assert baselines["random pixels"] == pytest.approx(0.5, abs=0.2)
    assert {CENTRE, ORACLE, "ellipse", "image edges"} < set(baselines.index)
    assert table.loc[("occlusion", "positive"), "count"] == 4
    pairs, summary = read(experiment, "masks"), read(experiment, "masks_summary")
    assert len(pairs) == 4 and summary["statistic"].tolist() == ["own", "others", "difference"]
    again = run_steps(experiment, "known_answers")
    assert again.done == 0 and again.skipped == 2


def test_a_face_whose_mask_is_damaged_is_left_out_by_name(experiment, tmp_path):
    (tmp_path / "set" / "masks" / "id00_anger_0.png").write_bytes(b"no image")
    run = run_steps(experiment, "known_answers")
    assert "synthetic_id00_anger_0" in {entry["item"] for entry in run.omissions}
    faces = read_csv(experiment.known_answers_folder / "localisation_faces.csv")
    assert "synthetic_id00_anger_0" not in set(faces["image_id"])


@pytest.mark.parametrize("datasets", [("made",), ("synthetic", "made")])
def test_faces_without_known_answers_write_nothing(tmp_path, datasets):
    """Also if synthetic faces were asked for, but none could be prepared."""
    experiment = make_experiment(tmp_path)
    object.__setattr__(experiment.faces, "datasets", datasets)
    run = run_steps(experiment, "known_answers")
    assert "no known answers" in run.notes[0] and not run.done
    assert not experiment.known_answers_folder.exists()


# Figures


def test_figures_are_readable_and_show_the_numbers(experiment):
    run_steps(experiment, "known_answers")
    table = read(experiment, "localisation")
    figure = known_answers.localisation_figure(table)
    assert_readable(figure)
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == [
        "Occlusion, positive",
        "Occlusion, magnitude",
        "RISE, positive",
        "RISE, magnitude",
    ]
    dots = [line.get_xdata()[0] for line in figure.axes[0].lines if line.get_marker() == "o"]
    assert (
        dots == table["value"][(table["network"] != "none") & (table["reference"] == "displacement")].tolist()
    )
    readable = known_answers.localisation_table(table)
    assert readable.loc[("none", CENTRE, "baseline"), ("fraction", "displacement")].startswith("0.00 [")
    assert_readable(known_answers.masks_figure(read(experiment, "masks"), read(experiment, "masks_summary")))
