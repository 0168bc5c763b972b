"""FEGA, whose file names tell people's names: counted on a miniature copy, and never told."""

import hashlib
import unicodedata

import pytest
from database_replicas import (
    ITALIAN,
    PIXEL,
    fega,
    found,
    png,
    put,
)

from ekman_expressions import EXPRESSIONS
from ekman_expressions.core.errors import MissingError
from ekman_expressions.faces.databases import survey


def everything_but_paths(result):
    """All that a survey tells, except `path`."""
    rows = result.rows.drop(columns="path")
    parts = (rows.to_csv(), result.left_out.to_csv(), *result.notes, result.summary())
    return unicodedata.normalize("NFKD", "\n".join(parts)).lower()


def test_fega_counts_people_and_never_tells_a_name(tmp_path):
    root = fega(tmp_path / "faces", (("Zenobia", "F", 31), ("Ósgood Smith_Jr", "M", 44)))
    put(root / "0_F_31_Zenobia_Felice_9.png")
    put(root / "Zenobia portrait.png")
    put(root / "0_F_31_Zenobia_Paura_9.png", b"")
    put(root / "Zenobia" / "0_F_31_Zenobia_Paura_1.png", png(77_777))
    (root / "0_F_31_Zenobia_Paura_8.png").symlink_to(tmp_path / "nowhere")
    result = survey("fega", root)
    assert result.private and result.subjects == 2 and result.expected_subjects == 51
    assert found(result) == dict.fromkeys((*EXPRESSIONS, "neutral"), 4)
    text = everything_but_paths(result)
    assert not any(name in text for name in ("zenobia", "osgood", "smith", "portrait"))
    assert all(item.startswith(("sha256:", "(")) for item in result.left_out["item"])
    assert len(result.left_out) == 5
    assert any("label is none of arrabbiato" in reason for reason in result.left_out["reason"])
    # The owner finds the file by its checksum.
    assert f"sha256:{hashlib.sha256(PIXEL).hexdigest()[:16]}" in set(result.left_out["item"])


def test_fega_ids_cannot_be_computed_from_a_guessed_name_and_do_not_depend_on_the_others(tmp_path):
    people = (("Zenobia", "F", 31), ("Osgood", "M", 44))
    one = survey("fega", fega(tmp_path / "a", people)).rows
    # The same name with other faces is another id, so that the name alone does not give it.
    other = survey("fega", fega(tmp_path / "b", (("Nobody", "F", 20), *people))).rows
    assert not set(one["subject"]) & set(other["subject"])
    for path in (tmp_path / "a").glob("*Osgood*"):
        path.unlink()
    alone = survey("fega", tmp_path / "a").rows
    assert set(alone["subject"]) < set(one["subject"])
    assert alone["image_id"].isin(one["image_id"]).all()


def test_fega_people_of_one_name(tmp_path):
    root = fega(tmp_path, (("Ana", "F", 20), ("Ana", "F", 60), ("Leo", "M", 30)), repeats=1)
    # The same name decomposed, as macOS writes it, and in capitals, is the same.
    put(root / "0_M_30_LEO_Paura_2.png", png(1000))
    together = survey("fega", root)
    assert together.subjects == 2 and len(together.rows) == 22
    assert any("1 names come with several ages" in note for note in together.notes)
    apart = survey("fega", root, {"person": "name_sex_age"})
    assert apart.subjects == 3 and len(apart.rows) == 22 and not apart.notes
    put(root / unicodedata.normalize("NFD", "0_M_30_José_Paura_1.png"), png(2000))
    put(root / "0_M_30_José_Paura_2.png", png(2001))
    assert survey("fega", root).subjects == 3


def test_fega_a_wrong_root_tells_no_name(tmp_path):
    for name in ("Zenobia 1.png", "Zenobia 2.png"):
        put(tmp_path / "Zenobia" / name)
    with pytest.raises(MissingError, match="it holds 1 folders and 0 files") as error:
        survey("fega", tmp_path)
    assert "Zenobia" not in str(error.value)
    assert len(ITALIAN) == 7
