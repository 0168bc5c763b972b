"""The authors' released models: fetched from a hub on this machine, loaded, taken instead of training."""

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import keras2_files
import numpy as np
import pytest
from made_faces import make_experiment

from ekman_expressions.core.errors import ConflictError, MissingError, ModelError, SettingsError
from ekman_expressions.core.files import read_json
from ekman_expressions.study import run as run_steps
from ekman_expressions.study import training
from ekman_expressions.study.experiment import TrainingSettings
from ekman_expressions.study.models import load_model
from ekman_expressions.zoo import saving

COMMITS = {"main": "a" * 40, "older": "b" * 40}


class Hub(BaseHTTPRequestHandler):
    """As much of the Hugging Face hub as a download needs: files at a revision, and their hashes."""

    def _answer(self):
        self.server.asked.append((self.path, self.headers.get("Authorization")))
        _, owner, name, _, revision, file = self.path.split("/")
        content = self.server.files.get(file)
        commit = COMMITS.get(revision, revision if revision in COMMITS.values() else None)
        if f"{owner}/{name}" != saving.REPOSITORY or commit is None or content is None:
            self.send_response(404)
            self.send_header("X-Error-Code", "EntryNotFound" if commit else "RevisionNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return b""
        self.send_response(200)
        self.send_header("X-Repo-Commit", commit)
        self.send_header("ETag", f'"{self.server.hashes.get(file, hashlib.sha256(content).hexdigest())}"')
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        return content[: self.server.sent]

    def do_HEAD(self):
        self._answer()

    def do_GET(self):
        self.wfile.write(self._answer())

    def log_message(self, *_):
        pass


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A hub on this machine, empty at first, and an empty cache."""
    from huggingface_hub import constants

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.files, server.hashes, server.asked, server.sent = {}, {}, [], None
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
    settings = TrainingSettings(weights="released", **settings)
    return make_experiment(root, networks, subjects=5, folds=folds, training=settings)


def _folder(path, content, names=("CV1", "CV2", "CV3", "CV4", "CV5"), network="WeiNet"):
    path.mkdir()
    for fold in names:
        (path / f"{network}_{fold}_weights.h5").write_bytes(content)
    return str(path)


def test_a_download_names_its_commit_and_is_kept(hub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    hub.files["WeiNet_CV1_weights.h5"] = b"weights"
    path, commit = saving._download("WeiNet", "CV1")
    assert path.read_bytes() == b"weights"
    assert commit == COMMITS["main"]
    assert saving._download("WeiNet", "CV1", "older")[1] == COMMITS["older"]
    # No token is sent, even if the user has one.
    assert {authorization for _, authorization in hub.asked} == {None}
    hub.asked.clear()
    assert saving._download("WeiNet", "CV1", COMMITS["main"]) == (path, commit)
    assert hub.asked == []


def test_downloads_that_fail_are_named_and_leave_no_file(hub, tmp_path, monkeypatch):
    from huggingface_hub import constants

    name = "WeiNet_CV1_weights.h5"
    hub.files[name] = b"weights" * 1000
    with pytest.raises(ModelError, match="Xavi3398/ekman_expressions has no file WeiNet_CV2_weights.h5 at"):
        saving._download("WeiNet", "CV2")
    with pytest.raises(MissingError, match=f"{name} could not be downloaded.*revision newest"):
        saving._download("WeiNet", "CV1", "newest")
    hub.sent = 100
    with pytest.raises(MissingError, match=f"{name} could not be downloaded"):
        saving._download("WeiNet", "CV1")
    assert not list((tmp_path / "hub").rglob("*.h5"))
    # As with HF_HUB_OFFLINE=1; without a network, huggingface_hub first tries again for 23 seconds.
    with monkeypatch.context() as offline:
        offline.setattr(constants, "HF_HUB_OFFLINE", True)
        with pytest.raises(MissingError, match=f"could not be downloaded.*Or copy {name} from X"):
            saving._download("WeiNet", "CV1")
    hub.sent, hub.hashes[name] = None, hashlib.sha256(b"Weights").hexdigest()
    with pytest.raises(ModelError, match="is damaged: its sha256 is not its name. Delete it"):
        saving._download("WeiNet", "CV1")


def test_without_the_package_the_error_says_how_to_install_it(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingError, match=r'pip install "ekman_expressions\[released\]".*released_folder'):
        saving._download("WeiNet", "CV1")


def test_released_models_are_loaded(weinet, tmp_path):
    content, images, answers = weinet
    path = tmp_path / "WeiNet_CV1_weights.h5"
    with pytest.raises(MissingError, match="There is no weights file .*Or copy WeiNet_CV1_weights.h5"):
        saving._load_released("WeiNet", path)
    path.write_bytes(content)
    model = saving._load_released("WeiNet", path)
    np.testing.assert_allclose(model(images).numpy(), answers, atol=1e-5)
    with pytest.raises(ModelError, match=r"kernel \(262144, 6\).*'probabilities' .* kernel \(262144, 7\)"):
        saving._load_released("WeiNet", path, classes=7)
    with pytest.raises(SettingsError, match="'network'"):
        saving._load_released("Wei", path)


def test_training_takes_the_files_of_a_folder(weinet, tmp_path):
    content, images, answers = weinet
    folder = _folder(tmp_path / "files", content)
    experiment = _experiment(tmp_path, released_folder=folder)
    run = run_steps(experiment, "training")
    assert (run.done, run.omissions) == (5, [])
    for fold in experiment.folds:
        model = load_model(experiment, "WeiNet", fold).source
        np.testing.assert_allclose(model(images).numpy(), answers, atol=1e-5)
        assert read_json((experiment.models_folder / f"WeiNet_{fold}_source.json")) == {
            "file": f"WeiNet_{fold}_weights.h5",
            "sha256": hashlib.sha256(content).hexdigest(),
        }
    entry = read_json(experiment.models_folder / "run.json")
    assert entry["settings"]["training"]["weights"] == "released"
    digest = hashlib.sha256(content).hexdigest()
    assert entry["notes"][0] == (
        f"WeiNet_CV1: released weights WeiNet_CV1_weights.h5 (local file, sha256 {digest})"
    )
    assert len(entry["notes"]) == 6 and "whose accuracy is then too high" in entry["notes"][5]
    assert training.learning_curves(experiment).empty
    assert training.training_table(experiment).empty
    assert run_steps(experiment, "training").skipped == 5
    with pytest.raises(ConflictError, match=r"made was made with training\.\w+ = '"):
        settings = TrainingSettings(weights="none")
        run_steps(make_experiment(tmp_path, subjects=5, folds=5, training=settings), "training")


def test_training_downloads_all_files_of_one_commit(weinet, hub, tmp_path, monkeypatch):
    content, images, answers = weinet
    hub.files["WeiNet_CV2_weights.h5"] = content
    experiment = _experiment(tmp_path)
    run = run_steps(experiment, "training")
    assert (run.done, len(run.omissions)) == (1, 4)
    # The branch moves on; an experiment that has begun does not.
    begun = COMMITS["main"]
    monkeypatch.setitem(COMMITS, "older", begun)
    monkeypatch.setitem(COMMITS, "main", "c" * 40)
    hub.files |= {f"WeiNet_{fold}_weights.h5": content for fold in saving._FOLDS}
    run = run_steps(experiment, "training")
    assert (run.done, run.skipped, run.omissions) == (4, 1, [])
    assert len(training._released_sources(experiment)) == 5
    for entry in training._released_sources(experiment).values():
        assert entry["repository"] == "Xavi3398/ekman_expressions"
        assert (entry["revision"], entry["commit"]) == ("main", begun)
    notes = read_json(experiment.models_folder / "run.json")["notes"]
    assert f"(Xavi3398/ekman_expressions at {begun}, sha256 " in notes[4]
    model = load_model(experiment, "WeiNet", "CV5").source
    np.testing.assert_allclose(model(images).numpy(), answers, atol=1e-5)


def test_one_bad_file_does_not_stop_the_others(weinet, tmp_path):
    folder = _folder(tmp_path / "files", weinet[0])
    (tmp_path / "files" / "WeiNet_CV3_weights.h5").write_bytes(weinet[0][:1000])
    experiment = _experiment(tmp_path, released_folder=folder)
    run = run_steps(experiment, "training")
    assert run.done == 4
    assert [entry["item"] for entry in run.omissions] == ["WeiNet_CV3"]
    assert "WeiNet_CV3_weights.h5 (1000 bytes) cannot be read" in run.omissions[0]["reason"]
    assert not experiment.model_path("WeiNet", "CV3").exists()
    assert not (experiment.models_folder / "WeiNet_CV3_source.json").exists()


def test_what_cannot_be_is_said_before_anything_is_done(tmp_path):
    folder = _folder(tmp_path / "files", b"", ("CV1", "CV2"))
    experiment = _experiment(tmp_path, ("WeiNet", "VGG16"), released_folder=folder)
    with pytest.raises(MissingError, match="lacks 8 of 10 .*: WeiNet_CV3_weights.h5, .*VGG16_CV5_weights.h5"):
        run_steps(experiment, "training")
    with pytest.raises(SettingsError, match="of 5 folds, but faces.folds is 3"):
        run_steps(_experiment(tmp_path / "three", folds=3, released_folder=folder), "training")
    assert not list(experiment.models_folder.glob("*.keras"))


def test_settings_that_mean_nothing_fail_at_once():
    with pytest.raises(SettingsError, match="'none', 'released' or an existing folder.*but got 'imagnet'"):
        TrainingSettings(weights="imagnet")
    with pytest.raises(SettingsError, match="'training.released_folder' is '/data', but training.weights is"):
        TrainingSettings(released_folder="/data")
    for folder in ("/not/mounted/now", "~/weights"):
        assert TrainingSettings(weights=folder).weights == folder
