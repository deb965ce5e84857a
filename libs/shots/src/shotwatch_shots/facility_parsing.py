"""Parsing and checking of a facility file; each error names its line."""

import re
from typing import Any

import yaml
from pydantic import TypeAdapter, ValidationError

from shotwatch_shots.device_kinds import DEVICE_KINDS
from shotwatch_shots.durations import DAY_MS
from shotwatch_shots.facility import Facility, FacilityError


def parse_facility(text: str, name: str) -> Facility:
    """Parse and check the text of a facility file.

    Raises:
        FacilityError: the text is not YAML, or has invalid content; the message contains `name` and the line.
    """
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        facility = TypeAdapter(Facility).validate_python(yaml.safe_load(text))
    except yaml.YAMLError as error:
        raise FacilityError(f"{name}: is not YAML: {error}") from error
    except ValidationError as error:
        raise FacilityError(_explain(name, node, error)) from error
    for where, problem in _inconsistencies(facility):
        raise FacilityError(f"{name}:{_line(node, where)}: {problem}")
    return facility


def _explain(name: str, node: yaml.Node | None, error: ValidationError) -> str:
    return "\n".join(
        f"{name}:{_line(node, problem['loc'])}: {'.'.join(map(str, problem['loc']))}: {problem['msg']}"
        for problem in error.errors()
    )


def _line(node: yaml.Node | None, where: tuple[int | str, ...]) -> int:
    """Return the line (from 1) of the deepest part of `where` that the file has."""
    line = 1 if node is None else node.start_mark.line + 1
    for step in where:
        node = _child(node, step)
        if node is None:
            break
        line = node.start_mark.line + 1
    return line


def _child(node: yaml.Node | None, step: int | str) -> yaml.Node | None:
    if isinstance(node, yaml.MappingNode):
        return next((value for key, value in node.value if key.value == str(step)), None)
    if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
        child: yaml.Node = node.value[step]
        return child
    return None


def _inconsistencies(facility: Facility) -> list[tuple[tuple[int | str, ...], str]]:
    """Check what types cannot express: patterns compile, intervals exist, groups match their places."""
    problems: list[tuple[tuple[int | str, ...], str]] = []

    def check(where: tuple[int | str, ...], claim: Any, *expected: type[Exception]) -> None:
        try:
            claim()
        except expected as error:
            problems.append((where, str(error)))

    check(("group_name",), lambda: re.compile(facility.group_name), re.error)
    for n, layout in enumerate(facility.layouts):
        check(("layouts", n, "file_name"), lambda layout=layout: re.compile(layout.file_name), re.error)
        if not 0 < layout.length_s <= DAY_MS / 1000:
            problems.append((("layouts", n, "length_s"), "length_s must be more than 0 s and at most a day"))
        if not 0 <= layout.margin_s <= layout.length_s:
            problems.append((("layouts", n, "margin_s"), "margin_s must be between 0 s and length_s"))
        if layout.arrangement not in ("timestamps", "images"):
            problems.append((("layouts", n, "arrangement"), "arrangement must be timestamps or images"))
    for n, interval in enumerate(facility.intervals):
        check(("intervals", n, "name"), lambda interval=interval: interval.period_ms, ValueError)
    for n, family in enumerate(facility.device_types):
        wanted = len(DEVICE_KINDS[family.kind].columns)
        if len(family.datasets) != wanted:
            problems.append((("device_types", n), f"a {family.kind} has {wanted} dataset(s)"))
    if problems:
        return problems
    if unnamed := set(facility.levels) - set(re.compile(facility.group_name).groupindex):
        return [(("group_name",), f"group_name has no group for the level {min(unnamed)}")]
    known = {interval.name for interval in facility.intervals}
    for n, expected in enumerate(facility.places):
        if expected.interval not in known:
            problems.append((("places", n, "interval"), f"interval {expected.interval} is not listed"))
        for m, group in enumerate(expected.devices):
            device = facility.device(group)
            if device is None or device.place != expected.place:
                problems.append(
                    (("places", n, "devices", m), f"group_name does not read {group} as {expected.place}")
                )
    return problems
