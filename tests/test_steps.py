"""The table of steps and its runner: what is done, made again, refused, and kept in run.json."""

import pytest
from made_steps import with_

from ekman_expressions import report
from ekman_expressions.core.errors import ConflictError, DataError, MissingError, SettingsError
from ekman_expressions.core.files import read_json, sha256
from ekman_expressions.core.runtime import derive_seed, generator
from ekman_expressions.study import STEPS, Run, Step, run
from ekman_expressions.study.provenance import _settings_of
from ekman_expressions.study.steps import plan


class Kitchen:
    """Three steps that write texts: `first` is read by `kept`, file by file, and by `again` as a whole."""

    def __init__(self):
        self.texts = {"first": {"a": "one", "b": "one"}, "kept": {"c": "two"}, "again": {"d": "three"}}
        self.calls = []
        self.omitted = []
        self.stop = False
        self.steps = {
            "first": Step("first", self.write, "faces_folder", "", settings=("faces",), choices=()),
            "kept": Step("kept", self.write, "models_folder", "", reads=("first/a*",),
                         settings=("faces", "training"), resumes=True),
            "again": Step("again", self.write, "evaluation_folder", "", reads=("first",)),
        }  # fmt: skip

    def write(self, experiment, run, **options):
        name = next(key for key, step in self.steps.items() if getattr(experiment, step.folder) == run.folder)
        self.calls.append(name)
        for item, text in self.texts[name].items():
            path = run.folder / f"{item}.txt"
            if self.steps[name].resumes and path.exists():
                run.kept(path)
                continue
            path.write_text(text)
            run.made(path)
        for item in self.omitted:
            run.omit(item, "no face found")
        if self.stop:
            raise KeyboardInterrupt

    def run(self, experiment, *names, **options):
        self.calls = []
        return run(experiment, *names, steps=self.steps, **options)


@pytest.fixture
def kitchen():
    return Kitchen()


def _entry(folder):
    return read_json(folder / "run.json")


def test_the_plan_says_what_a_run_would_do(experiment, kitchen, tmp_path):
    def planned(experiment):
        return plan(experiment, steps=kitchen.steps)

    new = {"first": "run: it has not run", "kept": "run: after first", "again": "run: after first"}
    assert planned(experiment) == new and not any(tmp_path.iterdir())
    kitchen.run(experiment)
    assert planned(experiment) == dict.fromkeys(new, "done")
    (experiment.evaluation_folder / "d.txt").unlink()
    assert planned(experiment)["again"] == "run: 1 of its files are gone or changed, such as d.txt"
    kitchen.run(experiment)
    (experiment.faces_folder / "b.txt").write_text("another")
    told = planned(experiment)
    assert "such as b.txt" in told["first"] and told["kept"] == "run: if what first makes differs"
    assert told["again"] == "run: changed since: first"
    other = planned(with_(experiment, "faces", folds=3))
    assert all(verdict.startswith("refused: ") and "folds" in verdict for verdict in other.values())
    with pytest.raises(SettingsError, match="Unknown step firts"):
        plan(experiment, "firts", steps=kitchen.steps)


def test_run_json_says_how_each_file_came_about(experiment, kitchen):
    kitchen.omitted = ["face_7"]
    made = kitchen.run(experiment, "first")
    entry = _entry(experiment.faces_folder)
    path = experiment.faces_folder / "a.txt"
    status = path.stat()
    output = {"sha256": sha256(path), "size": status.st_size, "mtime_ns": status.st_mtime_ns}
    assert entry["outputs"]["a.txt"] == output and list(entry["outputs"]) == ["a.txt", "b.txt"]
    assert entry["settings"]["faces"]["folds"] == experiment.faces.folds
    assert entry["settings"]["seed"] == experiment.seed
    assert entry["omissions"] == [{"item": "face_7", "reason": "no face found"}]
    assert entry["done"] == made.done == 2 and entry["start"] <= entry["end"]
    assert {"package_version", "git", "python", "libraries", "platform", "device"} <= entry.keys()
    kitchen.run(experiment, "kept", "again")
    assert _entry(experiment.models_folder)["inputs"] == {"first/a.txt": sha256(path)}
    assert list(_entry(experiment.evaluation_folder)["inputs"]) == ["first"]


