"""The closed word lists of the system: each term has one meaning (docs/glossary.md explains them)."""

from enum import StrEnum


class CalibrationKind(StrEnum):
    """The kind of a set of calibration constants of a camera."""

    NOISE = "noise"
    """Mean and standard deviation of each pixel in the dark."""
    REFERENCE = "reference"
    """The typical beam image."""


class FileReason(StrEnum):
    """The reason for moving an object as a whole to the error bucket."""

    EMPTY = "empty"
    NOT_HDF5 = "not_hdf5"
    TRUNCATED = "truncated"
    NOT_A_SNAPSHOT = "not_a_snapshot"
    UNKNOWN_INTERVAL = "unknown_interval"
    """The facility file does not list the interval in the object's name."""
    IMPOSSIBLE_TIME = "impossible_time"
    """Every record is before the first day, or later than the file's arrival and the clock skew allow."""
    OUTSIDE_SPAN = "outside_span"
    """No record is in the time range that the file's name implies."""
    FOREIGN_DEVICES = "foreign_devices"
    """Every device belongs to another frontend than the file."""
    BAD_NAMES = "bad_names"
    """Every group has a name that no recorder writes."""
    WRONG_TYPES = "wrong_types"
    TOO_LARGE = "too_large"
    UNREADABLE = "unreadable"
    CRASHES_READER = "crashes_reader"
    TOO_SLOW = "too_slow"


class SkipReason(StrEnum):
    """The reason for skipping a part of a readable file: a name, a device or a record."""

    BAD_NAME = "bad_name"
    """Not UTF-8, too long, `.` or `..`, or with a slash, control or bidirectional characters."""
    NOT_A_TIME = "not_a_time"
    NO_DEVICE = "no_device"
    """The name does not match a place of the facility."""
    FOREIGN_DEVICE = "foreign_device"
    UNEXPECTED_DEVICE = "unexpected_device"
    """More unexpected devices than are read from one file."""
    OUTSIDE_SPAN = "outside_span"
    IMPOSSIBLE_TIME = "impossible_time"
    TOO_MANY_RECORDS = "too_many_records"
    SAME_GROUP = "same_group"
    """Another name of a group that has already been read."""
    UNREADABLE = "unreadable"


class RecordReason(StrEnum):
    """The reason for refusing one record of a readable file."""

    STATE_NOT_ON = "state_not_on"
    STATE_MISSING = "state_missing"
    DATA_MISSING = "data_missing"
    WRONG_SHAPE = "wrong_shape"
    WRONG_TYPE = "wrong_type"
    OUT_OF_RANGE = "out_of_range"
    NOT_FINITE = "not_finite"
    BLACK_FRAME = "black_frame"
    SATURATED_FRAME = "saturated_frame"
    FROZEN_FRAME = "frozen_frame"
    NO_SPECTRUM = "no_spectrum"
    NO_ENERGY = "no_energy"


class ObjectState(StrEnum):
    """The state of an object. The ledger balances over these."""

    WAITING = "waiting"
    INGESTED = "ingested"
    REJECTED = "rejected"
    IGNORED = "ignored"
    DEAD_LETTERED = "dead_lettered"
    EXPIRED = "expired"
    """Ingested long ago: the raw file remains, its records and shots have been deleted."""


class HeldFor(StrEnum):
    """The thing that a held message waits for."""

    SERVER = "server"
    """The database or the store does not answer."""
    NEXT_STAGE = "next_stage"
    """The queue of the next stage is long."""


class Settlement(StrEnum):
    """The way in which a message that a stage took was settled."""

    DONE = "done"
    RETRY = "retry"
    """It is redelivered after a delay."""
    REJECT = "reject"
    """Dead-lettered because of an error in the input."""
    BUG = "bug"
    """Dead-lettered because of an error in our code."""
    GAVE_UP = "gave_up"
    """Dead-lettered after its last attempt."""


class Completeness(StrEnum):
    """The completeness of a shot: complete if every kind of device of the place has a valid record."""

    COMPLETE = "complete"
    INCOMPLETE = "incomplete"


class ShotState(StrEnum):
    """The state of the shots of a batch. The ledger balances over these, too."""

    JUDGED = "judged"
    WAITING = "waiting"
    DEAD_LETTERED = "dead_lettered"


class AnomalyKind(StrEnum):
    """The kind of anomaly that an event reports."""

    MISSING_MEMBER = "missing_member"
    DEVICE_STATE = "device_state"
    BLACK_FRAME = "black_frame"
    FROZEN_FRAME = "frozen_frame"
    SATURATED_FRAME = "saturated_frame"
    BAD_RECORD = "bad_record"
    ENERGY_DISAGREEMENT = "energy_disagreement"
    ENERGY = "energy"
    BANDWIDTH = "bandwidth"
    WAVELENGTH = "wavelength"
    SPECTRUM = "spectrum"
    POINTING = "pointing"
    BEAM_SIZE = "beam_size"
    HOT_SPOT = "hot_spot"
    PROFILE = "profile"
    TREND = "trend"
    DRIFT = "drift"
    SUPERSEDED = "superseded"


SLOW_CHANGES = frozenset({AnomalyKind.TREND, AnomalyKind.DRIFT})
"""Kinds that describe a device over many shots, not any single shot."""


class Phase(StrEnum):
    """The state of an incident when an event about it is published."""

    OPENED = "opened"
    """It has started, and may last."""
    UPDATED = "updated"
    """It got worse, shows on more devices, or continues."""
    CLOSED = "closed"
    """It is over."""
    PASSED = "passed"
    """It was over before its first event could be published."""


class FeedbackAction(StrEnum):
    """The kinds of feedback on an event."""

    ACKNOWLEDGED = "acknowledged"
    """Seen, and being dealt with."""
    SNOOZED = "snoozed"
    """Events of this kind at this place are not published for a while."""
    FALSE = "false"
    """A false alarm."""
    CONFIRMED = "confirmed"
    """Right, with a label that names the actual anomaly."""


class ModelAlias(StrEnum):
    """The registry's aliases of the model versions that inference loads."""

    CHAMPION = "champion"
    """The version that scores."""
    CHALLENGER = "challenger"
    """The version that scores beside the champion, without publishing."""


class Severity(StrEnum):
    """The urgency of an anomaly: how soon somebody should react, mildest first."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


class Scope(StrEnum):
    """A permission of a caller of the REST API. No scope implies another."""

    READ = "read"
    """Read everything but the audit."""
    LABEL = "label"
    """Give feedback on events."""
    ADMIN = "admin"
    """Change anything else, and read the audit."""


class ChangeOutcome(StrEnum):
    """The outcome of a requested change."""

    DONE = "done"
    REFUSED = "refused"
    """The caller is not permitted to do this."""
    FAILED = "failed"
