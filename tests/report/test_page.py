"""The report's page in a real browser, fed with hostile model output: it draws, escapes, and logs nothing."""

import json
import re
import time
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from fakes.logs import write_log
from fakes.report_inputs import HOSTILE, NAMES, write_logs, write_search

from archon_eval.cli import main
from archon_eval.report.html.diagram import draw_diagram
from archon_eval.report.html.samples import build_samples
from archon_eval.report.report_data import build_benchmark_report
from archon_eval.runs.benchmark_run import BenchmarkQuestion, LayerUsage, Run
from archon_eval.stats.metrics import ScoredAnswer


def load(browser: Any, path: Path, charts: int) -> float:
    """Open a page, wait until its charts are drawn; its console is empty. Returns the milliseconds the page took."""
    browser.get_log("browser")
    browser.get_log("performance")
    browser.get(path.as_uri())
    for _ in range(600):
        if drawn := browser.execute_script("return document.body.dataset.drawn"):
            break
        time.sleep(0.05)
    assert drawn == str(charts)
    assert browser.get_log("browser") == []
    sent = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [m["params"]["request"]["url"] for m in sent if m["method"] == "Network.requestWillBeSent"]
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []
    assert browser.execute_script("return window.hacked") is None
    return float(browser.execute_script("return performance.now()"))


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_logs(tmp_path_factory.mktemp("logs"), NAMES, HOSTILE)


