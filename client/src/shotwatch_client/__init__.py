"""Shots, frames, spectra, features and events of a shotwatch deployment.

`connect` returns a client. docs/python-client.md walks through it.
"""

from shotwatch_client.client import ShotwatchClient
from shotwatch_client.connection import connect
from shotwatch_client.errors import (
    EventsReset,
    InvalidArgument,
    MissingRecords,
    NoData,
    NotAccepted,
    NotPermitted,
    NotReachable,
    ShotwatchError,
    UnexpectedAnswer,
)
from shotwatch_client.events import Event
from shotwatch_client.exports import Exports
from shotwatch_client.recordings import Recordings
from shotwatch_client.searches import SavedSearches, ValueSearch
from shotwatch_client.shot_tables import ShotTable
from shotwatch_client.tables import FileBalance, ShotReport

__all__ = [
    "Event",
    "EventsReset",
    "Exports",
    "FileBalance",
    "InvalidArgument",
    "MissingRecords",
    "NoData",
    "NotAccepted",
    "NotPermitted",
    "NotReachable",
    "Recordings",
    "SavedSearches",
    "ShotReport",
    "ShotTable",
    "ShotwatchClient",
    "ShotwatchError",
    "UnexpectedAnswer",
    "ValueSearch",
    "connect",
]
