"""AlpacaEval's length-controlled win rate, by the regression of the package `alpaca-eval` (Dubois et al., 2024).

The import of that package takes seconds and changes global settings. So it happens only here, when a rate is computed,
and the settings are restored:

    compute_lc_win_rate(pairs, get_calibration_file())["length_controlled_winrate"]

The regression knows how difficult each official instruction is. An instruction is known by its text, never by its place
in a file: `find_official_index`.
"""

import logging
import os
import warnings
from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from functools import cache, lru_cache
from hashlib import sha256
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from statistics import fmean
from types import ModuleType

from archon_eval.errors import DataError
from archon_eval.stats.comparison import PairedComparison
from archon_eval.stats.estimates import Estimate
from archon_eval.stats.jackknife import assign_group, compare_jackknife, estimate_jackknife
from archon_eval.stats.metrics import Answers, MeanMetric, Metric

HUB_REPO = "tatsu-lab/alpaca_eval"
HUB_REVISION = "2edc6fad8be6b14ea7230aabfd08188da6b8b814"
NUM_QUESTIONS = 805
"""Instructions of AlpacaEval; the regression knows the difficulty of each."""
LEAST_SHARE = 0.9
"""The rate's standard error is at least this share of the raw win rate's; measured by `benchmarks/coverage.py`."""
DIGEST_FILE = "alpaca_eval_instructions.txt"
"""The digest of each official instruction (`_hash_instruction`), a line each, in official order; no text of theirs."""


@dataclass(frozen=True)
class JudgedPair:
    """One judged pair of answers, as the win rates need it."""

    index: int | None
    """Official position of the instruction, 0..804; None for instructions that are not AlpacaEval's."""
    preference: float
    """From 1 (baseline better) to 2 (model better)."""
    baseline_length: int
    """Characters of the baseline's answer."""
    length: int
    """Characters of the model's answer."""


RAW_WIN_RATE = MeanMetric("win rate", shown_digits=2)
"""The mean preference, whatever the lengths."""


@dataclass(frozen=True)
class LengthControlledMetric(Metric):
    """The length-controlled win rate, from 0 to 1; over several epochs the mean of theirs.

    Intervals and comparisons leave out groups of questions and fit the regression again (delete-group jackknife), since
    the regression is over all questions and no question has a figure of its own. The standard error is at least
    `compute_least_stderr`.
    """

    calibration: str | None
    """As for `get_calibration_file`."""
    name: str = "LC win rate"
    bounds: tuple[float, float] | None = (0.0, 1.0)
    digits: int = 2

    @property
    def companions(self) -> tuple[Metric, ...]:
        return (self.part_metric,)

    @property
    def part_metric(self) -> Metric:
        return RAW_WIN_RATE

    def compute(self, answers: Answers) -> float:
        calibration = find_calibration_file(self.calibration)
        epochs = list_epochs(answers)
        rates = [get_lc_win_rate(rows, calibration)["length_controlled_winrate"] for rows in epochs]
        return fmean(rates, [len(rows) for rows in epochs]) / 100

    def estimate(self, answers: Answers, confidence: float = 0.95) -> Estimate:
        value, sizes = self.compute(answers), Counter[Hashable](map(assign_group, answers))
        try:
            left_out = self._leave_groups_out(answers)
            raw = self.part_metric.estimate(answers)
            least = compute_least_stderr(raw.stderr, [(value, raw.value)])
            return estimate_jackknife(value, left_out, sizes, least_stderr=least, confidence=confidence)
        except DataError:  # too few rows to leave some out: nothing is known of the spread
            return Estimate(value, None, None, high=None, n=len(answers), confidence=confidence)

    def compare(self, first: Answers, second: Answers, confidence: float = 0.95) -> PairedComparison:
        if first.keys() ^ second.keys():
            raise DataError("the two runs do not share their questions")
        values, sizes = (self.compute(first), self.compute(second)), Counter[Hashable](map(assign_group, first))
        means = [{q: fmean(a.value for a in epochs) for q, epochs in answers.items()} for answers in (first, second)]
        differences = [means[0][question] - means[1][question] for question in first]
        raw = self.part_metric.compare(first, second, confidence)
        try:
            one, other = (self._leave_groups_out(answers) for answers in (first, second))
        except DataError:  # as in `estimate`
            unknown = Estimate(values[0] - values[1], None, None, high=None, n=len(first), confidence=confidence)
            return replace(raw, difference=unknown)
        raw_values = [self.part_metric.compute(answers) for answers in (first, second)]
        least = compute_least_stderr(raw.difference.stderr, list(zip(values, raw_values, strict=True)))
        systems = (values[0], one), (values[1], other)
        return compare_jackknife(*systems, sizes, differences, least_stderr=least, confidence=confidence)

    def _leave_groups_out(self, answers: Answers) -> dict[Hashable, float]:
        """Group of questions -> the rate without it.

        Raises:
            DataError: too few questions.
        """
        calibration, rates = find_calibration_file(self.calibration), list[dict[Hashable, float]]()
        epochs_rows = list_epochs(answers)
        for number, rows in enumerate(epochs_rows):
            groups = tuple(assign_group(question) for question, epochs in answers.items() if number < len(epochs))
            rate, left_out = get_lc_leave_outs(rows, calibration, groups)
            rates.append({group: left_out.get(group, rate) for group in map(assign_group, answers)})
        sizes = [len(rows) for rows in epochs_rows]
        return {group: fmean([rate[group] for rate in rates], sizes) / 100 for group in rates[0]}


