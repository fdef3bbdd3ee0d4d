"""Superset in a real browser: log in, open a dashboard, wait until every chart is drawn, take a screenshot.

Needs selenium, Chromium and its driver. Run as a module it takes a snapshot: a JSON object on standard input has
`url`, `account`, `password`, `slug`, `charts` (their number) and `file` (.png or .pdf).
"""

import base64
import io
import json
import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, Self

from PIL import Image
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

WIDTH, TALL = 1500, 3000
PATIENCE = 60.0  # seconds
MOVING_SECONDS = 1.5  # that a chart's animation takes
COLOURS = 256  # in a picture: as many as a palette has; the file stays small
CHART = "[data-test-chart-name]"
# What each chart shows, by name: 'loading', 'error: …', 'drawn', or 'blank: …' with its text. A canvas is scaled
# down first: reading all of its pixels again and again would slow down what is being measured. Bars, slices and lines
# are in color and spread over some of its width; a line may have a single point, which is a marker. Text and axes are
# grey, and the legend is in the band at the top.
STATES = """
const SIDE = 100, LEGEND = 12, SPREAD = 3;
const small = new OffscreenCanvas(SIDE, SIDE).getContext('2d', {willReadFrequently: true});
const state = chart => {
if (chart.querySelector('[data-test="loading-indicator"], .loading')) return 'loading';
const alarm = chart.querySelector('[role="alert"], .ant-alert, [data-test="error-alert"]');
if (alarm) return 'error: ' + alarm.innerText;
const number = chart.querySelector('.header-line');
if (number && /\\d/.test(number.innerText)) return 'drawn';
const canvas = chart.querySelector('canvas');
if (canvas) {
    small.clearRect(0, 0, SIDE, SIDE);
    small.drawImage(canvas, 0, 0, SIDE, SIDE);
    const pixels = small.getImageData(0, 0, SIDE, SIDE).data;
    const columns = new Set();
    for (let i = 4 * SIDE * LEGEND; i < pixels.length; i += 4) {
        const color = pixels.slice(i, i + 3);
        if (pixels[i + 3] > 25 && Math.max(...color) - Math.min(...color) > 40) columns.add(i / 4 % SIDE);
    }
    const isLine = chart.getAttribute('data-test-viz-type') === 'echarts_timeseries_line';
    if (columns.size > (isLine ? 0 : SPREAD)) return 'drawn';
}
if (chart.querySelectorAll('svg path.region').length > 5 || chart.querySelector('tbody td')) return 'drawn';
return 'blank: ' + chart.innerText;
};
const charts = [...document.querySelectorAll(arguments[0])];
return Object.fromEntries(charts.map(chart => [chart.getAttribute('data-test-chart-name'), state(chart)]));
"""
# Bottom edge of the last chart, in pixels of the page.
BOTTOM = "return Math.max(...[...document.querySelectorAll(arguments[0])].map(e => e.getBoundingClientRect().bottom))"
MARGIN = 32


