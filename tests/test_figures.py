"""Figures: what they show is what they were given, nothing overlaps, equal figures give equal bytes."""

import itertools
from io import BytesIO

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgba
from matplotlib.patches import Rectangle
from PIL import Image

from ekman_expressions import figures
from ekman_expressions.core.errors import EkmanExpressionsError
from ekman_expressions.core.expressions import EXPRESSIONS, title
from ekman_expressions.explainers import EXPLAINERS
from ekman_expressions.facespace import masks
from ekman_expressions.facespace.warp import POINTS as TEMPLATE
from ekman_expressions.zoo import NETWORKS

FOLDS = [f"CV{number}" for number in range(1, 6)]
KINDS = figures.network_kinds(NETWORKS, "imagenet")
COLOURS = {"pre-trained": "#0072B2", "from scratch": "#D55E00", "own model": "#009E73"}
RNG = np.random.default_rng(0)
SHAPE = (275, 224)
POINTS = TEMPLATE[:68] / SHAPE[::-1]
ATLAS = {name: masks.atlas().region(name) for name in masks.atlas().names}
EKMAN = {title(name): masks.ekman_mask(name) for name in EXPRESSIONS}
NAMES = {name: row.title for name, row in EXPLAINERS.items()}
FACE = RNG.random((64, 64, 3), np.float32)


def _table(networks=tuple(NETWORKS), folds=tuple(FOLDS)):
    table = pd.DataFrame(itertools.product(networks, folds), columns=["network", "fold"])
    table["model"] = table["network"] + "_" + table["fold"]
    return table.assign(iou=np.random.default_rng(1).random(len(table)))


def _bars(axes):
    return [patch for patch in axes.patches if isinstance(patch, Rectangle) and patch.get_height() == 0.72]


def _said(axes):
    return [text.get_text() for text in axes.texts]


def _rows(axes):
    return [label.get_text() for label in axes.get_yticklabels()]


def _texts(figure):
    """All texts that are drawn, with their boxes in pixels."""
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw(renderer)
    found = figure.findobj(lambda artist: isinstance(artist, matplotlib.text.Text))
    found = [text for text in found if text.get_visible() and text.get_text().strip()]
    # Ticks outside the limits, and labels that are switched off, are not drawn.
    hidden = set()
    for axes in figure.axes:
        if not axes.get_visible():
            hidden |= set(axes.findobj(matplotlib.text.Text))
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks()):
                inside = low - 1e-9 <= tick.get_loc() <= high + 1e-9
                for label in (tick.label1, tick.label2):
                    if not inside or not label.get_visible():
                        hidden.add(label)
    return [(text.get_text(), text.get_window_extent(renderer)) for text in found if text not in hidden]


def assert_readable(figure):
    """No text overlaps another or leaves the figure, and none is below 9 points."""
    texts = _texts(figure)
    assert texts
    for (one, box), (other, second) in itertools.combinations(texts, 2):
        across = min(box.x1, second.x1) - max(box.x0, second.x0)
        down = min(box.y1, second.y1) - max(box.y0, second.y0)
        # Boxes have a pixel or so of air around the letters.
        assert across <= 1 or down <= 1.5, f"{one!r} and {other!r} overlap by {across:.1f} x {down:.1f}"
    width, height = figure.get_size_inches() * figure.dpi
    for text, box in texts:
        inside = box.x0 >= -1 and box.y0 >= -1 and box.x1 <= width + 1 and box.y1 <= height + 1
        assert inside, f"{text!r} is cut off"
    # A web page of a repository is about 880 pixels, 660 points, wide: letters there are not smaller.
    assert 72 * figure.get_figwidth() <= 660
    assert min(text.get_fontsize() for text in figure.findobj(matplotlib.text.Text) if text.get_text()) >= 9


def _wall(rows, dtype=np.uint8):
    cells = itertools.product(rows, EKMAN)
    return {cell: RNG.integers(0, 256, SHAPE, np.uint8).astype(dtype) for cell in cells}


def _tree(leaves):
    place = np.arange(leaves - 1)
    return np.stack([np.where(place, leaves - 1 + place, 0), place + 1, 0.1 + place / 70, place + 2], axis=1)


