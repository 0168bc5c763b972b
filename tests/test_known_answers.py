"""Known answers: causal maps, agreement and summaries by hand, chimeras, and the step on a miniature."""

from itertools import product
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from made_faces import make_experiment
from made_steps import stand_in, with_
from made_synthetic import LANDMARKS, flat, prepared, write_set
from test_figures import assert_readable

from ekman_expressions import figures
from ekman_expressions.core.errors import DataError, MissingError
from ekman_expressions.core.expressions import EXPRESSIONS
from ekman_expressions.core.files import read_csv, write_arrays
from ekman_expressions.explainers import StoredMap
from ekman_expressions.faces.cropping import _crop_transform
from ekman_expressions.facespace import warp
from ekman_expressions.facespace.masks import atlas, ekman_mask
from ekman_expressions.facespace.warp import SHAPE, template_points
from ekman_expressions.measures.known_answers import (
    CENTRE,
    ORACLE,
    _iou_at_equal_area,
    _masks_against_movement,
    _summarise_localisation,
    changed_pixels,
    localisation_auc,
)
from ekman_expressions.measures.scores import auc
from ekman_expressions.study import known_answers, pictures, read_results
from ekman_expressions.study import run as run_steps
from ekman_expressions.study.prepared import read_landmarks

HULL = atlas().hull
EKMAN = {name: ekman_mask(name) for name in EXPRESSIONS}
RNG = np.random.default_rng(0)


def rows_of_canvas(start, stop):
    canvas = np.zeros(SHAPE, bool)
    canvas[start:stop] = True
    return canvas


def test_each_unit_counts_by_its_own_range():
    jaw, brows = 12.0 * rows_of_canvas(200, 250), 2.0 * rows_of_canvas(20, 30) + 0.9 * rows_of_canvas(30, 40)
    slight = 0.4 * rows_of_canvas(100, 110)
    layers = {"total": jaw, "au27": jaw, "au01": brows, "au02": slight, "photometric": jaw}
    expected = rows_of_canvas(200, 250) | rows_of_canvas(20, 30)
    np.testing.assert_array_equal(changed_pixels(layers)["displacement"], expected)
    with pytest.raises(DataError, match="0.5 mm"):
        changed_pixels({"au02": slight, "total": jaw})


@pytest.mark.parametrize("name, share", [("photometric", 0.2), ("landmarks", 1 / 3)])
def test_the_pixels_that_changed_most_are_a_part_of_the_face(name, share):
    marked = changed_pixels({"au04": np.ones(SHAPE), name: RNG.random(SHAPE)})[name]
    assert marked.sum() == pytest.approx(share * HULL.sum(), rel=0.01) and not (marked & ~HULL).any()


def test_localisation_is_the_auc_of_the_blurred_map_and_equal_pixels_count_one_half():
    rows, columns = np.indices(SHAPE)
    changed = {"displacement": rows > 140, "photometric": columns < 100}
    assert localisation_auc(np.full(SHAPE, 3.0), changed) == {"displacement": 0.5, "photometric": 0.5}
    # One hot square: far from it the blurred map is 0 everywhere.
    found = np.zeros(SHAPE)
    found[150:160, 60:80] = 1
    blurred = cv2.GaussianBlur(np.float32(found), (0, 0), SHAPE[1] / 16)
    assert (blurred[HULL] == 0).mean() > 0.2
    expected = {name: auc(blurred, mask, HULL) for name, mask in changed.items()}
    assert localisation_auc(found, changed) == pytest.approx(expected)
    with pytest.raises(DataError, match=r"No pixel of the face changed \(displacement\)"):
        localisation_auc(found, {"displacement": ~HULL})


def test_summary_by_hand():
    rows = [
        (name, network, reading, image_id, subject, value)
        for name, network, reading, values in (
            ("lime", "WeiNet", "positive", (0.6, 0.8, 0.5)),
            (CENTRE, "none", "baseline", (0.5, 0.6, 0.55)),
            (ORACLE, "none", "baseline", (0.9, 1.0, 0.8)),
        )
        for image_id, subject, value in zip("xyz", "aab", values, strict=True)
    ]
    names = ["explainer", "network", "reading", "image_id", "subject", "displacement"]
    found = _summarise_localisation(pd.DataFrame(rows, columns=names), seed=0).set_index("explainer")
    lime = found.loc["lime"]
    assert lime[["value", "fraction", "count", "subjects"]].tolist() == pytest.approx([1.9 / 3, 0.25 / 1.05, 3, 2])
    assert lime["low"] < 1.9 / 3 < lime["high"] and lime["fraction_low"] < 0.2 < lime["fraction_high"]
    assert found["fraction"][[CENTRE, ORACLE]].tolist() == [0, 1]