class Browser:
    """A headless Chromium on one Superset.

    Args:
        url: Superset's address.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.opened_in = 0.0
        options = webdriver.ChromeOptions()
        for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"):
            options.add_argument(argument)
        options.add_argument(f"--window-size={WIDTH},{TALL}")
        options.binary_location = _found("chromium", "google-chrome", "chrome")
        service = webdriver.ChromeService(_found("chromedriver"))
        with _one_core():
            self.driver = webdriver.Chrome(options=options, service=service)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.driver.quit()

    def log_in(self, account: str, password: str) -> None:
        """Log in with the form."""
        self.driver.get(f"{self.url}/login/")
        self.wait_for("[data-test='username-input']").send_keys(account)
        self.wait_for("[data-test='password-input']").send_keys(password)
        self.wait_for("[data-test='login-button']").click()
        WebDriverWait(self.driver, PATIENCE).until(lambda driver: "/login" not in driver.current_url)

    def wait_for(self, selector: str) -> WebElement:
        """The first displayed element that matches a CSS selector, once there is one."""

        def found(driver: Any) -> WebElement | Literal[False]:
            elements: list[WebElement] = driver.find_elements(By.CSS_SELECTOR, selector)
            return next((element for element in elements if element.is_displayed()), False)

        return WebDriverWait(self.driver, PATIENCE).until(found)

    def open(self, slug: str, charts: int, width: int = WIDTH) -> dict[str, str]:
        """Open a dashboard in a window this wide and wait until its charts are drawn; returns what each shows, by name.

        The time from the request to the last chart is then in `opened_in`.
        """
        self.driver.set_window_size(width, TALL)  # a dashboard draws a chart when it comes into view
        began = time.monotonic()
        self.driver.get(f"{self.url}/superset/dashboard/{slug}/")
        shown = self.shown()
        while time.monotonic() < began + PATIENCE and (len(shown) < charts or "loading" in shown.values()):
            time.sleep(0.1)
            shown = self.shown()
        shown = self.settled()
        self.opened_in = time.monotonic() - began
        return shown

    def settled(self) -> dict[str, str]:
        """What each chart shows once none is loading; waits a little for a canvas that is still blank."""
        end = time.monotonic() + PATIENCE / 4
        shown = self.shown()
        while time.monotonic() < end and set(shown.values()) != {"drawn"}:
            time.sleep(0.1)
            shown = self.shown()
        return shown

    def shown(self) -> dict[str, str]:
        """What each chart shows now."""
        return {str(name): str(state) for name, state in self.driver.execute_script(STATES, CHART).items()}

    def number(self, chart: str) -> str:
        """The big number of a chart as it is shown."""
        return self.wait_for(f"[data-test-chart-name='{chart}'] .header-line").text

    def choose(self, field: str, value: str) -> None:
        """Choose a value in a filter of the filter bar, and apply it."""
        self.wait_for(f"[data-test='NATIVE_FILTER-{field}']").click()
        box = self.driver.switch_to.active_element
        box.send_keys(value)
        self.wait_for(f".ant-select-item-option[title='{value}']").click()
        box.send_keys(Keys.ESCAPE)
        self.wait_for("[data-test='filter-bar__apply-button']:not([disabled])").click()

    def clear(self) -> None:
        """Clear all filters."""
        self.wait_for("[data-test='filter-bar__clear-button']").click()

    def action(self) -> ActionChains:
        """A chain of mouse actions, to be performed."""
        return ActionChains(self.driver)

    def save(self, file: Path) -> None:
        """Save the page as a picture, or as a document if the suffix is .pdf, once the charts have stopped moving."""
        time.sleep(MOVING_SECONDS)
        if file.suffix == ".pdf":
            printed = self.driver.execute_cdp_cmd("Page.printToPDF", {"printBackground": True, "scale": 0.5})
            file.write_bytes(base64.b64decode(printed["data"]))
        else:
            picture = Image.open(io.BytesIO(self.driver.get_screenshot_as_png())).convert("RGB")
            bottom = int(self.driver.execute_script(BOTTOM, CHART)) + MARGIN
            picture = picture.crop((0, 0, picture.width, min(picture.height, bottom)))
            picture.quantize(palette=_palette(picture), dither=Image.Dither.NONE).save(file, "PNG", optimize=True)


def _palette(picture: Image.Image) -> Image.Image:
    """The most frequent colors of a picture: unlike a cut of all its colors, they keep those of small slices apart."""
    counted: list[Any] = picture.getcolors(picture.width * picture.height) or []
    frequent = sorted(counted, reverse=True)[:COLOURS]
    palette = Image.new("P", (1, 1))
    palette.putpalette([channel for _, color in frequent for channel in color])
    return palette


@contextmanager
def _one_core() -> Iterator[None]:
    """Start processes on one core, where the platform can.

    On some virtual machines the clocks of two cores differ by milliseconds, and Chromium aborts when time goes back.
    """
    if sys.platform != "linux":
        yield
        return
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


def _found(*programs: str) -> str:
    for program in programs:
        if path := shutil.which(program):
            return path
    msg = f"{programs[0]} was not found: install Chromium and its driver (Debian: chromium and chromium-driver)."
    raise FileNotFoundError(msg)


def main() -> None:
    """Take the snapshot that standard input requests, and print the result as a JSON object."""
    asked = json.load(sys.stdin)
    try:
        with Browser(asked["url"]) as browser:
            browser.log_in(asked["account"], asked["password"])
            shown = browser.open(asked["slug"], asked["charts"])
            browser.save(Path(asked["file"]))
    except FileNotFoundError as error:
        print(json.dumps({"error": str(error)}))
        return
    print(json.dumps({"shown": shown, "seconds": browser.opened_in}))


if __name__ == "__main__":
    main()
