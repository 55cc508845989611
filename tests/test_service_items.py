"""Laws of browsing over HTTP: lists, details, pictures and neighbours."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image
from service_case import (
    IMAGES,
    Service,
    is_problem,
    running,
    service,
    settings_of,
    start,
    stock,
)

from clipcal.calibrate.contract import Contract
from clipcal.calibrate.records import Bands
from clipcal.index.judgements import Said, judge
from clipcal.index.store import Corpus, Outcome
from clipcal.service.replies import found as found_module
from clipcal.service.served import pictures as module
from clipcal.service.served.listing import _smallest
from clipcal.service.served.pictures import Pictures

__all__ = ["service", "start", "stock"]


@pytest.fixture(scope="module")
def labelled(stock: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with bands in one category, labels, a copy, and a failure; tests only ask."""
    folder = Path(shutil.copytree(stock, tmp_path_factory.mktemp("labelled") / "own"))
    corpus = Corpus.open(folder / "corpus")
    moved(corpus, stock)
    first = corpus.items()[0]
    copy = str(folder / "photos" / "zz" / "copy.jpg")
    os.makedirs(os.path.dirname(copy))
    shutil.copy(first.uri, copy)
    failed = str(folder / "photos" / "bad.jpg")
    corpus.commit(
        [
            Outcome(copy, first.sha256, first.size, "", first.row),
            Outcome(failed, reason=f"cannot be read: {failed}"),
        ],
        np.empty((0, corpus.model.dim), np.float16),
        [],
    )
    ids = [item.id for item in corpus.items("embedded")]
    for category, levels in (("alcohol", "ppnn"), ("gore", "-pn")):
        said = [
            Said(item, category, "positive" if level == "p" else "negative")
            for item, level in zip(ids, levels, strict=False)
            if level != "-"
        ]
        judge(corpus, f"of-{category}", said, rater="ann", origin="given")
    judge(corpus, "by-bob", [Said(ids[0], "alcohol", "negative")], rater="bob", origin="given")
    corpus.replace_labels({first.uri: {"drugs": "negative", "alcohol": "positive"}})
    with_bands(folder / "calibration.json")
    with running(settings_of(folder)) as started:
        yield started


def moved(corpus: Corpus, stock: Path) -> None:
    """Let a corpus that was copied with its photos name these."""
    with corpus.transaction() as database:
        old, new = str(stock), str(corpus.path.parent)
        database.execute("UPDATE items SET uri = replace(uri, ?, ?)", (old, new))


def with_bands(file: Path) -> None:
    """Give the category alcohol three bands."""
    contract = Contract.load(file)
    cut = contract.categories["alcohol"]["positive"]
    bands = Bands(
        objective="precision=0.8",
        status="certified",
        upper=0.1,
        allow=0,
        review=0,
        block=0,
        next_step="Apply it: clipcal rescore",
    )
    changed = {"alcohol": {"positive": cut.model_copy(update={"bands": bands})}}
    categories = {**contract.categories, **changed}
    contract.model_copy(update={"categories": categories}).save(file)


def listed(service: Service, **asked: Any) -> dict[str, Any]:
    reply = service.client.get("/v1/items", params={"limit": 200, **asked})
    assert reply.status_code == 200, reply.text
    answer: dict[str, Any] = reply.json()
    return answer


def ids(service: Service, **asked: Any) -> list[int]:
    return [item["id"] for item in listed(service, **asked)["items"]]


# --- lists ------------------------------------------------------------------------------------


def test_a_list_holds_every_embedded_image_with_its_decisions(labelled: Service) -> None:
    found, view = listed(labelled), labelled.context.workspace.view()
    assert found["total"] == IMAGES + 1
    assert [item["id"] for item in found["items"]] == view.ids.tolist()
    for place, item in enumerate(found["items"]):
        for column, category in enumerate(view.categories):
            told = item["decisions"][category]
            assert told["score"] == pytest.approx(view.scored.scores[place, column], abs=1e-6)
            limit = view.lowest_threshold(category)
            flagged = None if limit is None else bool(view.scored.scores[place, column] >= limit)
            assert told["level"] == {None: None, True: "positive", False: "negative"}[flagged]
            assert told["threshold"] == limit


