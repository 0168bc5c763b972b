"""Files: atomic writes, images of every kind, damaged input."""

import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from ekman_expressions.core import files
from ekman_expressions.core.errors import DataError, MissingError


def test_failed_write_keeps_the_earlier_file_and_leaves_no_temporary(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("before")
    with pytest.raises(RuntimeError), files.atomic_path(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "before"
    assert [item.name for item in tmp_path.iterdir()] == ["a.txt"]


def test_arrays_come_back_and_equal_arrays_give_equal_bytes(tmp_path):
    arrays = {"maps": np.arange(12, dtype=np.float32).reshape(3, 4), "ids": np.array(["a", "b"])}
    for name in ("one.npz", "two.npz"):
        files.write_arrays(tmp_path / name, arrays)
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()
    back = files.read_arrays(tmp_path / "one.npz", ("maps", "ids"))
    np.testing.assert_array_equal(back["maps"], arrays["maps"])
    assert back["maps"].dtype == np.float32


def test_damaged_arrays_are_named(tmp_path):
    path = tmp_path / "a.npz"
    files.write_arrays(path, {"x": np.arange(1000)})
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(DataError, match="a.npz is damaged"):
        files.read_arrays(path)
    files.write_arrays(path, {"x": np.arange(3)})
    with pytest.raises(DataError, match="lacks y; it holds x"):
        files.read_arrays(path, ("y",))


def test_pickles_are_refused_in_both_directions(tmp_path):
    with pytest.raises(ValueError, match="[Oo]bject arrays"):
        files.write_arrays(tmp_path / "a.npz", {"x": np.array([{}], dtype=object)})
    np.savez(tmp_path / "b.npz", x=np.array([{}], dtype=object))
    with pytest.raises(DataError, match="b.npz is damaged"):
        files.read_arrays(tmp_path / "b.npz")


def test_missing_columns_are_listed(tmp_path):
    files.write_csv(tmp_path / "a.csv", pd.DataFrame({"subject": ["x"], "fold": ["CV1"]}))
    with pytest.raises(
        DataError, match="lacks the columns path.*It has subject, fold; needed are subject, path"
    ):
        files.read_csv(tmp_path / "a.csv", ("subject", "path"))
    (tmp_path / "empty.csv").write_text("")
    with pytest.raises(DataError, match="empty.csv is not a readable CSV"):
        files.read_csv(tmp_path / "empty.csv")


def _save(path, image, **options):
    image.save(path, **options)
    return path


@pytest.mark.parametrize("gray", [False, True])
def test_every_kind_of_image_is_read_as_8_bit(tmp_path, gray):
    level = np.full((6, 8), 100, np.uint8)
    images = {
        "gray.png": Image.fromarray(level),
        "rgb.png": Image.fromarray(np.dstack([level] * 3)),
        "cmyk.tiff": Image.fromarray(np.dstack([level] * 3)).convert("CMYK"),
        "deep.png": Image.fromarray(level.astype(np.uint16) * 257),
        "palette.png": Image.fromarray(level).convert("P"),
    }
    for name, image in images.items():
        read = files.read_image(_save(tmp_path / name, image), gray=gray)
        assert read.dtype == np.uint8
        assert read.shape == ((6, 8) if gray else (6, 8, 3))
        assert abs(int(read.max()) - 100) <= 1, name


def test_colour_order_transparency_and_camera_rotation(tmp_path):
    red = np.zeros((4, 6, 3), np.uint8)
    red[..., 0] = 255
    files.write_image(tmp_path / "red.png", red)
    np.testing.assert_array_equal(files.read_image(tmp_path / "red.png"), red)
    clear = Image.new("RGBA", (3, 3), (255, 255, 255, 0))
    assert files.read_image(_save(tmp_path / "clear.png", clear)).max() == 0
    turned = Image.Exif()
    turned[0x0112] = 6
    assert files.read_image(_save(tmp_path / "r.jpg", Image.fromarray(red), exif=turned)).shape == (6, 4, 3)


def test_truncated_foreign_and_missing_images_are_named(tmp_path):
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)).save(buffer, "JPEG")
    (tmp_path / "half.jpg").write_bytes(buffer.getvalue()[:1500])
    (tmp_path / "text.jpg").write_text("no image")
    (tmp_path / "empty.jpg").write_bytes(b"")
    for name in ("half.jpg", "text.jpg", "empty.jpg"):
        with pytest.raises(DataError, match=f"{name} cannot be read as an image"):
            files.read_image(tmp_path / name)
    with pytest.raises(DataError, match="empty.jpg cannot be read as an image .the file is empty"):
        files.read_image(tmp_path / "empty.jpg")
    with pytest.raises(MissingError, match="no image .*none.jpg"):
        files.read_image(tmp_path / "none.jpg")
    with pytest.raises(DataError, match="uint8, but got float64"):
        files.write_image(tmp_path / "x.png", np.zeros((2, 2)))


def test_images_are_found_by_names_with_spaces_and_letters_of_any_alphabet(tmp_path):
    path = tmp_path / "two words" / "\u0141\xf3d\u017a \u65e5\u672c.png"
    files.write_image(path, np.full((3, 4), 9, np.uint8))
    np.testing.assert_array_equal(files.read_image(path, gray=True), np.full((3, 4), 9))
    with pytest.raises(MissingError, match="no image"):
        files.read_image(path.parent)


def test_an_image_that_may_not_be_opened_is_named(tmp_path, monkeypatch):
    """Rights do not stop root, so the refusal is simulated."""
    path = tmp_path / "locked.png"
    files.write_image(path, np.zeros((3, 4), np.uint8))

    def refuse(self):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(type(path), "read_bytes", refuse)
    with pytest.raises(DataError, match="locked.png cannot be opened .Permission denied"):
        files.read_image(path)


def test_hash_of_settings_ignores_the_order_of_keys():
    assert files.hash_of({"a": 1, "b": [2]}) == files.hash_of({"b": [2], "a": 1})
    assert files.hash_of({"a": 1}) != files.hash_of({"a": 2})
