"""Laws of the workspace: each request sees the corpus as it is, and no path of the machine."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from service_case import IMAGES, settings_of, stock

from clipcal.calibrate.contract import Contract
from clipcal.calibrate.plan import CalibrationPlan
from clipcal.calibrate.scoring.under_contract import PROMPTS_NOTE
from clipcal.errors import CorpusBusy, StoreError
from clipcal.index.judgements import Said, judge, undo
from clipcal.index.neighbours import read_card
from clipcal.index.store import Corpus, Outcome
from clipcal.models.identity import ModelIdentity
from clipcal.service.gate.problems import Refused, UnusableCalibrationError
from clipcal.service.replies.present import labels_at, present_items
from clipcal.service.served import workspace as module
from clipcal.service.served.names import Names, names_of
from clipcal.service.served.once import Newest
from clipcal.service.served.workspace import Workspace

__all__ = ["stock"]


@pytest.fixture
def folder(stock: Path, tmp_path: Path) -> Path:
    """A corpus and a calibration of the test's own."""
    return Path(shutil.copytree(stock, tmp_path / "own"))


@pytest.fixture
def workspace(folder: Path) -> Iterator[Workspace]:
    opened = Workspace(settings_of(folder))
    yield opened
    opened.close()


def add(path: Path, name: str = "/elsewhere/new.jpg") -> None:
    """Embed one more image, as another process does."""
    corpus = Corpus.open(path)
    vector = np.random.default_rng(len(name)).normal(size=(1, corpus.model.dim))
    unit = (vector / np.linalg.norm(vector)).astype(np.float16)
    sha256 = hashlib.sha256(name.encode()).hexdigest()
    corpus.commit([Outcome(name, sha256, 1, "", corpus.rows)], unit, [sha256])
    corpus.close()


# --- the view ---------------------------------------------------------------------------------


def test_a_view_stays_while_nothing_changes(workspace: Workspace) -> None:
    assert workspace.view() is workspace.view()


def test_the_next_view_has_what_another_connection_embedded(
    workspace: Workspace, folder: Path
) -> None:
    before = workspace.view()
    add(folder / "corpus")
    after = workspace.view()
    assert (len(before.ids), len(after.ids)) == (IMAGES, IMAGES + 1)
    assert len(before.judged.scores) == IMAGES  # whoever has it goes on working with it
    assert present_items(before, workspace.pool(before), [0])[0].id == before.ids[0]


def test_the_next_view_has_what_another_process_removed(workspace: Workspace, folder: Path) -> None:
    view = workspace.view()
    code = (
        "import sys; from pathlib import Path; from clipcal.index.store import Corpus\n"
        "Corpus.open(Path(sys.argv[1])).remove([sys.argv[2]])"
    )
    gone = view.scored.uris[3]
    subprocess.run([sys.executable, "-c", code, str(folder / "corpus"), gone], check=True)
    assert view.ids[3] not in workspace.view().ids
    with pytest.raises(Refused) as refused:
        workspace.view().place(int(view.ids[3]))
    assert refused.value.status == 404


def test_the_next_view_has_the_calibration_that_was_saved(
    workspace: Workspace, folder: Path
) -> None:
    file = folder / "calibration.json"
    before, contract = workspace.view(), Contract.load(file)
    assert before.calibration == hashlib.sha256(file.read_bytes()).hexdigest()
    contract.model_copy(update={"created": "2030-01-01T00:00:00+00:00"}).save(file)
    after = workspace.view()
    assert after.calibration == hashlib.sha256(file.read_bytes()).hexdigest() != before.calibration
    file.unlink()
    bare = workspace.view()
    assert (bare.contract, bare.calibration, bare.decided) == (None, None, None)
    assert bare.levels == ("negative", "positive")


def test_a_calibration_that_is_written_again_as_it_was_costs_no_view(
    workspace: Workspace, folder: Path
) -> None:
    before = workspace.view()
    Contract.load(folder / "calibration.json").save(folder / "calibration.json")
    assert workspace.view() is before


