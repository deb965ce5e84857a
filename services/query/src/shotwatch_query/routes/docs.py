"""The description of the API, and two pages that show it without external files: Swagger UI and ReDoc."""

from pathlib import Path

import fastapi_offline
from fastapi import APIRouter, Depends, Request
from fastapi.responses import FileResponse, HTMLResponse, Response

from shotwatch_query.access.guard import limit
from shotwatch_query.errors import NotFound
from shotwatch_query.headers import PAGE

router = APIRouter(include_in_schema=False, dependencies=[Depends(limit)])
PREFIX = "/api/v1"
FOLDER = Path(fastapi_offline.__file__).parent / "static"
FILES = {
    "favicon.png": "image/png",
    "redoc.standalone.js": "text/javascript",
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:;"
    " connect-src 'self'; worker-src blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The content security policy of both pages.

They create inline styles, and ReDoc searches in a worker. Scripts are files, as on all pages.
"""
_SWAGGER = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>shotwatch: Swagger UI</title>
<meta name="viewport" content="width=device-width">
<link rel="icon" href="/docs/files/favicon.png">
<link rel="stylesheet" href="/docs/files/swagger-ui.css">
<div id="swagger-ui"></div>
<script src="/docs/files/swagger-ui-bundle.js"></script>
<script src="/page/docs.js"></script>
</html>
"""
_REDOC = f"""<!doctype html>
<html lang="en"><meta charset="utf-8"><title>shotwatch: ReDoc</title>
<meta name="viewport" content="width=device-width">
<link rel="icon" href="/docs/files/favicon.png">
<redoc spec-url="{PREFIX}/openapi.json"></redoc>
<script src="/docs/files/redoc.standalone.js"></script>
</html>
"""


@router.get(f"{PREFIX}/openapi.json")
async def get_description(request: Request) -> Response:
    description: bytes = request.app.state.description()
    return Response(description, media_type="application/json")


@router.get("/docs")
async def show_swagger() -> HTMLResponse:
    return HTMLResponse(_SWAGGER, headers={**PAGE, "Content-Security-Policy": POLICY})


@router.get("/redoc")
async def show_redoc() -> HTMLResponse:
    return HTMLResponse(_REDOC, headers={**PAGE, "Content-Security-Policy": POLICY})


@router.get("/docs/files/{name}")
async def get_file(name: str) -> FileResponse:
    if name not in FILES:
        raise NotFound(f"the pages have no file {name}")
    return FileResponse(FOLDER / name, media_type=FILES[name], headers=PAGE)
