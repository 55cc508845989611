"""The page: files that hold no data, for everybody who reaches the service."""

from __future__ import annotations

import mimetypes
import os
from pathlib import Path
from typing import Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

PAGE: Final = Path(__file__).parent / "page"


class PageFiles(StaticFiles):
    """Files that a browser keeps, and asks about before it uses them again."""

    def file_response(
        self,
        full_path: str | os.PathLike[str],
        stat_result: os.stat_result,
        scope: Scope,
        status_code: int = 200,
    ) -> Response:
        """Answer with a file, or that the browser's copy is still the same."""
        response = super().file_response(full_path, stat_result, scope, status_code)
        response.headers["cache-control"] = "no-cache"
        return response


def mount_page(app: Starlette, folder: Path = PAGE) -> None:
    """Serve the page at ``/`` and its files below ``/page``."""
    mimetypes.add_type("text/javascript", ".js")  # systems disagree, and browsers insist
    files = PageFiles(directory=folder, check_dir=False)

    async def index(request: Request) -> Response:
        return await files.get_response("index.html", request.scope)

    app.mount("/page", files, name="page")
    app.add_route("/", index, include_in_schema=False)
