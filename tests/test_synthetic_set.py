"""The bundled synthetic faces: what their data card says is so."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from ekman_expressions.core.expressions import EXPRESSIONS
from ekman_expressions.faces import synthetic

ROOT = synthetic.folder()
SIDE = 112
UNITS_OF_PROBES = {
    ("brows", "raised"): {"au01", "au02"},
    ("brows", "lowered"): {"au04"},
    ("eyes", "wide"): {"au05"},
    ("eyes", "closed"): {"au43"},
    ("mouth", "smile"): {"au12"},
    ("mouth", "frown"): {"au15", "au17"},
}


@pytest.fixture(scope="module")
def manifest():
    return pd.read_csv(ROOT / "manifest.csv", keep_default_na=False)


@pytest.fixture(scope="module")
def probes():
    return pd.read_csv(ROOT / "probes.csv", keep_default_na=False)


@pytest.fixture(scope="module")
def landmarks():
    with np.load(ROOT / "landmarks.npz") as stored:
        return dict(zip(stored["image_id"], stored["points"], strict=True))


def test_forty_persons_make_each_expression_in_four_variants(manifest):
    counts = manifest.groupby(["subject", "expression"]).size().unstack()

    assert counts.shape == (40, 7)
    assert set(counts.columns) == {*EXPRESSIONS, "neutral"}
    assert (counts == 4).all(axis=None)


def test_twenty_four_persons_make_each_probe(probes):
    persons = probes.groupby(["probe", "label"]).subject.nunique()

    assert persons.to_dict() == dict.fromkeys(UNITS_OF_PROBES, 24)


def test_images_of_a_variant_share_person_pose_and_light(manifest, probes):
    rows = pd.concat([manifest, probes])
    views = rows.groupby(["subject", "variant"])
    fixed = [
        "sex",
        "age",
        "skin",
        "yaw",
        "pitch",
        "roll",
        "neutral",
        *(c for c in rows if c.startswith("light_")),
    ]

    assert (views[fixed].nunique() == 1).all(axis=None)
    assert set(rows.neutral) == set(manifest.image_id[manifest.expression == "neutral"])


def test_only_the_named_units_are_active(manifest, probes):
    units = [column for column in manifest if column.startswith("au")]

    active = manifest[units].gt(0)
    assert not active[manifest.expression == "neutral"].any(axis=None)
    for (_, prototype), rows in manifest[manifest.expression != "neutral"].groupby(
        ["expression", "prototype"]
    ):
        assert active.loc[rows.index].drop_duplicates().shape[0] == 1, prototype
    for (probe, label), rows in probes.groupby(["probe", "label"]):
        for _, row in rows[units].iterrows():
            assert set(row.index[row > 0]) == UNITS_OF_PROBES[probe, label]


def test_images_and_masks_have_their_size_and_a_layer_for_each_active_unit(manifest, probes):
    units = [column for column in manifest if column.startswith("au")]
    for row in pd.concat([manifest, probes]).to_dict("records"):
        with Image.open(ROOT / row["path"]) as image:
            assert image.mode == "RGB" and image.size == (2 * SIDE, 2 * SIDE)
        if not row["mask"]:
            assert row["expression"] == "neutral" and not row["layers"]
            continue
        assert row["layers"].split() == ["total", "photometric", *(u for u in units if row[u] > 0)]
        with Image.open(ROOT / row["mask"]) as mask:
            assert mask.mode == "L" and mask.size == (SIDE, SIDE * len(row["layers"].split()))


@pytest.mark.parametrize(
    ("probe", "moved", "still"),
    [
        ("brows", slice(17, 27), slice(48, 68)),
        ("eyes", slice(36, 48), slice(48, 68)),
        # A smile lifts the cheeks, up to the lower lids.
        ("mouth", slice(48, 68), slice(17, 27)),
    ],
)
def test_a_probe_moves_its_region_and_no_other(probes, landmarks, probe, moved, still):
    for row in probes[probes.probe == probe].itertuples():
        with Image.open(ROOT / row.mask) as mask:
            total = np.asarray(mask)[:SIDE] * (12 / 255)
        points = landmarks[row.image_id] / 2

        def most(part, total=total, points=points):
            x, y = points[part].astype(int).clip(1, SIDE - 2).T
            return max(total[b - 1 : b + 2, a - 1 : a + 2].max() for a, b in zip(x, y, strict=True))

        assert most(moved) > 0.8, row.image_id
        assert most(still) < 0.5, row.image_id


def test_landmarks_lie_where_the_mesh_moves_them(probes, landmarks):
    """The chosen vertices follow the action units: brows go up, lip corners apart, lids together."""

    def change(probe, label, measure):
        rows = probes[(probes.probe == probe) & (probes.label == label)]
        pairs = zip(rows.image_id, rows.neutral, strict=True)
        return np.array([measure(landmarks[image]) - measure(landmarks[neutral]) for image, neutral in pairs])

    assert (change("brows", "raised", lambda p: p[17:27, 1].mean()) < -1).all()
    assert (change("brows", "lowered", lambda p: p[17:27, 1].mean()) > 0.5).all()
    assert (change("mouth", "smile", lambda p: np.linalg.norm(p[54] - p[48])) > 1).all()
    assert (
        change("eyes", "closed", lambda p: p[[40, 41, 46, 47], 1].mean() - p[[37, 38, 43, 44], 1].mean()) < -1
    ).all()
