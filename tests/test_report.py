"""The report's files: what is written, from what, and what is left out."""

import base64
import json
import re
import shutil
import zlib

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from made_report import reported_study

from ekman_expressions import cli, report
from ekman_expressions.core.errors import MissingError
from ekman_expressions.core.expressions import EXPRESSIONS
from ekman_expressions.core.files import read_csv, write_csv, write_image
from ekman_expressions.facespace import heatmaps, masks
from ekman_expressions.report import data, pages
from ekman_expressions.study.provenance import Run


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return reported_study(tmp_path_factory.getbasetemp())


@pytest.fixture
def released(tmp_path):
    """A folder laid out like the released heatmaps: two networks, two folds, three of them missing."""
    random, folder = np.random.default_rng(0), tmp_path / "set" / "heatmaps"
    names = [f"{net}_CV{k}" for net in ("VGG16", "SilNet") for k in (1, 2)]
    for name in names:
        for expression in ("Anger", "Fear", "Surprise")[: 2 if name == "SilNet_CV2" else 3]:
            path = folder / "GRAY" / "heatmaps_by_cv" / f"{name}_{expression}_heatmap.png"
            write_image(path, random.integers(0, 256, (275, 224), dtype=np.uint8))
    return folder


@given(arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9))))
def test_packed_images_come_back(image):
    rest = zlib.decompress(base64.b85decode(data._pack(image).replace(",", "<")))
    padded = np.zeros((image.shape[0] + 1, image.shape[1] + 1), int)
    for (row, column), value in zip(np.ndindex(image.shape), rest, strict=True):
        left, above, corner = padded[row + 1, column], padded[row, column + 1], padded[row, column]
        guess = sorted((left, above, left + above - corner))[1]
        padded[row + 1, column + 1] = (value + guess) % 256
    np.testing.assert_array_equal(padded[1:, 1:], image)
    assert not set(data._pack(image)) & set('<"\\')


def test_scripts_cannot_be_broken_out_of():
    text = data._as_script({"name": "</script><!--\u2028"})
    assert "<" not in text and "\u2028" not in text
    assert json.loads(text) == {"name": "</script><!--\u2028"}


def test_every_heatmap_is_in_the_report(made):
    source = data._Source.of_experiment(made)
    wanted = {f"{heatmaps._heatmap_name(*cell)}.js" for cell in source.cells("lime")}
    assert {path.name for path in (made.report_folder / "data" / "lime").iterdir()} == wanted
    assert len(wanted) == 4 * (1 + 2 + 4)


def test_nothing_in_the_report_names_another_host(made):
    for path in made.report_folder.rglob("*"):
        if path.suffix in (".html", ".js", ".css"):
            found = re.findall(r"""(?:https?:)?//[a-z][\w.-]+\.[a-z]+""", path.read_text("utf-8"))
            assert [address for address in found if "www.w3.org" not in address] == [], path


def test_pictures_and_tables_of_the_steps_are_copied_with_their_words(made):
    texts = {path.name: path.read_text("utf-8") for path in made.report_folder.glob("*.html")}
    linked = {name: re.findall(r'href="((?:figures|tables)/[^"]+)"', text) for name, text in texts.items()}
    assert linked["scores.html"][0] == "figures/barplots_By_expression.png"
    assert linked["classification.html"] == [f"figures/evaluation_{name}.png" for name in ("accuracy", "confusion")]
    trees = {"figures/dendrograms_By_expression.png", "tables/dendrograms_distances.csv"}
    assert trees <= set(linked["dendrograms.html"])
    for file, source in (
        ("figures/evaluation_accuracy.png", made.evaluation_folder / "accuracy.png"),
        ("tables/dendrograms_distances.csv", made.dendrograms_folder / "distances.csv"),
    ):
        assert (made.report_folder / file).read_bytes() == source.read_bytes()
    assert all((made.report_folder / file).stat().st_size for files in linked.values() for file in files)
    alts = re.findall(r'<img src="figures/[^>]*alt="([^"]*)"', "".join(texts.values()))
    assert "Accuracy on the test folds" in alts
    assert sum(path.stat().st_size for path in made.report_folder.rglob("*.*")) < 5e6


def test_the_main_table_is_that_of_the_scores(made):
    table = read_csv(made.report_folder / "tables" / "main.csv").set_index("network")
    scores = read_csv(made.scores_folder / "scores.csv")
    average = scores[scores["expression"] == "Average"].set_index("network")
    accuracy = read_csv(made.evaluation_folder / "accuracy.csv").set_index("network")
    for network in made.networks:
        assert table.iou[network] == pytest.approx(average.iou[network])
        assert table.accuracy[network] == pytest.approx(accuracy.accuracy[network])
    white = np.mean([masks.ekman_mask(name).mean() for name in EXPRESSIONS])
    assert table.iou[pages._WHITE] == pytest.approx(white)