def test_what_is_done_is_not_made_again_and_what_is_not_made_any_more_is_removed(experiment, kitchen):
    kitchen.run(experiment)
    assert kitchen.calls == ["first", "kept", "again"]
    before = _entry(experiment.models_folder)
    found = kitchen.run(experiment)
    assert kitchen.calls == [] and (found.done, found.skipped) == (0, 4)
    assert _entry(experiment.models_folder) == before
    # Times alone change nothing: the file is as it was.
    path = experiment.evaluation_folder / "d.txt"
    path.write_text("three")
    kitchen.run(experiment)
    assert kitchen.calls == []
    # Files that are not whole are made again.
    for spoil in (path.unlink, lambda: path.write_text("tampered")):
        spoil()
        assert kitchen.run(experiment).done == 1
        assert kitchen.calls == ["again"] and path.read_text() == "three"
    # Files that a step does not make any more are removed, and others left.
    kitchen.texts["again"] = {"e": "four"}
    (experiment.evaluation_folder / "note.txt").write_text("mine")
    path.write_text("tampered")
    kitchen.run(experiment)
    names = {path.name for path in experiment.evaluation_folder.iterdir()}
    assert names == {"e.txt", "note.txt", "run.json"}


def test_first_and_names_say_which_steps_run(experiment, kitchen):
    kitchen.run(experiment, "first")
    kitchen.run(experiment, first="kept")
    assert kitchen.calls == ["kept", "again"]
    with pytest.raises(SettingsError, match="Unknown step supper. The steps are first, kept, again"):
        kitchen.run(experiment, "supper")
    # Options of a run count.
    for options, made in (({"taste": "salt"}, ["first"]), ({"taste": "salt"}, []), ({}, ["first"])):
        kitchen.run(experiment, "first", **options)
        assert kitchen.calls == made
    alone = with_(experiment, "explanation", compare=())
    assert run(alone, "explainers").notes == ["explanation.compare names no explainer"]


def test_a_step_that_is_lacking_or_was_stopped_and_a_foreign_run_json_are_named(experiment, kitchen):
    with pytest.raises(MissingError, match="written by the step 'first': run it first"):
        kitchen.run(experiment, "again")
    kitchen.stop = True
    with pytest.raises(KeyboardInterrupt):
        kitchen.run(experiment, "first")
    kitchen.stop = False
    assert _entry(experiment.faces_folder)["end"] is None
    with pytest.raises(MissingError, match="'first' was stopped before its end"):
        kitchen.run(experiment, "again")
    kitchen.run(experiment)
    assert kitchen.calls == ["first", "kept", "again"]
    # Also a finished step that begins again and is killed.
    (experiment.faces_folder / "b.txt").unlink()
    kitchen.stop = True
    with pytest.raises(KeyboardInterrupt):
        kitchen.run(experiment)
    assert _entry(experiment.faces_folder)["end"] is None
    for text in ('{"step": "faces"}', "{"):
        (experiment.faces_folder / "run.json").write_text(text)
        with pytest.raises(DataError, match="run.json.*Delete"):
            kitchen.run(experiment, "first")


def test_changed_inputs_are_refused_or_made_again(experiment, kitchen):
    kitchen.run(experiment)
    kitchen.texts["first"]["b"] = "other"
    (experiment.faces_folder / "b.txt").unlink()
    kitchen.run(experiment)
    # The kept step reads only the other file.
    assert kitchen.calls == ["first", "again"]
    kitchen.texts["first"]["a"] = "other"
    (experiment.faces_folder / "a.txt").unlink()
    with pytest.raises(ConflictError, match="another version of first/a.txt.*Delete"):
        kitchen.run(experiment)
    # The same where it was put in place by hand.
    (experiment.faces_folder / "a.txt").write_text("by hand")
    with pytest.raises(ConflictError, match="another version of first/a.txt"):
        kitchen.run(experiment, "kept")


