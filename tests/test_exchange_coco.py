"""Laws of COCO files as other tools write them: fields that are null, and ids that are not one."""

from __future__ import annotations

import pytest
from exchange_case import coco, read, said

from clipcal.errors import LabelError

GORE = {"image_id": 1, "category_id": 1}


def test_what_is_null_is_as_if_it_were_not_there() -> None:
    nothing = dict.fromkeys(["coco_url", "sha256", "origin", "neg_category_ids"])
    found = read(coco({**GORE, "attributes": None}, **nothing))
    assert said(found) == [("a/1.png", "gore", "positive", "me")]
    assert [(one.sha256, one.origin) for one in found.given] == [("", "given")]
    assert said(read({**coco(**nothing), "annotations": None})) == []
    with pytest.raises(LabelError, match="the image 1 has no file_name"):
        read(coco(GORE, file_name=None, coco_url=None))


def twice(what: str, **entry: object) -> dict[str, object]:
    file = coco(GORE)
    entries = file[what]
    assert isinstance(entries, list)
    return {**file, what: [*entries, entry]}


@pytest.mark.parametrize(
    ("file", "message"),
    [
        (twice("images", id=1, file_name="c.png"), "image 1 is both 'a/1.png' and 'c.png'"),
        (twice("categories", id=1, name="cat"), "category 1 is both 'Gore' and 'cat'"),
        (
            {
                **coco(GORE, sha256="aa"),
                "images": [
                    {"id": 1, "file_name": "a/1.png", "sha256": "aa"},
                    {"id": 1, "file_name": "a/1.png", "sha256": "bb"},
                ],
            },
            "image 1 is both 'a/1.png' of the content aa and 'a/1.png' of the content bb",
        ),
    ],
)
def test_an_id_of_two_things_is_refused(file: object, message: str) -> None:
    with pytest.raises(LabelError, match=message):
        read(file)


def test_an_id_given_twice_alike_is_one_and_seen_for_its_score_where_either_says_so() -> None:
    file = twice("images", id=1, file_name="a/1.png", origin="flagged")
    images = file["images"]
    assert isinstance(images, list)
    for order in (images, images[::-1]):
        found = read({**file, "images": order})
        assert [(one.image, one.origin) for one in found.given] == [("a/1.png", "flagged")]
    assert said(read(twice("categories", id=1, name="gore"))) == said(read(coco(GORE)))
