"""The published numbers, recomputed; and what happens when the released files are not as they were."""

import os
import shutil
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from ekman_expressions import cli
from ekman_expressions.core.errors import DataError, MissingError
from ekman_expressions.core.expressions import EXPRESSIONS, title
from ekman_expressions.core.files import read_image, sha256, write_image
from ekman_expressions.facespace.masks import ekman_mask
from ekman_expressions.study import published

RELEASED = published.locate(download=False)
needs_release = pytest.mark.skipif(RELEASED is None, reason="the released heatmaps are not beside the checkout")


@pytest.fixture(scope="module")
def report():
    return published.verify(RELEASED)


@pytest.fixture
def copy(tmp_path):
    """A copy of the released files in which each can be replaced."""
    for name in published._released_files():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        os.symlink(RELEASED / name, tmp_path / name)
    return tmp_path


def test_published_tables_are_complete():
    scores = published.numbers("scores")
    assert len(scores) == 91
    assert scores.query("network == 'Average' and expression == 'Average'")["iou"].item() == 0.2476
    assert published.numbers("accuracy").set_index("network").loc["AlexNet", "accuracy"] == 0.8449
    assert len(published.numbers("accuracy")) == 12
    assert len(published._released_files()) == 12 * 6 * 5 + 12 * 6 + 6


@needs_release
def test_all_364_published_numbers_are_obtained_and_shown(report, capsys):
    assert len(report.cells) == 364
    assert report.cells["difference"].abs().max() <= 5e-5
    assert report.ok and report.off.empty and not report.changed
    averages = (report.cells[["network", "expression"]] == "Average").any(axis=1)
    assert averages.sum() == 76
    assert cli.main(["verify", "--published", str(RELEASED)]) == 0
    text = capsys.readouterr().out
    assert "364 of 364 published numbers agree" in text
    assert "21 of 21 agree to the printed precision" in text and "0.385 / 0.3847" in text
    assert ".2062/.2062 " in text and "best ResNet50 0.3269, worst AlexNet 0.2066" in text


@needs_release
def test_all_that_is_known_of_chance_is_obtained(report):
    assert report.known["agrees"].all()
    obtained = report.known.set_index("figure")["obtained"]
    assert len(obtained) == 21
    assert obtained["relabelling_p"] == pytest.approx(277 / 720)
    assert obtained["own_is_best"] == pytest.approx(69 / 360)
    assert f"{obtained['white']:.4f} {obtained['own']:.4f} {obtained['others']:.4f}" == "0.2575 0.2476 0.2420"
    areas = [f"{obtained[f'area_{area}']:.3f}" for area in ("05", "10", "20", "30", "50")]
    assert areas == ["0.078", "0.141", "0.236", "0.292", "0.324"]
    ellipses = [f"{obtained[f'ellipse_{area}']:.3f}" for area in (10, 20, 30, 40)]
    assert ellipses == ["0.158", "0.348", "0.410", "0.388"]
    assert f"{obtained['random_pixels']:.3f}" == "0.139"


@needs_release
def test_a_changed_heatmap_is_found(copy):
    name = "GRAY/heatmaps_by_cv/VGG16_CV3_Fear_heatmap.png"
    gray = read_image(copy / name, gray=True)
    (copy / name).unlink()
    write_image(copy / name, np.roll(gray, 20, axis=0))
    report = published.verify(copy)
    assert not report.ok and report.changed == (name,)
    # The cell, its row's and column's average, and perhaps the average of all.
    assert set(report.off["network"]) <= {"VGG16", "Average"}
    assert set(report.off["expression"]) <= {"Fear", "Average"}
    text = published._render(report)
    assert str(copy) in text and name in text and "! " in text and f"{364 - len(report.off)} of 364" in text


