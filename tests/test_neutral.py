"""A face's own neutral: found, aligned, what hidden parts show; the causal explainer's known answers."""

import numpy as np
import pandas as pd
import pytest
from made_records import shapley

import ekman_expressions as ee
import ekman_expressions.explainers
from ekman_expressions.core.errors import DataError
from ekman_expressions.explainers import EXPLAINERS, face_parts, part_segments
from ekman_expressions.faces.cropping import _crop_face, align_neutral
from ekman_expressions.faces.faces import _neutral_of
from ekman_expressions.measures.known_answers import causal_agreement, summarise_agreement

SIDE = 48


@pytest.fixture(scope="module")
def faces():
    return ee.example_faces(6, subjects=["id03"])


@pytest.fixture(scope="module")
def game(faces):
    """Return a function that explains one face by "causal", of a model whose first class is `value` of which
    parts are the face's (N, S): True where it is, False where the neutral face shows."""
    face, neutral = faces.at(SIDE)[0], faces.at(SIDE, neutral=True)[0]
    segments, names = part_segments(faces.landmarks[0], (SIDE, SIDE))
    assert len(face_parts()) == len(names) == 10
    difference = np.abs(face - neutral).sum(axis=-1)
    # The pixel of each part that changed most tells whose the part is.
    places = [np.where(segments == part, difference, -1).argmax() for part in range(len(names))]

    def explain(value, seed=1, **settings):
        def predict(images):
            flat = images.reshape(len(images), -1, 3)[:, places]
            return of_first(value(np.isclose(flat, face.reshape(-1, 3)[places], atol=1e-6).all(axis=-1)))

        given = {"landmarks": faces.landmarks[:1], "neutrals": neutral[None], **settings}
        return EXPLAINERS["causal"].explain(predict, face[None], [0], seed=seed, **given)[0]

    return explain


def of_first(first):
    """Six probabilities, of which the first is given."""
    return np.column_stack([first, *[(1 - first) / 5] * 5])


def predict_brightness(images):
    return of_first(0.1 + 0.8 * images.mean(axis=(1, 2, 3)))


def entangled(kept):
    """Interactions of two and three parts."""
    two, three = kept[:, 0] * kept[:, 8], kept[:, 1] * kept[:, 2] * kept[:, 9]
    return 0.1 + 0.3 * two + 0.4 * three + 0.1 * (kept.sum(axis=1) > 6)


ENDS = entangled(np.array([[True] * 10, [False] * 10]))


def test_all_coalitions_give_exact_shapley_values_that_sum_to_the_change(game):
    found = game(entangled, samples=1024)
    np.testing.assert_allclose(found.weights, shapley(entangled, 10), atol=1e-6)
    assert found.weights.sum() == pytest.approx(ENDS[0] - ENDS[1], abs=1e-6)
    assert found.passes == 1024 and not found.standard_errors.any()


def test_samples_sum_to_the_change_and_standard_errors_equal_the_spread(game):
    found = [game(entangled, seed=seed, samples=128) for seed in range(40)]
    weights = np.array([each.weights for each in found])
    np.testing.assert_allclose(weights.sum(axis=1), ENDS[0] - ENDS[1], atol=1e-6)
    stated = np.sqrt(np.mean([each.standard_errors**2 for each in found], axis=0))
    assert 0.75 < np.mean(stated / weights.std(axis=0)) < 1.4
    assert np.abs(weights.mean(axis=0) - shapley(entangled, 10)).max() < 0.02


@pytest.mark.parametrize("name", ["lime", "kernel_shap", "superpixel_rise", "occlusion", "rise"])
def test_hidden_parts_show_the_neutral_face(faces, name):
    """Where nothing changed nothing can be found: only the neutral picture hides a part without a trace."""
    few = {"rise": {"masks": 40, "cells": 4}, "occlusion": {}}.get(name, {"samples": 60})
    more = {"neutrals": faces.at(SIDE)[:1], "hidden": "neutral", **few}
    found = EXPLAINERS[name].explain(predict_brightness, faces.at(SIDE)[:1], [0], seed=1, **more)[0]
    np.testing.assert_allclose(found.map, found.map.mean() if name == "rise" else 0, atol=1e-5)


def test_integrated_gradients_from_the_neutral_sum_to_the_change(faces):
    model = ee.example_model()
    found = ee.explain(model, faces[:1], "integrated_gradients", hidden="neutral", tolerance=0.02)
    (only,) = found.explanations
    pair = model.predict(np.stack([faces.at(64)[0], faces.at(64, neutral=True)[0]]))
    change = np.subtract(*pair[:, only.target])
    assert only.map.sum() == pytest.approx(change, abs=float(0.03 * abs(change) + 1e-4))


