"""The report in a real browser: what a reader can do with it, opened from disk and without a network."""

import base64
import io
import os
import re
import shutil

import numpy as np
import pytest
from made_report import reported_study
from PIL import Image

from ekman_expressions.facespace import heatmaps, masks
from ekman_expressions.measures.scores import mask_scores, scores_at_otsu

playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-dev-shm-usage"]
PAGES = ("index", "wall", "explorer", "faces", "scores", "dendrograms", "classification", "provenance")


def find_browser():
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    return os.environ.get("EKMAN_EXPRESSIONS_BROWSER") or next(filter(None, map(shutil.which, names)), None)


pytestmark = pytest.mark.skipif(
    find_browser() is None,
    reason="no Chromium or Chrome is installed (or named in EKMAN_EXPRESSIONS_BROWSER)",
)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return reported_study(tmp_path_factory.getbasetemp())


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=find_browser(), args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture
def visit(browser, made):
    """Open pages of the report; at the end nothing may have gone wrong or been asked of a host."""
    troubles, contexts = [], []

    def failed(request):
        # What was still on its way when the page was left is no failure.
        if request.failure != "net::ERR_ABORTED":
            troubles.append(f"failed: {request.url}")

    def asked(request):
        if not request.url.startswith(("file:", "data:")):
            troubles.append(request.url)

    def open_page(name, width=1280, scheme="light", fragment=""):
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, offline=True)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: troubles.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: troubles.append(f"error: {error}"))
        page.on("requestfailed", failed)
        page.on("request", asked)
        page.goto((made.report_folder / f"{name}.html").as_uri() + fragment)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert troubles == []


def explore(visit, cell):
    """Open the explorer at a heatmap, when its scores are there."""
    page = visit("explorer", fragment=f"#{cell}")
    page.wait_for_selector("tr[data-row='a-now']")
    return page


def shown(page, row):
    """The scores that a row of the explorer's table shows, in full digits."""
    cells = page.locator(f"tr[data-row='{row}'] td").all()
    values = [cell.locator("data") for cell in cells]
    return [float(value.get_attribute("value")) if value.count() else None for value in values]


def area_matched_level(gray, mask):
    """The threshold above which a heatmap marks an area nearest to the mask's; of two, the lower."""
    errors = [abs(np.count_nonzero(gray > level) - np.count_nonzero(mask)) for level in range(256)]
    return errors.index(min(errors))


def expected(gray, mask, level):
    marked = gray > level
    scores = mask_scores(marked, mask)
    if not marked.any():
        scores["precision"] = None
    return [*scores.values(), marked.mean()]


def test_the_threshold_changes_the_scores_and_they_equal_pythons(visit, made):
    page = explore(visit, "network=Upper&expression=anger&fold=CV1")
    gray = heatmaps.read_gray(made.heatmaps_folder, "anger", "Upper", "CV1")
    mask = masks.ekman_mask("anger")
    otsu = heatmaps.threshold_otsu(gray)[0]
    assert page.input_value("#level") == str(otsu)
    area = area_matched_level(gray, mask)
    assert shown(page, "a-otsu")[:4] == pytest.approx(list(scores_at_otsu(gray, mask).values()), abs=1e-6)
    assert shown(page, "a-area") == pytest.approx(expected(gray, mask, area), abs=1e-6)
    seen = set()
    for level in (0, 1, 60, 127, 200, 254, 255):
        page.locator("#level").fill(str(level))
        assert shown(page, "a-now") == pytest.approx(expected(gray, mask, level), abs=1e-6)
        seen.add(tuple(shown(page, "a-now")))
    assert len(seen) == 7
    page.locator("#level").focus()
    page.keyboard.press("ArrowLeft")
    assert shown(page, "a-now") == pytest.approx(expected(gray, mask, 254), abs=1e-6)
    page.get_by_role("button", name=re.compile("Area-matched")).click()
    assert page.input_value("#level") == str(area)
    page.select_option("#mask", "surprise")
    assert shown(page, "a-now") == pytest.approx(expected(gray, masks.ekman_mask("surprise"), area), abs=1e-6)


def test_two_heatmaps_are_compared_with_their_difference(visit, made):
    page = explore(visit, "network=Upper&expression=anger")
    assert page.locator("#panel-b").is_hidden()
    page.get_by_label("Compare with a second heatmap").check()
    page.locator("#choose-b [data-part=network]").select_option("Lower")
    page.locator("#choose-b [data-part=expression]").select_option("happiness")
    first = heatmaps.read_gray(made.heatmaps_folder, "anger", "Upper")
    second = heatmaps.read_gray(made.heatmaps_folder, "happiness", "Lower")
    r = np.corrcoef(first.ravel(), second.ravel())[0, 1]
    # Heatmaps are loaded while the page goes on; what is drawn last is waited for.
    playwright.expect(page.locator("#likeness")).to_contain_text(f"{r:.4f}")
    level = int(page.input_value("#level"))
    assert shown(page, "b-now") == pytest.approx(expected(second, masks.ekman_mask("happiness"), level), abs=1e-6)
    # The link of the page brings all of it back; the driver's own copy of the address may lag behind.
    again = visit("explorer", fragment=page.evaluate("location.hash"))
    playwright.expect(again.locator("#likeness")).to_contain_text(f"{r:.4f}")
    assert shown(again, "b-now") == shown(page, "b-now")