def test_chimeras_have_the_upper_half_of_one_face_and_the_lower_of_another(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "benchmarks")
    from chimeras import chimeras

    faces, landmarks = np.float32(RNG.random((4, 32, 32, 3))), np.full((4, 68, 2), 0.5)
    table = pd.DataFrame({"subject": list("aabb"), "variant": 0, "expression": ["fear", "anger"] * 2})
    images, _, about = chimeras(faces, landmarks, table)
    assert about.loc[1, ["subject", "upper", "lower", "seam"]].tolist() == ["a", "fear", "anger", 16]
    assert len(images) == len(about) == 8
    np.testing.assert_array_equal(images[1], np.concatenate([faces[0, :16], faces[1, 16:]]))


@pytest.mark.parametrize("size", [48, 301])
def test_every_pixel_comes_from_its_place_in_the_source_image(size):
    # Two layers that hold the coordinates of their own pixels' centres in the source image.
    y, x = 2 * np.indices((112, 112)) + 1
    # Landmarks whose triangles differ from the template's, each in its own way.
    landmarks = LANDMARKS.copy()
    landmarks[48:68] += (5, 3)
    landmarks[17:27] -= (0, 4)
    transform = _crop_transform(landmarks, size)
    units = (landmarks @ transform[:, :2].T + transform[:, 2]) / size
    shares = warp._corner_shares()
    inside = (shares[:, 68:].sum(axis=1) == 0) & HULL.ravel()
    assert inside.sum() > 20000
    places = (shares[:, :68] @ landmarks)[inside]
    for layer, expected in ((x, places[:, 0]), (y, places[:, 1])):
        found = known_answers._layer_in_face_space(np.float32(layer), transform, units, size).ravel()[inside]
        # A slip of half a pixel of the mask would be 1.
        np.testing.assert_allclose(found, expected, atol=0.15)


@pytest.fixture
def root(tmp_path):
    """Two subjects: of the first, anger twice; of the second, anger once and fear, with another unit."""
    angry = [{"total": flat(v), "photometric": flat(v + 10), "au04": flat(v + 20)} for v in (50, 100, 200)]
    fear = {"total": flat(30), "photometric": flat(60), "au04": flat(40), "au12": flat(90)}
    return write_set(
        tmp_path / "set",
        [
            ("id00", "neutral", 0, 10, {}),
            ("id00", "neutral", 1, 10, {}),
            ("id01", "neutral", 0, 10, {}),
            ("id00", "anger", 0, 40, angry[0]),
            ("id00", "anger", 1, 80, angry[1]),
            ("id01", "anger", 0, 200, angry[2]),
            ("id01", "fear", 0, 20, fear),
        ],
    )


def test_means_are_over_a_subjects_images_first_and_then_over_subjects(root, tmp_path):
    experiment = prepared(tmp_path, root)
    total = known_answers.causal_maps(experiment)
    assert list(total.means) == ["anger", "fear"] and total.omissions == []
    # Pooled, anger would be 350 / 3.
    np.testing.assert_allclose(total.means["anger"], (75 + 200) / 2 * 20 / 255, rtol=1e-5)
    np.testing.assert_allclose(total.means["fear"], 30 * 20 / 255, rtol=1e-5)
    assert total.agreement.loc["fear", "fear"] == iou(total.means["fear"], EKMAN["fear"])
    assert total.means["anger"].shape == SHAPE and total.means["anger"].dtype == np.float32


def test_one_bad_image_is_left_out_by_name(root, tmp_path):
    experiment = prepared(tmp_path, root)
    (root / "masks/id00_anger_0.png").write_bytes(b"no image")
    # Rendered anew since it was prepared: its landmarks are of another face.
    (root / "images/id01_fear_0.webp").rename(root / "images/id01_anger_0.webp")
    total = known_answers.causal_maps(experiment)
    reasons = {entry["item"]: entry["reason"] for entry in total.omissions}
    assert list(reasons) == [f"synthetic_{name}_0" for name in ("id00_anger", "id01_anger", "id01_fear")]
    assert "id00_anger_0.png" in reasons["synthetic_id00_anger_0"]
    assert "changed since it was prepared" in reasons["synthetic_id01_anger_0"]
    assert "not there" in reasons["synthetic_id01_fear_0"]
    assert list(total.means) == ["anger"]
    np.testing.assert_allclose(total.means["anger"], 100 * 20 / 255, rtol=1e-5)
    (root / "masks/id00_anger_1.png").unlink()
    with pytest.raises(DataError, match="'mini'.*4 were left out"):
        known_answers.causal_maps(experiment)


