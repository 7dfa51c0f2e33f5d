"""The report's page in a real browser, fed with hostile model output: it draws, escapes, and logs nothing."""

import csv
import json
import os
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fakes.logs import write_log

from archon_eval.cli import main
from archon_eval.report.html.diagram import draw_diagram
from archon_eval.runs.run import LayerUsage

HOSTILE = (
    "</script><script>window.hacked = 1</script><img src=x onerror='window.hacked = 2'>"
    "<svg onload=window.hacked=3></svg> \" ' ` & $x ${x} {{x}} <!-- \u2028 ]]> \\u003c javascript:window.hacked=4"
)
NAMES = ("<b onclick='window.hacked=5'>cheap</b>", 'dear " {x} $y & "', "middle")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Headless Chromium; skips where there is none, but not in CI."""
    binary = shutil.which("chromium") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if not binary or not driver:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)("no chromium: run tests/ensure_chromium.sh")
    from selenium import webdriver
    from selenium.webdriver.chrome.options import Options
    from selenium.webdriver.chrome.service import Service

    options = Options()
    options.binary_location = str(binary)
    profile = tmp_path_factory.mktemp("chromium")
    for word in (
        "--headless --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run --disable-background-networking "
        f"--disable-component-update --disable-sync --window-size=1200,1000 --user-data-dir={profile}"
    ).split():
        options.add_argument(word)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    opened = webdriver.Chrome(options=options, service=Service(driver))
    yield opened
    opened.quit()


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
    folder = tmp_path_factory.mktemp("logs")
    for place, (name, right, calls) in enumerate(zip(NAMES, (20, 30, 25), (2, 30, 9), strict=True)):
        scores = {f"q{n}{HOSTILE if n == 3 else ''}": ["C" if n < right else "I"] for n in range(40)}
        subjects = {question: HOSTILE if n % 2 else "plain" for n, question in enumerate(scores)}
        account = {"calls": calls, "notes": {"fallback": place, HOSTILE: 1}}
        text = {"text": "{id} " + HOSTILE.replace("{", "{{").replace("}", "}}")}
        answer = {"answer": HOSTILE.replace("{", "{{").replace("}", "}}") + " from " + str(place)}
        write_log(folder / f"{place}.eval", scores, name=name, subjects=subjects, **account, **text, **answer)  # type: ignore[arg-type]
    return folder


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
    found = browser.find_element("css selector", "details.found")
    assert found.get_attribute("open") is not None and found.is_displayed()
    columns = browser.find_elements("css selector", "#bench1-questions .layer_2_marks path")
    assert len(columns) == 40 and all(column.rect["height"] > 100 for column in columns)
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", columns[-1])
    ActionChains(browser).move_to_element(columns[-1]).pause(0.2).perform()  # both wrong: a bar without height
    assert "question q9\n" in browser.find_element("css selector", "#vg-tooltip-element").text
    ActionChains(browser).click().perform()
    assert browser.find_element("css selector", "details.found summary").text.startswith("q9: ")
    assert browser.get_log("browser") == []


def test_systems_with_other_questions_are_said_to_be(tmp_path: Path) -> None:
    write_log(tmp_path / "logs" / "a.eval", {f"q{n}": ["C"] for n in range(9)}, name="all")
    write_log(tmp_path / "logs" / "b.eval", {f"q{n}": ["I"] for n in range(7)}, name="fewer", calls=9)
    for names, said in ((["a.eval", "b.eval"], True), (["a.eval"], False)):
        assert main(["report", *(str(tmp_path / "logs" / name) for name in names), "-o", str(tmp_path / "r.html")]) == 0
        assert (
            "Not all systems have scores of the same questions" in (tmp_path / "r.html").read_text(encoding="utf-8")
        ) is said


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


def test_a_search_over_several_tasks_shows_the_held_out_questions_of_each(tmp_path: Path) -> None:
    folder = search_folder(tmp_path / "search", 20)
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    lines = []
    for place, (task, name) in enumerate((task, name) for task in ("two", "one") for name in ("winner", "single")):
        log = write_log(folder / "logs" / f"{place}.eval", {"q1": ["C"], "q2": ["I"]}, name=name, task=task)
        summary["held_out"][name]["fingerprint"] = f"{name}-fingerprint"
        key = f"report/{name}/{name}-fin@{task}"
        lines.append(json.dumps({"kind": "result", "result": {"key": key, "log": str(log)}}) + "\n")
    (folder / "search.jsonl").write_text("".join(lines), encoding="utf-8")
    (folder / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    assert main(["report", str(folder), "-o", str(tmp_path / "s.json")]) == 0
    benches = json.loads((tmp_path / "s.json").read_text(encoding="utf-8"))["benches"]
    assert [bench["task"] for bench in benches] == ["one, right", "two, right"]
    assert [sorted(one["label"] for one in bench["systems"]) for bench in benches] == [["single", "winner"]] * 2


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


def search_folder(folder: Path, trials: int) -> Path:
    """A search's folder as `archon search` leaves it, without logs."""
    folder.mkdir()
    names = (
        "trial,fingerprint,architecture,generators,samples,fusers,critic_ranker,evaluation,temperature,pool,performance"
    )
    names += ",surrogate,deviation,questions,calls_per_question,cost,calls_paid,calls_reused,error,log"
    with (folder / "trials.csv").open("w", newline="", encoding="utf-8") as stream:
        table = csv.writer(stream)
        table.writerow(names.split(","))
        for n in range(trials):
            score = "" if n == 5 else 0.5 + (n * 7919 % 997) / 2500
            seen = "" if n == 5 else 0.69
            shape = [2, 1, "4.1", "True", "verifier", 0.7, ""]
            figures = [score, seen, 0.02, 100, 10 + n % 40, 10 + n % 40, 50, 10, HOSTILE if n == 5 else "", "x.eval"]
            table.writerow([n, f"{n:016x}", f"g2x1-{n}", *shape, *figures])
    held = {"architecture": "best", "value": 0.7, "low": 0.6, "high": 0.8, "questions": 80, "calls_per_question": 9.0}
    summary = {
        "winner": HOSTILE,
        "fingerprint": "0" * 16,
        "verdict": "",
        "held_out": {"winner": held, "single": {**held, "value": 0.6, "low": 0.5, "high": 0.7}},
        "winner_against": {"single": {"value": 0.1, "low": 0.02, "high": 0.18, "p": 0.01, "verdict": "better"}},
        "dev": 0.9,
        "dev_fresh_draws": 0.8,
        "optimism": 0.2,
        "space": 9576,
        "trials": trials,
        "notes": [HOSTILE],
        "settings": {"cost_unit": "calls"},
    }
    (folder / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    (folder / "best.yaml").write_text("layers:\n  - generator: sim/gpt-4o\n  - fuser: sim/gpt-4o\n", encoding="utf-8")
    return folder


def test_a_search_of_500_trials_draws_every_trial(browser: Any, tmp_path: Path) -> None:
    folder, page = search_folder(tmp_path / "search", 500), tmp_path / "search.html"
    assert main(["report", str(folder), "-o", str(page)]) == 0
    assert page.stat().st_size < 5_000_000
    load(browser, page, 3)
    text = browser.find_element("css selector", "body").text
    assert "500 of 9576 architectures tried" in text and "+20.0 points of optimism" in text
    assert len(browser.find_elements("css selector", "#search1-convergence .mark-symbol path")) >= 998


def test_other_formats(logs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(logs), "--format", "md"]) == 0
    text = capsys.readouterr().out
    assert "| middle |" in text and not re.search(r"(?<!\\)<", text)
    assert main(["report", str(logs), "-o", str(tmp_path / "r.json")]) == 0
    found = json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))["benches"][0]
    assert [system["label"] for system in found["systems"]] == [NAMES[0], NAMES[2], NAMES[1]]
    assert found["frontier"]["calls"] == sorted([NAMES[0], NAMES[2], NAMES[1]])
    assert found["against_cheapest"][NAMES[1]]["wins"] == 10
    assert main(["report", str(logs), "-o", str(tmp_path / "r.png"), "--cost", "dollars"]) == 0
    assert (tmp_path / "r.png").read_bytes().startswith(b"\x89PNG")
    search = search_folder(tmp_path / "search", 20)
    assert main(["report", str(search), "-o", str(tmp_path / "s.png")]) == 0
    assert main(["report", str(search), "--format", "md"]) == 0
    assert main(["report", str(logs), "-o", str(tmp_path / "r.pdf")]) == 1
    assert "the ending says no format" in capsys.readouterr().err
    (search / "summary.json").write_text("{}")
    assert main(["report", str(search), "-o", str(tmp_path / "s.html")]) == 1


