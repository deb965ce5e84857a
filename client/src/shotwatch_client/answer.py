"""A JSON object of the REST API, read property by property: what is not as expected is a clear error."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from shotwatch_client.errors import UnexpectedAnswer
from shotwatch_client.times import instant

Kind = TypeVar("Kind")
_TOO_NEW = "The client and the server may be of different releases"


@dataclass(frozen=True, slots=True)
class Answer:
    """A JSON object. Every method raises UnexpectedAnswer if the property is missing or of another type."""

    asked: str
    """The request; errors name it."""
    document: object

    def text(self, name: str) -> str:
        return self._typed(name, str)

    def text_or_none(self, name: str) -> str | None:
        return None if self._value(name) is None else self._typed(name, str)

    def whole(self, name: str) -> int:
        return self._typed(name, int)

    def number(self, name: str) -> float:
        """Return a number; NaN for null."""
        value = self._value(name)
        return float("nan") if value is None else float(self._typed(name, (int, float)))

    def flag(self, name: str) -> bool:
        return self._typed(name, bool)

    def flag_or_none(self, name: str) -> bool | None:
        return None if self._value(name) is None else self._typed(name, bool)

    def time(self, name: str) -> datetime:
        """Return a time that is given as RFC 3339."""
        try:
            return datetime.fromisoformat(self.text(name))
        except ValueError as error:
            raise self._unlike(name, "a time") from error

    def time_or_none(self, name: str) -> datetime | None:
        return None if self._value(name) is None else self.time(name)

    def moment(self, name: str) -> datetime:
        """Return a time that is given as epoch ms."""
        try:
            return instant(self.whole(name))
        except OverflowError as error:
            raise self._unlike(name, "a time") from error

    def texts(self, name: str) -> tuple[str, ...]:
        values = self._typed(name, list)
        if not all(isinstance(value, str) for value in values):
            raise self._unlike(name, "a list of texts")
        return tuple(values)

    def counts(self, name: str) -> dict[str, int]:
        """Return the whole numbers of an object by their names."""
        part = self.part(name)
        return {each: part.whole(each) for each in part.mapping()}

    def part(self, name: str) -> "Answer":
        """Return an object inside this one."""
        return Answer(self.asked, self._value(name))

    def rows(self, name: str) -> "list[Answer]":
        return [Answer(self.asked, value) for value in self._typed(name, list)]

    def mapping(self) -> Mapping[str, object]:
        """Return all properties."""
        if not isinstance(self.document, dict):
            raise UnexpectedAnswer(self.asked, "a JSON object was expected", _TOO_NEW)
        return self.document

    def _value(self, name: str) -> object:
        try:
            return self.mapping()[name]
        except KeyError as error:
            raise UnexpectedAnswer(self.asked, f"the answer has no `{name}`", _TOO_NEW) from error

    def _typed(self, name: str, kind: "type[Kind] | tuple[type[Kind], ...]") -> Kind:
        value = self._value(name)
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise self._unlike(name, "of the expected type")
        return value

    def _unlike(self, name: str, expected: str) -> UnexpectedAnswer:
        return UnexpectedAnswer(self.asked, f"`{name}` of the answer is not {expected}", _TOO_NEW)