def iou(causal_map, mask):
    return _iou_at_equal_area(np.float32(causal_map), mask)


def test_agreement_by_hand():
    mask = rows_of_canvas(0, 100)
    falling = np.linspace(1, 0, SHAPE[0] * SHAPE[1]).reshape(SHAPE)
    assert iou(falling, mask) == pytest.approx(1) and iou(1 - falling, mask) == pytest.approx(0)
    # The highest 100 rows are 50 ... 149: half in the mask, 50 of 150 rows in both.
    assert iou(np.roll(falling, 50, axis=0), mask) == pytest.approx(50 / 150)
    # Thresholded at the mask's area, a map that is high on more than the mask has no more than it.
    assert iou(falling + rows_of_canvas(0, 200), mask) == pytest.approx(1)
    # Equal pixels count in part. 50 of the mask's rows 100 ... 199 are lit: of 225 dark rows 50 may still be
    # marked, 2 / 9 of each.
    mask = rows_of_canvas(100, 200)
    both = 50 + 50 * 2 / 9
    assert iou(rows_of_canvas(100, 150), mask) == pytest.approx(both / (200 - both))
    # Twice as many rows are lit: half of them may be marked.
    assert iou(rows_of_canvas(50, 250), mask) == pytest.approx(50 / 150)


def test_masks_of_what_moves_are_found_and_others_not():
    noise = {s: RNG.random(SHAPE) for s in "abc"}
    maps = {name: {s: EKMAN[name] + 0.1 * noise[s] for s in "abc"} for name in EXPRESSIONS}
    pairs, summary = _masks_against_movement(maps, EKMAN, seed=0, resamples=10)
    found = summary.set_index("statistic")
    own = pairs[pairs["mask"] == pairs["causal_map"]]
    np.testing.assert_allclose(own[["iou", "low", "high"]], 1)
    assert found.loc["own", "value"] == 1 and found.loc["difference", "p"] == pytest.approx(1 / 720)
    assert np.isnan(found.loc["own", "p"]) and set(pairs["subjects"]) == {3}
    # The mean over subjects is what is compared.
    means = {name: np.mean(list(of_name.values()), axis=0) for name, of_name in maps.items()}
    expected = [iou(means[row.causal_map], EKMAN[row.mask]) for row in pairs.itertuples()]
    np.testing.assert_allclose(pairs["iou"], expected, rtol=1e-6)
    assert list(zip(pairs["mask"], pairs["causal_map"], strict=True)) == list(product(EXPRESSIONS, repeat=2))


def write_explanations(experiment, explainer, truths, sign):
    """Write maps that are positive where a face moved, with the sign 1, or where it did not, with -1."""
    explained, cells = experiment.explained_by(explainer), {}
    with stand_in(explained, "facespace"):
        for image_id, (row, truth) in truths.items():
            x, y = template_points(read_landmarks(experiment, image_id), (64, 64)).transpose(2, 0, 1)
            rows, columns = (np.nan_to_num(at).astype(int) for at in (y, x))
            moved = truth[rows.clip(0, SHAPE[0] - 1), columns.clip(0, SHAPE[1] - 1)]
            of = {"image_id": image_id, "model": f"WeiNet_{row.fold}"}
            target, found = EXPRESSIONS.index(row.expression), np.float32(sign * (moved - 0.5))
            stored = StoredMap(**of, target=target, map=found, passes=1)
            stored.save(explained.record_path("WeiNet", row.fold, image_id))
            cells.setdefault((row.fold, row.expression), []).append(image_id)
        for cell, image_ids in cells.items():
            write_arrays(explained.maps_path("WeiNet", *cell), {"image_ids": np.array(image_ids)})


@pytest.fixture(scope="module")
def benchmark(tmp_path_factory):
    """Two persons, two expressions; occlusion finds what moved exactly, RISE finds the rest.

    The causal mask of one face was damaged since then.
    """
    root = tmp_path_factory.mktemp("benchmark")
    faces = [(s, "neutral", 0, 90, {}) for s in ("id00", "id01")]
    for subject in ("id00", "id01"):
        for name, rows in (("anger", slice(30, 40)), ("happiness", slice(70, 80))):
            layer = flat(0)
            layer[rows] = 200
            faces.append((subject, name, 0, 90, {"total": layer, "photometric": layer, "au04": layer}))
    experiment = prepared(root, write_set(root / "set", faces))
    experiment = with_(experiment, "explanation", explainer="occlusion", compare=("rise", "grad_cam"))
    truths = {}
    for row in known_answers.known_faces(experiment).itertuples():
        truths[row.image_id] = row, known_answers.known_changes(experiment, row)["displacement"]
    write_explanations(experiment, "occlusion", truths, 1)
    write_explanations(experiment, "rise", truths, -1)
    (root / "set" / "masks" / "id00_anger_0.png").write_bytes(b"no image")
    return experiment, run_steps(experiment, "known_answers")


