"""Laws of targets, bands and probabilities at the command line, from labels to decisions."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from conftest import IDENTITY, unit

from clipcal.calibrate.contract import Contract
from clipcal.calibrate.sampling.tuned import remember_tuned
from clipcal.cli import app
from clipcal.errors import CalibrationError, ClipcalError
from clipcal.index.store import Corpus, Outcome
from clipcal.prompts.promptset import load_prompt_set
from clipcal.prompts.vectors import TextVectors

IMAGES = 400
NAMES = ("fire", "water")
LADDER = ("none", "minor", "major")
SET = """
levels = ["none", "minor", "major"]
[category.fire]
prompts = ["a fire"]
[category.water]
prompts = ["the sea"]
[overall]
bad = "major >= 1"
otherwise = "good"
"""
Run = Callable[..., Result]


TEXTS = unit(2, 5)


def grow(folder: Path, vectors: np.ndarray) -> None:
    path = folder / "corpus"
    corpus = Corpus.open_or_create(path, IDENTITY)
    start = corpus.rows
    numbers = range(start, start + len(vectors))
    outcomes = [Outcome(f"/photos/{n}.jpg", f"{n:064d}", row=n) for n in numbers]
    corpus.commit(outcomes, vectors.astype(np.float16), [o.sha256 for o in outcomes])
    corpus.close()


@pytest.fixture
def ranks() -> np.ndarray:
    """What people say: near what the scores say."""
    noise = np.random.default_rng(1).normal(scale=0.08, size=(IMAGES, 2))
    return np.digitize(unit(IMAGES, 0) @ TEXTS.T + noise, [0.0, 0.25])


@pytest.fixture
def run(tmp_path: Path, ranks: np.ndarray) -> Run:
    grow(tmp_path, unit(IMAGES, 0))
    file = tmp_path / "text.npz"
    TextVectors(("a fire", "the sea"), TEXTS, IDENTITY.fingerprint).save(file)
    (tmp_path / "own.toml").write_text(SET)
    write(tmp_path / "human.csv", ranks)
    rest = ["--corpus", str(tmp_path / "corpus"), "--prompt-vectors", str(file)]

    def command(*arguments: object) -> Result:
        words = [str(tmp_path / a) if isinstance(a, Path) else str(a) for a in arguments]
        return CliRunner().invoke(app, [*words, *rest])

    return command


def write(file: Path, ranks: np.ndarray, rows: Sequence[int] | None = None) -> None:
    chosen = range(len(ranks)) if rows is None else rows
    lines = [(f"{i}.jpg", *(LADDER[rank] for rank in ranks[i])) for i in chosen]
    with file.open("w", newline="") as stream:
        csv.writer(stream).writerows([("image", *NAMES), *lines])


def calibrate(run: Run, *more: object, labels: str = "human.csv") -> Result:
    named = ("--labels", Path(labels), "--prompts", Path("own.toml"), "-o", Path("c.json"))
    return run("calibrate", *named, "--folds", "0", *more)


def told(done: Result) -> dict:
    assert done.exit_code == 0, (done.output, done.exception)
    return json.loads(done.stdout)


def refusal(done: Result) -> str:
    assert done.exit_code == 1
    assert isinstance(done.exception, ClipcalError), done.exception
    return str(done.exception)


def decided(run: Run, folder: Path) -> tuple[Contract, list[dict[str, str]], dict]:
    named = ("--calibration", Path("c.json"), "-o", Path("d.csv"))
    result = told(run("rescore", *named, "--json"))
    with (folder / "d.csv").open(newline="") as stream:
        return Contract.load(folder / "c.json"), list(csv.DictReader(stream)), result


# --- what is asked for ----------------------------------------------------------------------

TARGETS = ("recall=0.8", "precision=0.5", "f1", "fbeta=2", "cost=5:1", "budget=30", "levels")


@pytest.mark.parametrize("target", TARGETS)
def test_every_target_goes_from_labels_to_decisions_in_order(
    run: Run, tmp_path: Path, target: str
) -> None:
    done = told(calibrate(run, "--target", target.upper(), "--json"))
    assert done["target"] == target
    contract, rows, _ = decided(run, tmp_path)
    for category in NAMES:
        cuts = contract.categories[category]
        held = [cut.threshold for cut in cuts.values() if cut.threshold is not None]
        assert held == sorted(held)
        for rank, cut in enumerate(cuts.values(), start=1):
            if cut.threshold is not None:
                reached = sum(LADDER.index(row[category]) >= rank for row in rows)
                assert cut.flags == reached


@pytest.mark.parametrize("option", ["--target", "--bands"])
@pytest.mark.parametrize("text", ["recall", "recall=1", "cost=1", "accuracy=0.9,precision=0.8"])
def test_what_is_no_target_is_a_wrong_call_that_shows_a_right_one(
    run: Run, option: str, text: str
) -> None:
    done = calibrate(run, f"{option}={text}")
    assert done.exit_code == 2
    assert "clipcal calibrate" in done.stderr
    assert "=0.9" in done.stderr


def test_a_joint_promise_says_so_and_asks_more(run: Run) -> None:
    single = told(calibrate(run, "--target", "recall=0.8", "--json"))
    joint = told(calibrate(run, "--target", "recall=0.8", "--joint", "--json"))
    assert (single["joint"], joint["joint"]) == (False, True)
    for category in NAMES:
        for level in LADDER[1:]:
            alone, together = (x["categories"][category][level] for x in (single, joint))
            assert alone["confidence"] == pytest.approx(0.95)
            assert together["confidence"] == pytest.approx(1 - 0.05 / 4)
            if together["status"] == "certified":
                assert "for all guarantees together" in together["guarantee"]


# --- a budget -------------------------------------------------------------------------------


def test_a_budget_needs_no_labels_and_is_kept(run: Run, tmp_path: Path) -> None:
    named = ("--target", "budget=25", "--prompts", Path("own.toml"), "-o", Path("c.json"))
    done = told(run("calibrate", *named, "--json"))
    assert done["labels"]["images"] == 0
    contract, rows, _ = decided(run, tmp_path)
    for category in NAMES:
        assert sum(row[category] != "none" for row in rows) == 25
        assert contract.categories[category]["minor"].flags == 25
    assert Corpus.open(tmp_path / "corpus").labels() == {}


@pytest.mark.parametrize("more", [("--target", "f1"), ("--target", "recall=0.9"), ("--bands",), ()])
def test_all_else_without_labels_is_refused_with_the_next_command(
    run: Run, more: tuple[str, ...]
) -> None:
    done = run("calibrate", "--prompts", Path("own.toml"), *more)
    assert done.exit_code == 2
    assert "--labels" in done.stderr
    assert "budget" in done.stderr


@pytest.mark.parametrize("more", [("--overall", "fitted"), ("--learn",), ("--holdout", "0.5")])
def test_what_needs_labels_is_refused_beside_a_budget_without_them(
    run: Run, tmp_path: Path, more: tuple[str, ...]
) -> None:
    named = ("--target", "budget=25", "--prompts", Path("own.toml"), "-o", Path("c.json"))
    assert "abel" in refusal(run("calibrate", *named, *more))
    assert not (tmp_path / "c.json").exists()


# --- the decisions' own numbers -------------------------------------------------------------


def test_a_rescore_is_what_anyone_would_make_of_its_own_numbers(run: Run, tmp_path: Path) -> None:
    bands = ("--bands", "recall=0.8,precision=0.5", "--probabilities", "platt")
    assert calibrate(run, *bands).exit_code == 0
    contract, rows, result = decided(run, tmp_path)
    assert len(rows) == IMAGES
    scores = unit(IMAGES, 0).astype(np.float16).astype(np.float64) @ TEXTS.T.astype(np.float64)
    blocked = 0
    for column, category in enumerate(NAMES):
        minor, major = contract.categories[category].values()
        values = np.array([row[f"{category}_score"] for row in rows], np.float32)
        np.testing.assert_allclose(values, scores[:, column], atol=2e-6)
        rank = (values >= np.float32(minor.threshold)).astype(int)
        rank[values >= np.float32(major.threshold)] = 2
        assert [row[category] for row in rows] == [LADDER[r] for r in rank]
        assert {row[f"{category}_threshold"] for row in rows} == {str(np.float32(minor.threshold))}
        probability = {}
        for level, cut in (("minor", minor), ("major", major)):
            assert cut.bands is not None
            assert cut.probability is not None
            names = np.where(values < np.float32(cut.threshold), "allow", "review")
            if cut.bands.upper is not None:
                names[values >= np.float32(cut.bands.upper)] = "block"
                blocked += (names == "block").sum()
            written = [row[f"{category}_{level}_band"] for row in rows]
            assert written == names.tolist()
            counts = {band: written.count(band) for band in ("allow", "review", "block")}
            assert result["bands"][f"{category}_{level}_band"] == counts
            assert counts == {
                "allow": cut.bands.allow,
                "review": cut.bands.review,
                "block": cut.bands.block,
            }
            slope, intercept, centre, scale = cut.probability.map.parameters
            logits = slope * (values.astype(np.float64) - centre) / scale + intercept
            probability[level] = 1 / (1 + np.exp(-logits))
        least = np.minimum(probability["minor"], probability["major"])
        for level, expected in (("minor", probability["minor"]), ("major", least)):
            written = np.array([row[f"{category}_{level}_probability"] for row in rows], float)
            np.testing.assert_allclose(written, expected, rtol=1e-5, atol=1e-7)
    assert blocked > 0
    bad = [any(row[c] == "major" for c in NAMES) for row in rows]
    assert [row["overall"] == "bad" for row in rows] == bad


# --- labels that promise nothing ------------------------------------------------------------


def suggested(run: Run, folder: Path, ranks: np.ndarray, *more: object) -> list[str]:
    """Suggest images, label them as people would, and return their numbers."""
    done = run(
        "suggest", "-n", "120", "-o", Path("sheet.csv"), "--prompts", Path("own.toml"), *more
    )
    assert done.exit_code == 0, (done.output, done.exception)
    with (folder / "sheet.csv").open(newline="") as stream:
        header, *rows = csv.reader(stream)
    filled = []
    for image, *_ in rows:
        number = int(Path(image).stem)
        words = {name: LADDER[rank] for name, rank in zip(NAMES, ranks[number], strict=True)}
        filled.append((image, *(words[name] for name in header[1:])))
    with (folder / "sheet.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([header, *filled])
    return [image for image, *_ in rows]


@pytest.mark.parametrize("category", [(), ("--category", "fire")])
@pytest.mark.parametrize("target", [("--target", "recall=0.8"), ("--bands",)])
def test_labels_picked_near_thresholds_alone_guarantee_nothing(
    run: Run, tmp_path: Path, ranks: np.ndarray, category: tuple[str, ...], target: tuple[str, ...]
) -> None:
    suggested(run, tmp_path, ranks, "--audit", "0", "--method", "stratified", *category)
    reason = refusal(calibrate(run, *target, labels="sheet.csv"))
    assert "picked for their scores" in reason
    assert "clipcal suggest --audit 1" in reason
    done = told(calibrate(run, "--target", "f1", "--json", labels="sheet.csv"))
    assert done["sampling"] == {"given": 0, "audit": 0, "picked": 120, "chosen": 0}


def test_labels_drawn_at_random_guarantee_what_they_can(
    run: Run, tmp_path: Path, ranks: np.ndarray
) -> None:
    suggested(run, tmp_path, ranks, "--audit", "1")
    audited = told(calibrate(run, "--target", "recall=0.5", "--json", labels="sheet.csv"))
    assert audited["sampling"] == {"given": 0, "audit": 120, "picked": 0, "chosen": 0}
    assert audited["categories"]["fire"]["minor"]["status"] == "certified"


def test_picked_labels_beside_random_ones_are_no_evidence(
    run: Run, tmp_path: Path, ranks: np.ndarray
) -> None:
    write(tmp_path / "first.csv", ranks, range(150))
    options = ("--target", "recall=0.5", "--json")
    before = told(calibrate(run, *options, labels="first.csv"))
    picked = suggested(run, tmp_path, ranks, "--audit", "0", "--calibration", Path("c.json"))
    numbers = [int(Path(image).stem) for image in picked]
    assert not set(numbers) & set(range(150))
    write(tmp_path / "all.csv", ranks, [*range(150), *numbers])
    after = told(calibrate(run, *options, labels="all.csv"))
    assert after["sampling"] == {"given": 150, "audit": 0, "picked": 120, "chosen": 0}
    for category in NAMES:
        for level in LADDER[1:]:
            old, new = (x["categories"][category][level] for x in (before, after))
            assert (new["status"], new["evidence"]) == (old["status"], old["evidence"])
            if new["status"] == "certified" and not (new["lowered"] or old["lowered"]):
                assert new["threshold"] == old["threshold"]
            assert new["n"] == old["n"] + 120


def tuned(run: Run, folder: Path) -> None:
    """Note that the prompts were chosen on the first 200 images."""
    corpus = Corpus.open(folder / "corpus")
    remember_tuned(corpus, load_prompt_set(str(folder / "own.toml")).sha256, range(200))
    corpus.close()


@pytest.mark.parametrize("target", ["recall=0.8", "precision=0.5", "bands"])
def test_labels_on_which_prompts_were_chosen_guarantee_nothing(
    run: Run, tmp_path: Path, ranks: np.ndarray, target: str
) -> None:
    tuned(run, tmp_path)
    asked = ("--bands",) if target == "bands" else ("--target", target)
    write(tmp_path / "same.csv", ranks, range(200))
    with (tmp_path / "same.csv").open("a") as stream:
        stream.write("\n")
    reason = refusal(calibrate(run, *asked, labels="same.csv"))
    assert "chosen on these very labels" in reason
    assert "--target f1" in reason
    for unpromised in ("f1", "cost=5:1", "levels", "budget=20"):
        done = told(calibrate(run, "--target", unpromised, "--json", labels="same.csv"))
        assert "flatter" in " ".join(done["warnings"])
    write(tmp_path / "others.csv", ranks, range(200, 400))
    alone = told(calibrate(run, *asked, "--json", labels="others.csv"))
    company = told(calibrate(run, *asked, "--json"))
    assert not alone["warnings"]
    assert "chosen on 200 of the labelled images" in company["warnings"][0]
    for category in NAMES:
        for level in LADDER[1:]:
            cuts = [x["categories"][category][level] for x in (alone, company)]
            assert cuts[0]["status"] == cuts[1]["status"]
            assert cuts[0]["evidence"] == cuts[1]["evidence"]
            if cuts[0]["guarantee"]:
                assert "the prompts were not chosen on" in cuts[0]["guarantee"]


# --- drift ----------------------------------------------------------------------------------


def test_new_images_of_another_kind_are_warned_of_by_name(run: Run, tmp_path: Path) -> None:
    assert calibrate(run).exit_code == 0
    assert decided(run, tmp_path)[2]["drift"] == {}
    grow(tmp_path, unit(29, 1, shift=4))
    assert decided(run, tmp_path)[2]["drift"] == {}
    grow(tmp_path, unit(200, 2, shift=4))
    _, rows, result = decided(run, tmp_path)
    assert len(rows) == IMAGES + 229
    moved = [name for name, drift in result["drift"].items() if drift["drifted"]]
    assert moved
    assert {drift["n"] for drift in result["drift"].values()} == {229}
    done = run("rescore", "--calibration", Path("c.json"), "-o", Path("d.csv"))
    for name in moved:
        assert f"Warning: {name}: the scores of 229 images" in done.stderr
    assert any(warning.startswith(f"{moved[0]}: the scores") for warning in result["warnings"])
    assert told(calibrate(run, "--json"))["labels"]["images"] == IMAGES
    assert decided(run, tmp_path)[2]["drift"] == {}  # fitted anew, nothing is new


# --- the seal -------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["rescore", "suggest"])
def test_an_edited_calibration_is_applied_to_nothing(
    run: Run, tmp_path: Path, command: str
) -> None:
    assert calibrate(run).exit_code == 0
    file = tmp_path / "c.json"
    content = json.loads(file.read_text())
    content["categories"]["fire"]["minor"]["threshold"] = -1.0
    file.write_text(json.dumps(content))
    done = run(command, "--calibration", Path("c.json"), "-o", Path("d.csv"))
    assert "changed after it was fitted" in refusal(done)
    assert not (tmp_path / "d.csv").exists()


# --- labels as people make them -------------------------------------------------------------


@pytest.mark.parametrize(
    ("encoding", "delimiter", "suffix"),
    [("utf-8-sig", ";", ""), ("utf-16", "\t", ".jpg"), ("utf-8", ",", ".png")],
)
def test_a_spreadsheets_export_calibrates_as_the_plain_file_does(
    run: Run, tmp_path: Path, ranks: np.ndarray, encoding: str, delimiter: str, suffix: str
) -> None:
    plain = told(calibrate(run, "--json"))
    lines = [
        f"{i}{suffix}{delimiter}{LADDER[a]}{delimiter} {LADDER[b].upper()} "
        for i, (a, b) in enumerate(ranks)
    ]
    header = delimiter.join(("Image", "Fire", "Water"))
    text = "\r\n".join([header, *lines, ""])
    (tmp_path / "export.csv").write_text(text, encoding=encoding, newline="")
    other = told(calibrate(run, "--json", labels="export.csv"))
    for category in NAMES:
        for level in LADDER[1:]:
            one, two = (x["categories"][category][level] for x in (plain, other))
            assert (one["threshold"], one["evidence"]) == (two["threshold"], two["evidence"])


def test_a_file_whose_name_is_no_utf8_calibrates_and_is_named(run: Run, tmp_path: Path) -> None:
    strange = Path(os.fsdecode(os.fsencode(tmp_path / "people") + b"\xff.csv"))
    try:
        strange.write_bytes((tmp_path / "human.csv").read_bytes())
    except OSError:
        pytest.skip("this file system keeps such names away")
    named = ("--labels", strange, "--prompts", Path("own.toml"), "-o", Path("c.json"))
    assert run("calibrate", *named, "--folds", "0").exit_code == 0
    assert Contract.load(tmp_path / "c.json").labels.name == r"people\xff.csv"


def test_an_unknown_level_stops_at_its_line_and_leaves_all_as_it_was(
    run: Run, tmp_path: Path
) -> None:
    file = tmp_path / "human.csv"
    lines = file.read_text().splitlines()
    lines[7] = "6.jpg,terrible,none"
    file.write_text("\n".join(lines))
    reason = refusal(calibrate(run))
    assert "terrible" in reason
    assert "8" in reason
    assert "major" in reason
    assert not (tmp_path / "c.json").exists()


def test_several_raters_and_a_hold_out_go_together(
    run: Run, tmp_path: Path, ranks: np.ndarray
) -> None:
    rng = np.random.default_rng(3)
    with (tmp_path / "raters.csv").open("w", newline="") as stream:
        sheet = csv.writer(stream)
        sheet.writerow(("image", "rater", *NAMES))
        for image, row in enumerate(ranks):
            for rater in "abc":
                noisy = np.clip(row + (rng.random(2) < 0.1), 0, 2)
                sheet.writerow((f"{image}.jpg", rater, *(LADDER[rank] for rank in noisy)))
    options = ("--holdout", "0.3", "--folds", "4", "--json")
    people = told(calibrate(run, *options, labels="raters.csv"))["people"]
    assert people["fire"]["machine"]["n"] == IMAGES
    assert people["fire"]["ratings"] == 3 * IMAGES


def test_an_overall_verdict_and_a_hold_out_go_together(
    run: Run, tmp_path: Path, ranks: np.ndarray
) -> None:
    file = tmp_path / "human.csv"
    header, *lines = file.read_text().splitlines()
    verdicts = ["bad" if row.max() == 2 else "good" for row in ranks]
    whole = [f"{line},{verdict}" for line, verdict in zip(lines, verdicts, strict=True)]
    file.write_text("\n".join([f"{header},Overall", *whole]))
    options = ("--holdout", "0.3", "--folds", "4", "--overall", "fitted", "--json")
    overall = told(calibrate(run, *options))["overall"]
    assert overall["images"] == 0.7 * IMAGES
    assert overall["rule_agreement"]["n"] == 0.7 * IMAGES
    contract, rows, result = decided(run, tmp_path)
    assert contract.overall is not None
    assert sum(result["overall"]["verdicts"].values()) == IMAGES
    assert np.mean([row["overall"] == v for row, v in zip(rows, verdicts, strict=True)]) > 0.7


def test_a_refused_calibration_is_a_calibration_error(run: Run, tmp_path: Path) -> None:
    (tmp_path / "human.csv").write_text("image,fire,water\nelsewhere.jpg,none,major\n")
    done = calibrate(run)
    assert isinstance(done.exception, CalibrationError)
    assert "elsewhere.jpg" in refusal(done)


@pytest.mark.parametrize(
    ("options", "needed"),
    [
        (("--joint", "--target", "f1"), "--joint"),
        (("--bands", "--target", "f1"), "--target"),
        (("--prior-shift",), "--probabilities"),
    ],
)
def test_an_option_without_effect_is_a_wrong_call(
    run: Run, options: tuple[str, ...], needed: str
) -> None:
    done = calibrate(run, *options)
    assert done.exit_code == 2
    assert needed in done.stderr


def test_the_prompt_set_that_is_read_is_not_written_over(run: Run, tmp_path: Path) -> None:
    prompts = next(tmp_path.glob("*.toml"))
    before = prompts.read_bytes()
    done = calibrate(run, "--prompts", str(prompts), "-o", str(prompts))
    assert done.exit_code == 2
    assert prompts.read_bytes() == before