def test_a_log_of_a_folder_that_cannot_be_used_is_left_out_and_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_log(tmp_path / "good.eval", {"q": ["C"], "r": ["I"]})
    bad = write_log(tmp_path / "stopped.eval", {"q": ["C"]}, status="cancelled")
    assert main(["report", str(tmp_path), "--format", "md"]) == 0
    assert "Left out: " in capsys.readouterr().out
    assert main(["report", str(tmp_path), "-o", str(tmp_path / "r.json")]) == 0
    assert "stopped.eval: the eval did not finish" in capsys.readouterr().err
    assert main(["report", str(bad)]) == 1


def test_a_log_without_a_score_is_left_out_and_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = write_log(tmp_path / "good.eval", {"q": ["C"], "r": ["I"]})
    bare = write_log(tmp_path / "bare.eval", {"q": ["?"], "r": ["?"]}, name="bare")
    assert main(["report", str(bare), str(good), "-o", str(tmp_path / "r.json")]) == 0
    assert "bare.eval: no question has a score" in capsys.readouterr().err
    assert len(json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))["benches"][0]["systems"]) == 1
    assert main(["report", str(bare)]) == 1
    assert "no question has a score" in capsys.readouterr().err


def test_a_search_that_has_not_finished_is_said_to_be(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_log(tmp_path / "logs" / "a.eval", {"q": ["C"], "r": ["I"]}, name="tried")
    (tmp_path / "search.jsonl").write_text("{}\n", encoding="utf-8")
    assert main(["report", str(tmp_path), "--format", "md"]) == 0
    said = capsys.readouterr().out
    assert "the search, which has not finished; its evals stand alone" in said and "| tried |" in said


def test_a_search_whose_held_out_log_is_damaged_is_still_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    search = search_folder(tmp_path / "search", 20)
    (search / "logs").mkdir()
    (search / "logs" / "x.eval").write_bytes(b"PK no zip")
    result = {"key": "report/winner@task", "log": "logs/x.eval"}
    (search / "search.jsonl").write_text(json.dumps({"kind": "result", "result": result}) + "\n")
    assert main(["report", str(search), "-o", str(tmp_path / "s.json")]) == 0
    assert "x.eval: not readable as an Inspect log" in capsys.readouterr().err


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
