"""The page in a real browser: curves are drawn, search and filters work, log lines stay text."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("bokeh")
pytest.importorskip("selenium")

import numpy
from PIL import Image
from selenium.common.exceptions import TimeoutException
from selenium.webdriver import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select, WebDriverWait

from asynclog.reading import read_run
from asynclog.report import write_report
from asynclog.report.charts import COLORS, LEVEL_COLORS

SCRIPT = "<script>document.title = 'taken over'</script>"


class Page:
    """The report as a reader has it before them."""

    def __init__(self, browser: Any) -> None:
        self.browser = browser

    def all(self, selector: str) -> list[Any]:
        """Return the elements of a selector."""
        return self.browser.find_elements(By.CSS_SELECTOR, selector)

    def one(self, selector: str) -> Any:
        """Return the first element of a selector."""
        return self.browser.find_element(By.CSS_SELECTOR, selector)

    def wait(self, condition: Callable[[], Any]) -> Any:
        """Wait until something is the case."""
        waiting = WebDriverWait(self.browser, 60, poll_frequency=0.05)
        try:
            return waiting.until(lambda _: condition())
        except TimeoutException:
            pytest.fail(f"in vain: {self.one('#found').text}")

    def run(self, script: str, *arguments: object) -> Any:
        """Run a script in the page."""
        return self.browser.execute_script(script, *arguments)

    def figure(self, selector: str) -> Any:
        """Scroll to a figure and wait until it is drawn."""
        figure = self.one(selector)
        self.run("arguments[0].scrollIntoView({block: 'center'})", figure)
        self.wait(lambda: figure.find_elements(By.CSS_SELECTOR, ".plot[data-drawn]"))
        return figure

    def pixels(self, element: Any, color: str) -> int:
        """Count the pixels of an element that have about this colour."""
        wanted = numpy.frombuffer(bytes.fromhex(color[1:]), numpy.uint8).astype(int)
        image = Image.open(io.BytesIO(element.screenshot_as_png)).convert("RGB")
        return int((abs(numpy.asarray(image, int) - wanted) < 12).all(axis=2).sum())

    def drawn(self, element: Any, color: str, least: int = 300) -> None:
        """Wait until an element shows a colour."""
        self.wait(lambda: self.pixels(element, color) >= least)

    def gone(self, element: Any, color: str) -> None:
        """Wait until an element shows a colour in its legend at most."""
        self.wait(lambda: self.pixels(element, color) < 150)

    def found(self, number: int | None = None) -> list[str]:
        """Wait until so many lines match, and return the texts of those that are listed."""
        if number is not None:
            self.wait(lambda: self.one("#found").text.startswith(f"{number:,} of "))
        return self.run("return [...document.querySelectorAll('.line')].map(e => e.textContent)")

    def lines(self) -> int:
        """Return how many lines the page holds."""
        return int(self.one("#found").text.split(" of ")[1].split()[0].replace(",", ""))


@pytest.fixture(scope="module")
def report(jobs: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a report of both jobs."""
    path = tmp_path_factory.mktemp("report") / "report.html"
    write_report(jobs, path)
    return path


@pytest.fixture
def page(browser: Any, report: Path) -> Page:
    """Open the report as a file."""
    browser.get_log("browser")
    browser.get(report.as_uri())
    page = Page(browser)
    page.wait(lambda: page.all(".line") and page.all("#activity[data-drawn]"))
    return page


@pytest.fixture
def lines(jobs: list[Path]) -> list[dict[str, Any]]:
    """Return the log lines of both jobs."""
    records = [record for job in jobs for record in read_run(job)]
    return [record for record in records if record.get("kind") not in ("metrics", "hparams")]


