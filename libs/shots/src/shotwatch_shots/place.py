"""Places of the chain, and the series of shots at each of them."""

import re
from dataclasses import dataclass
from typing import Self

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from shotwatch_shots.message import Message

NO_LEVEL = "00"
"""The value of a level that a place does not have: amplifiers without arms have the arm `00`."""
LEVEL = r"[A-Za-z0-9_]+"
"""A regular expression for the value of a level."""
_PLACE = re.compile(rf"{LEVEL}(?:-{LEVEL})*", re.ASCII)


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A place of the chain: a value for each level that the facility file names, the outermost first.

    It is written `LA-A1-11` everywhere: in ids, documents, messages, requests and labels. A place with fewer
    levels than the facility has is an area: all places that begin with these levels.
    """

    levels: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse a place in its written form.

        Raises:
            ValueError: the text is not a place; the message shows how places are written.
        """
        if not _PLACE.fullmatch(text):
            raise ValueError(f"{text!r} is not a place such as LA-A1-11")
        return cls(tuple(text.split("-")))

    def __str__(self) -> str:
        return "-".join(self.levels)

    @property
    def in_words(self) -> str:
        """The place in words for people: `LA A1 11`, `LA A2`."""
        return " ".join(level for level in self.levels if level != NO_LEVEL)

    def is_within(self, area: "Place") -> bool:
        """Return whether the place begins with the levels of the area."""
        return self.levels[: len(area.levels)] == area.levels

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Read and write a place as its text."""
        parsed = core_schema.no_info_after_validator_function(
            cls.parse, core_schema.str_schema(pattern=f"^{_PLACE.pattern}$", max_length=200)
        )
        return core_schema.json_or_python_schema(
            json_schema=parsed,
            python_schema=core_schema.union_schema([core_schema.is_instance_schema(cls), parsed]),
            serialization=core_schema.to_string_ser_schema(),
        )


class ShotSeries(Message):
    """The shots of one place at one interval; written `LA-A1-11-100ms`."""

    place: Place
    interval: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse a series in its written form.

        Raises:
            ValueError: the text is not a series.
        """
        place, _, interval = text.rpartition("-")
        return cls(place=Place.parse(place), interval=interval)

    def __str__(self) -> str:
        return f"{self.place}-{self.interval}"
