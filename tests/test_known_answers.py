"""Known answers: planted maps, baselines by hand, masks under relabelling, and the step on a miniature."""

import numpy as np
import pandas as pd
import pytest
from made_faces import make_experiment
from made_steps import stand_in
from made_synthetic import flat, prepared, write_set
from test_figures import assert_readable

from ekman_expressions import figures
from ekman_expressions.core.errors import DataError, MissingError
from ekman_expressions.core.expressions import EXPRESSIONS
from ekman_expressions.core.files import read_csv, write_arrays
from ekman_expressions.facespace.masks import atlas, ekman_mask
from ekman_expressions.facespace.warp import SHAPE
from ekman_expressions.measures.chance import centre_distance
from ekman_expressions.measures.known_answers import (
    LOCALISATION_SCORES,
    changed_pixels,
    localisation_scores,
    masks_against_movement,
    summarise_localisation,
)
from ekman_expressions.study import known_answers
from ekman_expressions.study import run as run_steps
from ekman_expressions.study.prepared import known_faces

HULL = atlas().hull
read = known_answers.read_known_answers
RNG = np.random.default_rng(0)


def rows_of_canvas(start, stop):
    canvas = np.zeros(SHAPE, bool)
    canvas[start:stop] = True
    return canvas


# One map


def test_a_map_equal_to_the_changed_pixels_finds_them_all():
    changed = rows_of_canvas(100, 140)
    found = localisation_scores(np.float32(changed), changed, HULL)
    area = changed[HULL].mean()
    assert found == pytest.approx({"auc": 1, "mass": 1, "density": 1 / area, "area": area})
    assert localisation_scores(1 - np.float32(changed), changed, HULL)["auc"] == 0


def test_baselines_are_what_they_say():
    prior, changed = np.exp(-2 * centre_distance() ** 2), rows_of_canvas(100, 175)
    assert prior.max() == pytest.approx(1, abs=0.01) and prior[0, 0] < prior[137, 0] < prior[137, 112]
    np.testing.assert_allclose(prior, prior[::-1, ::-1])
    # One standard deviation is half of the way to the side.
    assert prior[137, 56] == pytest.approx(np.exp(-0.5), abs=0.02)
    assert localisation_scores(prior, changed, HULL)["auc"] > 0.5


def test_each_unit_counts_by_its_own_range():
    jaw, brows = 12.0 * rows_of_canvas(200, 250), 2.0 * rows_of_canvas(20, 30) + 0.9 * rows_of_canvas(30, 40)
    slight = 0.4 * rows_of_canvas(100, 110)
    layers = {"total": jaw, "au27": jaw, "au01": brows, "au02": slight, "photometric": jaw}
    expected = rows_of_canvas(200, 250) | rows_of_canvas(20, 30)
    np.testing.assert_array_equal(changed_pixels(layers), expected)
    with pytest.raises(DataError, match="0.5 mm"):
        changed_pixels({"au02": slight, "total": jaw})


def test_summary_by_hand():
    rows = [
        ("lime", "WeiNet", subject, correct, value, 0.5, np.nan, 0.1, 0.0)
        for subject, correct, value in (("a", True, 0.6), ("a", False, 0.8), ("b", True, 0.5))
    ]
    names = ["explainer", "network", "subject", "correct", *LOCALISATION_SCORES]
    table = summarise_localisation(pd.DataFrame(rows, columns=names), seed=0).set_index(["faces", "score"])
    assert table.loc[("all", "auc"), ["value", "count", "subjects"]].tolist() == pytest.approx(
        [1.9 / 3, 3, 2]
    )
    assert table.loc[("correct", "auc"), "value"] == pytest.approx(0.55)
    assert table.loc[("all", "auc"), "low"] < 0.6 and ("all", "density") not in table.index


# The masks


def test_masks_of_what_moves_are_found_and_others_not():
    noise = {s: RNG.random(SHAPE) for s in "abc"}
    masks = {name: ekman_mask(name) for name in EXPRESSIONS}
    maps = {name: {s: masks[name] + 0.1 * noise[s] for s in "abc"} for name in EXPRESSIONS}
    pairs, summary = masks_against_movement(maps, masks, seed=0, resamples=10)
    found = summary.set_index("statistic")
    own = pairs[pairs["mask"] == pairs["causal_map"]]
    np.testing.assert_allclose(own[["iou", "low", "high"]], 1)
    assert found.loc["own", "value"] == 1 and found.loc["difference", "p"] == pytest.approx(1 / 720)
    assert np.isnan(found.loc["own", "p"]) and set(pairs["subjects"]) == {3}
    # The mean over subjects is what is compared.
    means = {name: np.mean(list(of_name.values()), axis=0) for name, of_name in maps.items()}
    table = known_answers.mask_agreement(means).T.unstack()
    np.testing.assert_allclose(pairs.set_index(["mask", "causal_map"])["iou"], table, rtol=1e-6)


