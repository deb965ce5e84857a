"""The subject of a message of any stage, so that its outcome can be recorded."""

from dataclasses import dataclass
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from shotwatch_common.notification import parse_notification
from shotwatch_shots.errors import Reject
from shotwatch_shots.message import require_few_values
from shotwatch_shots.records import ObjectRef

Part = TypeVar("Part", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Subject:
    """The objects or batches that a message concerns; empty if it is not one of our messages."""

    objects: tuple[ObjectRef, ...] = ()
    batches: tuple[str, ...] = ()
    """Ids of batches of shots."""

    @property
    def names(self) -> str:
        """Keys of the objects and ids of the batches; empty if there are none."""
        return ", ".join((*(obj.key for obj in self.objects), *self.batches))


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore")


class _AboutFile(_Part):
    object: ObjectRef


class _AboutShots(_Part):
    batch_id: str
    window_id: str


class _AboutMeasuredShots(_Part):
    shots: _AboutShots


def subject_of(body: bytes) -> Subject:
    """Return the objects or the batch of shots that a message concerns.

    Requests for additional work on shots that are already judged (detailed measurements) concern none.
    A body with too many values is not one of our messages.
    """
    try:
        require_few_values(body)
    except Reject:
        return Subject()
    try:
        return Subject(objects=tuple(arrived.ref for arrived in parse_notification(body)))
    except Reject:
        return _of_contract(body)


def _of_contract(body: bytes) -> Subject:
    if (file := _read(_AboutFile, body)) is not None:
        return Subject(objects=(file.object,))
    measured = _read(_AboutMeasuredShots, body)
    shots = measured.shots if measured else _read(_AboutShots, body)
    return Subject(batches=(shots.batch_id,)) if shots else Subject()


def _read(part: type[Part], body: bytes) -> Part | None:
    try:
        return part.model_validate_json(body)
    except ValidationError:
        return None
