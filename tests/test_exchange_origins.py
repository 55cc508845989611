"""Laws of how images were seen, where a file names one of them several times."""

from __future__ import annotations

import json

import pytest
from exchange_case import read

ORIGINS = ("random", "near", "given")


def lists(*origins: str) -> str:
    rows = ({"file_name": "a.png", "labels": ["gore"], "origin": origin} for origin in origins)
    return "\n".join(map(json.dumps, rows))


def coco(*origins: str) -> object:
    return {
        "images": [
            {"id": n, "file_name": "a.png", "origin": origin} for n, origin in enumerate(origins)
        ],
        "categories": [{"id": 1, "name": "gore"}],
        "annotations": [{"image_id": n, "category_id": 1} for n in range(len(origins))],
    }


def minimal(*origins: str) -> object:
    return [{"image": "a.png", "gore": "yes", "origin": origin} for origin in origins]


def sheet(*origins: str) -> str:
    return "\n".join(["image,gore,origin", *(f"a.png,yes,{origin}" for origin in origins)])


@pytest.mark.parametrize("write", [lists, coco, minimal, sheet])
@pytest.mark.parametrize("origins", [ORIGINS, ORIGINS[::-1], ("near", "near"), ORIGINS[1:]])
def test_an_image_was_seen_for_its_score_where_any_place_says_so(write, origins) -> None:
    assert [one.origin for one in read(write(*origins)).given] == ["near"]


@pytest.mark.parametrize("write", [lists, coco, minimal, sheet])
def test_an_image_that_no_place_calls_chosen_is_not(write) -> None:
    assert [one.origin for one in read(write("random", "given")).given] != ["near"]
