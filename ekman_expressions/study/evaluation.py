"""How good each model is, and which faces are explained: predictions, reports, confusions, positives."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ekman_expressions.core.errors import ModelError
from ekman_expressions.core.expressions import EXPRESSIONS
from ekman_expressions.core.files import read_csv
from ekman_expressions.core.runtime import derive_seed, generator
from ekman_expressions.faces.folders import check_ids
from ekman_expressions.measures.uncertainty import _fold_of
from ekman_expressions.study import prepared, training
from ekman_expressions.study.execution import _run_tasks, _Task
from ekman_expressions.study.experiment import Experiment
from ekman_expressions.study.provenance import Run, read_results
from ekman_expressions.zoo.model import GROUP, Model
from ekman_expressions.zoo.own_models import _predicted_expressions

_SCORES = ("accuracy", "macro_precision", "macro_recall", "macro_f1")
_PREDICTIONS = ("network", "fold", "image_id", "expression", "predicted")
_EXPLAINED = ("network", "fold", "expression", "image_id")
_CHUNK = 4 * GROUP


def _none_of(expressions: tuple[str, ...]) -> str:
    """Return what confusions call the predictions of further classes, which `OwnModel.extra` keeps."""
    return f"none of the {'six' if len(expressions) == 6 else len(expressions)}"


def _evaluation(experiment: Experiment, run: Run) -> None:
    """Query each model about the faces of its test fold, and choose the faces to explain."""
    # What a reader of the results of one's own models must know.
    for name, own in experiment.models.items():
        if own.per_fold:
            what = ", a model per fold: that of fold CVk must not have seen the faces of CVk"
        else:
            what = (
                " and is the same in all folds, so that every face counts as a test face: it must not have "
                "been trained on any of them, and its folds differ by faces only"
            )
        run.note(f"{name} was trained elsewhere{what}")
    tasks = [
        _Task(name="_".join(pair), function=_evaluate_model, arguments=(experiment, *pair)) for pair in experiment.pairs
    ]
    _run_tasks(tasks, run, desc="Evaluating", unit="model")
    if not run.outputs:
        reasons = "; ".join(f"{entry['item']}: {entry['reason']}" for entry in run.omissions)
        raise ModelError(f"No model of {experiment.name} could be evaluated. {reasons}")
    # Texts stay texts, as in `read_results`.
    texts = dict.fromkeys(_PREDICTIONS, str)
    parts = [read_csv(path, dtype=texts, keep_default_na=False) for path in run.outputs]
    predictions = pd.concat(parts, ignore_index=True)
    expressions = experiment.expressions
    others = predictions[~predictions["predicted"].isin(expressions)]
    for model, count in (others["network"] + "_" + others["fold"]).value_counts(sort=False).items():
        run.note(f"{model}: {count} faces were taken for {_none_of(expressions)}; they are no positives")
    scores, positives = _accuracy_by_fold(predictions, expressions), experiment.explanation.positives
    tables = {
        "predictions": predictions,
        "accuracy_by_fold": scores,
        "accuracy": scores.groupby("network", sort=False)[list(_SCORES)].mean().reset_index(),
        "confusion": _confusion(predictions, expressions),
        "explained": _choose_positives(predictions, positives, expressions, seed=experiment.seed),
    }
    run.write(experiment.evaluation_folder, tables)


def _evaluate_model(experiment: Experiment, network: str, fold: str) -> Run:
    """Write a model's predictions for the faces of its test fold, sorted by image, unless they are there."""
    run, name = Run(), f"{network}_{fold}"
    path = experiment.evaluation_folder / "predictions" / f"{name}.csv"
    if path.exists():
        run.kept(path)
        return run
    model = training._kept_model(experiment, network, fold)
    manifest = prepared.read_manifest(experiment)
    rows = manifest[manifest["fold"] == _fold_of(fold)].sort_values("image_id")
    readable, probabilities = _predictions(experiment, model, network, list(rows["image_id"]), run)
    for note in model.notes:
        run.note(f"{name}: {note}")
    if not readable:
        raise ModelError(f"{name} cannot be evaluated: none of its {len(rows)} faces can be read.")
    rows = rows[rows["image_id"].isin(readable)]
    if network in experiment.models:
        predicted, probabilities = _predicted_expressions(probabilities, experiment.models[network])
    else:
        predicted = np.array(experiment.expressions)[probabilities.argmax(axis=1)]
    table = rows[["image_id", "expression"]].assign(network=network, fold=fold, predicted=predicted)
    columns = _columns(experiment)
    table[columns[len(_PREDICTIONS) :]] = probabilities
    if "neutral" in model.classes and "neutral" in rows:
        # Persons' neutral faces that a model, which knows the class, takes for something else.
        neutrals = sorted(set(rows["neutral"]) - {""})
        answers = zip(*_predictions(experiment, model, network, neutrals, run), strict=True)
        strange = [image_id for image_id, of in answers if model.classes[of.argmax()] != "neutral"]
        if strange:
            run.note(
                f"{name}: {len(strange)} of {len(neutrals)} neutral faces are not neutral to it, "
                f"such as {', '.join(strange[:3])}"
            )
    run.write(path.parent, {name: table[columns]}, items=1)
    return run