def table_of(benchmark, name):
    return read_results(benchmark[0], "known_answers", name)


def test_step_scores_explainers_and_baselines_and_names_what_is_missing(benchmark):
    experiment, run = benchmark
    assert run.done == 2
    assert {"explainer grad_cam", "synthetic_id00_anger_0"} <= {entry["item"] for entry in run.omissions}
    faces = read_csv(experiment.known_answers_folder / "localisation_faces.csv")
    assert "synthetic_id00_anger_0" not in set(faces["image_id"])
    table = table_of(benchmark, "localisation").query("reference == 'displacement'")
    table = table.set_index(["explainer", "reading"])
    values = table["value"]
    assert values["occlusion", "positive"] > 0.95 and values["rise", "positive"] < 0.05
    # The sign is gone; both halves of the map are alike.
    assert values["rise", "magnitude"] == values["occlusion", "magnitude"]
    baselines = values[:, "baseline"]
    assert baselines["movement of others"] > 0.95 and baselines["photometric change"] > 0.95
    assert baselines["random pixels"] == pytest.approx(0.5, abs=0.2)
    # What moved is narrower than a superpixel, of which it fills a part.
    assert baselines[ORACLE] > 0.8 > baselines[CENTRE]
    assert table.loc[("occlusion", "positive"), "count"] == 3
    pairs, summary = table_of(benchmark, "masks"), table_of(benchmark, "masks_summary")
    assert len(pairs) == 4 and summary["statistic"].tolist() == ["own", "others", "difference"]


def test_faces_without_known_answers_write_nothing(tmp_path):
    """Also if synthetic faces were asked for, but none could be prepared."""
    experiment = make_experiment(tmp_path)
    object.__setattr__(experiment.faces, "datasets", ("synthetic", "made"))
    run = run_steps(experiment, "known_answers")
    assert "no known answers" in run.notes[0] and not run.done
    assert not experiment.known_answers_folder.exists()


def test_figures_are_readable_and_show_the_numbers(benchmark):
    experiment, table = benchmark[0], table_of(benchmark, "localisation")
    figure = pictures.draw(experiment, "known_answers", "localisation")
    assert_readable(figure)
    rows = [f"{name}, {reading}" for name in ("Occlusion", "RISE") for reading in ("positive", "magnitude")]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == rows
    dots = [line.get_xdata()[0] for line in figure.axes[0].lines if line.get_marker() == "o"]
    assert dots == table.query("network != 'none' and reference == 'displacement'")["value"].tolist()
    readable = known_answers.localisation_table(table)
    assert readable.loc[("none", CENTRE, "baseline"), ("fraction", "displacement")].startswith("0.00 [")
    assert_readable(pictures.draw(experiment, "known_answers", "masks"))
    with pytest.raises(MissingError, match="no picture 'mask'. It has localisation, masks"):
        pictures.draw(experiment, "known_answers", "mask")


def test_wall_highlights_as_much_of_the_face_as_the_mask_holds():
    ramp = np.linspace(0, 1, SHAPE[0] * SHAPE[1], dtype=np.float32).reshape(SHAPE)
    figure = figures.causal_wall(
        dict.fromkeys(EXPRESSIONS, np.full((*SHAPE, 3), 0.5, np.float32)),
        {name: ramp * (place + 1) for place, name in enumerate(EXPRESSIONS)},
        dict.fromkeys(EXPRESSIONS, rows_of_canvas(200, 250)),
        {name: 0.125 * place for place, name in enumerate(EXPRESSIONS)},
    )
    upper, lower = figure.axes[:6], figure.axes[6:12]
    assert upper[1].get_title() == "disgust\nIoU 0.12" and upper[5].get_title() == "surprise\nIoU 0.62"
    for axes in upper:
        lit = np.asarray(axes.images[0].get_array()).mean(axis=2) > 0.5
        # The ramp is highest in the last rows.
        np.testing.assert_array_equal(lit, rows_of_canvas(225, 275))
    # One scale for all.
    assert {axes.images[0].get_clim() for axes in lower} == {(0, 6)}
