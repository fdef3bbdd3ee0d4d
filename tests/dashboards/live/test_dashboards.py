"""The dashboards in a real browser: all drawn, numbers as in gold, filters that filter, numbers that move alone."""

import subprocess
import sys
import time
from pathlib import Path

import pytest
from selenium.webdriver.common.by import By

from dashboards.assets import Assets
from dashboards.server.browser import Browser
from tests.dashboards.live.conftest import Server, SqlLab

pytestmark = pytest.mark.superset

ASSETS = Assets()
SLUGS = [dashboard.content["slug"] for dashboard in ASSETS.dashboards]
CHARTS = {d.content["slug"]: [c.content["slice_name"] for c in ASSETS.charts_of(d)] for d in ASSETS.dashboards}
RATE = (
    "SELECT avg({what}::int) FROM gold.decisions AS d LEFT JOIN silver.outcomes AS o USING (complaint_id) WHERE {only}"
)
# Each big number of the overview as plain SQL over gold, beside how it is written.
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


def expected(server: Server, only: str = "true") -> dict[str, str]:
    return {name: shown.format(server.value(sql.format(only=only))) for name, (sql, shown) in NUMBERS.items()}


def eventually(browser: Browser, numbers: dict[str, str]) -> None:
    """The overview shows these numbers, now or in some seconds."""
    end = time.monotonic() + 30
    shown: dict[str, str] = {}
    while shown != numbers and time.monotonic() < end:
        time.sleep(0.3)
        shown = {name: browser.number(name) for name in numbers}
    assert shown == numbers


@pytest.mark.parametrize("slug", SLUGS)
def test_each_dashboard_draws_every_chart_and_shows_no_error(browser: Browser, slug: str) -> None:
    shown = browser.open(slug, len(CHARTS[slug]))
    assert list(shown) == CHARTS[slug]
    idle = {"Lag", "Lag by minute", "Batch time by query", "Rows by query", "Quarantined share"}  # no stream ran yet
    assert {name: state for name, state in shown.items() if state != "drawn" and name not in idle} == {}
    assert not [name for name, state in shown.items() if state.startswith("error")]


def test_the_numbers_are_those_of_gold(browser: Browser, server: Server) -> None:
    browser.open("complaint-overview", len(CHARTS["complaint-overview"]))
    eventually(browser, expected(server))


def test_a_filter_changes_the_numbers_to_those_of_gold_under_it(browser: Browser, server: Server) -> None:
    browser.open("complaint-overview", len(CHARTS["complaint-overview"]))
    browser.choose("product", "Debt collection")
    eventually(browser, expected(server, "d.product_family = 'Debt collection'"))
    browser.choose("state", "CA")
    eventually(browser, expected(server, "d.product_family = 'Debt collection' AND d.state = 'CA'"))
    browser.clear()
    eventually(browser, expected(server))


def test_a_click_on_a_state_filters_the_rest(browser: Browser, server: Server) -> None:
    browser.open("complaint-overview", len(CHARTS["complaint-overview"]))
    cells = browser.driver.find_elements(By.CSS_SELECTOR, "[data-test-chart-name='Complaints by state'] td")
    next(cell for cell in cells if cell.text == "TX").click()
    eventually(browser, expected(server, "d.state = 'TX'"))


def test_a_click_on_a_product_filters_the_rest(browser: Browser, server: Server) -> None:
    browser.open("complaint-overview", len(CHARTS["complaint-overview"]))
    everything = browser.number("Complaints")
    pie = browser.wait_for("[data-test-chart-name='Complaints by product'] canvas")
    ring = 0.5 * min(pie.size["width"], pie.size["height"]) * 0.5  # between the inner and the outer radius
    action = browser.action().move_to_element_with_offset(pie, int(ring * 0.7), int(-ring * 0.7))
    action.pause(0.5).click().perform()
    largest = server.value("SELECT product_family FROM gold.decisions GROUP BY 1 ORDER BY count(*) DESC LIMIT 1")
    eventually(browser, expected(server, f"d.product_family = '{largest}'"))
    assert browser.number("Complaints") != everything


@pytest.fixture
def live_run(server: Server) -> subprocess.Popen[str]:
    """A stream of complaints through Kafka into the lake, for two minutes."""
    command = [sys.executable, "-c", "from lakehouse.cli import main; main()", "--root", str(server.settings.folder)]
    command += ["run", "--rate", "1200", "--duration", "2", "--malformed", "0.02", "--json"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


@pytest.mark.timeout(600)
def test_while_the_stream_runs_numbers_move_without_a_reload_and_no_query_fails(
    browser: Browser, server: Server, sql_lab: SqlLab, live_run: subprocess.Popen[str]
) -> None:
    browser.open("real-time-monitoring", len(CHARTS["real-time-monitoring"]))
    browser.driver.execute_script("window.samePage = true")
    counts: list[int] = []
    shown = {browser.number("Complaints in the last hour")}
    while live_run.poll() is None or len(counts) < 100:
        counts.append(sql_lab.value("SELECT count(*) FROM serving.decisions"))
        shown.add(browser.number("Complaints in the last hour"))
        time.sleep(0.5)
    assert live_run.wait() == 0, live_run.stdout.read() if live_run.stdout else ""
    assert len(counts) >= 100
    assert counts == sorted(counts)
    assert len(set(counts)) > 5
    assert len(shown) > 2
    assert browser.driver.execute_script("return window.samePage === true")
    states = browser.settled()
    assert {name: state for name, state in states.items() if state != "drawn"} == {}
    assert counts[-1] == server.value("SELECT count(*) FROM gold.decisions")


def test_after_a_run_every_chart_of_every_dashboard_has_drawn(browser: Browser, tmp_path: Path) -> None:
    for slug in SLUGS:
        shown = browser.open(slug, len(CHARTS[slug]))
        assert {name: state for name, state in shown.items() if state != "drawn"} == {}
        browser.save(tmp_path / f"{slug}.png")
        assert (tmp_path / f"{slug}.png").stat().st_size > 50_000
