"""The layout of the study's own files: ``CV1`` ... for training, ``CV1_test`` ... for test.

Each image lies in one test folder and in the training folders of all other folds. Its fold is the
one whose test folder has it; folds are taken as they are.
"""

from __future__ import annotations

import re
from pathlib import Path

from ekman_expressions.faces import listing
from ekman_expressions.faces.contract import Findings
from ekman_expressions.faces.folders import add_images, expression_depth

WANTED = "pair of folders like CV1 and CV1_test, with a folder per expression in each,"
FOLDER = re.compile(r"CV([1-9]\d*)(_test)?")


def survey(root: Path, *, subject: str | None = None) -> Findings:
    """Look through folders of training and test images of each fold.

    Parameters
    ----------
    root : Path
        The folder with ``CV1``, ``CV1_test``, ...
    subject : str, optional
        Who is seen: a regular expression for the path below the fold's folder, see
        `ekman_expressions.faces.folders.survey`. By default each image counts as a person of
        its own, since the given folds need no persons.

    Returns
    -------
    Findings
        Rows of the test folders' images with their ``fold``. Images in several test folders, or
        in training folders only, are left out; other differences between the folders are noted.

    Raises
    ------
    MissingError
        If there are no such folders, or a fold has no test folder.
    """
    listing.require_folder(root, WANTED)
    training, test = _folders(root)
    absent = [fold for fold in training if fold not in test]
    if not test or absent:
        raise listing.wrong_root(root, f"test folder {absent[0]}_test" if absent else WANTED)
    findings = Findings()
    images: dict[str, dict[str, str]] = {}
    held: dict[str, set[str]] = {}
    for folder in (*training.values(), *test.values()):
        inside = Findings()
        found = {relative: path for path, relative in listing.image_files(folder, inside, folder.name)}
        held[folder.name] = set(found)
        for item, reason in inside.left_out:
            findings.omit(f"{folder.name}/{item}", reason)
        for relative, path in found.items():
            images.setdefault(relative, {})[folder.name] = path
    depth = expression_depth(list(images))
    if depth is None:
        raise listing.wrong_root(min(test.values()), "folder named like an expression")
    folds = sorted(test, key=lambda name: int(name[2:]))
    kept, fold_of = [], {}
    for relative, copies in sorted(images.items()):
        tested = [fold for fold in folds if f"{fold}_test" in copies]
        if len(tested) == 1:
            fold_of[relative] = tested[0]
            kept.append((copies[f"{tested[0]}_test"], relative))
        elif tested:
            findings.omit(relative, f"in the test folders of {', '.join(tested)}: its fold is unclear")
        else:
            findings.omit(relative, "in training folders only: its fold is unclear")
    for fold in folds:
        _compare(fold, fold_of, held, findings, fold in training)
    if subject is None:
        findings.notes.append(
            "no pattern for the subject is given: folds are as they are, and each image counts as a "
            "person of its own"
        )
    add_images(findings, kept, depth, subject or ".+", fold=fold_of)
    return findings


def _folders(root: Path) -> tuple[dict[str, Path], dict[str, Path]]:
    """Return the training and the test folders by the fold's name."""
    training, test = {}, {}
    for item in listing.visible(root):
        match = FOLDER.fullmatch(item.name)
        if match and item.is_dir():
            (test if match[2] else training)[f"CV{match[1]}"] = Path(item.path)
    return training, test


def _compare(
    fold: str, fold_of: dict[str, str], held: dict[str, set[str]], findings: Findings, has_training: bool
) -> None:
    """Note how a fold's training folder differs from the images of the other folds."""
    if not has_training:
        findings.notes.append(f"{fold} has no training folder: the other folds' test images are used")
        return
    training = held[fold]
    leaked = sorted(name for name in training if fold_of.get(name) == fold)
    lacking = sorted(name for name, home in fold_of.items() if home != fold and name not in training)
    if leaked:
        findings.notes.append(
            f"{fold} has {len(leaked)} of its own test images among its training images (such as "
            f"{leaked[0]}): here they are only tested"
        )
    if lacking:
        findings.notes.append(
            f"{fold} lacks {len(lacking)} training images that are test images of other folds (such as "
            f"{lacking[0]}): here they are used"
        )
