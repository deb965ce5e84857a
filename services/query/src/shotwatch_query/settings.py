"""Settings of the query service."""

from shotwatch_common.settings import Settings


class QuerySettings(Settings):
    """What all services share, and where the REST API listens."""

    query_host: str = "127.0.0.1"
    query_port: int
