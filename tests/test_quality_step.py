"""The step "quality": what it writes, skips, refuses and leaves out."""

import shutil

import numpy as np
import pytest
from made_steps import contents, with_
from tiny_study import make_study

from ekman_expressions.core.errors import ConflictError, MissingError
from ekman_expressions.core.expressions import EXPRESSIONS
from ekman_expressions.core.files import read_arrays
from ekman_expressions.explainers import PerturbationRecord, lime
from ekman_expressions.facespace.warp import normalise
from ekman_expressions.study import quality, read_results
from ekman_expressions.study import run as run_steps
from ekman_expressions.study.quality import AS_SET, UNTRAINED


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    study = make_study(tmp_path_factory.mktemp("quality"), samples=120, quality_faces=2)
    run_steps(study, "explanations")
    return study, run_steps(study, "quality")


def test_every_explanation_is_resampled(made):
    study, run = made
    assert run.omissions == []
    table = read_results(study, "quality", "reliability")
    assert len(table) == 12
    row = table[table["image_id"] == "face_CV1_1"].iloc[0]
    one = lime(PerturbationRecord.load(study.record_path("WeiNet", "CV1", "face_CV1_1")), 2)
    assert row[["explainer", "expression", "hidden"]].tolist() == ["lime", "fear", 0]
    assert row["r2"] == pytest.approx(one.r2) and row["r2_unseen"] < row["r2"]
    assert row["mean_standard_error"] == pytest.approx(one.standard_errors.mean(), rel=0.25)


def test_curves_of_at_least_ten_faces_beside_controls_of_the_same_grain(made):
    study, run = made
    table = read_results(study, "quality", "curves")
    # A tenth of LIME's passes would be two faces.
    assert len(table.drop_duplicates(["network", "fold", "image_id"])) == quality._FEWEST_FACES == 10
    assert set(table["ranking"]) == {"lime", "random", "centre"} and len(table) == 30
    assert table[["deletion", "insertion"]].stack().between(0, 1).all()
    random = table[table["ranking"] == "random"].set_index("image_id")
    of_face = random.loc[table["image_id"], ["deletion", "insertion"]].to_numpy()
    assert (table[["random_deletion", "random_insertion"]] == of_face).all(axis=None)
    means = read_results(study, "quality", "erasing").set_index("ranking")
    lime_rows = table[table["ranking"] == "lime"]
    gains = lime_rows["random_deletion"] - lime_rows["deletion"]
    columns = ["faces", "deletion_gain", "deletion_error"]
    assert means.loc["lime", columns].tolist() == pytest.approx([10, gains.mean(), gains.sem()])
    assert means.loc["random", "deletion_gain"] == 0
    ((network, cell),) = quality.read_curves(study).items()
    assert network == "WeiNet" and cell["lime"].shape == (10, 2, 21)
    # The intact face, and that of which all is blurred, are the same for all rankings.
    np.testing.assert_allclose(cell["lime"][:, 0, [0, -1]], cell["centre"][:, 1, [-1, 0]], atol=1e-6)
    assert "WeiNet: deletion and insertion of 10 faces" in run.notes


def test_which_hidden_colours_lime_can_describe(made):
    study, run = made
    table = read_results(study, "quality", "hidden").set_index("hidden")
    assert list(table.index) == ["black", "mean", "blur", "superpixel_mean"] and set(table["faces"]) == {4}
    faces = quality._faces_again(study, "WeiNet")
    fits = []
    for row in faces.itertuples():
        record = PerturbationRecord.load(study.record_path("WeiNet", row.fold, row.image_id))
        half = quality._first_samples(record, None)
        target = EXPRESSIONS.index(row.expression)
        fits.append((lime(half, target).r2, quality._unseen_r2(study, half, target)))
    np.testing.assert_allclose(table.loc["black", ["r2", "r2_unseen"]].astype(float), np.mean(fits, axis=0))
    assert (table["r2_unseen"] < table["r2"]).all()
    assert (table["described"] == (table["r2_unseen"] >= 0.5)).all()
    assert any(note.startswith("WeiNet: R² (on unseen samples) by what") for note in run.notes)