def test_the_main_table_has_intervals_and_baselines_where_they_are_known(made, tmp_path):
    copy = made.replace(root=shutil.copytree(made.root, tmp_path / "copy"))
    rows = [("iou", network, "Average", 0.1, 0.3, 0.0, 0.4) for network in copy.networks]
    rows += [("auc_hull", network, "Average", 0.5, 0.6, 0.5, 0.6) for network in copy.networks]
    columns = ["score", "network", "expression", "subject_low", "subject_high", "fold_low", "fold_high"]
    write_csv(copy.statistics_folder / "intervals.csv", pd.DataFrame(rows, columns=columns))
    known = [("iou", name, name, "Average", 0.2) for name in (*pages._BASELINES, "another")]
    columns = ["score", "baseline", "meaning", "expression", "value"]
    write_csv(copy.statistics_folder / "baselines.csv", pd.DataFrame(known, columns=columns))
    table, unit = pages._main_table(data._Source.of_experiment(copy))
    table = table.set_index("network")
    assert unit == "subject"
    assert table.loc[[*copy.networks], ["iou_low", "iou_high"]].to_numpy().tolist() == [[0.1, 0.3]] * 2
    assert list(table.index[3:]) == list(pages._BASELINES) and (table.iou[3:] == 0.2).all()


def test_a_second_run_finds_all_done_and_a_change_makes_it_anew(made, tmp_path):
    copy = made.replace(root=shutil.copytree(made.root, tmp_path / "copy"))
    page = copy.report_folder / "index.html"
    before = page.stat().st_mtime_ns
    run = report.make(copy)
    assert run.done == 0 and run.skipped > 0
    assert page.stat().st_mtime_ns == before
    # Runs of a package without a checkout have no commit.
    for path in copy.root.rglob("run.json"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"git": None}))
    assert report.make(copy, show_faces=False).done > 0 and not (copy.report_folder / "faces").exists()
    assert "<td>–</td>" in (copy.report_folder / "provenance.html").read_text("utf-8")


def test_single_faces_of_licensed_data_are_off_unless_asked_for(made, tmp_path):
    licensed = made.replace(faces=dict(datasets=("jaffe",), folds=2, size=32))
    source = data._Source.of_experiment(licensed)
    assert not source.shareable and data._Source.of_experiment(made).shareable
    page = pages._faces_page(source, tmp_path, Run(), False)
    assert page["models"] == [] and page["scripts"] == ()
    assert list(tmp_path.iterdir()) == []
    # Four persons: their mean would still be a portrait.
    assert data._write_background(source, tmp_path / "face.webp") == "a drawing of the template's landmarks"
    assert data._write_background(data._Source.of_experiment(made), tmp_path / "face.webp").startswith(
        "the mean of 24 faces of 4"
    )


def test_heatmaps_alone_make_a_report_without_what_needs_more(released, tmp_path, capsys):
    output = tmp_path / "pages"
    broken = released / "GRAY" / "heatmaps_by_cv" / "VGG16_CV2_Fear_heatmap.png"
    broken.write_bytes(b"no picture")
    assert cli.main(["report", "--heatmaps", str(released), "--output", str(output)]) == 0
    told = capsys.readouterr().out
    assert str(output / "index.html") in told and "lime/VGG16_CV2_Fear" in told
    names = {path.name for path in output.glob("*.html")}
    assert names == {"index.html", "wall.html", "explorer.html"}
    source = data._Source.of_heatmaps(released, "set")
    assert (source.networks, source.folds) == (("SilNet", "VGG16"), ("CV1", "CV2"))
    overview = (output / "index.html").read_text("utf-8")
    # How these networks began is not known, and VGG16 need not be pre-trained.
    assert "set" in overview and "pre-trained" not in overview and "IoU, mean over folds" in overview
    # The damaged one is left out of all pages.
    assert len(list((output / "data" / "lime").iterdir())) == 10
    assert '"lime/VGG16_CV2_Fear"' not in (output / "data" / "common.js").read_text("utf-8")
    # Without folds there is one reading of the scores.
    by_network = released / "GRAY" / "heatmaps_by_net"
    by_network.mkdir()
    (broken.parent / "VGG16_CV1_Fear_heatmap.png").rename(by_network / "VGG16_Fear_heatmap.png")
    shutil.rmtree(broken.parent)
    table, _ = pages._main_table(data._Source.of_heatmaps(released, "set"))
    assert list(table) == ["network", "iou", "f1_score", "precision", "recall"]


def test_what_is_no_source_of_a_report_is_refused(tmp_path, capsys, made):
    assert cli.main(["report", "--heatmaps", str(tmp_path)]) == 2
    assert "holds no heatmaps" in capsys.readouterr().err
    assert cli.main(["report"]) == 2
    assert "Name either an experiment" in capsys.readouterr().err
    with pytest.raises(MissingError, match="'heatmaps'"):
        report.make(made.replace(root=tmp_path))
