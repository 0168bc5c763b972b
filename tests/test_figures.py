"""Figures: what they show is what they were given, nothing overlaps, equal figures give equal bytes."""

import itertools
import subprocess
import sys

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgba
from matplotlib.patches import Rectangle

from ekman_expressions import figures
from ekman_expressions.core.errors import DataError, SettingsError
from ekman_expressions.core.expressions import EXPRESSIONS, title
from ekman_expressions.facespace import masks
from ekman_expressions.zoo import NETWORKS

FOLDS = [f"CV{number}" for number in range(1, 6)]
KINDS = figures.network_kinds(NETWORKS, "imagenet")
RNG = np.random.default_rng(0)
SHAPE = (275, 224)


def _table(networks=tuple(NETWORKS), folds=tuple(FOLDS)):
    rows = [
        (network, fold, f"{network}_{fold}", value)
        for (network, fold), value in zip(
            itertools.product(networks, folds),
            np.random.default_rng(1).random(len(networks) * len(folds)),
            strict=True,
        )
    ]
    return pd.DataFrame(rows, columns=["network", "fold", "model", "iou"])


def _bars(axes):
    return [patch for patch in axes.patches if isinstance(patch, Rectangle) and patch.get_height() == 0.72]


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
    """No text overlaps another or leaves the figure, and none is below 7 points."""
    texts = _texts(figure)
    assert texts
    for (one, box), (other, second) in itertools.combinations(texts, 2):
        across = min(box.x1, second.x1) - max(box.x0, second.x0)
        down = min(box.y1, second.y1) - max(box.y0, second.y0)
        # Boxes have a pixel or so of air around the letters.
        assert across <= 1 or down <= 1.5, (
            f"{one!r} and {other!r} overlap by {across:.1f} x {down:.1f} pixels"
        )
    width, height = figure.get_size_inches() * figure.dpi
    for text, box in texts:
        assert box.x0 >= -1 and box.y0 >= -1 and box.x1 <= width + 1 and box.y1 <= height + 1, (
            f"{text!r} is cut off"
        )
    assert figure.get_figwidth() <= 7.5
    assert min(text.get_fontsize() for text in figure.findobj(matplotlib.text.Text) if text.get_text()) >= 7


def _walls():
    heat = {
        (net, title(name)): RNG.integers(0, 256, SHAPE, np.uint8) for net in NETWORKS for name in EXPRESSIONS
    }
    mask = np.zeros(SHAPE, bool)
    mask[90:180, 60:160] = True
    face, maps = RNG.random((64, 64, 3), np.float32), RNG.random((*SHAPE, 3), np.float32)
    points = RNG.random((68, 2))
    segments = np.arange(64 * 64).reshape(64, 64) // 512
    weights = np.linspace(-0.4, 1, 8)
    curve = pd.DataFrame(
        {
            "epoch": range(1, 10),
            "accuracy": np.linspace(0.1, 0.9, 9),
            "val_accuracy": np.linspace(0.1, 0.6, 9),
        }
    )
    curves = pd.concat(curve.assign(network=network, fold=fold) for network in NETWORKS for fold in FOLDS)
    table = _table()
    tree = np.array(
        [[place if place == 0 else 59 + place, place + 1, 0.1 + place / 70, place + 2] for place in range(59)]
    )
    return {
        "bars by network": lambda: figures.barplot(
            table,
            label="network",
            value="iou",
            title="Anger",
            groups=KINDS,
            references={"white everywhere": 0.25, "an ellipse": 0.41},
        ),
        "bars by fold": lambda: figures.barplot(
            table, label="model", value="iou", references={"white": 0.25}
        ),
        "narrow bars": lambda: figures.barplot(table, label="network", value="iou", wide=False, groups=KINDS),
        "accuracy": lambda: figures.accuracy_bars(table, value="iou", groups=KINDS),
        "tree": lambda: figures.dendrogram(
            tree,
            list(table["model"]),
            title="Anger",
            groups={f"{n}_{f}": KINDS[n] for n in NETWORKS for f in FOLDS},
        ),
        "tree with support": lambda: figures.dendrogram(
            tree, list(table["model"]), support=np.linspace(0, 1, len(tree)), groups={}
        ),
        "small tree": lambda: figures.dendrogram([[0, 1, 0.5, 2]], ["Anger", "Fear"]),
        "wall": lambda: figures.heatmap_wall(heat, outlines={"Fear": mask}, title="Heatmaps"),
        "one row": lambda: figures.heatmap_wall(
            {("all networks", name): heat["VGG16", name] for name in ("Anger", "Fear")}
        ),
        "masks": lambda: figures.masks_wall(
            {title(name): mask for name in EXPRESSIONS}, points * 200, title="Ekman masks"
        ),
        "atlas": lambda: figures.atlas(
            {name: masks.atlas().region(name) for name in masks.atlas().names}, points * 200
        ),
        "groups": lambda: figures.atlas({name: masks.atlas().group(name) for name in masks.atlas().groups}),
        "confusion": lambda: figures.confusion_matrices({net: np.eye(6) * 9 + 1 for net in NETWORKS}),
        "one confusion": lambda: figures.confusion_matrices({"VGG16": np.eye(6)}),
        "learning": lambda: figures.learning_curves(curves),
        "one curve": lambda: figures.learning_curves(curve.assign(network="VGG16", fold="CV1")),
        "faces": lambda: figures.faces_sheet([face] * 8, [points] * 8, ["synthetic id00 anger 0"] * 8),
        "explanation": lambda: figures.explanation(
            face, segments, weights, standard_errors=weights**2, title="VGG16_CV1"
        ),
        "plain explanation": lambda: figures.explanation(face, segments, weights),
        "warp": lambda: figures.warp(
            face, points, points * 200, [[0, 1, 2], [1, 2, 3]], maps, title="Into face space"
        ),
        "warp and mean": lambda: figures.warp(face, points, points * 200, [[0, 1, 2]], maps, maps),
    }