class MarkupReader(HTMLParser):
    """The tags of a page with their attributes, in order; hashes of question ids are left out."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[Any] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, [(name, re.sub("-q[0-9a-f]{12}$", "", value or "")) for name, value in attrs]))


def test_the_markup_does_not_depend_on_what_models_and_logs_say(logs: Path, tmp_path: Path) -> None:
    plain = write_logs(tmp_path / "plain", ("cheap", "dear", "middle"), "harmless")
    tags = []
    for folder in (plain, logs):
        assert main(["report", str(folder), "-o", str(tmp_path / "r.html")]) == 0
        tags.append(MarkupReader((tmp_path / "r.html").read_text(encoding="utf-8")).tags)
    assert tags[0] == tags[1]
    assert len(tags[0]) > 500


def test_hostile_output_is_shown_and_does_nothing(browser: Any, logs: Path, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    assert main(["report", str(logs), "-o", str(page)]) == 0
    assert page.stat().st_size < 5_000_000
    load(browser, page, 3)
    assert (
        browser.execute_script("return document.querySelectorAll('img, iframe, object, [onerror], [onload]').length")
        == 0
    )
    cells = browser.execute_script("return [...document.querySelectorAll('td:first-child')].map(e => e.textContent)")
    assert any(cell.startswith(NAMES[0]) for cell in cells)
    answers = browser.execute_script("return [...document.querySelectorAll('pre')].map(e => e.textContent)")
    assert any("</script><script>window.hacked = 1</script>" in answer for answer in answers)
    browser.execute_script("document.querySelectorAll('details').forEach(e => { e.open = true })")
    for mark in browser.find_elements("css selector", ".chart .mark-rect path")[:4]:
        browser.execute_script(
            "for (const kind of ['pointerover', 'mouseover', 'mousemove'])"
            " arguments[0].dispatchEvent(new MouseEvent(kind, {bubbles: true, clientX: 200, clientY: 200}))",
            mark,
        )
    assert browser.execute_script("return window.hacked") is None
    assert browser.get_log("browser") == []


def test_a_bar_leads_to_its_question_and_switches_redraw(browser: Any, logs: Path, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    assert main(["report", str(logs), "-o", str(page)]) == 0
    load(browser, page, 3)
    before = browser.execute_script("return document.querySelector('#bench1-cost svg').outerHTML")
    browser.find_elements("css selector", "#bench1-cost .vega-bindings input")[1].click()
    time.sleep(0.3)
    assert browser.execute_script("return document.querySelector('#bench1-cost svg').outerHTML") != before
    [_, frontier, *_] = browser.execute_script(
        "return ['', ...[...document.querySelectorAll('#bench1-cost .mark-line path')].map(e => e.getAttribute('d'))]"
    )
    assert frontier.count("L") >= 2
    bars = browser.find_elements("css selector", "#bench1-questions .layer_0_marks path")
    [bar, *others] = [bar for bar in bars if bar.rect["height"] > 1]
    assert len(others) == 9  # 30 right against 20
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", bar)
    from selenium.webdriver import ActionChains

    ActionChains(browser).move_to_element(bar).pause(0.2).perform()
    assert "question" in browser.find_element("css selector", "#vg-tooltip-element").text
    ActionChains(browser).click().perform()
    opened = browser.find_element("css selector", "details.highlighted")
    assert opened.get_attribute("open") is not None and opened.is_displayed()
    columns = browser.find_elements("css selector", "#bench1-questions .layer_2_marks path")
    assert len(columns) == 40 and all(column.rect["height"] > 100 for column in columns)
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", columns[-1])
    ActionChains(browser).move_to_element(columns[-1]).pause(0.2).perform()  # both wrong: a bar without height
    assert "question q9\n" in browser.find_element("css selector", "#vg-tooltip-element").text
    ActionChains(browser).click().perform()
    assert browser.find_element("css selector", "details.highlighted summary").text.startswith("q9: ")
    assert browser.get_log("browser") == []


def test_questions_on_which_systems_differ_are_shown_first_when_there_is_not_room_for_all() -> None:
    asked = {f"q{n}": BenchmarkQuestion(f"Question {n}?", "42", "") for n in range(6)}
    answers = dict.fromkeys(asked, "<" * 100)
    runs = [
        Run(name, "t", "s", asked, {q: (ScoredAnswer(float(q in right)),) for q in asked}, answers=answers)
        for name, right in (("a", ()), ("b", ("q2", "q4")))
    ]
    systems = build_benchmark_report("t", runs).systems
    everything = build_samples(systems, "bench1", 100_000)
    assert [sample["title"] for sample in everything] == [f"q{n}: a 0, b {1 if n in (2, 4) else 0}" for n in range(6)]
    assert [head for head, _ in everything[0]["texts"]] == ["question", "expected", "a, score 0", "b, score 0"]
    chosen = build_samples(systems, "bench1", 2700)  # an answer of 100 "<" takes 400 characters of HTML
    assert [sample["title"].partition(":")[0] for sample in chosen] == ["q0", "q2", "q4"]
    assert build_samples(systems, "bench1", 100) == []


def test_a_long_name_leaves_room_and_a_cut_one_keeps_its_count(tmp_path: Path) -> None:
    write_log(tmp_path / "a.eval", {"q": ["C"], "r": ["I"]}, name="n" * 5000)
    assert main(["report", str(tmp_path), "-o", str(tmp_path / "a.html")]) == 0
    page = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert "n" * 119 + "…" in page and "n" * 120 not in page
    drawn = draw_diagram([LayerUsage("generator", ("x/llama-3.1-405b-instruct",) * 2 + ("x/b",), 3, 3, 10, None)])
    assert ">llama-3.1-405b-in… × 2<" in drawn and "<title>x/llama-3.1-405b-instruct × 2</title>" in drawn


def test_systems_that_tie_on_no_question_leave_the_console_empty(browser: Any, tmp_path: Path) -> None:
    for name, score in (("low", 0.5), ("high", 0.7)):
        write_log(tmp_path / f"{name}.eval", {f"q{n}": [score] for n in range(12)}, name=name)
    assert main(["report", str(tmp_path), "-o", str(tmp_path / "a.html")]) == 0
    load(browser, tmp_path / "a.html", 3)
    axis = browser.execute_script("return document.getElementById('bench1-questions').textContent")
    assert "12" in axis and ".5" not in axis.partition("questions, sorted")[0].replace("0.5", "")


def test_phone_dark_and_print(browser: Any, logs: Path, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    assert main(["report", str(logs), "-o", str(page)]) == 0
    size = {"width": 390, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    colours = {}
    try:
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        for look in ("light", "dark"):
            feature = {"name": "prefers-color-scheme", "value": look}
            browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": [feature]})
            load(browser, page, 3)
            assert browser.execute_script("return document.documentElement.scrollWidth") <= 390
            colours[look] = browser.execute_script(
                "const of = (where, what) => getComputedStyle(document.querySelector(where))[what];"
                "return [of('body', 'backgroundColor'), of('.chart svg text', 'fill')]"
            )
        assert colours["light"] == ["rgb(255, 255, 255)", "rgb(29, 35, 48)"]
        assert colours["dark"] == ["rgb(20, 23, 29)", "rgb(227, 231, 238)"]
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print", "features": [feature]})
        assert browser.execute_script("return getComputedStyle(document.body).color") == "rgb(0, 0, 0)"
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": []})


def test_a_search_of_500_trials_draws_every_trial(browser: Any, tmp_path: Path) -> None:
    folder, page = write_search(tmp_path / "search", 500), tmp_path / "search.html"
    assert main(["report", str(folder), "-o", str(page)]) == 0
    assert page.stat().st_size < 5_000_000
    load(browser, page, 3)
    text = browser.find_element("css selector", "body").text
    assert "500 of 9576 architectures tried" in text and "+20.0 points of optimism" in text
    assert len(browser.find_elements("css selector", "#search1-convergence .mark-symbol path")) >= 998


def test_logs_without_an_architecture_stand_beside_those_with_one(browser: Any, tmp_path: Path) -> None:
    write_log(tmp_path / "logs" / "a.eval", {f"q{n}": ["C"] for n in range(9)}, text="the same question")
    write_log(
        tmp_path / "logs" / "b.eval",
        {f"q{n}": [n % 2] for n in range(9)},
        name="openai/gpt-4o",
        plain=True,
        text="the same question",
    )
    assert main(["report", str(tmp_path / "logs"), "-o", str(tmp_path / "r.html")]) == 0
    load(browser, tmp_path / "r.html", 3)
    rows = browser.execute_script("return [...document.querySelectorAll('tbody tr')].map(e => e.textContent)")
    assert any(row.startswith("openai/gpt-4o") and "unknown" in row for row in rows)
    places = browser.execute_script("return [...document.querySelectorAll('details[id]')].map(e => e.id)")
    assert len(set(places)) == 9