def test_curves_are_drawn(page: Page):
    """Each metric has a chart with a curve for each run, and they can be switched off."""
    names = [figure.get_attribute("data-name") for figure in page.all("#metrics figure")]
    assert names == ["grad/norm", "loss"]
    loss = page.figure("figure[data-name='loss']")
    fast, slow = COLORS[:2]
    page.drawn(loss, fast)
    page.drawn(loss, slow)
    assert "1 NaN or infinite value, the first at step 7 (fast · train · rank 1)" in loss.text
    page.one("#metrics input[data-run='fast']").click()
    page.gone(loss, fast)
    assert page.pixels(loss, slow) >= 300
    page.one("#metrics input[data-run='fast']").click()
    page.drawn(loss, fast)
    for split in ("train", "val"):
        page.one(f"#metrics input[data-split='{split}']").click()
    page.gone(loss, slow)
    assert not [entry for entry in page.browser.get_log("browser") if entry["level"] == "SEVERE"]


def test_curves_are_those_that_were_logged(page: Page):
    """The points of a curve are means of what was logged at those steps, over the ranks."""
    page.figure("figure[data-name='grad/norm']")
    curves = page.run(
        """
        return Bokeh.documents.flatMap((doc) => doc.roots()).flatMap((plot) =>
          plot.renderers.filter((r) => r.tags[0] === "fast" && r.tags[2] === "mean").map((r) => {
            const {step, low, mean, high} = r.data_source.data;
            return [step, low, mean, high].map((column) => [...column]);
          }))
        """
    )
    step, low, mean, high = max(curves, key=lambda curve: len(curve[0]))
    # 3,000 steps of 1 to 5: more than a curve has points
    assert 500 <= len(step) <= 1000
    assert step == sorted(step)
    assert (min(low), max(high)) == (1, 5)
    assert sum(mean) / len(mean) == pytest.approx(3, abs=0.01)
    assert "curves are down-sampled" in page.one("#overview .notes").text


def test_curves_are_smoothed(page: Page):
    """The slider smooths every curve, and back at zero they are as logged."""
    loss = page.figure("figure[data-name='grad/norm']")
    spread = """
        const [plot] = Bokeh.documents.flatMap((doc) => doc.roots())
          .filter((root) => root.name === "grad/norm");
        const [curve] = plot.renderers.filter((r) => r.tags[2] === "mean");
        const last = [...curve.data_source.data.mean].slice(-100);
        return Math.max(...last) - Math.min(...last);
    """
    before = page.run(spread)
    set_to = "const s = document.querySelector('#smooth'); s.value = arguments[0];"
    set_to += "s.dispatchEvent(new Event('input'))"
    page.run(set_to, 0.95)
    assert page.run(spread) < before / 4
    page.run(set_to, 0)
    assert page.run(spread) == pytest.approx(before)
    assert page.pixels(loss, COLORS[0])


def test_metrics_are_found_by_name(page: Page):
    """Of many metrics one is found by a part of its name."""
    box = page.one("#metric-filter")
    box.send_keys("GRAD")
    page.wait(lambda: not page.one("figure[data-name='loss']").is_displayed())
    assert page.one("figure[data-name='grad/norm']").is_displayed()
    box.send_keys("x")
    page.wait(lambda: page.one("#no-metric").is_displayed())


def test_stages_are_drawn(page: Page):
    """Each run has a timeline with a row for each rank, and what the stages took together."""
    for number in range(2):
        figure = page.figure(f"figure[data-chart='timelines'][data-index='{number}']")
        page.drawn(figure, "#568fdd", 200)
    text = page.one("#stages .columns").text
    for name in ("epoch/train", "epoch/validate", "eval"):
        assert name in text


def test_search_finds_lines(page: Page, lines: list[dict[str, Any]]):
    """Text is looked for in events, fields, loggers and tracebacks; what is found is marked."""
    search = page.one("#search")
    search.send_keys("SHARD 17")
    assert all("shard 17 is missing" in text for text in page.found(4))
    assert {mark.text for mark in page.all("#lines mark")} == {"shard 17"}
    search.clear()
    search.send_keys("KeyError")
    [text] = page.found(1)
    assert "raise RuntimeError" not in text
    assert '{}["shard"]' in text
    assert page.one(".line details").get_attribute("open")


