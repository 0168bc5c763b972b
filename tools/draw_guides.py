"""Draw the pictures of the guides that need no experiment, and shrink all pictures of resources/.

Of bundled faces, of the example network, of the released heatmaps where they are, and copied from executed notebooks.
Run it after draw_resources.py.
"""

from __future__ import annotations

import base64
import json
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ekman_expressions import example_faces, example_model, figures, load_model
from ekman_expressions.core.expressions import EXPRESSIONS
from ekman_expressions.explainers import superpixels
from ekman_expressions.facespace import atlas, heatmaps, warp
from ekman_expressions.measures import trees
from ekman_expressions.study import published
from ekman_expressions.zoo import NETWORKS
from ekman_expressions.zoo.model import background

REPOSITORY = Path(__file__).resolve().parent.parent


def draw_hidden() -> None:
    """Draw one face with half of its superpixels hidden, in each way that `hidden` knows."""
    face = example_faces(1, expression="happiness", subjects=["id08"], size=224)
    image, neutral = face.at(224)[0], face.at(224, neutral=True)[0]
    segments = superpixels(image)
    hide = np.random.default_rng(3).random(segments.max() + 1)[segments] < 0.5
    fills = {"0.0 (black)": 0.0, "mean": "mean", "blur": "blur", "superpixel_mean": "superpixel_mean"}
    shown = {("", "face"): image}
    for name, hidden in (fills | {"neutral": neutral}).items():
        shown["", name] = np.where(hide[..., None], background(image, hidden, segments), image)
    figure = figures.heatmap_wall(shown, title="What a network is shown: one sample, half of the superpixels hidden")
    figures.save(figure, REPOSITORY / "resources" / "hidden.png")


def draw_atlas() -> None:
    """Draw the groups of regions, whose names masks and settings use."""
    groups = {name: atlas().group(name) for name in atlas().groups}
    figures.save(figures.atlas(groups, warp.POINTS[:68]), REPOSITORY / "resources" / "atlas.png")


def draw_aligned() -> None:
    """Draw faces as they are prepared: cropped, eyes level, with their landmarks."""
    shown = example_faces(6, subjects=["id07"])
    figure = figures.alignment_page(
        shown.images,
        shown.landmarks,
        list(shown.table.expression),
        title="Faces as the step 'faces' leaves them",
    )
    figures.save(figure, REPOSITORY / "resources" / "aligned.png")


def draw_preprocessing() -> None:
    """Draw the confusion matrix of the example network, told right and told wrong."""
    model = example_model()
    seen = example_faces(subjects=model.unseen)
    images, labels = seen.at(model.side), [EXPRESSIONS.index(name) for name in seen.table.expression]
    described = {"classes": EXPRESSIONS, "side": model.side, "preprocessing": "minus_one_one"}
    wrong = load_model(model.source, **described)
    found = {}
    for name, told in (("right (unit)", model), ("wrong (minus_one_one)", wrong)):
        matrix = np.zeros((6, 6), int)
        np.add.at(matrix, (labels, told.predict(images).argmax(axis=1)), 1)
        found[f"{name}: {np.trace(matrix) / len(labels):.0%} right"] = matrix
    title = f"The example network on {len(labels)} faces of {len(model.unseen)} unseen persons"
    figure = figures.confusion_matrices(found, title=title)
    figures.save(figure, REPOSITORY / "resources" / "preprocessing.png")


def draw_tree(folder: Path, expression: str = "happiness") -> None:
    """Draw the dendrogram of the released heatmaps of one expression, with the support of its branches."""
    folds = [f"CV{number}" for number in range(1, 6)]
    maps = np.float32([[heatmaps.read_gray(folder, expression, name, fold) for fold in folds] for name in NETWORKS])
    tree = trees.linkage(trees.distances(maps.mean(axis=1)))
    figure = figures.dendrogram(
        tree,
        list(NETWORKS),
        groups=figures.network_kinds(NETWORKS, weights="imagenet"),
        support=trees.branch_support(maps, tree),
        title=f"Released heatmaps, {expression}: which networks are alike (n = 5 folds)",
    )
    figures.save(figure, REPOSITORY / "resources" / "published_tree.png")


def take_from_notebook(notebook: str, cell: int, name: str) -> None:
    """Copy the first picture that a cell of an executed notebook shows; photographs as WebP."""
    text = (REPOSITORY / "notebooks" / f"{notebook}.ipynb").read_text("utf-8")
    shown = [output["data"]["image/png"] for output in json.loads(text)["cells"][cell]["outputs"] if "data" in output]
    picture, path = base64.b64decode("".join(shown[0])), REPOSITORY / "resources" / name
    if path.suffix == ".webp":
        with Image.open(BytesIO(picture)) as image:
            image.convert("RGB").save(path, quality=85, method=6)
    else:
        path.write_bytes(picture)


def shrink() -> None:
    """Write what is larger than 200 kB with 256 colours; the texts in the files stay."""
    for path in sorted((REPOSITORY / "resources").glob("*.png")):
        if path.stat().st_size > 200_000:
            with Image.open(path) as image:
                texts = PngInfo()
                for key, value in image.text.items():
                    texts.add_text(key, value)
                image.convert("RGB").quantize(256).save(path, optimize=True, pnginfo=texts)


def main() -> None:
    """Draw all, and shrink what is large."""
    draw_hidden()
    draw_atlas()
    draw_aligned()
    draw_preprocessing()
    folder = published.locate(download=False)
    if folder is None:
        print(
            "The released heatmaps are not here (set EKMAN_EXPRESSIONS_PUBLISHED): published_tree.png stays as it is."
        )
    else:
        draw_tree(folder)
    take_from_notebook("0_datasets", 8, "faces.webp")
    take_from_notebook("1_training", 8, "learning.png")
    take_from_notebook("2_evaluation", 9, "confusion.png")
    take_from_notebook("11_quality", 4, "reliability.png")
    shrink()


if __name__ == "__main__":
    main()
