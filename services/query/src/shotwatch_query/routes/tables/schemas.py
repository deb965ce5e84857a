"""The responses about tables of shots."""

from pydantic import Field

from shotwatch_query.schema import Instant, Schema
from shotwatch_shots.place import Place

CellValue = Instant | float | bool | str | list[str] | None


class TableColumnDocument(Schema):
    """A column of a table."""

    name: str = Field(examples=["LA_A1_11_EM_1_EnergyMeter_1.energy"])
    unit: str = Field(description="Empty for pure numbers and for what is not a number.", examples=["J"])
    description: str


class FilledColumn(TableColumnDocument):
    """A column of a table with its values."""

    values: list[CellValue] = Field(description="One per row; null where it is missing.")


class ColumnCatalogue(Schema):
    """The columns of the table of a place."""

    place: Place
    columns: list[TableColumnDocument]


class TableDocument(Schema):
    """Rows of the tables of places: place by place, and of each in order of time."""

    place: Place | None = Field(
        description="The place; null if several were searched: the first column has it.",
        examples=["LA-A1-11"],
    )
    interval: str | None = Field(description="Its sampling period; null as `place` is.", examples=["100ms"])
    columns: list[FilledColumn]
    next: str | None = Field(
        description="Cursor of the next page; null when there is none. A page may hold fewer rows than asked "
        "for, even none, and yet have a next one: the search for something rare goes on from there."
    )
