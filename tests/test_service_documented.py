"""Laws of forms and parameters: only what the document has is taken, and each of it once."""

from __future__ import annotations

from typing import Any

import pytest
from service_case import Service, is_problem, picture, service, stock

__all__ = ["service", "stock"]

IMPORT = {"rater": "Ada", "batch": "a-batch-of-labels"}
ROWS = b"image,alcohol\n00.jpg,yes\n"


def sent(service: Service, **fields: str | list[str]) -> Any:
    """Import a label file with fields beside it."""
    return service.client.post(
        "/v1/labels/import", files={"file": ("a.csv", ROWS)}, data={**IMPORT, **fields}
    )


def named(reply: Any) -> list[str]:
    """Which fields a refusal names."""
    is_problem(reply, 422)
    return [error["where"] for error in reply.json()["errors"]]


@pytest.mark.parametrize(("misspelt", "value"), [("preveiw", "true"), ("orgin", "flagged")])
def test_a_misspelt_field_is_refused_and_nothing_is_written(
    service: Service, misspelt: str, value: str
) -> None:
    assert named(sent(service, **{misspelt: value})) == [f"body.{misspelt}"]
    assert service.client.get("/v1/labels").json()["labels"] == []


def test_a_field_with_one_value_is_refused_when_it_has_two(service: Service) -> None:
    assert named(sent(service, preview=["true", "false"])) == ["body.preview"]
    files = [("image", ("a.png", picture(1))), ("image", ("b.png", picture(2)))]
    assert named(service.client.post("/v1/search", files=files)) == ["body.image"]
    assert service.client.get("/v1/labels").json()["labels"] == []


def test_a_field_with_many_values_takes_them(service: Service) -> None:
    assert len(service.send("embed", picture(1), picture(2)).json()["results"]) == 2


def test_a_form_of_fields_alone_is_held_to_the_document_too(service: Service) -> None:
    reply = service.client.post("/v1/classify", data={"imgae": "x"})
    assert named(reply) == ["body.imgae"]


def test_a_parameter_with_one_value_is_refused_when_it_has_two(service: Service) -> None:
    reply = service.client.get("/v1/items?category=alcohol&category=weapons&limit=1")
    assert named(reply) == ["query.category"]


def test_a_name_that_is_no_text_is_told_as_well_as_it_can_be(service: Service) -> None:
    body = b'--x\r\nContent-Disposition: form-data; name="\\ud800"\r\n\r\nv\r\n--x--\r\n'
    kind = "multipart/form-data; boundary=x; charset=unicode_escape"
    reply = service.client.post("/v1/embed", content=body, headers={"content-type": kind})
    assert named(reply) == ["body.?"]


def test_what_is_no_text_is_no_value(service: Service) -> None:
    parts = [b'"image"; filename="a.png"\r\n\r\n', b'"sentences"\r\n\r\na cat, \\ud800']
    body = b"".join(b"--x\r\nContent-Disposition: form-data; name=" + p + b"\r\n" for p in parts)
    kind = "multipart/form-data; boundary=x; charset=unicode_escape"
    headers = {"content-type": kind}
    reply = service.client.post("/v1/classify", content=body + b"--x--\r\n", headers=headers)
    assert named(reply) == ["body.sentences"]


def test_a_form_has_no_more_parts_than_before(service: Service) -> None:
    fields = {f"f{number}": "x" for number in range(1001)}
    files = {"file": ("a.csv", ROWS)}
    is_problem(service.client.post("/v1/labels/import", files=files, data=fields), 400)


def test_the_document_says_that_forms_have_no_other_fields(service: Service) -> None:
    made = service.client.get("/v1/openapi.json").json()
    forms = [
        content["multipart/form-data"]["schema"]["$ref"].rpartition("/")[2]
        for operations in made["paths"].values()
        for operation in operations.values()
        if "multipart/form-data" in (content := operation.get("requestBody", {}).get("content", {}))
    ]
    assert forms
    for name in forms:
        assert made["components"]["schemas"][name]["additionalProperties"] is False
