"""The dashboards in a real browser: charts are drawn, match gold, filter, and refresh by themselves."""

import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from selenium.webdriver.common.by import By

from dashboards.assets import Assets
from dashboards.server.browser import Browser
from tests.dashboards.live.conftest import Server, SqlLab, run

pytestmark = pytest.mark.superset

REFRESHES = 100
NARROW = 1100  # pixels, a small laptop
READABLE = 16  # pixels that a line takes
ASSETS = Assets()
SLUGS = [dashboard.content["slug"] for dashboard in ASSETS.dashboards]
CHARTS = {d.content["slug"]: [c.content["slice_name"] for c in ASSETS.charts_of(d)] for d in ASSETS.dashboards}
RATE = (
    "SELECT avg({what}::int) FROM gold.decisions AS d LEFT JOIN silver.outcomes AS o USING (complaint_id) WHERE {only}"
)
# Each big number of the overview as plain SQL over gold, with its format.
NUMBERS = {
    "Complaints": ("SELECT count(*) FROM gold.decisions AS d WHERE {only}", "{:,.0f}"),
    "Complaints without credit reporting": (
        "SELECT count(*) FROM gold.decisions AS d WHERE product_family <> 'Credit reporting' AND {only}",
        "{:,.0f}",
    ),
    "Relief rate": (RATE.replace("{what}", "is_relief"), "{:.1%}"),
    "Timely rate": (RATE.replace("{what}", "timely_response"), "{:.1%}"),
    "Escalation rate": (RATE.replace("{what}", "escalate"), "{:.1%}"),
}

# A point of the largest slice, as shares of the canvas from its center. It has the first color of the scheme; the
# legend, which has it too, is at the right.
LARGEST_SLICE = """
const canvas = arguments[0], width = canvas.width, height = canvas.height, found = [];
const pixels = canvas.getContext('2d').getImageData(0, 0, width, height).data;
for (let y = 0; y < height; y += 2) for (let x = 0; x < width * 0.6; x += 2) {
    const i = 4 * (y * width + x);
    const off = Math.abs(pixels[i] - 31) + Math.abs(pixels[i + 1] - 168) + Math.abs(pixels[i + 2] - 201);
    if (off < 12) found.push([x, y]);
}
const mean = at => found.reduce((sum, point) => sum + point[at], 0) / found.length;
const middle = [mean(0), mean(1)], far = point => Math.hypot(point[0] - middle[0], point[1] - middle[1]);
const [x, y] = found.sort((one, other) => far(one) - far(other))[0];
return [x / width - 0.5, y / height - 0.5];
"""


LARGEST_PRODUCT = """
    SELECT product_family FROM gold.decisions WHERE is_synthetic IS NULL GROUP BY 1 ORDER BY count(*) DESC LIMIT 1
"""
RECEIVED = "d.is_synthetic IS NULL"  # what the board shows unless asked for all


def expected(server: Server, only: str = RECEIVED) -> dict[str, str]:
    return {name: shown.format(server.value(sql.format(only=only))) for name, (sql, shown) in NUMBERS.items()}


def wait_for_numbers(browser: Browser, numbers: dict[str, str]) -> None:
    """Wait up to 30 seconds until the overview shows these numbers."""
    end = time.monotonic() + 30
    shown: dict[str, str] = {}
    while shown != numbers and time.monotonic() < end:
        time.sleep(0.3)
        shown = {name: browser.number(name) for name in numbers}
    assert shown == numbers


@dataclass(frozen=True)
class Watched:
    """Observations of a live run: counts by query, numbers on the page, and the page at the end.

    `minutes` has the total of the minute table just before and just after each count of the decisions.
    """

    counts: list[int]
    minutes: list[tuple[int, int]]
    shown: list[str]
    same_page: bool
    charts: dict[str, str]
    at_the_end: int


@pytest.fixture(scope="module")
def watched(browser: Browser, server: Server, sql_lab: SqlLab) -> Watched:
    """The live dashboard while complaints stream through Kafka into the lake for a minute and a half."""
    browser.open("real-time-monitoring", len(CHARTS["real-time-monitoring"]))
    browser.driver.execute_script("window.samePage = true")
    command = [sys.executable, "-c", "from complaints import main; main()", "--root", str(server.settings.folder)]
    command += ["run", "--rate", "1200", "--duration", "1.5", "--malformed", "0.05", "--json"]
    counts: list[int] = []
    minutes: list[tuple[int, int]] = []
    shown: list[str] = []
    by_minute = "SELECT CAST(sum(complaints) AS BIGINT) FROM serving.minutes"
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as run:
        while run.poll() is None or len(counts) < REFRESHES:
            before = sql_lab.value(by_minute)
            counts.append(sql_lab.value("SELECT count(*) FROM serving.decisions"))
            minutes.append((before, sql_lab.value(by_minute)))
            shown.append(browser.number("Complaints in the latest hour"))
            time.sleep(0.5)
        assert run.returncode == 0, run.stdout.read() if run.stdout else ""
    at_the_end = server.value("SELECT count(*) FROM gold.decisions")
    same_page = browser.driver.execute_script("return window.samePage === true")
    return Watched(counts, minutes, shown, same_page, browser.settled(), at_the_end)