def test_where_items_are_kept_what_was_left_out_is_tried_again_and_what_is_unknown_refused(experiment, kitchen):
    kitchen.omitted = ["c2"]
    kitchen.run(experiment)
    before = _entry(experiment.models_folder)
    kitchen.run(experiment)
    assert kitchen.calls == ["kept"] and _entry(experiment.models_folder) == before
    kitchen.omitted = []
    kitchen.texts["kept"]["c2"] = "two"
    assert kitchen.run(experiment).done == 1
    assert list(_entry(experiment.models_folder)["outputs"]) == ["c.txt", "c2.txt"]
    for folder in (experiment.models_folder, experiment.evaluation_folder):
        (folder / "run.json").unlink()
    with pytest.raises(ConflictError, match="such as c2.txt.*no run.json.*Delete"):
        kitchen.run(experiment, "kept")
    kitchen.run(experiment, "again")
    assert kitchen.calls == ["again"]


def test_other_settings_are_refused_with_both_values_and_both_ways_out(experiment, kitchen):
    kitchen.run(experiment)
    changed = with_(experiment, "training", batch_size=77)
    with pytest.raises(ConflictError) as error:
        kitchen.run(changed, "kept")
    said = (f"training.batch_size = {experiment.training.batch_size}", "now says 77", "another name")
    assert all(part in str(error.value) for part in (*said, f"delete {experiment.models_folder}"))
    # The same conflict is seen by a later step that reads the folder.
    with pytest.raises(ConflictError, match="faces.size"):
        kitchen.run(with_(experiment, "faces", size=99), "again")


def test_settings_without_effect_on_results_and_networks_may_change(experiment, kitchen):
    kitchen.run(experiment)
    kitchen.run(with_(experiment, "faces", roots={"synthetic": "/elsewhere"}))
    assert kitchen.calls == []
    other = with_(experiment, "explanation", compare=("rise",), quality_faces=7)
    assert _settings_of(other, "explanation") == _settings_of(experiment, "explanation")
    # Networks may be added, but their numbers not changed.
    more = experiment.replace(networks=(*experiment.networks, "VGG16"))
    kitchen.run(more, "kept")
    assert kitchen.calls == ["kept"]
    fewer = experiment.replace(networks=("WeiNet",))
    kitchen.run(fewer, "kept")
    assert list(_entry(experiment.models_folder)["settings"]["training"]["networks"]) == ["WeiNet"]
    overrides = {**experiment.training.overrides, "VGG16": {"epochs": 3}}
    with pytest.raises(ConflictError, match="VGG16.epochs = 2.* 3"):
        kitchen.run(with_(more, "training", overrides=overrides), "kept")


def test_omissions_are_grouped_by_reason_the_most_frequent_first():
    run = Run()
    for number in range(7):
        run.omit(f"face_{number}", f"faces/face_{number}.png is damaged")
    run.omit("SongNet_CV1", "its loss is NaN")
    assert run.summary("items").splitlines()[1:] == [
        "  left out, 7: faces/*.png is damaged (face_0, face_1, face_2, face_3, face_4, ...)",
        "  left out, 1: its loss is NaN (SongNet_CV1)",
    ]


def test_every_step_is_a_row_that_fits_the_others(experiment):
    for step in report.STEPS.values():
        assert step.function.__name__.lstrip("_") == step.name and step.what
        before = list(report.STEPS)[: list(report.STEPS).index(step.name)]
        assert {read.partition("/")[0] for read in step.reads} <= set(before)
        assert set(step.also) | set(step.first) <= set(STEPS)
        assert getattr(experiment, step.folder).is_relative_to(experiment.root)


def test_seeds_depend_on_every_name_and_on_nothing_else():
    assert derive_seed(0, "lime", "WeiNet_CV1", "a") == derive_seed(0, "lime", "WeiNet_CV1", "a")
    names = [(0, "a", "b"), (1, "a", "b"), (0, "b", "a"), (0, "ab"), (0, "a", "b", "")]
    assert len({derive_seed(*name) for name in names}) == len(names)
    # Pinned: a change here would silently change every result.
    assert derive_seed(0, "lime") == 826199750252811804
    assert generator(0, "x").integers(1 << 30) == generator(0, "x").integers(1 << 30)
