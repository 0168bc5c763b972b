"""How good models are: accuracy over folds, reports and confusions."""

from __future__ import annotations

import pandas as pd

from ekman_expressions.core.expressions import EXPRESSIONS

PROBABILITIES: tuple[str, ...] = tuple(f"p_{expression}" for expression in EXPRESSIONS)
"""Columns of the predictions that hold what the model answered, in the order of classes."""

NONE_OF_THEM = "none of the six"
"""In confusions: what a model of one's own answers when `own_models.OwnModel.extra` keeps further classes."""
SCORES = ("accuracy", "macro_precision", "macro_recall", "macro_f1")


def accuracy_by_fold(predictions: pd.DataFrame) -> pd.DataFrame:
    """Score each model on its test fold.

    Parameters
    ----------
    predictions : DataFrame
        Columns ``network, fold, expression, predicted``.

    Returns
    -------
    DataFrame
        Columns ``network, fold``, `SCORES`, in the order of first appearance. The macro
        scores are plain means over the expressions that are shown or predicted in the fold;
        0 / 0 counts as 0 (an expression that is never predicted has precision 0).

    References
    ----------
    scikit-learn's ``precision_recall_fscore_support`` does the work.
    """
    from sklearn.metrics import accuracy_score, precision_recall_fscore_support

    scores = []
    for (network, fold), rows in predictions.groupby(["network", "fold"], sort=False):
        truth, predicted = rows["expression"], rows["predicted"]
        # What a model takes for none of the six is wrong, but no class to take the mean over.
        seen = [name for name in EXPRESSIONS if name in {*truth, *predicted}]
        macro = precision_recall_fscore_support(
            truth, predicted, labels=seen, average="macro", zero_division=0
        )[:3]
        scores.append((network, fold, accuracy_score(truth, predicted), *macro))
    return pd.DataFrame(scores, columns=["network", "fold", *SCORES])


def report(predictions: pd.DataFrame) -> pd.DataFrame:
    """Score each model on each expression.

    Returns
    -------
    DataFrame
        Columns ``network, fold, expression, precision, recall, f1, images``; `images` show
        the expression. 0 / 0 counts as 0.
    """
    from sklearn.metrics import precision_recall_fscore_support

    tables = []
    for (network, fold), rows in predictions.groupby(["network", "fold"], sort=False):
        precision, recall, f1, images = precision_recall_fscore_support(
            rows["expression"], rows["predicted"], labels=EXPRESSIONS, zero_division=0
        )
        scores = {"precision": precision, "recall": recall, "f1": f1, "images": images}
        tables.append(pd.DataFrame({"network": network, "fold": fold, "expression": EXPRESSIONS, **scores}))
    return pd.concat(tables, ignore_index=True)


def confusion(predictions: pd.DataFrame, by: tuple[str, ...] = ("network", "fold")) -> pd.DataFrame:
    """Count how often each expression was taken for each.

    Parameters
    ----------
    predictions : DataFrame
        Columns ``expression, predicted`` and those in `by`.
    by : tuple of str
        Columns that tell the matrices apart.

    Returns
    -------
    DataFrame
        Tidy: `by`, ``expression`` (shown), ``predicted``, ``images``; 36 rows a matrix. Where a
        model takes images for a class beyond the six, 42: they count as `NONE_OF_THEM`.
    """
    from sklearn.metrics import confusion_matrix

    tables = []
    for names, rows in predictions.groupby(list(by), sort=False):
        predicted = rows["predicted"].where(rows["predicted"].isin(EXPRESSIONS), NONE_OF_THEM)
        classes = EXPRESSIONS if predicted.isin(EXPRESSIONS).all() else (*EXPRESSIONS, NONE_OF_THEM)
        # No image shows none of the six: that row of the square matrix is empty.
        counts = confusion_matrix(rows["expression"], predicted, labels=classes)[: len(EXPRESSIONS)]
        pairs = pd.MultiIndex.from_product([EXPRESSIONS, classes], names=["expression", "predicted"])
        table = pd.DataFrame({"images": counts.ravel()}, index=pairs).reset_index()
        for place, (column, name) in enumerate(zip(by, names, strict=True)):
            table.insert(place, column, name)
        tables.append(table)
    return pd.concat(tables, ignore_index=True)
