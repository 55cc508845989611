"""Laws of calibrate, score and rescore as commands: what they write, keep, print and refuse."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from conftest import IDENTITY, unit

from clipcal.calibrate.contract import Contract
from clipcal.cli import app
from clipcal.index.store import Corpus, Outcome
from clipcal.prompts.vectors import TextVectors

IMAGES = 120
SETS = {
    "own": """
levels = ["none", "minor", "major"]
[category.fire]
prompts = ["a fire"]
[category.water]
prompts = ["the sea"]
[overall]
bad = "major >= 1"
otherwise = "good"
""",
    "other": '[category.earth]\nprompts = ["a fire"]\n',
}

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A corpus of made-up vectors, two prompt sets and labels; and a command to run on them."""
    corpus = Corpus.create(tmp_path / "corpus", IDENTITY)
    vectors = unit(IMAGES, 0)
    outcomes = [Outcome(f"/photos/{i}.jpg", f"{i:064d}", row=i) for i in range(IMAGES)]
    corpus.commit(outcomes, vectors.astype(np.float16), [o.sha256 for o in outcomes])
    corpus.close()
    texts = unit(2, 5)
    TextVectors(("a fire", "the sea"), texts, IDENTITY.fingerprint).save(tmp_path / "text.npz")
    for name, text in SETS.items():
        (tmp_path / f"{name}.toml").write_text(text)
    label(tmp_path, np.digitize(vectors @ texts.T, [0.0, 0.3]))
    rest = ["--corpus", str(tmp_path / "corpus"), "--prompt-vectors", str(tmp_path / "text.npz")]

    def command(*arguments: object) -> Result:
        words = [str(tmp_path / a) if isinstance(a, Path) else str(a) for a in arguments]
        return CliRunner().invoke(app, [*words, *rest], catch_exceptions=True)

    return command


