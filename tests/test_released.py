"""The authors' released models: fetched from a hub on this machine, loaded, taken instead of training."""

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import keras2_files
import numpy as np
import pytest
from made_faces import make_experiment

from ekman_expressions import Experiment
from ekman_expressions.core.errors import MissingError, ModelError, SettingsError
from ekman_expressions.core.files import read_json
from ekman_expressions.study import run as run_steps
from ekman_expressions.study.training import read_model
from ekman_expressions.zoo import saving


class Hub(BaseHTTPRequestHandler):
    """As much of the Hugging Face hub as a download needs: files and their hashes."""

    def do_HEAD(self):
        self.server.tokens.append(self.headers.get("Authorization"))
        content = self.server.files.get(self.path.rpartition("/")[2], b"")
        self.send_response(200 if content else 404)
        self.send_header("X-Repo-Commit", "a" * 40)
        self.send_header("ETag", f'"{self.server.hash or hashlib.sha256(content).hexdigest()}"')
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        return content

    def do_GET(self):
        self.wfile.write(self.do_HEAD())

    def log_message(self, *_):
        pass


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A hub on this machine, empty at first, and an empty cache."""
    from huggingface_hub import constants

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.files, server.hash, server.tokens = {}, None, []
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    address = f"http://127.0.0.1:{server.server_port}"
    template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(constants.ENDPOINT, address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def test_downloads_are_checked_and_failures_say_what_to_do(hub, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    hub.files["WeiNet_CV1_weights.h5"] = b"weights"
    assert saving._download("WeiNet", "CV1").read_bytes() == b"weights"
    # No token is sent, even if the user has one.
    assert set(hub.tokens) == {None}
    with pytest.raises(MissingError, match="WeiNet_CV2_weights.h5 could not be downloaded.*released_folder"):
        saving._download("WeiNet", "CV2")
    hub.files["WeiNet_CV3_weights.h5"], hub.hash = b"weights", hashlib.sha256(b"Weights").hexdigest()
    with pytest.raises(ModelError, match="is damaged: its sha256 is not its name. Delete it"):
        saving._download("WeiNet", "CV3")
    # As with HF_HUB_OFFLINE=1; without a network, huggingface_hub first tries again for 23 seconds.
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(MissingError, match="could not be downloaded.*hf download"):
        saving._download("WeiNet", "CV4")


@pytest.fixture(scope="module")
def weinet(tmp_path_factory):
    """A model as the authors have it: its file's bytes, faces, and its answers to them."""
    path = tmp_path_factory.mktemp("keras2") / "weights.h5"
    images = np.random.default_rng(0).random((3, 64, 64, 3), dtype=np.float32)
    model = keras2_files.make_model("WeiNet", 64)
    keras2_files.randomise(model, images)
    model.save_weights(path)
    return path.read_bytes(), images, model(images, training=False).numpy()


def _experiment(root, networks=("WeiNet",), folds=5, **settings):
    settings = dict(weights="released", **settings)
    return make_experiment(root, networks, subjects=5, folds=folds, training=settings)


def _folder(path, content, names=("CV1", "CV2", "CV3", "CV4", "CV5"), network="WeiNet"):
    path.mkdir()
    for fold in names:
        (path / f"{network}_{fold}_weights.h5").write_bytes(content)
    return str(path)


def test_training_downloads_what_no_folder_holds(weinet, hub, tmp_path):
    content, images, answers = weinet
    experiment = _experiment(tmp_path)
    with pytest.raises(MissingError, match="WeiNet_CV1_weights.h5 could not be downloaded.*released_folder"):
        run_steps(experiment, "training")
    assert hub.tokens and not list(tmp_path.rglob("*.keras"))
    hub.files |= {f"WeiNet_{fold}_weights.h5": content for fold in saving._FOLDS}
    assert run_steps(experiment, "training").done == 5
    model = read_model(experiment, "WeiNet", "CV5").source
    np.testing.assert_allclose(model(images).numpy(), answers, atol=1e-5)


def test_training_takes_the_files_of_a_folder_and_one_bad_file_does_not_stop_the_others(weinet, tmp_path):
    content, images, answers = weinet
    folder = _folder(tmp_path / "files", content)
    bad = tmp_path / "files" / "WeiNet_CV3_weights.h5"
    bad.write_bytes(content[:1000])
    experiment = _experiment(tmp_path, released_folder=folder)
    run = run_steps(experiment, "training")
    ((item, reason),) = [entry.values() for entry in run.omissions]
    assert (run.done, item) == (4, "WeiNet_CV3") and not experiment.model_path("WeiNet", "CV3").exists()
    assert f"{bad.name} (1000 bytes) does not hold the weights of WeiNet, or is damaged" in reason
    bad.write_bytes(content)
    run = run_steps(experiment, "training")
    assert (run.done, run.skipped, run.omissions) == (1, 4, [])
    for fold in experiment.folds:
        model = read_model(experiment, "WeiNet", fold).source
        np.testing.assert_allclose(model(images).numpy(), answers, atol=1e-5)
        assert read_json(experiment.models_folder / f"WeiNet_{fold}_training.json") == {
            "file": f"WeiNet_{fold}_weights.h5",
            "sha256": hashlib.sha256(content).hexdigest(),
        }
    entry = read_json(experiment.models_folder / "run.json")
    assert entry["settings"]["training"]["weights"] == "released"
    assert len(entry["notes"]) == 1 and "whose accuracy is then too high" in entry["notes"][0]


def test_what_cannot_be_is_said_before_anything_is_done(tmp_path):
    folder = _folder(tmp_path / "files", b"", ("CV1", "CV2"))
    experiment = _experiment(tmp_path, ("WeiNet", "VGG16"), released_folder=folder)
    with pytest.raises(MissingError, match="lacks 8 of 10 .*: WeiNet_CV3_weights.h5, .*VGG16_CV5_weights.h5"):
        run_steps(experiment, "training")
    with pytest.raises(SettingsError, match="of 5 folds, but faces.folds is 3"):
        run_steps(_experiment(tmp_path / "three", folds=3, released_folder=folder), "training")
    assert not list(experiment.models_folder.glob("*.keras"))
    for wrong, message in (
        ({"weights": "imagnet"}, "'imagenet', 'none' or 'released', but got 'imagnet'"),
        ({"released_folder": "/data"}, "'training.released_folder' is '/data', but training.weights is"),
    ):
        with pytest.raises(SettingsError, match=message):
            Experiment(name="trial", networks=("WeiNet",), training=wrong)