def test_the_neutral_of_a_face_is_named_or_the_same_subjects_first(faces):
    part = faces[[4, 1]]
    assert np.array_equal(part.neutrals, faces.neutrals[[4, 1]]) and part.has_neutral.all()
    assert faces.has_neutral.all() and set(faces.table["neutral"]) == {"synthetic_id03_neutral_0"}
    rows = pd.DataFrame(
        {
            "image_id": ["n1", "n2", "a", "b", "c"],
            "subject": ["S1", "S1", "S1", "S1", "S2"],
            "expression": ["neutral", "neutral", "fear", "anger", "fear"],
            "neutral": ["", "", "", "n2", "gone"],
        }
    )
    assert _neutral_of(rows).tolist() == ["", "", "n1", "n2", ""]


def test_faces_without_a_neutral_are_named_and_left_out(faces):
    table = faces.table.copy()
    table.loc[1, "neutral"] = ""
    some = ee.Faces(faces.images, faces.landmarks, table, neutrals=faces.neutrals)
    with pytest.raises(DataError, match="1 faces have no neutral face.*id03_disgust_0"):
        some.at(SIDE, neutral=True)
    with pytest.warns(UserWarning, match="1 faces have no neutral face .*id03_disgust_0"):
        found = ee.explain(predict_brightness, some, "causal", targets="anger", samples=64)
    assert len(found) == 5
    none = ee.Faces(faces.images, faces.landmarks, faces.table)
    with pytest.raises(DataError, match="None of the 6 faces"):
        ee.explain(predict_brightness, none, "causal", targets="anger")
    with pytest.raises(DataError, match="'lime' with these settings needs 'neutrals' of shape .1, 48, 48, 3"):
        EXPLAINERS["lime"].explain(predict_brightness, faces.at(SIDE)[:1], [0], seed=0, hidden="neutral")


def test_a_neutral_in_another_pose_and_light_is_brought_to_the_face():
    """The face itself, turned, moved, enlarged and darkened, must come back as the face."""
    import cv2

    random = np.random.default_rng(0)
    face = cv2.GaussianBlur(random.integers(0, 256, (200, 200, 3), np.uint8), (0, 0), 6)
    face = cv2.normalize(face, None, 0, 255, cv2.NORM_MINMAX)
    points = ee.example_faces(1).landmarks[0] * 120 + 40
    crop, _, transform = _crop_face(face, points, 96)
    turn = np.array([[1.2, 0.25, -20.0], [-0.2, 1.15, 30.0]])
    # In continuous coordinates, so half a pixel aside for OpenCV.
    shift = turn.copy()
    shift[:, 2] += turn[:, :2].sum(axis=1) / 2 - 0.5
    moved = np.uint8(cv2.warpAffine(face, shift, (280, 280), borderMode=cv2.BORDER_REFLECT_101) * 0.6)
    there = points @ turn[:, :2].T + turn[:, 2]
    back = align_neutral(moved, there, crop, points, transform)
    inner = slice(16, 80)
    assert np.abs(back[inner, inner].astype(float) - crop[inner, inner]).mean() < 6
    same = align_neutral(face, points + 0.3, crop, points, transform)
    assert np.array_equal(same, crop)


def truth(*weights):
    return ee.explainers.Explanation(
        explainer="causal", target=0, weights=np.array(weights), segments=np.arange(len(weights))[None]
    )


def test_agreement_is_that_of_ranks_top_parts_and_signs():
    found = causal_agreement(truth(0.5, 0.1, -0.2), [3.0, -1.0, -2.0])
    assert found == pytest.approx({"spearman": 1, "top": 1, "sign": 0.7 / 0.8, "auc": 1})
    found = causal_agreement(truth(0.5, 0.1, -0.2), [-1.0, 0.0, 2.0])
    assert found == pytest.approx({"spearman": -1, "top": 0, "sign": 0, "auc": 0})
    flat = causal_agreement(truth(0.5, 0.1, -0.2), [1.0, 1.0, 1.0])
    assert np.isnan(flat["spearman"]) and (flat["top"], flat["auc"]) == (0, 0.5)


def test_agreement_is_averaged_over_persons():
    known = {"network": "A", "method": "m", "top": 1, "sign": 1, "auc": np.nan}
    rows = [known | {"subject": f"S{n // 2}", "spearman": n % 2} for n in range(20)]
    table = summarise_agreement(pd.DataFrame(rows)).set_index("score")
    assert table.loc["spearman", ["value", "count", "subjects"]].tolist() == [0.5, 20, 10]
    # Both values of each person average to the same, so nothing varies between persons.
    assert table.loc["spearman", "low"] == pytest.approx(0.5) == table.loc["spearman", "high"]
    assert "auc" not in table.index