def test_faces_explained_again(made):
    study, _ = made
    untrained = read_results(study, "quality", "untrained")
    assert untrained["expression"].tolist() == ["anger", "fear"] and set(untrained["faces"]) == {2}
    assert untrained["pearson"].between(-1, 1).all()
    assert untrained[["iou_trained", "iou_untrained"]].stack().between(0, 1).all()
    heatmaps = quality.read_untrained_heatmaps(study)
    assert set(heatmaps) == {("WeiNet", "anger"), ("WeiNet", "fear")}
    # The mean as set is that of the first half of the samples of the two faces.
    maps = []
    for row in quality._faces_again(study, "WeiNet").query("expression == 'fear'").itertuples():
        record = PerturbationRecord.load(study.record_path("WeiNet", row.fold, row.image_id))
        half = lime(quality._first_samples(record, None), 2)
        points = read_arrays(study.faces_folder / "landmarks" / f"{row.image_id}.npz")["points"]
        maps.append(normalise(np.maximum(half.map, 0), points))
    np.testing.assert_allclose(heatmaps["WeiNet", "fear"][AS_SET], np.mean(maps, axis=0), atol=1e-6)
    assert not np.allclose(heatmaps["WeiNet", "fear"][UNTRAINED], heatmaps["WeiNet", "fear"][AS_SET])


def test_a_second_run_makes_nothing_and_makes_good_what_is_damaged(made):
    study, _ = made
    before = contents(study.quality_folder)
    assert run_steps(study, "quality").done == 0
    parts = study.quality_folder / "parts"
    (parts / "curves-WeiNet_CV2.csv").unlink()
    (parts / "hidden-WeiNet.csv").write_text("damaged")
    run = run_steps(study, "quality")
    assert run.done > 0 < run.skipped and contents(study.quality_folder) == before


def test_with_other_settings_nothing_of_an_earlier_run_is_kept(made, tmp_path):
    study = made[0].replace(root=tmp_path / "root")
    shutil.copytree(made[0].root, study.root)
    study = with_(study, "explanation", quality_faces=1)
    run = run_steps(study, "quality")
    assert run.skipped == 0 and run.omissions == []
    assert set(read_results(study, "quality", "untrained")["faces"]) == {1}


def test_models_with_one_prediction_and_models_that_are_gone_are_listed(tmp_path):
    import keras

    study = make_study(tmp_path)
    model = keras.saving.load_model(study.model_path("WeiNet", "CV1"))
    model.set_weights([np.zeros_like(weight) for weight in model.get_weights()])
    model.save(study.model_path("WeiNet", "CV1"))
    run_steps(study, "explanations")
    study.record_path("WeiNet", "CV1", "face_CV1_2").write_bytes(b"")
    study.model_path("WeiNet", "CV2").unlink()
    run = run_steps(study, "quality")
    reasons = {entry["item"]: entry["reason"] for entry in run.omissions}
    assert "nothing to explain" in reasons["WeiNet_CV1 face_CV1_0: R² and sign flips of lime"]
    assert "WeiNet_CV1 face_CV1_2: reliability of lime" in reasons
    assert any(item.startswith("WeiNet_CV2") and "explained again" in item for item in reasons)
    table = read_results(study, "quality", "reliability").set_index("fold")
    assert table.loc["CV1", ["r2", "weighted_flip_rate"]].isna().all(axis=None)
    assert table.loc["CV2", "r2"].notna().all()
    assert read_results(study, "quality", "untrained")[["pearson", "iou_trained"]].isna().all(axis=None)


def test_explainers_that_are_compared_stand_in_the_same_tables(tmp_path):
    compare = ("kernel_shap", "grad_cam", "occlusion", "facial_regions")
    study = make_study(tmp_path, samples=300, quality_faces=1, compare=compare, compare_faces=2)
    with pytest.raises(MissingError):
        run_steps(study, "quality")
    for name in ("lime", *compare):
        run_steps(study.explained_by(name), "explanations")
    run = run_steps(study, "quality")
    curves = read_results(study, "quality", "curves")
    assert set(curves["ranking"]) == {"lime", *compare, "random", "centre"}
    assert curves["ranking"].value_counts().nunique() == 1
    random = curves[curves["ranking"] == "random"].set_index("image_id")["deletion"]
    for name in ("lime", *compare):
        of = curves[curves["ranking"] == name].set_index("image_id")["random_deletion"]
        # Maps of pixels have random fields of their own grain beside them.
        assert (of == random).all() == (name not in ("grad_cam", "occlusion"))
    assert "no table of means" in " ".join(run.notes) and read_results(study, "quality", "erasing").empty
    assert quality.read_curves(study) == {}
    assert set(read_results(study, "quality", "reliability")["explainer"]) == {"lime", "facial_regions"}
    untrained = read_results(study, "quality", "untrained")
    assert set(untrained["explainer"]) == {"lime", "kernel_shap", "grad_cam"}
    assert run_steps(study, "quality").done == 0
    # An explainer that is compared must have been run with the options that it has now.
    other = with_(study, "explanation", options={"grad_cam": {"score": "probability"}})
    with pytest.raises(ConflictError, match="grad_cam.*options.score = 'logit'"):
        run_steps(other, "quality")
