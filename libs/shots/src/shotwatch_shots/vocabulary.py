"""The closed word lists of the system: one term, one meaning (docs/glossary.md explains them)."""

from enum import StrEnum


class DeviceKind(StrEnum):
    """What a device is, as the facility file reads it off its group name."""

    CAMERA = "Camera"
    SPECTRO = "Spectro"
    ENERGY_METER = "EnergyMeter"
    OTHER = "Other"


class FileReason(StrEnum):
    """Why an object as a whole ended in the error bucket."""

    EMPTY = "empty"
    NOT_HDF5 = "not_hdf5"
    TRUNCATED = "truncated"
    NOT_A_SNAPSHOT = "not_a_snapshot"
    UNKNOWN_INTERVAL = "unknown_interval"
    """The facility file does not list the interval in its name."""
    IMPOSSIBLE_TIME = "impossible_time"
    """Every record is later than the file's arrival and the clock skew allow, or before the first day."""
    OUTSIDE_SPAN = "outside_span"
    """No record lies in the time that the file covers by its name."""
    FOREIGN_DEVICES = "foreign_devices"
    """Every device is of another frontend than the file."""
    BAD_NAMES = "bad_names"
    """Every group has a name that no recorder writes."""
    WRONG_TYPES = "wrong_types"
    TOO_LARGE = "too_large"
    UNREADABLE = "unreadable"
    CRASHES_READER = "crashes_reader"
    TOO_SLOW = "too_slow"


class SkipReason(StrEnum):
    """Why a part of a readable file is passed over: a name, a device or a record of it."""

    BAD_NAME = "bad_name"
    """Not UTF-8, too long, `.` or `..`, or with a slash, control or bidirectional characters."""
    NOT_A_TIME = "not_a_time"
    NO_DEVICE = "no_device"
    """The name stands for no place of the facility."""
    FOREIGN_DEVICE = "foreign_device"
    UNEXPECTED_DEVICE = "unexpected_device"
    """One more than the unexpected devices that are read of a file."""
    OUTSIDE_SPAN = "outside_span"
    IMPOSSIBLE_TIME = "impossible_time"
    TOO_MANY_RECORDS = "too_many_records"
    SAME_GROUP = "same_group"
    """Another name of a group that was read already."""
    UNREADABLE = "unreadable"


class RecordReason(StrEnum):
    """Why one record of a readable file is refused."""

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
    """Where an object is. The ledger balances over these."""

    WAITING = "waiting"
    INGESTED = "ingested"
    REJECTED = "rejected"
    IGNORED = "ignored"
    DEAD_LETTERED = "dead_lettered"


class HeldFor(StrEnum):
    """What a message in a service's hands waits for."""

    SERVER = "server"
    """The database or the store does not answer."""
    NEXT_STAGE = "next_stage"
    """Its queue is long."""


class Settlement(StrEnum):
    """What became of a message that a stage took."""

    DONE = "done"
    RETRY = "retry"
    """It comes again after a pause."""
    REJECT = "reject"
    """Parked: the input's fault."""
    BUG = "bug"
    """Parked: ours."""
    GAVE_UP = "gave_up"
    """Parked after its last attempt."""


class Completeness(StrEnum):
    """Whether every kind of device of the place has a valid record in the shot."""

    COMPLETE = "complete"
    INCOMPLETE = "incomplete"


class ShotState(StrEnum):
    """Where the shots of a batch are. The ledger balances over these, too."""

    JUDGED = "judged"
    WAITING = "waiting"
    DEAD_LETTERED = "dead_lettered"


class AnomalyKind(StrEnum):
    """What an anomaly event says happened."""

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
"""What is said of a device over many shots, and of none of them alone."""


class Phase(StrEnum):
    """Where a condition stands when an event tells of it."""

    OPENED = "opened"
    """It has begun, and may last."""
    UPDATED = "updated"
    """It got worse, shows on more devices, or lasts on."""
    CLOSED = "closed"
    """It is over."""
    PASSED = "passed"
    """It came and went before it could be told of."""


class FeedbackAction(StrEnum):
    """What somebody says about an event."""

    ACKNOWLEDGED = "acknowledged"
    """Seen, and in hand."""
    SNOOZED = "snoozed"
    """Nobody wants to hear of this kind at this place for a while."""
    FALSE = "false"
    """A false alarm."""
    CONFIRMED = "confirmed"
    """Right, with a label of what it was."""


class ModelAlias(StrEnum):
    """What the registry calls the versions of the model that inference loads."""

    CHAMPION = "champion"
    """It scores."""
    CHALLENGER = "challenger"
    """It scores beside the champion, and nobody hears of it."""


class Severity(StrEnum):
    """How soon somebody should look, mildest first."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


class Scope(StrEnum):
    """What a caller of the REST API may do; none implies another."""

    READ = "read"
    """See everything but the audit."""
    LABEL = "label"
    """Give feedback on events."""
    ADMIN = "admin"
    """Change anything else, and read the audit."""


class Outcome(StrEnum):
    """What became of a change that somebody asked for."""

    DONE = "done"
    REFUSED = "refused"
    """The caller may not."""
    FAILED = "failed"