def _columns(experiment: Experiment) -> list[str]:
    """Return the columns of predictions, the probability of each class last."""
    return [*_PREDICTIONS, *(f"p_{expression}" for expression in experiment.expressions)]


def _predictions(
    experiment: Experiment, model: Model, network: str, image_ids: list[str], run: Run
) -> tuple[list[str], np.ndarray]:
    """Query a model about faces, not all read at once: those that can be read, and its predictions."""
    readable, found = [], []
    for start in range(0, len(image_ids), _CHUNK):
        faces = []
        for image_id in image_ids[start : start + _CHUNK]:
            with run.omits(f"{model.name} {image_id}"):
                faces.append(prepared.read_faces(experiment, [image_id], experiment.side(network)))
                readable.append(image_id)
        if faces:
            found.extend(model.predict(np.concatenate(faces)))
    return readable, np.array(found)


def _choose_positives(
    predictions: pd.DataFrame, positives: int, expressions: Sequence[str] = EXPRESSIONS, *, seed: int
) -> pd.DataFrame:
    """Choose the faces to explain at random, `_EXPLAINED`: so many per model and predicted expression."""
    chosen = []
    for (network, fold), rows in predictions.groupby(["network", "fold"], sort=False):
        for expression in expressions:
            image_ids = sorted(rows.loc[rows["predicted"] == expression, "image_id"])
            if len(image_ids) > positives:
                random = generator(seed, "positives", f"{network}_{fold}", expression)
                image_ids = sorted(random.choice(image_ids, positives, replace=False))
            chosen += [(network, fold, expression, image_id) for image_id in image_ids]
    return pd.DataFrame(chosen, columns=list(_EXPLAINED))


def read_explained(experiment: Experiment) -> pd.DataFrame:
    """Read which faces are explained, see `_choose_positives`; by the explainer in use, if it takes few."""
    table = read_results(experiment, "evaluation", "explained", _EXPLAINED)
    check_ids(table["image_id"], experiment.evaluation_folder / "explained.csv")
    if not experiment.explanation.is_partial:
        return table
    # By a number that each face has, so that more faces contain the fewer.
    names = table[list(_EXPLAINED)].itertuples(index=False)
    places = pd.Series([derive_seed(experiment.seed, "compare", *row) for row in names], table.index)
    ranks = places.groupby([table[name] for name in _EXPLAINED[:3]]).rank(method="first")
    return table[ranks <= experiment.explanation.compare_faces].reset_index(drop=True)


def _accuracy_by_fold(predictions: pd.DataFrame, expressions: Sequence[str] = EXPRESSIONS) -> pd.DataFrame:
    """Score each model on its test fold: ``network, fold``, `_SCORES`; macro over expressions in the fold."""
    from sklearn.metrics import accuracy_score, precision_recall_fscore_support

    scores = []
    for (network, fold), rows in predictions.groupby(["network", "fold"], sort=False):
        truth, predicted = rows["expression"], rows["predicted"]
        # What a model takes for none of them is wrong, but no class to take the mean over.
        seen = [name for name in expressions if name in {*truth, *predicted}]
        macro = precision_recall_fscore_support(truth, predicted, labels=seen, average="macro", zero_division=0)[:3]
        scores.append((network, fold, accuracy_score(truth, predicted), *macro))
    return pd.DataFrame(scores, columns=["network", "fold", *_SCORES])


def _confusion(predictions: pd.DataFrame, expressions: tuple[str, ...] = EXPRESSIONS) -> pd.DataFrame:
    """Count how often each expression was taken for each, and for `_none_of` them where a model does that."""
    tables, none = [], _none_of(expressions)
    known = predictions["predicted"].isin(expressions)
    predictions = predictions.assign(predicted=predictions["predicted"].where(known, none))
    for network, rows in predictions.groupby("network", sort=False):
        classes = [*expressions, *({none} & set(rows["predicted"]))]
        cells = pd.MultiIndex.from_product([expressions, classes], names=["expression", "predicted"])
        counts = rows.groupby(cells.names).size().reindex(cells, fill_value=0).reset_index(name="images")
        counts.insert(0, "network", network)
        tables.append(counts)
    return pd.concat(tables, ignore_index=True)