def test_masks_dealt_out_wrongly_are_worse_than_relabelled_ones():
    masks = {name: ekman_mask(name) for name in EXPRESSIONS}
    turned = dict(zip(EXPRESSIONS, [*EXPRESSIONS[1:], EXPRESSIONS[0]], strict=True))
    maps = {name: {s: masks[turned[name]] + 0.1 * RNG.random(SHAPE) for s in "ab"} for name in EXPRESSIONS}
    _, summary = masks_against_movement(maps, masks, seed=0, resamples=5)
    difference = summary.set_index("statistic").loc["difference"]
    assert difference["value"] < 0 and difference["p"] > 0.5
    with pytest.raises(DataError, match="two or more expressions"):
        masks_against_movement({"fear": maps["fear"]}, masks, seed=0)


# The step


def layers_of(rows):
    layer = flat(0)
    layer[rows] = 200
    return {"total": layer, "photometric": layer, "au04": layer}


@pytest.fixture
def experiment(tmp_path):
    """Two persons, two expressions; LIME finds what moved exactly, KernelSHAP finds the rest."""
    low, high = layers_of(slice(70, 80)), layers_of(slice(30, 40))
    faces = [(s, name, 0, 90, {}) for s in ("id00", "id01") for name in ("neutral",)]
    faces += [(s, e, 0, 90, at) for s in ("id00", "id01") for e, at in (("anger", high), ("happiness", low))]
    found = prepared(tmp_path, write_set(tmp_path / "set", faces))
    found = found.replace(explanation=found.explanation.replace(compare=("kernel_shap", "rise")))
    truths = {}
    for row in known_faces(found).itertuples():
        truths[row.image_id] = row, changed_pixels(known_answers.warped_layers(found, row, ["au04"]))
    for explainer, sign in (("lime", 1), ("kernel_shap", -1)):
        explained = found.explained_by(explainer)
        with stand_in(explained, "facespace"):
            for (_, fold), predicted in ((pair, e) for pair in found.pairs for e in ("anger", "happiness")):
                of_cell = [
                    (i, truth)
                    for i, (row, truth) in truths.items()
                    if row.fold == fold and row.expression == predicted
                ]
                maps = np.stack([np.float32(truth if sign > 0 else ~truth) for _, truth in of_cell])
                ids = np.array([i for i, _ in of_cell])
                write_arrays(explained.maps_path("WeiNet", fold, predicted), {"maps": maps, "image_ids": ids})
    return found


def test_step_scores_explainers_and_baselines_and_names_what_is_missing(experiment):
    run = run_steps(experiment, "known_answers")
    assert run.done == 2
    assert [entry["item"] for entry in run.omissions if "explainer" in entry["item"]] == ["explainer rise"]
    table = read(experiment, "localisation")
    auc = table[(table["faces"] == "all") & (table["score"] == "auc")].set_index("explainer")["value"]
    assert auc["lime"] == 1 and auc["kernel_shap"] == 0 and auc["photometric change"] == 1
    assert auc["random pixels"] == pytest.approx(0.5, abs=0.03)
    faces = read(experiment, "localisation_faces")
    lime = faces[faces["explainer"] == "lime"]
    assert lime["correct"].all() and len(lime) == 4 and (lime["mass"] == 1).all()
    # Another face's explanation lies at the other expression's place.
    assert (lime["over_another"] > 0.4).all()
    prior = faces[faces["explainer"] == "centre prior"].set_index("image_id")["auc"]
    np.testing.assert_allclose(lime.set_index("image_id")["over_centre"], 1 - prior[lime["image_id"]])
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


def test_without_explanations_the_step_says_which_are_needed(tmp_path):
    root = write_set(
        tmp_path / "set", [("id00", "neutral", 0, 9, {}), ("id00", "anger", 0, 9, layers_of(slice(9)))]
    )
    with pytest.raises(MissingError, match="nothing to compare.*facespace"):
        run_steps(prepared(tmp_path, root), "known_answers")


# Figures


def test_figures_are_readable_and_show_the_numbers(experiment):
    run_steps(experiment, "known_answers")
    table = read(experiment, "localisation")
    figure = known_answers.localisation_figure(table)
    assert_readable(figure)
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["LIME", "KernelSHAP"]
    dots = [line.get_xdata()[0] for line in figure.axes[0].lines if line.get_marker() == "o"]
    assert dots == pytest.approx([1, 0])
    readable = known_answers.localisation_table(table)
    assert readable.loc[("WeiNet", "lime"), "auc"].startswith("1.000 [")
    assert_readable(known_answers.masks_figure(read(experiment, "masks"), read(experiment, "masks_summary")))
    with pytest.raises(DataError, match="no explained faces"):
        known_answers.localisation_figure(table[table["network"] == "none"])
    with pytest.raises(DataError, match="no values"):
        figures.interval_dots(table[:0], panels={}, row="explainer", colour="network")