def list_epochs(answers: Answers) -> list[tuple[JudgedPair, ...]]:
    """The judged pairs of each epoch, from the facts of the answers."""
    names = [field.name for field in fields(JudgedPair) if field.name != "preference"]
    return [
        tuple(
            JudgedPair(preference=epochs[number].value + 1, **{name: epochs[number].facts[name] for name in names})
            for epochs in answers.values()
            if number < len(epochs)
        )
        for number in range(max(map(len, answers.values()), default=0))
    ]


def has_length_control(answers: Answers) -> bool:
    """Whether every epoch of the answers has a length-controlled rate."""
    epochs = list_epochs(answers)
    return bool(epochs) and all(is_controllable(rows) for rows in epochs)


def compute_least_stderr(raw_stderr: float | None, rates: Sequence[tuple[float, float]]) -> float:
    """The least standard error of a length-controlled rate, or of the difference of two, on a scale from 0 to 1.

    The regression's penalty, which each fit chooses anew by cross-validation, pulls rates near 50% to 50%. Where it
    does so whichever group is left out, the jackknife sees hardly any spread. So `LEAST_SHARE` of the raw rate's error
    is the least, times p(1-p) of the length-controlled rate over that of the raw one, if that is below 1: rates spread
    less near 0 and 1.

    Args:
        raw_stderr: of the raw win rate, or of the difference of two; None if unknown.
        rates: each system's length-controlled rate and raw rate; of two systems the larger factor counts.
    """
    shrinks = [min(1.0, rate * (1 - rate) / (raw * (1 - raw))) for rate, raw in rates if 0 < raw < 1]
    return LEAST_SHARE * (raw_stderr or 0.0) * max(shrinks, default=0.0)


@lru_cache(maxsize=256)
def get_lc_win_rate(rows: tuple[JudgedPair, ...], calibration: str) -> dict[str, float]:
    """As `compute_lc_win_rate`, once per process for the same rows."""
    return compute_lc_win_rate(rows, calibration)


@lru_cache(maxsize=256)
def get_lc_leave_outs(
    rows: tuple[JudgedPair, ...], calibration: str, groups: tuple[int, ...]
) -> tuple[float, dict[Hashable, float]]:
    """As `compute_lc_leave_outs`, once per process for the same rows."""
    return compute_lc_leave_outs(rows, calibration, groups)


def find_official_index(instruction: str) -> int | None:
    """The official position, 0 to 804, of AlpacaEval's instruction with this text; None where it has none.

    White space does not count, as files lose it at the ends and change line breaks: the official instructions still all
    differ.
    """
    return _read_official_digests().get(_hash_instruction(instruction))


def is_controllable(rows: Sequence[JudgedPair]) -> bool:
    """Whether these rows have a length-controlled rate: official, and of differing lengths (or the baseline's own)."""
    official = all(row.index is not None for row in rows)
    return official and (_is_baseline(rows) or len({row.length - row.baseline_length for row in rows}) > 1)


def compute_lc_win_rate(rows: Sequence[JudgedPair], calibration: str | Path) -> dict[str, float]:
    """The win rate if both answers were equally long, in percent, and its standard error.

    Rows may come in any order and some may be missing; difficulty goes by their official index.

    Args:
        rows: one comparison per instruction.
        calibration: `df_gamed.csv`, the official answers with gamed lengths (`get_calibration_file`).

    Raises:
        DataError: no or repeated indexes, fewer than two rows, or the extra `alpaca` is not installed.
    """
    _validate_rows(rows)
    if _is_baseline(rows):
        return {"length_controlled_winrate": 50.0, "lc_standard_error": 0.0}
    with _import_glm_winrate(calibration) as glm:
        return _fit_win_rate(glm, rows)


def compute_lc_leave_outs(
    rows: Sequence[JudgedPair], calibration: str | Path, groups: Sequence[Hashable]
) -> tuple[float, dict[Hashable, float]]:
    """The length-controlled rate, and the rate without each group of instructions, in percent: for a jackknife.

    Every rate is a regression of its own, about a tenth of a second each (`stats.jackknife.estimate_jackknife`).

    Args:
        rows, calibration: as `compute_lc_win_rate`.
        groups: the group of each row (`stats.jackknife.assign_group` of the question's id).

    Raises:
        DataError: as `compute_lc_win_rate`, also for the rows that are left; lengths that differ; a single group.
    """
    names = list(dict.fromkeys(groups))
    if len(groups) != len(rows) or len(names) < 2:
        raise DataError(
            f"leaving groups out needs one group per row and two groups; {len(rows)} rows, {len(names)} groups"
        )
    _validate_rows(rows)
    if _is_baseline(rows):
        return 50.0, dict.fromkeys(names, 50.0)
    kept = {name: [row for row, own in zip(rows, groups, strict=True) if own != name] for name in names}
    for left in kept.values():
        _validate_rows(left)
    with _import_glm_winrate(calibration) as glm:
        rate = _fit_win_rate(glm, rows)["length_controlled_winrate"]
        return rate, {
            name: 50.0 if _is_baseline(left) else _fit_win_rate(glm, left)["length_controlled_winrate"]
            for name, left in kept.items()
        }


