"""The OpenAPI document keeps its word: whatever is sent, the service answers as documented.

schemathesis makes requests from the document, well formed and ill formed, and checks the replies:
their status, media type and shape are documented, nothing fails with a 5xx, what is ill formed is
refused, and a method that is not there is told as such.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import positive_data_acceptance
from served_case import serving
from service_case import stock

from clipcal.service import routes

__all__ = ["stock"]

TOKEN = "a-token-for-tests-that-is-long-enough"
HEADERS = {"Authorization": f"Bearer {TOKEN}"}
EXAMPLES = 12  # requests of each kind and operation


def operations() -> list[tuple[str, str]]:
    """Method and path of everything that the service answers."""
    found = []
    for module in iter_modules(routes.__path__):
        router = import_module(f"{routes.__name__}.{module.name}").router
        found += [(m, route.path) for route in router.routes for m in sorted(route.methods)]
    return found


@pytest.fixture(scope="module")
def document(stock: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("documented") / "served"
    shutil.copytree(stock, folder)
    (folder / "token").write_text(TOKEN, encoding="utf-8")
    with serving(folder, "--device", "cpu", "--token-file", "token") as served:
        url = f"{served.url}/v1/openapi.json"
        yield schemathesis.openapi.from_url(url, headers=HEADERS)


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
@pytest.mark.parametrize(("method", "path"), operations())
def test_every_operation_answers_as_documented(
    document: Any, method: str, path: str, mode: GenerationMode
) -> None:
    strategy = document[path][method].as_strategy(generation_mode=mode)

    @given(case=strategy)
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def answers(case: Any) -> None:
        # Random bytes are no image, and random words no category: refusing them is as it must be.
        case.call_and_validate(headers=HEADERS, excluded_checks=[positive_data_acceptance])

    answers()