CHOICES: list[tuple[dict[str, str], Callable[[dict[str, Any]], bool]]] = [
    (
        {"category": "alcohol", "level": "positive"},
        lambda i: i["decisions"]["alcohol"]["level"] == "positive",
    ),
    (
        {"category": "alcohol", "band": "flagged"},
        lambda i: i["decisions"]["alcohol"]["level"] == "positive",
    ),
    (
        {"category": "alcohol", "band": "unflagged"},
        lambda i: i["decisions"]["alcohol"]["level"] == "negative",
    ),
    ({"category": "gore", "band": "unflagged"}, lambda i: False),  # it has no threshold
    ({"band": "flagged"}, lambda i: any(d["level"] == "positive" for d in i["decisions"].values())),
    (
        {"band": "unflagged"},
        lambda i: all(d["level"] != "positive" for d in i["decisions"].values()),
    ),
    (
        {"level": "negative"},
        lambda i: any(d["level"] == "negative" for d in i["decisions"].values()),
    ),
    (
        {"category": "alcohol", "band": "allow"},
        lambda i: i["decisions"]["alcohol"]["band"] == "allow",
    ),
    (
        {"category": "alcohol", "band": "review"},
        lambda i: i["decisions"]["alcohol"]["band"] == "review",
    ),
    ({"band": "block"}, lambda i: i["decisions"]["alcohol"]["band"] == "block"),
    ({"labelled": "any"}, lambda i: bool(i["labels"])),
    ({"labelled": "none"}, lambda i: not i["labels"]),
    ({"labelled": "positive"}, lambda i: "positive" in i["labels"].values()),
    ({"labelled": "negative"}, lambda i: set(i["labels"].values()) == {"negative"}),
    ({"labelled": "none", "category": "gore"}, lambda i: "gore" not in i["labels"]),
    ({"labelled": "positive", "category": "gore"}, lambda i: i["labels"].get("gore") == "positive"),
    ({"labelled": "negative", "category": "gore"}, lambda i: i["labels"].get("gore") == "negative"),
    ({"labelled": "any", "category": "weapons"}, lambda i: False),
    (
        {"labelled": "positive", "category": "alcohol", "band": "flagged"},
        lambda i: i["labels"].get("alcohol") == i["decisions"]["alcohol"]["level"] == "positive",
    ),
]


@pytest.mark.parametrize(
    ("asked", "fits"), CHOICES, ids=[" ".join(asked.values()) for asked, _ in CHOICES]
)
def test_a_list_holds_what_fits_and_nothing_else(
    labelled: Service, asked: dict[str, str], fits: Callable[[dict[str, Any]], bool]
) -> None:
    found = listed(labelled, **asked)
    expected = [item["id"] for item in listed(labelled)["items"] if fits(item)]
    assert [item["id"] for item in found["items"]] == expected
    assert found["total"] == len(expected)


@pytest.mark.parametrize(
    ("order", "key"),
    [
        ("score", lambda score: score),
        ("-score", lambda score: -score),
        ("near", lambda score: abs(score - -0.05)),
        ("id", lambda score: 0),
    ],
)
def test_pages_of_an_order_hold_every_image_once(
    labelled: Service, order: str, key: Callable[[float], float]
) -> None:
    view = labelled.context.workspace.view()
    scores = view.scored.column("weapons").astype(np.float64)
    expected = sorted(range(len(scores)), key=lambda place: (np.float32(key(scores[place])), place))
    pages = [
        ids(labelled, category="weapons", order=order, offset=offset, limit=5)
        for offset in range(0, 20, 5)
    ]
    assert [len(page) for page in pages] == [5, 5, IMAGES - 9, 0]
    assert [item for page in pages for item in page] == view.ids[expected].tolist()


@given(
    arrays.arrays(np.float32, st.integers(0, 40), elements=st.sampled_from([-1, -0.0, 0, 0.5, 2])),
    st.integers(0, 45),
    st.integers(1, 20),
)
def test_a_page_is_cut_out_of_a_stable_sort(keys: np.ndarray, offset: int, limit: int) -> None:
    expected = np.argsort(keys, kind="stable")[offset : offset + limit]
    assert _smallest(keys, offset, limit).tolist() == expected.tolist()


@pytest.mark.parametrize(
    ("asked", "status", "told"),
    [
        ({"category": "nope"}, 422, "alcohol, smoking"),
        ({"level": "nope"}, 422, "negative, positive"),
        ({"order": "score"}, 422, "name one"),
        ({"order": "near", "category": "gore"}, 409, "no threshold"),
        ({"band": "allow", "category": "gore"}, 409, "no bands for gore"),
        ({"band": "nope"}, 422, "band"),
        ({"limit": 201}, 422, "limit"),
        ({"offset": -1}, 422, "offset"),
        ({"labelled": "any", "category": "nope"}, 422, "Take one of"),
    ],
)
def test_what_cannot_be_listed_is_a_problem(
    labelled: Service, asked: dict[str, Any], status: int, told: str
) -> None:
    assert told in is_problem(labelled.client.get("/v1/items", params=asked), status)


def test_without_a_calibration_there_are_scores_and_no_decisions(
    start: Callable[..., Service], tmp_path: Path
) -> None:
    (tmp_path / "served" / "calibration.json").unlink()
    started = start()
    first = listed(started, category="gore", order="-score")["items"][0]
    assert first["decisions"]["gore"]["level"] is None
    for asked in ({"band": "flagged"}, {"level": "positive"}):
        assert "no calibration" in is_problem(started.client.get("/v1/items", params=asked), 409)


