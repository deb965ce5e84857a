"""JSON objects that the REST API and other processes of shotwatch return."""

from collections.abc import Mapping
from typing import Any

Answer = Mapping[str, Any]
"""A JSON object whose fields are described where it was made, and are not checked again."""