@pytest.mark.timeout(900)
def test_while_the_stream_runs_every_query_sees_all_commits_made_before_it(watched: Watched) -> None:
    assert len(watched.counts) >= REFRESHES
    assert watched.counts == sorted(watched.counts)
    assert len(set(watched.counts)) > 2
    assert watched.counts[-1] == watched.at_the_end


def test_while_the_stream_runs_the_minutes_are_as_fresh_as_the_decisions(watched: Watched) -> None:
    """Minutes are summarised at most twice per minute; later decisions are counted directly, once."""
    for decided, (before, after) in zip(watched.counts, watched.minutes, strict=True):
        assert before <= decided <= after
    assert watched.minutes[-1] == (watched.at_the_end, watched.at_the_end)


def test_while_the_stream_runs_the_numbers_update_without_a_reload(watched: Watched) -> None:
    assert watched.same_page
    assert len(set(watched.shown)) > 1
    assert {name: state for name, state in watched.charts.items() if state != "drawn"} == {}


@pytest.mark.usefixtures("watched")
@pytest.mark.parametrize("slug", SLUGS)
def test_each_dashboard_draws_every_chart_and_shows_no_error(browser: Browser, slug: str, tmp_path: Path) -> None:
    """A chart is drawn when its bars, slices, lines, rows or number are there: `Browser.shown`."""
    shown = browser.open(slug, len(CHARTS[slug]))
    assert sorted(shown) == sorted(CHARTS[slug])
    assert {name: state for name, state in shown.items() if state != "drawn"} == {}
    picture = Path(os.environ.get("SCREENSHOTS", tmp_path)) / f"{slug}.png"
    browser.save(picture)
    assert picture.stat().st_size > 20_000


@pytest.mark.usefixtures("watched")
@pytest.mark.parametrize("slug", SLUGS)
def test_in_a_narrow_window_every_chart_is_drawn_and_every_number_can_be_read(browser: Browser, slug: str) -> None:
    shown = browser.open(slug, len(CHARTS[slug]), NARROW)
    assert {name: state for name, state in shown.items() if state != "drawn"} == {}
    numbers = browser.driver.find_elements(By.CSS_SELECTOR, ".header-line")
    assert [number.text for number in numbers if number.size["height"] < READABLE] == []


@pytest.mark.parametrize("file", [*(f"{slug}.png" for slug in SLUGS), "complaint-overview.pdf"])
def test_a_command_takes_a_snapshot_of_each(server: Server, file: str, tmp_path: Path) -> None:
    path, secret = tmp_path / file, {"SUPERSET_PASSWORD": server.passwords["analyst"]}
    words = ("superset", "snapshot", path.stem, str(path))
    done = run(server.settings.folder, server.port, *words, **secret)
    assert done.returncode == 0, done.stderr
    assert re.search(rf"{path.name} shows {server.url}/superset/dashboard/{path.stem}/, .* in [\d.]+ s", done.stdout)
    assert path.read_bytes().startswith(b"%PDF" if path.suffix == ".pdf" else b"\x89PNG")
    assert path.stat().st_size > 20_000


def test_the_numbers_match_gold(browser: Browser, server: Server) -> None:
    browser.open("complaint-overview", len(CHARTS["complaint-overview"]))
    wait_for_numbers(browser, expected(server))


def test_filtered_numbers_match_gold_with_the_same_filter(browser: Browser, server: Server) -> None:
    browser.open("complaint-overview", len(CHARTS["complaint-overview"]))
    browser.choose("product", "Debt collection")
    wait_for_numbers(browser, expected(server, f"{RECEIVED} AND d.product_family = 'Debt collection'"))
    browser.choose("state", "CA")
    wait_for_numbers(
        browser, expected(server, f"{RECEIVED} AND d.product_family = 'Debt collection' AND d.state = 'CA'")
    )
    browser.clear()
    wait_for_numbers(browser, expected(server, "true"))


def test_a_click_on_a_state_filters_the_rest(browser: Browser, server: Server) -> None:
    browser.open("complaint-overview", len(CHARTS["complaint-overview"]))
    cells = browser.driver.find_elements(By.CSS_SELECTOR, "[data-test-chart-name='Complaints by state'] td")
    next(cell for cell in cells if cell.text == "TX").click()
    wait_for_numbers(browser, expected(server, f"{RECEIVED} AND d.state = 'TX'"))


def test_a_click_on_a_product_filters_the_rest(browser: Browser, server: Server) -> None:
    browser.open("complaint-overview", len(CHARTS["complaint-overview"]))
    everything = browser.number("Complaints")
    donut = browser.wait_for("[data-test-chart-name='Complaints by product'] canvas")
    right, down = browser.driver.execute_script(LARGEST_SLICE, donut)
    offset = int(right * donut.size["width"]), int(down * donut.size["height"])
    browser.action().move_to_element_with_offset(donut, *offset).pause(0.5).click().perform()
    largest = server.value(LARGEST_PRODUCT)
    wait_for_numbers(browser, expected(server, f"{RECEIVED} AND d.product_family = '{largest}'"))
    assert browser.number("Complaints") != everything