# --- one image --------------------------------------------------------------------------------


def test_an_image_is_told_with_its_copies_and_what_each_rater_says(labelled: Service) -> None:
    first, copy = ids(labelled)[0], ids(labelled)[-1]
    told = labelled.client.get(f"/v1/items/{first}").json()
    content = Path(labelled.photos[0]).read_bytes()
    assert (told["name"], told["picture"]) == ("00.jpg", True)
    assert (told["sha256"], told["size"]) == (hashlib.sha256(content).hexdigest(), len(content))
    assert told["copies"] == [copy]
    said = {(one["category"], one["rater"]): one["level"] for one in told["judgements"]}
    assert said == {
        ("alcohol", "ann"): "positive",
        ("alcohol", "bob"): "negative",
        ("drugs", "file"): "negative",  # nobody judged it, so the file's label stands
    }
    assert told["labels"] == {"alcohol": "positive", "drugs": "negative"}
    assert labelled.client.get(f"/v1/items/{copy}").json()["name"] == "zz/copy.jpg"


@pytest.mark.parametrize("path", ["", "/picture", "/neighbours"])
def test_an_unknown_image_is_not_found(labelled: Service, path: str) -> None:
    assert "99999" in is_problem(labelled.client.get(f"/v1/items/99999{path}"), 404)
    is_problem(labelled.client.get(f"/v1/items/0{path}"), 422)


def test_failures_are_told_with_reasons_and_without_paths(labelled: Service) -> None:
    told = labelled.client.get("/v1/failures").json()
    (failure,) = told["failures"]
    assert (told["total"], failure["name"]) == (1, "bad.jpg")
    assert failure["reason"] == "cannot be read: bad.jpg"
    assert labelled.client.get("/v1/failures", params={"offset": 1}).json()["failures"] == []


def test_no_reply_tells_where_files_lie(labelled: Service) -> None:
    first = ids(labelled)[0]
    told = [
        labelled.client.get(f"/v1/{path}").text
        for path in (
            "items",
            f"items/{first}",
            f"items/{first}/neighbours?category=alcohol",
            "failures",
            f"search?item={first}",
            "search?flagged=alcohol",
            "items/99999",
        )
    ]
    folder = labelled.settings.corpus.parent
    assert not [reply for reply in told if str(folder) in reply or str(folder.parent) in reply]


def test_asking_writes_nothing(labelled: Service) -> None:
    first = ids(labelled)[0]
    folder = labelled.settings.corpus.parent

    def state() -> dict[Path, bytes]:
        files = [file for file in folder.rglob("*") if file.is_file()]
        return {file: file.read_bytes() for file in files if not file.name.endswith("-shm")}

    labelled.client.get("/v1/health")
    before = state()
    for path in ("items?category=gore&order=score", f"items/{first}", f"items/{first}/picture"):
        assert labelled.client.get(f"/v1/{path}").status_code == 200
    for path in (f"items/{first}/neighbours", "search?flagged=alcohol", "failures"):
        assert labelled.client.get(f"/v1/{path}").status_code == 200
    assert state() == before


# --- pictures ---------------------------------------------------------------------------------


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


def shown(service: Service, item: int, **asked: Any) -> Any:
    headers = asked.pop("headers", {})
    return service.client.get(f"/v1/items/{item}/picture", params=asked, headers=headers)


def test_a_picture_is_the_image_made_small(service: Service) -> None:
    for size in (160, 320):
        reply = shown(service, 1, size=size)
        assert reply.headers["content-type"] == "image/jpeg"
        assert "private" in reply.headers["cache-control"]
        original = Image.open(service.photos[0])
        small = opened(reply.content)
        assert small.size == ((160, 120) if size == 160 else original.size)  # never enlarged
        expected = np.asarray(original.resize(small.size), np.float64)
        assert np.abs(np.asarray(small, np.float64) - expected).mean() < 6
    is_problem(shown(service, 1, size=161), 422)


def test_a_client_that_has_the_picture_is_told_so(service: Service) -> None:
    tag = shown(service, 1, size=160).headers["etag"]
    reply = shown(service, 1, size=160, headers={"If-None-Match": tag})
    assert (reply.status_code, reply.content, reply.headers["etag"]) == (304, b"", tag)
    assert shown(service, 1, size=320, headers={"If-None-Match": tag}).status_code == 200
    assert shown(service, 2, size=160, headers={"If-None-Match": tag}).status_code == 200


@pytest.fixture
def own_photos(stock: Path, start: Callable[..., Service], tmp_path: Path) -> Path:
    moved(Corpus.open(tmp_path / "served" / "corpus"), stock)
    return tmp_path / "served" / "photos"


