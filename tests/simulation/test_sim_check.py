"""The comparison with the papers' ablations: its shape, its arithmetic, and that it is the same each time."""

from pathlib import Path

import pytest

from archon_eval.simulation.check import PUBLISHED, SAMPLE_COUNTS, check_agreement, compute_spearman


def test_rank_correlation() -> None:
    assert compute_spearman([1, 2, 3], [10, 20, 30]) == pytest.approx(1)
    assert compute_spearman([1, 2, 3], [3, 2, 1]) == pytest.approx(-1)
    assert compute_spearman([1, 1, 2], [1, 2, 3]) == pytest.approx(0.8660254)
    assert compute_spearman([1, 1, 1], [1, 2, 3]) == 0


def test_it_covers_every_ablation_and_repeats() -> None:
    agreement = check_agreement(questions=6, families=("alpaca", "math"))
    assert set(agreement["spearman"]) == {"alpaca", "alpaca_raw", "math"}
    assert set(agreement["ablations"]["math"]) == set(PUBLISHED)
    assert all(
        set(curve) == {str(count) for count in SAMPLE_COUNTS} for curve in agreement["curves"]["alpaca"].values()
    )
    assert check_agreement(questions=6, families=("alpaca", "math")) == agreement


def test_the_published_table_is_the_papers(shared_data: Path) -> None:
    """The same figures stand in the notes on the papers beside the checkout, where these are at hand."""
    notes = shared_data.parent / "design" / "PAPER.md"
    if not notes.is_file():
        pytest.skip(f"no notes on the papers at {notes}")
    text = notes.read_text(encoding="utf-8")
    for row in PUBLISHED.values():
        assert " | ".join(f"{figure:.1f}" for figure in row) in text


def test_the_curves_can_be_left_out() -> None:
    assert check_agreement(questions=2, families=("math",), curves=False)["curves"] == {"math": {}}
