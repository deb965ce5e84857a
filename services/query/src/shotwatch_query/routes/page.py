"""The pages: static files without data. A page requests its data from the API as its reader.

Requests for these files are not limited: otherwise, unknown callers could block the pages for others at their
address.
"""

from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import FileResponse

from shotwatch_query.errors import NotFound
from shotwatch_query.headers import PAGE

router = APIRouter(include_in_schema=False)
FOLDER = Path(__file__).parents[1] / "page"
FILES = {
    "common.js": "text/javascript",
    "docs.js": "text/javascript",
    "live.css": "text/css",
    "live.js": "text/javascript",
    "login.css": "text/css",
    "search.css": "text/css",
    "search.js": "text/javascript",
}


@router.get("/")
async def show_page() -> FileResponse:
    return FileResponse(FOLDER / "live.html", media_type="text/html", headers=PAGE)


@router.get("/search")
async def show_search() -> FileResponse:
    return FileResponse(FOLDER / "search.html", media_type="text/html", headers=PAGE)


@router.get("/page/{name}")
async def show_file(name: str) -> FileResponse:
    if name not in FILES:
        raise NotFound(f"the page has no file {name}")
    return FileResponse(FOLDER / name, media_type=FILES[name], headers=PAGE)
