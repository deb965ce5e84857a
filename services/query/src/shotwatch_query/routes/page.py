"""The pages: static files without data. A page requests its data from the API as its reader.

Requests for these files are not limited: otherwise, unknown callers could block the pages for others at their
address.
"""

import sys
from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import FileResponse

from shotwatch_query.errors import NotFound
from shotwatch_query.headers import OURS, PAGE, WASM_WORKER

router = APIRouter(include_in_schema=False)
FOLDER = Path(__file__).parents[1] / "page"
FILES = {
    "common.js": "text/javascript",
    "docs.js": "text/javascript",
    "raw-worker.js": "text/javascript",
    "raw.css": "text/css",
    "raw.js": "text/javascript",
    "live.css": "text/css",
    "live.js": "text/javascript",
    "login.css": "text/css",
    "search.css": "text/css",
    "search.js": "text/javascript",
}
H5WASM = Path(sys.prefix) / "share" / "shotwatch" / "h5wasm"
H5WASM_FILES = ("file_handlers.js", "hdf5_hl.js", "hdf5_util.js")
RAW = {**PAGE, "Content-Security-Policy": f"{OURS}; worker-src 'self'"}
"""Headers of the page for raw files, which parses them in a worker."""


@router.get("/")
async def show_page() -> FileResponse:
    return FileResponse(FOLDER / "live.html", media_type="text/html", headers=PAGE)


@router.get("/search")
async def show_search() -> FileResponse:
    return FileResponse(FOLDER / "search.html", media_type="text/html", headers=PAGE)


@router.get("/raw")
async def show_raw() -> FileResponse:
    return FileResponse(FOLDER / "raw.html", media_type="text/html", headers=RAW)


@router.get("/page/h5wasm/{name}")
async def show_h5wasm(name: str) -> FileResponse:
    """Return a file of h5wasm, which `deploy/h5wasm` installs from its npm package."""
    if name not in H5WASM_FILES:
        raise NotFound(f"h5wasm has no file {name}")
    if not (H5WASM / name).is_file():
        raise NotFound("h5wasm is not installed beside the query service: run `make setup`, or deploy/h5wasm")
    return FileResponse(H5WASM / name, media_type="text/javascript", headers=PAGE)


@router.get("/page/{name}")
async def show_file(name: str) -> FileResponse:
    if name not in FILES:
        raise NotFound(f"the page has no file {name}")
    headers = WASM_WORKER if name == "raw-worker.js" else PAGE
    return FileResponse(FOLDER / name, media_type=FILES[name], headers=headers)