def test_search_takes_regular_expressions(page: Page):
    """Between slashes it is a regular expression; one that is none is marked, and ends nothing."""
    search = page.one("#search")
    search.send_keys("/epoch=[01] .*START|^epoch done$/")
    page.wait(lambda: page.found() and "epoch" in page.found()[0])
    assert all("epoch" in text for text in page.found(8))
    search.clear()
    search.send_keys("/(/")
    page.wait(lambda: "wrong" in search.get_attribute("class"))
    page.found(0)


def test_lines_are_filtered(page: Page, lines: list[dict[str, Any]]):
    """By level, run, rank and logger, each for itself and together."""
    everything = page.lines()
    page.one("#levels input[value='debug']").click()
    shown = [line for line in lines if line["level"] != "debug"]
    page.found(len(shown))
    Select(page.one("#rank")).select_by_visible_text("rank 1")
    shown = [line for line in shown if line.get("rank") == 1]
    page.found(len(shown))
    Select(page.one("#logger")).select_by_visible_text("train.loop")
    shown = [line for line in shown if line.get("logger") == "train.loop"]
    listed = page.found(len(shown))
    assert len(listed) == len(shown)
    assert "cannot go on" in listed[0]
    Select(page.one("#order")).select_by_visible_text("oldest first")
    page.wait(lambda: "cannot go on" not in page.found()[0])
    Select(page.one("#run")).select_by_visible_text("fast")
    page.wait(lambda: not any("cannot go on" in text for text in page.found()))
    assert page.lines() == everything


def test_a_time_is_picked_in_the_picture(page: Page):
    """Dragging over the lines over time leaves the lines of that time."""
    everything = page.lines()
    picture = page.one("#activity")
    page.run("arguments[0].scrollIntoView({block: 'center'})", picture)
    page.drawn(picture, LEVEL_COLORS["debug"])
    width = picture.size["width"]
    drag = ActionChains(page.browser).move_to_element_with_offset(picture, -width // 3, -20)
    drag.click_and_hold().move_by_offset(width // 8, 0).move_by_offset(width // 8, 0)
    drag.release().perform()
    page.wait(lambda: not page.one("#found").text.startswith(f"{everything:,} of"))
    times = page.run("return [...document.querySelectorAll('.line time')].map(t => t.textContent)")
    start, end = page.run(
        """
        const [plot] = Bokeh.documents.flatMap((doc) => doc.roots())
          .filter((root) => root.name === "activity");
        return [plot.x_range.start, plot.x_range.end].map(
          (t) => new Date(t).toISOString().replace("T", " ").slice(0, 23));
        """
    )
    assert all(start <= time <= end for time in times)


def test_more_lines_come_when_scrolling(page: Page):
    """Thousands of lines are listed as far as one looks."""
    listed = len(page.found())
    assert listed < page.lines()
    page.run("const box = document.querySelector('#lines'); box.scrollTop = box.scrollHeight")
    page.wait(lambda: len(page.found()) > listed)


def test_a_log_line_stays_text(page: Page):
    """Markup in a log line is shown as it was logged, and does nothing."""
    page.one("#search").send_keys("<script>")
    for text in page.found(4):
        assert SCRIPT in text
        assert "path=</script><b>bold</b>" in text
    assert page.browser.title == "fast and slow · asynclog report"
    assert not page.all("#lines script, #lines img, #lines b, #crash img")
    assert "out of shards <img src=x onerror=alert(1)>" in page.one("#crash").text


def test_a_script_that_got_in_would_not_run(page: Page):
    """The page's policy runs our scripts only, and lets nothing out."""
    page.run(
        """
        document.body.insertAdjacentHTML("beforeend", "<img src=x onerror='window.owned = 1'>");
        const script = document.createElement("script");
        script.textContent = "window.owned = 2";
        document.body.append(script);
        """
    )
    page.wait(lambda: len(page.browser.get_log("browser")))
    assert page.run("return window.owned") is None


def test_the_crash_comes_first(page: Page):
    """Who opens the page of a failed job reads at once which rank failed, and of what."""
    crash = page.one("#crash")
    assert crash.find_element(By.TAG_NAME, "h2").text == "slow: rank 1 ended with exit status 1"
    assert crash.location["y"] < 200
    assert "RuntimeError: out of shards" in crash.text
