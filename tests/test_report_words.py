"""Laws of the report's words: no more is said than is known."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_cases import QUALITY, corpus, with_bands

from clipcal.calibrate.contract import Contract
from clipcal.calibrate.records import Cut, Expected, Sampling
from clipcal.calibrate.report import label_words, words
from clipcal.calibrate.report.words import percent
from clipcal.calibrate.statistics.agreement.category import CategoryAgreement
from clipcal.calibrate.statistics.bounds import Estimate, Range


@given(st.floats(0, 1))
def test_a_share_is_called_all_or_none_only_if_it_is(share: float) -> None:
    assert (percent(share) == "100%") == (share == 1)
    assert (percent(share) == "0%") == (share == 0)
    assert float(percent(share).strip("<>%")) == pytest.approx(100 * share, rel=5.1e-3, abs=0.011)


def certified(**changes: object) -> tuple[Contract, Cut]:
    contract = corpus()[2]
    cut = contract.categories["alcohol"]["positive"].model_copy(update=changes)
    return contract, cut


@pytest.mark.parametrize(
    ("objective", "said"),
    [
        ("f1", "none: best F1 in the sample"),
        ("fbeta=2", "none: best F2 in the sample"),
        ("cost=5:1", "none: cheapest in the sample at 5:1 (miss : false flag)"),
        ("budget=500", "none: a budget of 500 flags"),
        ("levels", "none: where two levels are equally probable"),
    ],
)
def test_what_is_not_guaranteed_says_what_it_was_chosen_for(objective: str, said: str) -> None:
    contract, cut = certified(status="estimated", objective=objective)
    assert words.claim(cut, contract) == said
    lowered = cut.model_copy(update={"lowered": True})
    assert "lowered to a higher level's" in words.claim(lowered, contract)


def test_a_claim_names_the_confidence_that_holds() -> None:
    contract, cut = certified(confidence=0.99)
    assert words.claim(cut, contract) == "recall ≥ 90% with 99% confidence"
    joint = contract.model_copy(update={"joint": True})
    assert words.claim(cut, joint) == "recall ≥ 90% with 95% confidence"
    assert "hold together with 95% confidence" in words.together(joint, cut)
    assert "by itself with 99%" in words.together(joint, cut)
    assert "together is less certain" in words.together(contract, cut)


def test_what_lacks_labels_says_how_many_of_which() -> None:
    contract, cut = certified(status="insufficient", further_positives=17)
    assert words.claim(cut, contract) == "not yet: 17 more positives needed"
    precise = cut.model_copy(update={"objective": "precision=0.9"})
    assert "17 more flagged images labelled" in words.claim(precise, contract)
    unknown = cut.model_copy(update={"further_positives": None})
    assert words.claim(unknown, contract) == "not yet: these labels do not attain it"


@pytest.mark.parametrize(
    ("objective", "said"), [("budget=3", "share the highest score"), ("levels", "do not rise")]
)
def test_what_no_number_of_labels_cures_is_not_called_too_few(objective: str, said: str) -> None:
    contract, cut = certified(status="insufficient", objective=objective)
    assert said in words.claim(cut, contract)
    assert words.meaning(cut) == words.STATUSES["insufficient"][2]
    assert "few labels" not in words.claim(cut, contract) + words.meaning(cut)


def test_a_warning_names_a_category_only_by_its_whole_name() -> None:
    contract = corpus()[2].model_copy(update={"warnings": ("fire arms: few.", "c++, too")})
    assert words.warned("fire arms", contract)
    assert words.warned("c++", contract)
    assert words.warned("arms", contract)
    assert not words.warned("firearms", contract)
    assert not words.warned("arm", contract)


def test_evidence_is_of_the_kind_that_the_guarantee_needs() -> None:
    _, cut = certified()
    assert words.evidence(cut) == ""
    assert "61 labelled positives" in words.evidence(cut.model_copy(update={"evidence": 61}))
    precise = cut.model_copy(update={"evidence": 1, "objective": "precision=0.9"})
    assert words.evidence(precise) == "The guarantee rests on 1 flagged labelled image."


def test_only_what_is_expected_is_said() -> None:
    _, cut = certified(flags=10)
    assert words.expected(cut) == ""
    misses = cut.model_copy(update={"expected": Expected(misses=Range(2.4, 0, 7.6))})
    assert words.expected(misses) == "About 2 (0–8) positives are not flagged."


def test_the_headline_counts_every_cut_once() -> None:
    contract = corpus()[2]
    assert words.headline(contract) == (
        "3 categories: 2 certified, 1 no positives. The guarantees hold each by itself."
    )


@pytest.mark.parametrize(
    ("alpha", "said", "sure"),
    [
        (Estimate(0.9, 0.85, 0.95, 50), "agree well", True),
        (Estimate(0.9, 0.75, 0.95, 50), "agree well", False),
        (Estimate(0.7, 0.68, 0.75, 50), "agree moderately", True),
        (Estimate(0.1, -0.3, 0.7, 50), "disagree too much", False),
    ],
)
def test_agreement_is_judged_by_the_usual_bounds(alpha: Estimate, said: str, sure: bool) -> None:
    sentence = label_words.people_words(CategoryAgreement(50, 150, alpha=alpha))
    assert said in sentence
    assert ("another verdict" in sentence) != sure


@pytest.mark.parametrize(
    ("machine", "said"), [(0.5, "less than a single"), (0.7, "cannot tell"), (0.9, "more than")]
)
def test_a_machine_is_called_better_or_worse_only_where_intervals_are_apart(
    machine: float, said: str
) -> None:
    def rate(value: float) -> Estimate:
        return Estimate(value, value - 0.05, value + 0.05, 100)

    agreement = CategoryAgreement(100, 300, ceiling=rate(0.72), machine=rate(machine))
    assert said in label_words.people_words(agreement)
    kappas = CategoryAgreement(
        100,
        300,
        ceiling=rate(0.1),
        machine=rate(0.1),
        ceiling_kappa=rate(0.72),
        machine_kappa=rate(machine),
    )
    assert said in label_words.people_words(kappas)


def test_sampling_tells_the_kinds_that_there_are() -> None:
    assert "not recorded" in label_words.sampling_words(None)
    given_only = label_words.sampling_words(Sampling(given=1200, audit=0, picked=0))
    assert given_only == (
        "Of the labelled images 1,200 were labelled without a draw and are taken for a random "
        "sample."
    )
    picked = label_words.sampling_words(Sampling(given=0, audit=30, picked=5))
    assert "30 were drawn uniformly at random and 5 were picked for their scores" in picked
    assert "back no guarantee" in picked
    chosen = label_words.sampling_words(Sampling(given=3, audit=0, picked=0, chosen=37))
    assert "37 more images were labelled because somebody saw" in chosen
    assert "count in nothing until a draw" in chosen
    alone = label_words.sampling_words(Sampling(given=0, audit=0, picked=0, chosen=1))
    assert alone.startswith("1 more image was labelled")


def test_probabilities_no_better_than_the_base_rate_are_called_so() -> None:
    assert "0.081, less than the 0.123" in words.quality_words(QUALITY)
    worse = type(QUALITY)(10, 0.2, 0.5, 0.1, 0.2, ())
    assert "not less than" in words.quality_words(worse)


def test_what_is_to_do_is_said_once_for_each_threshold_without_a_guarantee() -> None:
    _, cut = certified()
    assert words.next_steps(cut) == ()
    banded = with_bands(cut, None)
    assert words.next_steps(banded) == ("Label more of the highest scores.",)
    same = banded.model_copy(update={"status": "insufficient", "next_step": "Label more."})
    assert words.next_steps(same) == ("Label more.", "Label more of the highest scores.")
    assert banded.bands is not None
    assert "may be blocked unseen" in words.meaning(banded.bands)


def test_a_category_without_any_label_is_not_called_one_without_positives() -> None:
    _, cut = certified(status="no_positives", threshold=None, n=0)
    assert words.meaning(cut).startswith("No image is labelled here")
    labelled = cut.model_copy(update={"n": 5})
    assert words.meaning(labelled).startswith("No image is labelled positive")
