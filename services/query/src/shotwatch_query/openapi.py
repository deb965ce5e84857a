"""The OpenAPI 3.1 description of the REST API."""

import json
from functools import cache
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from shotwatch_query.problems import MEDIA_TYPE, ProblemDetails

SUMMARY = "Laser shots, their anomalies, and what became of every object."
DESCRIPTION = """
Every shot of the laser at one place of its amplifier chain joins what cameras, spectrometers and energy
meters recorded of one pulse. Here they can be searched and viewed, down to the counts of each pixel.

- Times are RFC 3339 or epoch milliseconds; answers hold RFC 3339 in UTC.
- Listings come in pages: ask again with `cursor` = `next` until it is null.
- Callers send an API key or a token of the OpenID Connect issuer: `Authorization: Bearer …`; a browser may
  log in at `/login` instead. The scopes are `read`, `label` (feedback) and `admin` (the audit); none includes
  another.
- The requests of each caller are limited; beyond the limit the answer is 429 with `Retry-After`.
- Errors are problem documents (RFC 9457, `application/problem+json`).
"""
TAGS = [
    {"name": "shots", "description": "Search shots; members, features, score and reasons of one."},
    {"name": "records", "description": "What a device recorded: frames, residuals, spectra, rows, blocks."},
    {"name": "exports", "description": "A shot as a file for other tools: NeXus, openPMD."},
    {"name": "features", "description": "What is measured, and of which shots."},
    {"name": "devices", "description": "A device over time: features, energy, trends, states, frames."},
    {"name": "events", "description": "Anomaly events that a subscriber missed, and feedback on them."},
    {"name": "ledger", "description": "Every object that arrived: how it ended, when and why."},
    {"name": "models", "description": "The model that scores."},
    {"name": "facility", "description": "Places of the chain and their devices."},
    {"name": "audit", "description": "Who made which change."},
    {"name": "health", "description": "Which servers behind this one answer."},
]
_PROBLEMS = {
    "400": "The body is not text.",
    "401": "The caller is not known.",
    "403": "The caller lacks a scope; `detail` names it.",
    "404": "Something does not exist; `detail` names it.",
    "409": "A limit is reached; `detail` names it.",
    "413": "The body is too large.",
    "422": "A value in the request is not valid; `mistakes` lists which.",
    "429": "The caller asks too often, or for too much at a time: `Retry-After` gives the time to wait.",
    "501": "A package that makes this file is not installed; `detail` names it.",
    "503": "A server that this one needs is unavailable; the same request may succeed later.",
}


def describe(app: FastAPI) -> None:
    """Set the description of the app, and `state.description`, which returns it as JSON that is made once."""
    document = cache(lambda: _document(app))
    app.openapi = document  # type: ignore[method-assign]
    app.state.description = cache(lambda: json.dumps(document()).encode())


def _document(app: FastAPI) -> dict[str, Any]:
    document = get_openapi(
        title="shotwatch",
        version="1",
        summary=SUMMARY,
        description=DESCRIPTION,
        tags=TAGS,
        routes=app.routes,
    )
    for path, operations in document["paths"].items():
        for operation in operations.values():
            _add_problems(operation, has_path_parameter="{" in path)
    _replace_error_schemas(document["components"]["schemas"])
    return document


def _add_problems(operation: dict[str, Any], has_path_parameter: bool) -> None:
    """Add the problem documents with which an operation may respond."""
    responses = operation["responses"]
    possible = {
        "400": "requestBody" in operation,
        "401": True,
        "403": True,
        "404": has_path_parameter or "404" in responses,
        "409": "409" in responses,
        "413": "requestBody" in operation,
        "422": "422" in responses,
        "429": True,
        "501": "501" in responses,
        "503": True,
    }
    for status in (status for status, may_be in possible.items() if may_be):
        schema = {"$ref": "#/components/schemas/ProblemDetails"}
        responses[status] = {
            "description": _PROBLEMS[status],
            "content": {MEDIA_TYPE: {"schema": schema}},
        }
    responses["431"] = {
        "description": "The line and headers of the request are too long.",
        "content": {"text/plain": {"schema": {"type": "string"}}},
    }


def _replace_error_schemas(schemas: dict[str, Any]) -> None:
    """Replace FastAPI's own error schemas, which are never sent, by that of problem documents."""
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    problem = ProblemDetails.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas.update(problem.pop("$defs"))
    schemas["ProblemDetails"] = problem