def _areas(names):
    lines = [("network", "a", 0.3), ("network", "b", 0.35)]
    lines += [("baseline", "centre_prior", 0.4), ("baseline", "random_pixels", 0.1)]
    return pd.concat(
        pd.DataFrame({"kind": kind, "name": name, "expression": expression, "share": share, "iou": value})
        for expression in names
        for kind, name, value in lines
        for share in [np.linspace(0.1, 1, 10)]
    )


def _erasing(names, expressions=tuple(EKMAN)):
    return {expression: {name: RNG.random((4, 2, 21)) for name in names} for expression in expressions}


LAYERS = {"total": 8, "photometric": 0.25, **{f"au{number:02d}": 1 for number in range(1, 9)}}
LAYERS = {name: np.full((112, 112), value, np.float32) for name, value in LAYERS.items()}
CURVES = pd.concat(
    pd.DataFrame({"network": network, "fold": fold, "epoch": range(9), "accuracy": np.linspace(0.1, 0.9, 9)})
    for network, fold in itertools.product(NETWORKS, FOLDS)
)
MEANS = np.append(np.nan, np.linspace(0.2, 0.4, len(NETWORKS) - 1))
SCORES = pd.DataFrame({"network": list(NETWORKS), "estimate": MEANS})
SCORES = SCORES.assign(fold_low=MEANS - 0.05, fold_high=MEANS + 0.05)
CORRELATIONS = pd.DataFrame(RNG.uniform(-1, 1, (3, 3)), list(NAMES)[:3], list(NAMES)[:3])
CORRELATIONS.iloc[0, -1] = np.nan
DOTS = pd.DataFrame(
    itertools.product(("auc", "density"), NAMES.values(), ("WeiNet", "MobileNetV3Large")),
    columns=["panel", "explainer", "network"],
).assign(value=lambda table: RNG.random(len(table)), low=0.1, high=0.8)
DENSITIES = {
    cell: dict(zip(ATLAS, RNG.uniform(0, 4, len(ATLAS)), strict=True))
    for cell in itertools.product(("WeiNet", "MobileNetV3Large"), EKMAN) if cell != ("WeiNet", "Fear")
}  # fmt: skip
MOVED = {name: np.linspace(0, place + 1, 275 * 224).reshape(SHAPE) for place, name in enumerate(EKMAN)}