def _validate_rows(rows: Sequence[JudgedPair]) -> None:
    indexes = [row.index for row in rows]
    if len(set(indexes)) < len(rows) or not all(i is not None and 0 <= i < NUM_QUESTIONS for i in indexes):
        raise DataError(f"length control needs each row's own official index, 0 to {NUM_QUESTIONS - 1}")
    if not is_controllable(rows):
        raise DataError(f"length control needs answers that differ in length from the baseline's; {len(rows)} row(s)")


def _fit_win_rate(glm: ModuleType, rows: Sequence[JudgedPair]) -> dict[str, float]:
    import pandas as pd

    ordered = sorted(rows, key=lambda row: row.index or 0)
    frame = pd.DataFrame(
        {
            "preference": [row.preference for row in ordered],
            "output_1": ["x" * row.baseline_length for row in ordered],
            "output_2": ["x" * row.length for row in ordered],
            "generator_1": "baseline",
            "generator_2": "model",
        },
        index=pd.Index([row.index for row in ordered], name="index"),
    )
    result = glm.get_length_controlled_winrate(
        frame, save_weights_dir=None, is_add_glm_preference_inplace=False, is_warn_extreme_changes=False
    )
    return {key: float(result[key]) for key in ("length_controlled_winrate", "lc_standard_error")}


def get_calibration_file(path: str | None = None) -> str:
    """The calibration file: the one at `path`, else `df_gamed.csv` from the Hub (cached) at its pinned revision.

    Raises:
        DataError: it is not there, or the extra `alpaca` is not installed.
    """
    if find_spec("alpaca_eval") is None:
        raise DataError("length control needs `pip install 'archon-eval[alpaca]'`, or -T length_controlled=false")
    if path is not None:
        if not Path(path).is_file():
            raise DataError(f"calibration={path}: no such file")
        return path
    try:
        from huggingface_hub import hf_hub_download

        return hf_hub_download(HUB_REPO, "df_gamed.csv", repo_type="dataset", revision=HUB_REVISION)
    except Exception as error:
        wanted = f"df_gamed.csv of {HUB_REPO} (revision {HUB_REVISION}) is neither cached nor within reach"
        hint = "give it with -T calibration=PATH, or do without: -T length_controlled=false"
        raise DataError(f"{wanted}: {error}; {hint}") from error


def find_calibration_file(path: str | None) -> str:
    """As `get_calibration_file`; the official one where a log names a file of another machine.

    Raises:
        DataError: as `get_calibration_file`.
    """
    file, problem = _look_for_calibration(path)
    if problem:
        raise DataError(problem)
    return file


def find_calibration_problem(path: str | None) -> str:
    """Why there is no length control on this machine; empty where there is."""
    return _look_for_calibration(path)[1]


@lru_cache
def _look_for_calibration(path: str | None) -> tuple[str, str]:
    """The file, or why there is none; looked for once, since the Hub may take long to say that it is not there."""
    try:
        return get_calibration_file(path if path is None or Path(path).is_file() else None), ""
    except DataError as exc:
        return "", str(exc)


def _hash_instruction(instruction: str) -> str:
    return sha256(" ".join(instruction.split()).encode("utf-8", "surrogatepass")).hexdigest()[:12]


@cache
def _read_official_digests() -> dict[str, int]:
    """Digest -> official position."""
    lines = files("archon_eval.stats").joinpath(DIGEST_FILE).read_text("ascii").split()
    return {digest: index for index, digest in enumerate(lines)}


def _is_baseline(rows: Sequence[JudgedPair]) -> bool:
    return bool(rows) and all(row.preference == 1.5 and row.length == row.baseline_length for row in rows)


@contextmanager
def _import_glm_winrate(calibration: str | Path) -> Iterator[ModuleType]:
    """The package's regression module, which reads this calibration file meanwhile.

    Importing the package loads a `.env` file and sets the root logger's level, and fitting turns on scikit-learn's
    metadata routing. All of that is restored.
    """
    root, environment = logging.getLogger(), None
    level, handlers = root.level, root.handlers[:]
    try:
        import sklearn

        environment = dict(os.environ)
        from alpaca_eval.metrics import glm_winrate
    except ImportError as error:
        raise DataError(f"length control needs `pip install 'archon-eval[alpaca]'`: {error}") from error
    finally:
        root.setLevel(level)
        root.handlers[:] = handlers
        for name in set(os.environ) - set(environment or os.environ):
            del os.environ[name]
    download = glm_winrate.hf_hub_download
    with sklearn.config_context(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        glm_winrate.hf_hub_download = lambda **_: str(calibration)
        try:
            yield glm_winrate
        finally:
            glm_winrate.hf_hub_download = download