@pytest.mark.parametrize("name", _walls())
def test_nothing_overlaps_or_is_too_small(name):
    assert_readable(_walls()[name]())


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf"])
def test_equal_figures_give_equal_bytes_also_after_they_were_shown(tmp_path, suffix):
    draw = _walls()["bars by network"]
    figure = draw()
    figures.save(figure, tmp_path / f"one{suffix}")
    figure._repr_png_()
    figures.save(figure, tmp_path / f"again{suffix}")
    with matplotlib.rc_context({"font.size": 20, "axes.facecolor": "black"}):
        figures.save(draw(), tmp_path / f"other{suffix}")
    one = (tmp_path / f"one{suffix}").read_bytes()
    assert (
        one
        and one == (tmp_path / f"again{suffix}").read_bytes() == (tmp_path / f"other{suffix}").read_bytes()
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"{name}{suffix}" for name in ("again", "one", "other")
    ]


def test_style_does_not_leak_and_no_window_library_is_touched():
    code = (
        "import sys, matplotlib\n"
        # To read the backend would choose one.
        "style = lambda: {key: matplotlib.rcParams[key] for key in matplotlib.rcParams if key != 'backend'}\n"
        "before = style()\n"
        "from ekman_expressions import figures\n"
        "figure = figures.dendrogram([[0, 1, 0.5, 2]], ['a', 'b']); figure._repr_png_()\n"
        "assert style() == before; assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_other_file_formats_are_refused(tmp_path):
    with pytest.raises(SettingsError, match=r"'\.png'.*'\.gif'"):
        figures.save(_walls()["small tree"](), tmp_path / "tree.gif")


def test_bars_are_the_sorted_means_and_points_the_folds():
    table = _table()
    figure = figures.barplot(table, label="network", value="iou", groups=KINDS, references={"white": 0.2575})
    axes = figure.axes[0]
    means = table.groupby("network")["iou"].mean().sort_values(ascending=False)
    assert [label.get_text() for label in axes.get_yticklabels()] == list(means.index)
    np.testing.assert_allclose([bar.get_width() for bar in _bars(axes)], means)
    # Top to bottom, best first.
    assert axes.yaxis_inverted() and np.all(np.diff([bar.get_y() for bar in _bars(axes)]) > 0)
    for name, bar in zip(means.index, _bars(axes), strict=True):
        assert bar.get_facecolor()[:3] == to_rgba(figures.GROUP_COLOURS[KINDS[name]])[:3]
    points = [line for line in axes.lines if line.get_marker() == "o"]
    for name, line in zip(means.index, points, strict=True):
        assert sorted(line.get_xdata()) == sorted(table.loc[table["network"] == name, "iou"])
    reference = [line for line in axes.lines if line.get_marker() != "o"]
    assert [list(line.get_xdata()) for line in reference] == [[0.2575, 0.2575]]
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["from scratch", "pre-trained", "one fold", "white"]


def test_a_reference_may_differ_from_bar_to_bar():
    table = pd.DataFrame({"expression": ["Anger", "Fear"], "iou": [0.2, 0.4]})
    references = {"white": {"Anger": 0.25, "Fear": 0.3}}
    axes = figures.barplot(table, label="expression", value="iou", references=references).axes[0]
    lines = next(item for item in axes.collections if isinstance(item, LineCollection))
    # Fear comes first.
    assert [(path[0][0], round(path[:, 1].mean())) for path in lines.get_segments()] == [(0.3, 0), (0.25, 1)]


def test_missing_values_are_not_drawn_as_zero():
    table = _table(("WeiNet", "SongNet", "VGG16"), ("CV1", "CV2", "CV3"))
    table.loc[table["network"] == "WeiNet", "iou"] = np.nan
    table.loc[table["model"] == "SongNet_CV2", "iou"] = np.nan
    axes = figures.barplot(table, label="network", value="iou").axes[0]
    assert axes.get_yticklabels()[-1].get_text() == "WeiNet"
    texts = [text.get_text() for text in axes.texts]
    assert texts.count("no data") == 1
    known = table[(table["network"] == "SongNet")]["iou"].dropna()
    assert f"{known.mean():.3f} (2 of 3)" in texts
    assert np.isfinite([axes.get_xlim()]).all()
    all_missing = table.assign(iou=np.nan)
    assert len(_bars(figures.barplot(all_missing, label="network", value="iou").axes[0])) == 3


def test_networks_are_from_scratch_when_none_is_pretrained():
    assert figures.network_kinds(["VGG16", "WeiNet"], "imagenet") == {
        "VGG16": "pre-trained",
        "WeiNet": "from scratch",
    }
    assert set(figures.network_kinds(NETWORKS, "none").values()) == {"from scratch"}


def test_tree_shows_leaves_in_order_with_their_heights():
    linkage = np.array([[0, 2, 0.2, 2], [1, 3, 0.8, 3]])
    groups = {"WeiNet": "from scratch", "VGG16": "pre-trained", "VGG19": "pre-trained"}
    axes = figures.dendrogram(linkage, ["VGG16", "WeiNet", "VGG19"], groups=groups).axes[0]
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == ["WeiNet", "VGG16", "VGG19"]
    assert [label.get_color() for label in axes.get_yticklabels()] == [
        figures.GROUP_COLOURS[groups[name]] for name in names
    ]
    assert sorted(max(line.get_xdata()) for line in axes.lines) == [0.2, 0.8]
    axes = figures.dendrogram(linkage, ["VGG16", "WeiNet", "VGG19"], support=[0.456, 1]).axes[0]
    assert [(text.get_text(), text.get_position()[1]) for text in axes.texts] == [("46", 20)]
    with pytest.raises(DataError, match="2 branches, but got support of 3"):
        figures.dendrogram(linkage, ["a", "b", "c"], support=[1, 1, 1])
    with pytest.raises(DataError, match="3 leaves, but got 2"):
        figures.dendrogram(linkage, ["a", "b"])


def test_wall_shows_each_heatmap_in_its_place_and_marks_the_missing():
    heat = {
        (row, column): np.full(SHAPE, 10 * r + c, np.uint8)
        for r, row in enumerate(["VGG16", "WeiNet"])
        for c, column in enumerate(["Anger", "Fear", "Sadness"])
    }
    heat["WeiNet", "Fear"] = None
    figure = figures.heatmap_wall(heat, colour_map="jet")
    cells = figure.axes[:6]
    assert [axes.get_title() for axes in cells[:3]] == ["Anger", "Fear", "Sadness"]
    assert [axes.get_ylabel() for axes in cells[::3]] == ["VGG16", "WeiNet"]
    for axes, image in zip(cells, heat.values(), strict=True):
        if image is None:
            assert not axes.images and axes.texts[0].get_text() == "no data"
        else:
            np.testing.assert_array_equal(axes.images[0].get_array(), image)
            assert axes.images[0].get_clim() == (0, 255) and axes.images[0].cmap.name == "jet"
    with pytest.raises(DataError, match="outline of Anger"):
        figures.heatmap_wall(heat, outlines={"Anger": np.zeros((3, 3), bool)})
    with pytest.raises(DataError, match="none"):
        figures.heatmap_wall({("VGG16", "Anger"): None})


def test_confusion_is_in_percent_of_the_row_and_empty_rows_are_marked():
    counts = np.array([[3, 1], [0, 0]])
    axes = figures.confusion_matrices({"VGG16": counts}, names=["yes", "no"]).axes[0]
    assert [text.get_text() for text in axes.texts] == ["75", "25", "–", "–"]
    assert axes.images[0].get_array().mask.tolist() == [[False, False], [True, True]]
    with pytest.raises(DataError, match=r"VGG16.*\(2, 2\).*6"):
        figures.confusion_matrices({"VGG16": counts})
    counts = {"Mine": np.array([[3, 0, 1], [0, 4, 0]]), "VGG16": np.eye(2)}
    drawn = figures.confusion_matrices(counts, names=["yes", "no"])
    mine, other = drawn.axes[:2]
    assert [text.get_text() for text in mine.texts] == ["75", "0", "25", "0", "100", "0"]
    assert [text.get_text() for text in other.texts] == ["100", "0", "0", "0", "100", "0"]
    assert [label.get_text() for label in mine.get_xticklabels()] == ["yes", "no", "None of them"]


def test_curves_are_the_histories():
    rows = [
        ("VGG16", fold, epoch, 0.2 * epoch, 0.1 * epoch) for fold in ("CV1", "CV2") for epoch in (1, 2, 3)
    ]
    table = pd.DataFrame(rows, columns=["network", "fold", "epoch", "accuracy", "val_accuracy"])
    axes = figures.learning_curves(table).axes[0]
    assert len(axes.lines) == 4 and list(axes.lines[0].get_xdata()) == [1, 2, 3]
    for line, factor in zip(axes.lines[:2], (0.2, 0.1), strict=True):
        np.testing.assert_allclose(line.get_ydata(), factor * np.arange(1, 4))
    # Without held-out faces there are none in the legend either.
    alone = figures.learning_curves(table.drop(columns="val_accuracy"))
    assert [text.get_text() for text in alone.legends[0].get_texts()] == [
        "training faces (one line per fold)"
    ]
    with pytest.raises(DataError, match="lack 'loss'"):
        figures.learning_curves(table, measure="loss")


def test_landmarks_lie_on_the_face_in_pixels():
    face = np.zeros((50, 100, 3), np.uint8)
    axes = figures.faces_sheet([face], [np.array([[0.5, 0.5], [1, 0]])]).axes[0]
    assert axes.lines[0].get_xydata().tolist() == [[50, 25], [100, 0]]
    assert axes.get_xlim() == (0, 100) and axes.get_ylim() == (50, 0)
    with pytest.raises(DataError, match="1 faces, but 2 titles"):
        figures.faces_sheet([face], titles=["a", "b"])


def test_explanation_paints_weights_on_their_superpixels():
    face = np.full((4, 4, 3), 0.5, np.float32)
    segments = np.repeat([[0, 0, 1, 1]], 4, axis=0)
    axes = figures.explanation(face, segments, np.array([-0.2, 0.6])).axes
    painted = axes[2].images[1]
    np.testing.assert_array_equal(painted.get_array(), np.where(segments == 0, -0.2, 0.6))
    # Zero is the middle of the colours.
    assert painted.get_clim() == (-0.6, 0.6)
    borders = axes[1].collections[0].get_segments()
    assert len(borders) == 4 and all((line[:, 0] == 2).all() for line in borders)
    with pytest.raises(DataError, match="do not fit"):
        figures.explanation(face, segments, np.array([1.0]))


def test_atlas_numbers_every_part_inside_it():
    mask = np.zeros(SHAPE, bool)
    mask[20:60, 20:60] = mask[20:60, 150:190] = True
    figure = figures.atlas({"brows": mask})
    places = [text.get_position() for text in figure.axes[0].texts]
    assert [text.get_text() for text in figure.axes[0].texts] == ["1", "1"]
    assert all(mask[int(y), int(x)] for x, y in places)
    assert figure.legends[0].get_texts()[0].get_text() == "1  brows"


@pytest.mark.parametrize(
    "draw",
    [
        lambda: figures.barplot(_table().iloc[:0], label="network", value="iou"),
        lambda: figures.faces_sheet([]),
        lambda: figures.learning_curves(pd.DataFrame()),
        lambda: figures.confusion_matrices({}),
        lambda: figures.masks_wall({}),
        lambda: figures.atlas({}),
    ],
)
def test_nothing_to_draw_is_an_error(draw):
    with pytest.raises(DataError):
        draw()


def test_overview_colours_where_heatmap_and_mask_agree():
    above, mask = np.zeros((2, 275, 224), bool)
    above[:, :100], mask[:200] = True, True
    figure = figures.overview(
        np.full((64, 64, 3), 0.5),
        np.full((68, 2), 0.5),
        np.repeat([[0], [1]], 32, axis=0).repeat(64, axis=1),
        np.array([0.5, -0.2]),
        np.zeros((275, 224)),
        np.zeros((275, 224), np.uint8),
        above,
        mask,
        iou=0.25,
        what="WeiNet, fear",
    )
    assert "WeiNet, fear" in figure.axes[3].get_title()
    assert "0.25" in figure.axes[4].get_title()
    shown = figure.axes[4].get_images()[0].get_array()
    both, only_mask, only_above, neither = (shown[r, c] for r, c in ((0, 0), (0, 200), (250, 0), (250, 200)))
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    colours = [patch.get_facecolor()[:3] for patch in figure.legends[0].get_patches()]
    legend = dict(zip(names, colours, strict=True))
    np.testing.assert_allclose(both, legend["both"])
    np.testing.assert_allclose(only_mask, legend["Ekman mask only"])
    np.testing.assert_allclose(only_above, legend["heatmap above threshold only"])
    np.testing.assert_allclose(neither, 1)