def label(folder: Path, ranks: np.ndarray, suffix: str = ".jpg") -> None:
    words = np.array(["none", "minor", "major"])[ranks]
    rows = [(f"{i}{suffix}", *row) for i, row in enumerate(words)]
    with (folder / "human.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([("image", "fire", "water"), *rows])


def calibrate(run: Run, *more: object, prompts: str = "own.toml") -> Result:
    named = ("--labels", Path("human.csv"), "--prompts", Path(prompts), "-o", Path("c.json"))
    return run("calibrate", *named, *more)


def rescore(run: Run, *more: object) -> Result:
    return run("rescore", "--calibration", Path("c.json"), "-o", Path("d.csv"), *more)


def test_calibrate_tells_every_cut_as_json(run: Run) -> None:
    told = json.loads(calibrate(run, "--json", "--target", " Recall = .9").stdout)
    assert list(told["categories"]) == ["fire", "water"]
    for levels in told["categories"].values():
        assert list(levels) == ["minor", "major"]
        for cut in levels.values():
            assert cut["status"] in {"certified", "insufficient", "no_positives"}
            assert isinstance(cut["threshold"], float)
            assert cut["n"] == IMAGES
            assert 0 < cut["positives"] < IMAGES
            assert isinstance(cut["guarantee"], str) == (cut["status"] == "certified")
    assert {levels["minor"]["status"] for levels in told["categories"].values()} == {"certified"}
    assert told["target"] == "recall=0.9"
    assert told["unmatched"] == told["notes"] == []


def test_a_yes_or_no_calibration_has_one_cut_called_positive(run: Run, tmp_path: Path) -> None:
    (tmp_path / "two.toml").write_text(SETS["own"].split("[overall]")[0].replace("levels", "#"))
    rows = [(f"{i}.jpg", i % 2, 1 - i % 2) for i in range(IMAGES)]
    with (tmp_path / "human.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([("image", "fire", "water"), *rows])
    told = json.loads(calibrate(run, "--json", prompts="two.toml").stdout)
    assert [list(levels) for levels in told["categories"].values()] == [["positive"]] * 2


def test_a_calibration_that_cannot_be_written_changes_nothing(run: Run, tmp_path: Path) -> None:
    assert calibrate(run).exit_code == 0
    before = Corpus.open(tmp_path / "corpus").labels()
    label(tmp_path, np.zeros((IMAGES, 2), int))
    nowhere = ("-o", Path("nowhere/c.json"), "--prompts", Path("own.toml"))
    refused = run("calibrate", "--labels", Path("human.csv"), *nowhere)
    assert refused.exit_code != 0
    assert Corpus.open(tmp_path / "corpus").labels() == before


def test_a_score_with_another_set_leaves_a_later_rescore_alone(run: Run) -> None:
    assert calibrate(run).exit_code == 0
    before = json.loads(rescore(run, "--json").stdout)
    assert run("score", "--prompts", Path("other.toml"), "-o", Path("s.csv")).exit_code == 0
    assert json.loads(rescore(run, "--json").stdout) == before
    assert run("score", "-o", Path("s.parquet"), "--json").stdout.count("fire") == 1


@pytest.mark.parametrize("change", ["deleted", "edited"])
def test_a_calibration_outlives_the_file_of_its_prompt_set(
    run: Run, tmp_path: Path, change: str
) -> None:
    assert calibrate(run).exit_code == 0
    before = json.loads(rescore(run, "--json").stdout)
    file = tmp_path / "own.toml"
    file.unlink() if change == "deleted" else file.write_text(SETS["other"])
    assert json.loads(rescore(run, "--json").stdout) == before


def test_a_set_named_at_rescore_must_be_the_calibrations_own(run: Run) -> None:
    assert calibrate(run).exit_code == 0
    assert rescore(run, "--prompts", Path("own.toml")).exit_code == 0
    refused = rescore(run, "--prompts", Path("other.toml"))
    assert refused.exit_code != 0
    assert "prompts differs" in str(refused.exception)
    assert "(own)" in str(refused.exception)


def test_a_rescore_writes_counts_and_tells_the_overall_verdict(run: Run, tmp_path: Path) -> None:
    assert calibrate(run).exit_code == 0
    told = json.loads(rescore(run, "--json").stdout)
    with (tmp_path / "d.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert list(rows[0])[-1] == "overall"
    for row in rows:
        assert row["overall"] == ("bad" if "major" in (row["fire"], row["water"]) else "good")
    bad = sum(row["overall"] == "bad" for row in rows)
    expected = {"verdicts": {"bad": bad, "good": IMAGES - bad}, "undecided": 0}
    assert told["overall"] == expected
    table = rescore(run).stdout
    assert re.search(rf"overall\s+good\s+{IMAGES - bad}\s", table)


def test_cuts_without_a_guarantee_they_were_to_have_are_warned_of(run: Run, tmp_path: Path) -> None:
    ranks = np.zeros((IMAGES, 2), int)
    ranks[:100, 0], ranks[:3, 1] = 2, 1
    label(tmp_path, ranks)
    assert calibrate(run).exit_code == 0
    done = rescore(run)
    warnings = [line for line in done.stderr.splitlines() if line.startswith("Warning: ")]
    assert [line.split(":")[1:3] for line in warnings] == [
        [" water, minor", " insufficient"],
        [" water, major", " no_positives"],
    ]
    assert "attains recall=0.9 in the sample only. recall=0.9 takes about" in warnings[0]
    assert "clipcal suggest --category water -n 40" in warnings[1]
    assert "insufficient" in done.stdout
    told = json.loads(rescore(run, "--json").stdout)
    assert told["statuses"]["water"] == {"minor": "insufficient", "major": "no_positives"}
    assert told["statuses"]["fire"] == {"minor": "certified", "major": "certified"}
    assert len(told["warnings"]) == 2


def test_yes_or_no_labels_cannot_feed_rules_over_levels_and_that_is_said(
    run: Run, tmp_path: Path
) -> None:
    rows = [(f"{i}.jpg", *(("yes", "no") if i % 2 else ("no", "yes"))) for i in range(IMAGES)]
    with (tmp_path / "human.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([("image", "fire", "water"), *rows])
    assert calibrate(run).exit_code == 0
    done = rescore(run)
    assert "No overall verdict: its rules count major" in done.stderr
    assert "overall" not in (tmp_path / "d.csv").read_text().splitlines()[0]


def test_images_found_by_their_name_alone_are_noted_with_their_number(
    run: Run, tmp_path: Path
) -> None:
    label(tmp_path, np.tile([[0], [2]], (IMAGES // 2, 2)), suffix=".png")
    done = calibrate(run)
    assert f"{IMAGES} images were found by file name alone, such as 0.png." in done.stderr
    label(tmp_path, np.tile([[0], [2]], (IMAGES // 2, 2)), suffix="")
    assert "name alone" not in calibrate(run).stderr


def test_the_contract_holds_its_whole_prompt_set(run: Run, tmp_path: Path) -> None:
    assert calibrate(run).exit_code == 0
    kept = Contract.load(tmp_path / "c.json").prompt_set
    assert (kept.name, kept.parse().sha256) == ("own", kept.sha256)
    assert dict(kept.parse().overall) == {"bad": "major >= 1", "otherwise": "good"}


@pytest.mark.parametrize("target", ["nonsense", "recall=1", "recall=0", ""])
def test_a_target_that_is_none_is_a_wrong_call(run: Run, target: str) -> None:
    done = calibrate(run, "--target", target)
    assert done.exit_code == 2
    assert "recall=0.9" in done.stderr


def test_no_result_overwrites_what_it_is_made_from(run: Run, tmp_path: Path) -> None:
    label(tmp_path, np.zeros((IMAGES, 2), int))
    before = (tmp_path / "human.csv").read_bytes()
    done = calibrate(run, "-o", Path("human.csv"))
    assert done.exit_code == 2
    assert (tmp_path / "human.csv").read_bytes() == before


def test_decisions_are_only_written_as_what_they_are(run: Run) -> None:
    assert calibrate(run).exit_code == 0
    done = rescore(run, "-o", Path("d.parquet"))
    assert done.exit_code == 2
    assert ".csv" in done.stderr


# --- thresholds placed by hand --------------------------------------------------------------


def placed(run: Run, *options: object) -> dict[str, dict[str, dict[str, object]]]:
    result = calibrate(run, "--target", "recall=0.5", "--folds", "0", "--json", *options)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)["categories"]


def test_a_placed_threshold_is_the_one_that_decides(run: Run, tmp_path: Path) -> None:
    options = ("--threshold", "fire:minor=0.05", "--threshold", "fire:major=0.3")
    cuts = placed(run, *options, "--upper", "fire:major=0.4")
    assert (cuts["fire"]["minor"]["threshold"], cuts["fire"]["major"]["threshold"]) == (0.05, 0.3)
    assert cuts["fire"]["major"]["bands"]["by_hand"]
    assert not cuts["water"]["minor"]["by_hand"]
    assert rescore(run).exit_code == 0
    with (tmp_path / "d.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    for row in rows:
        score = np.float32(row["fire_score"])
        level = ("none", "minor", "major")[int(score >= np.float32(0.05)) + int(score >= 0.3)]
        assert row["fire"] == level
        band = ("allow", "review", "block")[int(score >= np.float32(0.3)) + int(score >= 0.4)]
        assert row["fire_major_band"] == band


def test_the_tables_say_which_thresholds_were_placed(run: Run) -> None:
    shown = calibrate(run, "--folds", "0", "--threshold", "fire:major=0.9").output
    assert "estimated, by hand" in shown
    assert "some thresholds placed by hand" in shown
    assert "nothing is promised of it" in shown


def test_a_report_tells_placed_thresholds_from_fitted_ones(run: Run, tmp_path: Path) -> None:
    placed(run, "--threshold", "fire:major=0.9", "--upper", "water:minor=0.8")
    page = tmp_path / "report.html"
    done = run("report", "--calibration", Path("c.json"), "-o", page)
    assert done.exit_code == 0, done.output
    text = page.read_text("utf-8")
    assert "placed by hand" in text
    assert "Placed by hand; nothing is guaranteed." in text


def test_a_threshold_needs_no_labels(run: Run, tmp_path: Path) -> None:
    own = ("--prompts", Path("own.toml"), "-o", Path("c.json"))
    done = run("calibrate", *own, "--threshold", "fire:minor=0.1")
    assert done.exit_code == 0, done.output
    cut = Contract.load(tmp_path / "c.json").categories["fire"]["minor"]
    assert (cut.status, cut.threshold, cut.n) == ("estimated", 0.1, 0)
    assert run("calibrate", *own).exit_code == 2


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["--threshold", "fire"], 2, "places no threshold"),
        (["--upper", "fire:minor=x"], 2, "places no threshold"),
        (["--threshold", "fire=0.1"], 1, "has several levels"),
        (["--threshold", "earth:minor=0.1"], 1, "no category 'earth'"),
        (["--threshold", "fire:minor=0.3", "--threshold", "fire:major=0.1"], 1, "must not cross"),
    ],
)
def test_a_threshold_that_cannot_be_placed_says_why(
    run: Run, options: list[str], code: int, said: str
) -> None:
    result = calibrate(run, *options)
    assert result.exit_code == code
    assert said in " ".join(f"{result.output} {result.exception}".split())
