"""The services of the path, and how the stack starts each of them."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from shotwatch_common.services import SERVICES
from shotwatch_embedded.forks import PYTHON_MODULE

HEALTH_PORT = "SHOTWATCH_HEALTH_PORT"
QUERY_PORT = "SHOTWATCH_QUERY_PORT"
QUERY_KEYS_FILE = "SHOTWATCH_QUERY_KEYS_FILE"

_PATH = tuple(service.name for service in SERVICES if not service.is_job)
"""The services that run until they are stopped."""
ONE_THREAD = dict.fromkeys(
    (
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "MKL_NUM_THREADS",
        "NUMBA_NUM_THREADS",
        "TF_NUM_INTRAOP_THREADS",
        "TF_NUM_INTEROP_THREADS",
    ),
    "1",
)
"""Each service works in one thread. Use more replicas for more throughput, not thread pools that compete for
the cores.
"""
_BLOCK_DAYS = "SHOTWATCH_DELETE_BLOCKS_DAYS"
"""The setting of history for a store that cannot let blocks expire, as rclone."""


@dataclass(frozen=True, slots=True)
class ServiceSpec:
    """A service and the number of its processes.

    Each replica gets the stack's environment, extended by `environment`, and a port of its own in each
    variable of `ports`. The stack keeps these ports bound, so the replica must listen there with
    SO_REUSEPORT, as SHOTWATCH_REUSE_PORT requests. On SHOTWATCH_HEALTH_PORT it must answer GET /ready with
    200 while it consumes.
    """

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    replicas: int = 1
    ports: tuple[str, ...] = (HEALTH_PORT,)


def path_services(replicas: Mapping[str, int] | None = None) -> tuple[ServiceSpec, ...]:
    """Return the services of the path, one replica each unless `replicas` names another number.

    Raises:
        ValueError: `replicas` names a service that is not on the path.
    """
    counts = dict.fromkeys(_PATH, 1) | dict(replicas or {})
    if strangers := counts.keys() - set(_PATH):
        raise ValueError(f"not services of the path: {', '.join(sorted(strangers))}")
    return tuple(_service(name, count) for name, count in counts.items())


def _service(name: str, replicas: int) -> ServiceSpec:
    return ServiceSpec(
        name=name,
        command=(*PYTHON_MODULE, f"shotwatch_{name}"),
        environment=ONE_THREAD | {_BLOCK_DAYS: os.environ.get(_BLOCK_DAYS, "30")},
        replicas=replicas,
        ports=(HEALTH_PORT, QUERY_PORT) if name == "query" else (HEALTH_PORT,),
    )
