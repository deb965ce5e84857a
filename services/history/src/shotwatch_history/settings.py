"""Settings of the history service."""

from shotwatch_common.settings import BrokerSettings, Days, PositiveFloat


class HistorySettings(BrokerSettings):
    """The settings that all services share, the periods of the checks, and how long data are kept."""

    trend_poll_seconds: PositiveFloat = 600.0
    """Pause between two checks for slow changes, in seconds."""
    drift_poll_seconds: PositiveFloat = 600.0
    """Pause between two checks for drift, in seconds. Promotions are compared with the audit as often, and at
    least once a minute."""
    reference_poll_seconds: PositiveFloat = 30.0
    """Pause between two checks for old references, in seconds."""
    shot_days: Days = 90
    """Days after which judged shots are deleted, with their records and measurements; 0 keeps them."""
    delete_blocks_days: Days = 0
    """Days after which blocks are deleted from a store that cannot let them expire itself; 0 keeps them."""
    table_days: Days = 365
    """Days after its last change after which a day table is deleted; 0 keeps them."""