def test_without_a_calibration_the_corpus_s_prompt_set_is_served_as_it_is_now(
    folder: Path,
) -> None:
    (folder / "calibration.json").unlink()
    mine = folder / "mine.toml"
    mine.write_text('name = "mine"\n[category.boats]\nprompts = ["a boat"]\n')
    workspace = Workspace(settings_of(folder))
    assert workspace.view().prompt_set.name == "demo"
    Corpus.open(folder / "corpus").note(PROMPTS_NOTE, str(mine))
    assert workspace.view().categories == ("boats",)
    mine.write_text('name = "mine"\n[category.ships]\nprompts = ["a ship at sea"]\n')
    assert workspace.view().categories == ("ships",)
    workspace.close()


def test_many_threads_build_one_view(
    workspace: Workspace, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace.view()
    built, build = [], module.build_view

    def slowly(*arguments: Any, **more: Any) -> Any:
        built.append(threading.get_ident())
        time.sleep(0.05)
        return build(*arguments, **more)

    monkeypatch.setattr(module, "build_view", slowly)
    add(folder / "corpus")
    with ThreadPoolExecutor(20) as threads:
        views = [one.result() for one in [threads.submit(workspace.view) for _ in range(20)]]
    assert len(built) == 1
    assert len({id(view) for view in views}) == 1


def test_a_view_of_many_images_stays_for_a_while_but_not_under_another_calibration(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LARGE", IMAGES)
    monkeypatch.setattr(module, "STAYS", 3600.0)
    workspace = Workspace(settings_of(folder))
    before = workspace.view()
    add(folder / "corpus")
    assert workspace.view() is before
    (folder / "calibration.json").unlink()
    assert len(workspace.view().ids) == IMAGES + 1
    monkeypatch.setattr(module, "STAYS", 0.0)
    workspace = Workspace(settings_of(folder))
    add(folder / "corpus", "/elsewhere/newer.jpg")
    assert len(workspace.view().ids) == IMAGES + 2


def test_what_cannot_be_served_says_why(folder: Path) -> None:
    workspace = Workspace(settings_of(folder))
    file = folder / "calibration.json"
    contract = Contract.load(file)
    other = contract.fingerprint.model_copy(update={"model": "e" * 64})
    contract.model_copy(update={"fingerprint": other}).save(file)
    with pytest.raises(UnusableCalibrationError, match="the model"):
        workspace.view()
    assert workspace.labelling().contract is None
    file.write_text("{")
    with pytest.raises(UnusableCalibrationError, match="damaged"):
        workspace.view()
    assert len(workspace.labelling().ids) == IMAGES
    contract.save(file)
    assert workspace.view().contract is not None  # as soon as it is mended
    workspace.close()
    with pytest.raises(StoreError, match="no corpus"):
        Workspace(settings_of(folder / "nowhere"))


def test_places_are_those_of_the_items_asked_for(workspace: Workspace) -> None:
    view = workspace.view()
    ids = view.ids.tolist()
    assert [view.place(item) for item in ids] == list(range(IMAGES))
    assert view.places([ids[4], 10_000, 0, ids[1]]).tolist() == [4, 1]


def test_the_index_is_brought_up_at_the_start_unless_another_process_writes(
    folder: Path,
) -> None:
    corpus = Corpus.open(folder / "corpus")
    with corpus.writing():
        Workspace(settings_of(folder)).close()
        assert read_card(corpus) is None
    Workspace(settings_of(folder)).close()
    card = read_card(corpus)
    assert card is not None
    assert card.rows == IMAGES


def test_one_thread_at_a_time_writes(workspace: Workspace) -> None:
    inside, most = [], []

    def write(_: int) -> None:
        with workspace.writing() as corpus:
            inside.append(corpus)
            time.sleep(0.002)
            most.append(len(inside))
            inside.pop()

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(write, range(16)))
    assert max(most) == 1
    with workspace.writing() as corpus:
        assert corpus is not workspace.corpus


# --- the pool ---------------------------------------------------------------------------------


def said(workspace: Workspace, place: int) -> dict[str, str]:
    view = workspace.view()
    return labels_at(workspace.pool(view), [place]).get(place, {})


def test_the_pool_follows_what_is_judged_undone_and_filed(
    workspace: Workspace, folder: Path
) -> None:
    view, other = workspace.view(), Corpus.open(folder / "corpus")
    item = int(view.ids[2])
    assert said(workspace, 2) == {}
    judge(other, "batch-one", [Said(item, "gore", "positive")], rater="ann", origin="given")
    assert said(workspace, 2) == {"gore": "positive"}
    assert workspace.pool() is workspace.pool()
    undo(other, "batch-one", rater="ann")
    assert said(workspace, 2) == {}
    other.replace_labels({view.scored.uris[2]: {"drugs": "negative"}})
    assert said(workspace, 2) == {"drugs": "negative"}
    other.replace_labels({view.scored.uris[2]: {"drugs": "positive"}})
    assert said(workspace, 2) == {"drugs": "positive"}


def test_a_pool_is_told_at_the_places_of_its_view(workspace: Workspace, folder: Path) -> None:
    old, other = workspace.view(), Corpus.open(folder / "corpus")
    judge(
        other, "batch-one", [Said(int(old.ids[5]), "gore", "positive")], rater="a", origin="given"
    )
    other.remove([old.scored.uris[0]])
    assert workspace.pool(old).match.rows.tolist() == [5]
    assert workspace.pool().match.rows.tolist() == [4]


def label_all(corpus: Corpus, ids: list[int], category: str) -> None:
    """Label images as positive and negative in turn."""
    levels = ("positive", "negative")
    said = [Said(item, category, levels[n % 2]) for n, item in enumerate(ids)]
    judge(corpus, f"all-of-{category}", said, rater="ann", origin="random")


def test_material_and_trial_are_made_once_until_labels_or_draws_change(
    workspace: Workspace, folder: Path
) -> None:
    view, other = workspace.view(), Corpus.open(folder / "corpus")
    label_all(other, view.ids.tolist(), "alcohol")
    plan = CalibrationPlan()
    material, trial = workspace.material(plan), workspace.trial(plan)
    assert workspace.material(plan) is material
    assert workspace.trial(plan) is trial
    assert trial.at("alcohol", "positive", 0.0).n == IMAGES
    assert workspace.trial(CalibrationPlan(target="f1")) is not trial
    assert workspace.trial(plan) is trial
    other.add_suggestions([(0, 0.5, True)], method="uniform", seed=0, frame=IMAGES)
    assert workspace.material(plan) is not material


def test_material_is_of_the_view_that_the_caller_has(workspace: Workspace, folder: Path) -> None:
    view, other = workspace.view(), Corpus.open(folder / "corpus")
    label_all(other, view.ids.tolist(), "alcohol")
    add(folder / "corpus")
    assert workspace.material(CalibrationPlan(), view).scored is view.plain
    assert len(workspace.material(CalibrationPlan()).scored.rows) == IMAGES + 1
    with pytest.raises(Refused) as refused:  # by another rule images are scored as they are now
        workspace.material(CalibrationPlan(rule="max"), view)
    assert refused.value.status == 503
    assert len(workspace.material(CalibrationPlan(rule="max")).scored.rows) == IMAGES + 1


# --- made once --------------------------------------------------------------------------------


def test_what_failed_is_tried_again_and_the_newest_few_are_kept() -> None:
    newest: Newest[int] = Newest(2)
    made = []

    def make(value: int) -> int:
        made.append(value)
        if value < 0:
            raise CorpusBusy("later")
        return value

    for _ in range(2):
        with pytest.raises(CorpusBusy):
            newest.get("bad", lambda: make(-1))
    for key in (1, 2, 1, 3, 1, 2):
        assert newest.get(key, lambda key=key: make(key)) == key
    assert made == [-1, -1, 1, 2, 3, 2]  # 1 was asked for between, and stayed


# --- names ------------------------------------------------------------------------------------


def corpus_of(path: Path, uris: list[str]) -> Corpus:
    corpus = Corpus.create(path, ModelIdentity.external("m", 4))
    vectors = np.ones((len(uris), 4), np.float16)
    outcomes = [Outcome(uri, row=row) for row, uri in enumerate(uris)]
    corpus.commit(outcomes, vectors, [None] * len(uris))
    return corpus


@pytest.mark.parametrize(
    ("uris", "expected"),
    [
        (["/home/ann/photos/a.jpg", "/home/ann/photos/b/c.jpg"], ["a.jpg", "b/c.jpg"]),
        (["/home/ann/photos/a.jpg"], ["a.jpg"]),
        (["/home/ann/ab/1.jpg", "/home/ann/abc/1.jpg"], ["ab/1.jpg", "abc/1.jpg"]),
        (["/home/ann/x/%41.jpg", "file:///home/ann/x/%FF%20.jpg"], ["%41.jpg", "%FF%20.jpg"]),
        (["file:///home/ann/%FFx/a.jpg"], ["a.jpg"]),
        (["/home/ann/a.jpg", "train/b.jpg", "00012"], ["a.jpg", "train/b.jpg", "00012"]),
        (["C:\\Users\\ann\\a.jpg", "C:\\Users\\ann\\b\\c.jpg"], ["a.jpg", "b\\c.jpg"]),
        (
            ["https://me:secret@host:8/a/b.jpg?key=secret#x", "https://[odd@host/c.jpg?secret"],
            ["https://host:8/a/b.jpg", "host/c.jpg"],
        ),
        (["/home/ann/a.jpg", "s3://bucket/a.jpg"], ["a.jpg", "s3://bucket/a.jpg"]),
        (["/home/ann/a.jpg", "file://me:key@host/b.jpg"], ["a.jpg", "file://host/b.jpg"]),
    ],
)
def test_names_leave_out_where_files_lie(
    tmp_path: Path, uris: list[str], expected: list[str]
) -> None:
    names = names_of(corpus_of(tmp_path / "corpus", uris))
    assert [names(uri) for uri in uris] == expected


PARTS = st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=4)
PATHS = st.lists(PARTS, min_size=1, max_size=4).map(lambda parts: "/" + "/".join(parts))