def test_pixels_are_the_colour_map_of_the_heatmap_and_regions_its_shares(visit, made):
    from matplotlib import colormaps

    page = explore(visit, "network=Lower&expression=surprise")
    gray = heatmaps.read_gray(made.heatmaps_folder, "surprise", "Lower")
    for name, wanted in (
        ("viridis", np.round(colormaps["viridis"](gray)[..., :3] * 255).astype(np.uint8)),
        ("jet", heatmaps._to_jet(gray)),
    ):
        page.select_option("#colours", name)
        address = page.evaluate("document.querySelector('#panel-a canvas.heat').toDataURL('image/png')")
        picture = Image.open(io.BytesIO(base64.b64decode(address.split(",")[1])))
        np.testing.assert_array_equal(np.asarray(picture)[..., :3], wanted)
    page.wait_for_selector("#regions tbody tr")
    rows = page.locator("#regions tbody tr").all()
    assert len(rows) == len(masks.atlas().names)
    for row in rows[::7]:
        inside = masks.atlas().region(row.locator("th").text_content().replace(" ", "_"))
        area, share, density = (float(d.get_attribute("value")) for d in row.locator("data").all())
        assert area == pytest.approx(inside.mean(), abs=1e-9)
        assert share == pytest.approx(gray[inside].sum() / gray.sum(), abs=1e-9)
        assert density == pytest.approx(share / area, rel=1e-9)


def test_the_wall_shows_all_heatmaps_and_opens_the_explorer(visit, made):
    page = visit("wall")
    page.wait_for_selector(".cell[data-drawn]")
    folder = made.heatmaps_folder
    present = [heatmaps.heatmap_path(folder, name).exists() for name in ("anger", "fear")]
    assert present == [True, False]
    assert page.locator("#wall tr[id=Upper] .absent").count() == 2
    page.get_by_role("button", name="Folds of Upper").press("Enter")
    folds = page.locator("#wall tr.fold")
    playwright.expect(folds).to_have_count(len(made.folds))
    gray = heatmaps.read_gray(folder, "anger", "Upper", "CV2")
    iou = scores_at_otsu(gray, masks.ekman_mask("anger"))["iou"]
    cell = folds.nth(1).locator("a").first
    playwright.expect(cell.locator("span")).to_have_text(f"{iou:.3f}")
    cell.focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("tr[data-row='a-otsu']")
    assert shown(page, "a-otsu")[0] == pytest.approx(iou, abs=1e-6)


def test_explained_faces_show_their_prediction_and_filter(visit, made):
    page = visit("faces")
    page.wait_for_selector("#faces article")
    text = page.locator("#faces article p").first.text_content()
    assert re.search(r"Shown \w+, predicted \w+.*\(p = \d\.\d\d\); R² = ", text)
    page.select_option("#predicted", "Anger")
    cards = page.locator("#faces article")
    playwright.expect(cards.filter(has_not_text="predicted Anger")).to_have_count(0)
    assert cards.count() and all("± " in card.locator("svg").get_attribute("aria-label") for card in cards.all())


@pytest.mark.parametrize("name", PAGES)
def test_every_page_fits_its_window_shows_its_images_and_is_reached_by_the_keyboard(visit, name):
    page = visit(name, 390, "dark")
    last = {"wall": "canvas", "faces": "canvas", "explorer": "#regions tbody tr"}
    page.wait_for_selector(last.get(name, "body"))
    page.evaluate("document.querySelectorAll('img').forEach((image) => { image.loading = 'eager'; })")
    page.evaluate("Promise.all(Array.from(document.images, (image) => image.decode().catch(() => {})))")
    assert page.evaluate("Array.from(document.images).filter((image) => !image.naturalWidth).length") == 0
    assert page.evaluate("Array.from(document.images).every((image) => image.hasAttribute('alt'))")
    links = page.evaluate("Array.from(document.links, (link) => link.href.split('#')[0].split('?')[0])")
    assert [link for link in links if not os.path.exists(link.removeprefix("file://"))] == []
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.set_viewport_size({"width": 1600, "height": 900})
    page.emulate_media(color_scheme="light")
    assert page.evaluate("document.documentElement.scrollWidth") <= 1600
    controls = page.evaluate(
        """() => Array.from(document.querySelectorAll("a, button, input, select, summary"))
            .filter((node) => node.checkVisibility() && !node.disabled)
            .filter((node) => !node.closest("details:not([open]) > :not(summary)"))
            .map((node, place) => (node.dataset.place = place))"""
    )
    reached = []
    for _ in range(3 * len(controls) + 40):
        page.keyboard.press("Tab")
        place = page.evaluate("document.activeElement.dataset.place")
        if place is not None and int(place) in reached:
            break
        if place is not None:
            reached.append(int(place))
    assert sorted(reached) == controls
    named = page.evaluate(
        """() => Array.from(document.querySelectorAll("input, select, button"))
            .filter((node) => node.checkVisibility())
            .filter((node) => !node.labels?.length && !node.textContent.trim() && !node.ariaLabel).length"""
    )
    assert named == 0


def test_columns_sort_by_their_numbers_and_dark_or_light_is_chosen(visit):
    page = visit("index", scheme="light")
    colour = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(colour)
    page.get_by_role("button", name="Change between light and dark").press("Enter")
    assert page.evaluate(colour) != light
    button = page.get_by_role("button", name=re.compile("IoU, pooled"))
    for falling in (True, False):
        button.click()
        rows = page.locator("table.main tbody:first-of-type tr").all()
        values = [float(row.locator("td").last.text_content()) for row in rows]
        assert values == sorted(values, reverse=falling)
