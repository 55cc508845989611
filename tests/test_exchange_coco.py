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