@given(st.lists(PATHS, min_size=1, max_size=8, unique=True))
def test_names_of_files_are_unique_and_relative(
    tmp_path_factory: pytest.TempPathFactory, paths: list[str]
) -> None:
    corpus = corpus_of(tmp_path_factory.mktemp("corpus"), paths)
    names = names_of(corpus)
    told = [names(path) for path in paths]
    (folder,) = names.folders
    assert [folder + name for name in told] == paths
    deeper = {name.split("/")[0] for name in told if "/" in name}
    assert len(deeper) != 1 or any("/" not in name for name in told)  # no deeper folder has all
    corpus.close()


@pytest.mark.parametrize(
    "uri", ["/mnt/new/b.jpg", "file:///mnt/new/b.jpg", "D:\\new\\b.jpg", "\\\\host\\new\\b.jpg"]
)
def test_what_came_since_from_elsewhere_is_called_by_its_last_part(uri: str) -> None:
    assert Names(("/home/ann/photos/",))(uri) == "b.jpg"


def test_messages_lose_the_common_folder() -> None:
    names = Names(("/home/ann/photos/",))
    assert names.hide("cannot read /home/ann/photos/a.jpg") == "cannot read a.jpg"
    assert Names(("/",)).hide("1/2 of it") == "1/2 of it"


def test_what_is_presented_needs_no_label_and_no_calibration(folder: Path) -> None:
    (folder / "calibration.json").unlink()
    workspace = Workspace(replace(settings_of(folder), prompts="demo"))
    (item,) = present_items(workspace.view(), workspace.pool(), [1])
    assert (item.name, item.labels, item.overall) == ("01.jpg", {}, None)
    assert {one.level for one in item.decisions.values()} == {None}
    workspace.close()
