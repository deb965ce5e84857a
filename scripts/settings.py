"""Write docs/settings.md from the settings of all services; a test compares the page with the code."""

from collections.abc import Iterator
from enum import Enum
from pathlib import Path

from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from shotwatch_common.settings import BrokerSettings, Settings, installed_settings, variable

PAGE = Path(__file__).resolve().parent.parent / "docs" / "settings.md"
HEAD = """# Settings

Written by `make settings` from the settings classes; change those. Each service reads its settings once, at
its start. If one is missing, out of range or unknown, the service ends with a message that names it. A dash
means that there is no default: the variable must be set.

Each setting of type *secret*, and `SHOTWATCH_API_KEY`, may be given in a file instead: `SHOTWATCH_X_FILE`
names a file that holds the value of `SHOTWATCH_X` (UTF-8, at most 64 KiB; one line feed at its end is
dropped). Setting both is an error. Files are read at the start only: after a secret has been changed, restart
the service.

Beside these: `SHOTWATCH_API_KEY` and `SHOTWATCH_QUERY_URL` configure how the command line reaches the REST
API, `SHOTWATCH_ROOT` where the embedded stacks lie. The telemetry libraries read `OTEL_…` variables, such as
`OTEL_EXPORTER_OTLP_ENDPOINT`.
"""
_TYPES = {SecretStr: "secret", Path: "path", str: "text"}
_RANGES = {"gt": "> ", "ge": "≥ ", "le": "≤ ", "min_length": "length ≥ "}


def page() -> str:
    """Return the page."""
    services = installed_settings()
    parts = [HEAD]
    parts += _part("All services", Settings, ())
    parts += _part("Services on a queue: " + ", ".join(_on_queue(services)), BrokerSettings, (Settings,))
    for name, settings in sorted(services.items()):
        parts += _part(name, settings, (Settings, BrokerSettings))
    return "\n".join(parts)


def _on_queue(services: dict[str, type[Settings]]) -> list[str]:
    return sorted(name for name, settings in services.items() if issubclass(settings, BrokerSettings))


def _part(title: str, settings: type[Settings], but: tuple[type[Settings], ...]) -> Iterator[str]:
    inherited = {name for each in but for name in each.model_fields}
    own = {name: field for name, field in settings.model_fields.items() if name not in inherited}
    if not own:
        return
    yield f"## {title}\n"
    yield "| variable | type | default | meaning |\n| --- | --- | --- | --- |"
    yield from (_row(name, field) for name, field in own.items())
    yield ""


def _row(name: str, field: FieldInfo) -> str:
    if not field.description:
        raise ValueError(f"{name} has no docstring")
    return (
        f"| `{variable(name)}` | {_type(field)} | {_default(field)} | {' '.join(field.description.split())} |"
    )


def _type(field: FieldInfo) -> str:
    options = getattr(field.annotation, "__args__", (field.annotation,))
    kind = next(option for option in options if option is not type(None))
    kind = getattr(kind, "__origin__", kind)
    name = _TYPES.get(kind, kind.__name__)
    ranges = (
        f"{symbol}{getattr(each, limit)}"
        for each in field.metadata
        for limit, symbol in _RANGES.items()
        if hasattr(each, limit)
    )
    return ", ".join((name, *ranges))


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True, validated_data={"prefix": ""})
    if value is PydanticUndefined:
        return "—"
    if value is None:
        return "none"
    if value == "":
        return "empty"
    shown = value.value if isinstance(value, Enum) else value
    return f"`{str(shown).lower() if isinstance(shown, bool) else shown}`"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