GALLERY = {
    "alignment": lambda: figures.alignment_page(
        [FACE] * 30, [POINTS] * 30, ["id00\nhappiness"] * 30, outliers=np.arange(30.0), title="Faces"
    ),
    "explanation": lambda: figures.explanation(
        FACE, np.arange(4096).reshape(64, 64) // 512, np.linspace(-0.4, 1, 8),
        standard_errors=np.full(8, 0.1), title="MobileNetV3Large_CV1: id00_anger_0 as anger",
    ),
    "explained face": lambda: figures.explained_face(
        FACE, POINTS[:68], np.linspace(-0.4, 1, 4096).reshape(64, 64), MOVED["Fear"],
        RNG.random((*SHAPE, 3)), mask=EKMAN["Fear"], title="id00_fear_0: fear 0.98",
    ),
    "explained faces": lambda: figures.explained_faces(
        {f"{net}: happiness": FACE for net in ("WeiNet", "MobileNetV3Large")},
        {
            (f"{net}: happiness", name): None if name == "RISE" else RNG.random((64, 64))
            for net in ("WeiNet", "MobileNetV3Large")
            for name in NAMES.values()
        },
        title="The same face by all explainers",
    ),
    "warp and mean": lambda: figures.warp(
        FACE, POINTS, POINTS * 200, [[0, 1, 2]], *RNG.random((2, *SHAPE, 3))
    ),
    "layers": lambda: figures.causal_layers(FACE, FACE, LAYERS, title="id00 anger"),
    "heatmap": lambda: figures.heatmap_figure(
        MOVED["Fear"], EKMAN["Fear"], RNG.random((*SHAPE, 3)), label="mean weight", title="Fear, 40 faces"
    ),
    "wall": lambda: figures.heatmap_wall(_wall(NETWORKS), outlines=EKMAN, title="Heatmaps"),
    "wall with notes": lambda: figures.heatmap_wall(
        _wall(["WeiNet", "untrained"], dtype=float),
        notes={("untrained", name): "r -0.95\nSSIM 0.95" for name in EKMAN},
    ),
    "agreement": lambda: figures.agreement_wall(
        {(row, name): EKMAN["Fear"] if row == "WeiNet" else None for row in ("WeiNet", "SongNet") for name in EKMAN},
        EKMAN, notes={("WeiNet", name): "IoU 0.25" for name in EKMAN}, title="Thresholded heatmaps",
    ),
    "masks in rows": lambda: figures.masks_wall(EKMAN, TEMPLATE[:68], columns=3),
    "atlas": lambda: figures.atlas(ATLAS, TEMPLATE[:68]),
    "regions": lambda: figures.region_faces(
        DENSITIES, ATLAS, certain={("WeiNet", "Anger"): ["glabella"]},
        title="Regions", note="95 % intervals over 40 subjects",
    ),
    "weights of regions": lambda: figures.region_faces(
        {("all networks", name): {"nose_tip": 0.02, "chin_centre": -0.01} for name in EKMAN}, ATLAS,
        scale="weight", outlines=EKMAN,
    ),
    "causal wall": lambda: figures.causal_wall(
        dict.fromkeys(EKMAN, RNG.random((*SHAPE, 3))), MOVED, EKMAN, dict.fromkeys(EKMAN, 0.2)
    ),
    "bars by network": lambda: figures.barplot(
        _table(), label="network", value="iou", title="Anger", groups=KINDS,
        references={"all-white mask": 0.25, "an ellipse": 0.41},
    ),
    "bars in panels": lambda: figures.barplot(
        pd.concat(_table().assign(expression=name) for name in ("Average", *EKMAN)), label="network", value="iou",
        panels="expression", groups=KINDS, references={"all-white mask": dict.fromkeys(EKMAN, 0.3)}, title="IoU",
    ),
    "bars by fold": lambda: figures.barplot(_table(), label="model", value="iou", references={"white": 0.25}),
    "intervals": lambda: figures.score_intervals(
        SCORES, groups=KINDS, title="Mean IoU beside what chance gives", axis_label="IoU",
        interval="95 % interval (Nadeau and Bengio), n = 5 folds",
        baselines={"all-white mask": 0.25, "centred ellipse over 30 %": 0.41, "random pixels": 0.2,
                   "masks of other expressions": 0.24},
    ),
    "dots": lambda: figures.interval_dots(
        DOTS, panels={"auc": "AUC within the face", "density": "density on changed pixels"},
        row="explainer", colour="network", chance={"auc": 0.5},
        bands={("auc", "centre prior"): (0.5, 0.6), ("auc", "photometric change"): (0.8, 0.9)},
        title="Do explanations find what changed?", note="95 % intervals over 12 subjects\n40 faces a dot",
    ),
    "correlations": lambda: figures.annotated_matrix(
        CORRELATIONS, "Pearson's r", limits=(-1, 1), names=NAMES,
        title="Heatmaps: mean Pearson's r over networks and expressions",
    ),
    "cells": lambda: figures.annotated_matrix(
        pd.DataFrame(RNG.normal(0, 0.1, (12, 6)), list(NETWORKS), list(EXPRESSIONS)), "IoU above chance",
        p=pd.DataFrame(RNG.random((12, 6)) / 2), title="What stands out",
        note="* p < 0.05 in the test against random regions, corrected for all 72 cells (max-statistic)",
    ),
    "pairs": lambda: figures.annotated_matrix(
        pd.DataFrame(RNG.random((6, 6)), pd.Index(list(EKMAN), name="Ekman mask of"),
                     pd.Index(list(EKMAN), name="what moves in")),
        "IoU at equal area", signed=False, frame_own=True, title="Do the masks describe what moves?",
        note="own 0.234, others 0.123, difference 0.100 [0.050, 0.150]\np = 0.012 over all relabellings",
    ),
    "confusion": lambda: figures.confusion_matrices({net: np.eye(6) * 9 + 1 for net in NETWORKS}),
    "areas": lambda: figures.area_curves(_areas(["Anger", "Fear", "Sadness", "Surprise"]), folds=3),
    "areas of one": lambda: figures.area_curves(_areas(["Anger"]), folds=3),
    "learning": lambda: figures.learning_curves(CURVES),
    "erasing": lambda: figures.erasure_curves(
        _erasing([*NAMES, "random", "centre"]), np.linspace(0, 1, 21), titles=NAMES, title="MobileNetV3Large"
    ),
    "reliability of two": lambda: figures.reliability_boxes(
        pd.DataFrame(
            {"network": ["WeiNet", "MobileNetV3Large"] * 30, "expression": np.repeat(list(EKMAN), 10)}
        ).assign(
            r2=RNG.random(60), r2_unseen=RNG.random(60) - 0.3, mean_standard_error=0.1,
            weighted_flip_rate=RNG.random(60),
        ),
    ),
    "tree": lambda: figures.dendrogram(
        _tree(60), list(_table()["model"]), support=np.linspace(0, 1, 59), title="Anger",
        groups={f"{n}_{f}": KINDS[n] for n in NETWORKS for f in FOLDS},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", GALLERY)
def test_nothing_overlaps_or_is_too_small(name):
    assert_readable(GALLERY[name]())


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf"])
def test_equal_figures_give_equal_bytes_also_after_a_notebook_showed_them(tmp_path, suffix):
    draw = GALLERY["bars by network"]
    figure = draw()
    figures.save(figure, tmp_path / f"one{suffix}")
    png, shown = figure._repr_png_()
    # At its size, with twice as many dots.
    with Image.open(BytesIO(png)) as image:
        np.testing.assert_allclose(image.size, [2 * shown["width"], 2 * shown["height"]], atol=1)
    figures.save(figure, tmp_path / f"again{suffix}")
    with matplotlib.rc_context({"font.size": 20, "axes.facecolor": "black"}):
        figures.save(draw(), tmp_path / f"other{suffix}")
    saved = {path.stem: path.read_bytes() for path in tmp_path.iterdir()}
    assert set(saved) == {"one", "again", "other"} and saved["one"]
    assert saved["one"] == saved["again"] == saved["other"]


def test_bars_are_the_sorted_means_and_points_the_folds():
    table = _table()
    figure = figures.barplot(table, label="network", value="iou", groups=KINDS, references={"white": 0.2575})
    axes = figure.axes[0]
    means = table.groupby("network")["iou"].mean().sort_values(ascending=False)
    assert _rows(axes) == list(means.index)
    np.testing.assert_allclose([bar.get_width() for bar in _bars(axes)], means)
    # Top to bottom, best first.
    assert axes.yaxis_inverted() and np.all(np.diff([bar.get_y() for bar in _bars(axes)]) > 0)
    for name, bar in zip(means.index, _bars(axes), strict=True):
        assert bar.get_facecolor()[:3] == to_rgba(COLOURS[KINDS[name]])[:3]
    points = [line for line in axes.lines if line.get_marker() == "o"]
    for name, line in zip(means.index, points, strict=True):
        assert sorted(line.get_xdata()) == sorted(table.loc[table["network"] == name, "iou"])
    reference = [line for line in axes.lines if line.get_marker() != "o"]
    assert [list(line.get_xdata()) for line in reference] == [[0.2575, 0.2575]]
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["from scratch", "pre-trained", "one fold", "white"]


def test_missing_values_are_not_drawn_as_zero_and_references_may_differ_from_bar_to_bar():
    table = _table(("WeiNet", "SongNet", "VGG16"), ("CV1", "CV2", "CV3"))
    table.loc[table["network"] == "WeiNet", "iou"] = np.nan
    table.loc[table["model"] == "SongNet_CV2", "iou"] = np.nan
    axes = figures.barplot(table, label="network", value="iou").axes[0]
    assert _rows(axes)[-1] == "WeiNet" and _said(axes).count("no data") == 1
    assert f"{table.loc[table['network'] == 'SongNet', 'iou'].mean():.3f}*" in _said(axes)
    all_missing = table.assign(iou=np.nan)
    assert len(_bars(figures.barplot(all_missing, label="network", value="iou").axes[0])) == 3
    table = pd.DataFrame({"expression": ["Anger", "Fear"], "iou": [0.2, 0.4]})
    references = {"white": {"Anger": 0.25, "Fear": 0.3}}
    axes = figures.barplot(table, label="expression", value="iou", references=references).axes[0]
    lines = next(item for item in axes.collections if isinstance(item, LineCollection))
    # Fear comes first.
    assert [(path[0][0], round(path[:, 1].mean())) for path in lines.get_segments()] == [(0.3, 0), (0.25, 1)]


def test_tree_shows_leaves_in_order_with_their_heights():
    linkage = np.array([[0, 2, 0.2, 2], [1, 3, 0.8, 3]])
    groups = {"WeiNet": "from scratch", "VGG16": "pre-trained", "VGG19": "pre-trained"}
    axes = figures.dendrogram(linkage, ["VGG16", "WeiNet", "VGG19"], groups=groups).axes[0]
    assert _rows(axes) == ["WeiNet", "VGG16", "VGG19"]
    assert [label.get_color() for label in axes.get_yticklabels()] == [COLOURS[groups[n]] for n in _rows(axes)]
    assert sorted(max(line.get_xdata()) for line in axes.lines) == [0.2, 0.8]
    axes = figures.dendrogram(linkage, ["VGG16", "WeiNet", "VGG19"], support=[0.456, 1]).axes[0]
    assert [(text.get_text(), text.get_position()[1]) for text in axes.texts] == [("46", 20)]


def test_wall_shows_each_heatmap_in_its_place_and_marks_the_missing():
    cells = itertools.product(["VGG16", "WeiNet"], ["Anger", "Fear", "Sadness"])
    heat = {cell: np.full(SHAPE, place, np.uint8) for place, cell in enumerate(cells)}
    heat["WeiNet", "Fear"] = None
    figure = figures.heatmap_wall(heat)
    cells = figure.axes[:6]
    assert [axes.get_title() for axes in cells[:3]] == ["Anger", "Fear", "Sadness"]
    assert [axes.get_ylabel() for axes in cells[::3]] == ["VGG16", "WeiNet"]
    for axes, image in zip(cells, heat.values(), strict=True):
        if image is None:
            assert not axes.images and _said(axes) == ["no data"]
        else:
            np.testing.assert_array_equal(axes.images[0].get_array(), image)
            assert axes.images[0].get_clim() == (0, 255)
    floats = {("A", "Fear"): np.linspace(1, 2, 275 * 224).reshape(SHAPE), ("B", "Fear"): np.eye(*SHAPE)}
    first, second = figures.heatmap_wall(floats, notes={("A", "Fear"): "r 1.00"}).axes[:2]
    assert first.images[0].get_clim() == (1, 2) and second.images[0].get_clim() == (0, 1)
    assert first.get_xlabel() == "r 1.00" and second.get_xlabel() == ""


def test_faces_by_explainers_stand_in_equal_lines_and_say_what_is_missing_or_zero():
    names = [f"explainer {number}" for number in range(7)]
    maps = {("face", name): np.ones((64, 64)) for name in names}
    maps |= {("face", names[0]): np.zeros((64, 64)), ("face", names[1]): None}
    figure = figures.explained_faces({"face": FACE}, maps)
    assert len(figure.axes) == 8 and all(axes.get_visible() for axes in figure.axes)
    assert [axes.get_subplotspec().rowspan.start for axes in figure.axes] == [0] * 4 + [1] * 4
    assert list(map(_said, figure.axes)) == [[], ["all 0"], ["no data"], [], [], [], [], []]


def test_a_matrix_shows_its_values_stars_and_frames():
    values = pd.DataFrame([[0.2, np.nan], [-0.001, 0.1]], index=["a", "Fear"], columns=["Anger", "Fear"])
    p = pd.DataFrame([[0.01, np.nan], [0.5, 0.06]])
    axes, bar = figures.annotated_matrix(values, "IoU above chance", p=p, frame_own=True, note="* p").axes
    assert _said(axes) == ["+0.20 *", "–", "+0.00", "+0.10"]
    assert [text.get_weight() for text in axes.texts] == ["bold", "normal", "normal", "normal"]
    assert axes.images[0].get_clim() == (-0.2, 0.2) and bar.get_ylabel() == "IoU above chance"
    assert [patch.get_xy() for patch in axes.patches] == [(0.5, 0.5)]
    unsigned = figures.annotated_matrix(values.abs(), "IoU", signed=False).axes[0]
    assert unsigned.images[0].get_clim() == (0, 0.2) and unsigned.texts[0].get_text() == "0.20"


def test_confusion_is_in_percent_of_the_row_and_empty_rows_are_marked():
    axes = figures.confusion_matrices({"VGG16": np.array([[3, 1], [0, 0]])}, names=["yes", "no"]).axes[0]
    assert _said(axes) == ["75", "25", "–", "–"]
    assert axes.images[0].get_array().mask.tolist() == [[False, False], [True, True]]
    counts = {"Mine": np.array([[3, 0, 1], [0, 4, 0]]), "VGG16": np.eye(2)}
    mine, other = figures.confusion_matrices(counts, names=["yes", "no"]).axes[:2]
    assert _said(mine) == ["75", "0", "25", "0", "100", "0"] and _said(other)[:3] == ["100", "0", "0"]
    assert [label.get_text() for label in mine.get_xticklabels()] == ["yes", "no", "None of them"]


def test_intervals_are_drawn_best_first_beside_baselines():
    figure = GALLERY["intervals"]()
    said = " | ".join(text for text, _ in _texts(figure))
    assert "n = 5 folds" in said and "all-white mask (0.250)" in said and said.count("no data") == 1
    # Estimates rise in the order of the networks, but the first has none.
    first, *others = NETWORKS
    assert _rows(figure.axes[0]) == [*others[::-1], first]


def test_learning_curves_are_the_histories_and_erasure_curves_means_told_apart():
    rows = [("VGG16", fold, epoch, 0.2 * epoch) for fold in ("CV1", "CV2") for epoch in (1, 2, 3)]
    table = pd.DataFrame(rows, columns=["network", "fold", "epoch", "accuracy"])
    lines = figures.learning_curves(table).axes[0].lines
    assert len(lines) == 2
    np.testing.assert_allclose(lines[0].get_xydata(), [[epoch, 0.2 * epoch] for epoch in (1, 2, 3)])
    curves = _erasing([*NAMES, "random", "centre"], ("Anger", "Fear"))
    curves["Fear"]["lime"] = curves["Fear"]["lime"][:1]
    figure = figures.erasure_curves(curves, np.linspace(0, 1, 21), titles=NAMES)
    first = figure.axes[0].lines[0]
    np.testing.assert_allclose(first.get_ydata(), curves["Anger"]["lime"][:, 0].mean(axis=0))
    assert figure.axes[1].get_title() == "Fear\n1 to 4 faces"
    lines = figure.legends[0].get_lines()
    assert len({(line.get_color(), line.get_linestyle()) for line in lines}) == len(lines)


def test_explanation_paints_weights_on_their_superpixels():
    face = np.full((4, 4, 3), 0.5, np.float32)
    segments = np.repeat([[0, 0, 1, 1]], 4, axis=0)
    axes = figures.explanation(face, segments, np.array([-0.2, 0.6]), np.array([0.1, 0.1])).axes
    painted = axes[2].images[1]
    np.testing.assert_array_equal(painted.get_array(), np.where(segments == 0, -0.2, 0.6))
    # Zero is the middle of the colours.
    assert painted.get_clim() == (-0.6, 0.6)
    borders = axes[1].collections[0].get_segments()
    assert len(borders) == 4 and all((line[:, 0] == 2).all() for line in borders)


HEAT, SMALL = np.zeros(SHAPE, np.uint8), np.zeros((2, 2), bool)


@pytest.mark.parametrize(
    ("said", "draw"),
    [
        ("no 'iou'", lambda: figures.barplot(_table().iloc[:0], label="network", value="iou")),
        ("4 faces, but 1 titles", lambda: figures.alignment_page([FACE] * 4, [POINTS] * 4, ["a"])),
        (r"VGG16.*\(2, 2\).*6", lambda: figures.confusion_matrices({"VGG16": np.eye(2)})),
        ("3 leaves, but got 2", lambda: figures.dendrogram(_tree(3), ["a", "b"])),
        ("outline of Anger", lambda: figures.heatmap_wall({("a", "b"): HEAT}, outlines={"Anger": SMALL})),
        (r"mask has shape \(2, 2\).*\(275, 224\)", lambda: figures.heatmap_figure(HEAT, SMALL)),
        (r"'\.png'.*'\.gif'", lambda: figures.save(figures.dendrogram(_tree(2), ["a", "b"]), "tree.gif")),
    ],
)
def test_what_cannot_be_drawn_is_an_error(said, draw):
    with pytest.raises(EkmanExpressionsError, match=said):
        draw()