@needs_release
def test_a_missing_or_damaged_file_is_named(copy):
    name = "GRAY/heatmaps_by_cv/WeiNet_CV1_Anger_heatmap.png"
    (copy / name).unlink()
    with pytest.raises(MissingError, match=f"{name} is not there"):
        published.verify(copy)
    (copy / name).write_bytes((RELEASED / name).read_bytes()[:300])
    with pytest.raises(DataError, match=name):
        published.verify(copy)
    write_image(copy / name, np.zeros((275, 224), np.uint8))
    with pytest.raises(DataError, match="WeiNet_CV1_Anger: The heatmap is 0 everywhere"):
        published.verify(copy)


def test_heatmaps_of_others_are_told_from_the_released_ones(tmp_path, capsys):
    for name in published._released_files():
        expression = next(each for each in EXPRESSIONS if title(each) in name)
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        write_image(tmp_path / name, np.uint8(255) * ekman_mask(expression))
    assert cli.main(["verify", "--published", str(tmp_path)]) == 1
    text = capsys.readouterr().out
    assert f"masks: {tmp_path}" in text and "438 files are not the released ones" in text
    # Each heatmap is its mask.
    assert " 1.0000, worst " in text and "0 of 364 published numbers agree" in text


def test_a_wrong_folder_says_what_was_looked_for(tmp_path):
    with pytest.raises(MissingError, match="437 more is not there, of GRAY/heatmaps_by_cv.*--published"):
        published.verify(tmp_path / "nowhere")


def test_the_folder_is_looked_for_in_this_order(monkeypatch, tmp_path):
    # No variable, and a checkout without released files beside it.
    checkout = tmp_path / "code" / "checkout"
    for name in ("notebooks", "datasets"):
        (checkout / name).mkdir(parents=True)
    monkeypatch.delenv("EKMAN_EXPRESSIONS_PUBLISHED", raising=False)
    monkeypatch.setattr(published, "__file__", str(checkout / "ekman_expressions" / "study" / "published.py"))
    monkeypatch.setenv("EKMAN_EXPRESSIONS_ROOT", str(checkout))
    monkeypatch.setattr(published, "_download", lambda: "downloaded")
    assert published.locate(download=False) is None and published.locate() == "downloaded"
    for folder in (checkout.parent / "other" / "published" / "heatmaps", checkout / "published" / "heatmaps"):
        folder.mkdir(parents=True)
        assert published.locate() == folder
    monkeypatch.setenv("EKMAN_EXPRESSIONS_PUBLISHED", "/variable")
    assert published.locate() == Path("/variable") and published.locate(tmp_path) == tmp_path


@pytest.fixture
def server(tmp_path):
    """A web server on this machine with two files, and their registry."""
    folder = tmp_path / "served"
    for name in ("GROUND_TRUTH/Anger_gt.png", "GRAY/heatmaps_by_cv/VGG16_CV1_Anger_heatmap.png"):
        write_image(folder / name, np.arange(12, dtype=np.uint8).reshape(3, 4))
    registry = {path.relative_to(folder).as_posix(): sha256(path) for path in folder.rglob("*.png")}
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=folder)) as web:
        thread = threading.Thread(target=web.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{web.server_port}/", registry, folder
        web.shutdown()
        thread.join()


def test_download_fetches_once_checks_hashes_and_says_how_to_go_on(server, tmp_path, monkeypatch):
    import pooch

    url, registry, served = server
    monkeypatch.setattr(pooch, "os_cache", lambda name: tmp_path / "cache")

    def download(url, registry):
        monkeypatch.setattr(published, "_BASE_URL", url)
        monkeypatch.setattr(published, "_released_files", lambda: registry)
        return published._download()

    with pytest.raises(DataError, match="not the released one.*hash.*--published"):
        download(url, dict.fromkeys(registry, "0" * 64))
    assert not list((tmp_path / "cache").rglob("*.png"))
    with pytest.raises(MissingError, match="404.*--published PATH.*EKMAN_EXPRESSIONS_PUBLISHED"):
        download(url + "gone/", registry)
    with pytest.raises(MissingError, match="cannot be fetched.*clone https.*--published PATH"):
        download("http://127.0.0.1:9/", registry)
    cache = download(url, registry)
    for name in registry:
        assert (cache / name).read_bytes() == (served / name).read_bytes()
    shutil.rmtree(served)
    assert download(url, registry) == cache