def test_a_picture_is_shown_upright(own_photos: Path, start: Callable[..., Service]) -> None:
    photo = own_photos / "00.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned
    Image.open(photo).copy().save(photo, exif=exif)
    corpus = Corpus.open(own_photos.parent / "corpus")
    content, vector = photo.read_bytes(), corpus.shards.take(np.array([1]))
    sha256 = hashlib.sha256(content).hexdigest()
    corpus.commit([Outcome(str(photo), sha256, len(content), "", corpus.rows)], vector, [sha256])
    assert opened(shown(start(), 1, size=160).content).size == (120, 160)


def test_a_file_that_is_gone_or_changed_is_not_shown_even_if_it_was(
    own_photos: Path, start: Callable[..., Service]
) -> None:
    started = start()
    assert shown(started, 1).status_code == shown(started, 2).status_code == 200
    (own_photos / "00.jpg").write_bytes((own_photos / "05.jpg").read_bytes())
    (own_photos / "01.jpg").unlink()
    (own_photos / "02.jpg").write_bytes(b"x" * (own_photos / "02.jpg").stat().st_size)
    for item in (1, 2, 3):
        assert "gone, or not what was embedded" in is_problem(shown(started, item), 404)
    assert shown(started, 4).status_code == 200


def test_what_the_corpus_does_not_know_is_not_read(
    start: Callable[..., Service], tmp_path: Path
) -> None:
    secret = tmp_path / "secret.png"
    Image.new("RGB", (8, 8), "red").save(secret)
    corpus = Corpus.open(tmp_path / "served" / "corpus")
    vector = corpus.shards.take(np.array([0]))
    corpus.commit([Outcome(str(secret), row=corpus.rows)], vector, [None])
    corpus.close()
    started = start()
    item = ids(started)[-1]
    assert not listed(started)["items"][-1]["picture"]
    assert "does not know its content" in is_problem(shown(started, item), 404)


def test_images_over_the_limit_of_pixels_are_not_decoded(start: Callable[..., Service]) -> None:
    assert "pixels" in is_problem(shown(start(limits={"pixels": 1000}), 1), 404)


def test_pictures_are_kept_up_to_a_number_of_bytes(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, make = [], module.small_picture

    def counted(data: bytes, side: int, **more: Any) -> Any:
        made.append(side)
        return make(data, side, **more)

    monkeypatch.setattr(module, "small_picture", counted)
    items = service.context.workspace.corpus.items()
    size = len(Pictures(10**6).of(items[0], 160))
    pictures = Pictures(10**6, kept=int(2.5 * size))
    made.clear()
    for item in (items[0], items[0], items[1], items[0]):
        pictures.of(item, 160)
    assert len(made) == 2
    for item in (items[2], items[3], items[0]):  # the first has had to go by now
        pictures.of(item, 160)
    assert len(made) == 5


# --- neighbours -------------------------------------------------------------------------------


def cosines(service: Service, place: int) -> np.ndarray:
    view = service.context.workspace.view()
    vectors = view.corpus.shards.take(view.scored.rows).astype(np.float64)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors @ vectors[place]


def test_neighbours_are_the_nearest_without_the_image_and_its_copies(labelled: Service) -> None:
    found = labelled.client.get("/v1/items/1/neighbours", params={"k": 5}).json()
    similar = cosines(labelled, 0)
    similar[[0, IMAGES]] = -2  # itself and its copy
    expected = np.argsort(-similar)[:5]
    view = labelled.context.workspace.view()
    assert [hit["item"]["id"] for hit in found["nearest"]] == view.ids[expected].tolist()
    told = [hit["similarity"] for hit in found["nearest"]]
    assert told == pytest.approx(similar[expected].tolist(), abs=1e-4)
    assert (found["category"], found["positives"], found["negatives"]) == (None, [], [])


def test_labelled_neighbours_are_the_nearest_of_each_kind(
    labelled: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(found_module, "_ROWS_AT_ONCE", 1)
    found = labelled.client.get("/v1/items/8/neighbours?category=alcohol&k=1").json()
    similar, view = cosines(labelled, 7), labelled.context.workspace.view()
    for kind, places in (("positives", [0, 1]), ("negatives", [2, 3])):
        best = max(places, key=lambda place: similar[place])
        assert [hit["item"]["id"] for hit in found[kind]] == [view.ids[best]]
    own = labelled.client.get(f"/v1/items/{ids(labelled)[-1]}/neighbours?category=alcohol").json()
    assert [hit["item"]["id"] for hit in own["positives"]] == [2]  # 1 is a copy of it
    is_problem(labelled.client.get("/v1/items/8/neighbours?category=nope"), 422)
