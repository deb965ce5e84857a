"""The table of services: which they are, what each reaches, and what it may do there.

The set-ups make accounts and their rights from this table. `make services` writes what other files repeat of
it: secrets, containers, network policies, scrape targets, import contracts (ADR 47).
"""

from dataclasses import dataclass, field
from enum import StrEnum

from shotwatch_common.actions import DocumentRights, ObjectRights, buckets, collections
from shotwatch_shots.identity import CALIBRATION, RESIDUALS
from shotwatch_shots.vocabulary import SLOW_CHANGES, AnomalyKind


class ModelsAccount(StrEnum):
    """An account of the model registry: `engineer` may change models, `reader` may only load them."""

    READER = "reader"
    ENGINEER = "engineer"


@dataclass(frozen=True, slots=True)
class Resources:
    """The limits of a replica, in cores and MiB, and what Kubernetes reserves for it."""

    cpus: int = 1
    memory_mib: int = 512
    reserved_cpus: float = 0.1
    reserved_mib: int = 192


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceEntry:
    """A service in the table. Everything that is not stated here is refused to it."""

    name: str
    collections: DocumentRights
    buckets: ObjectRights
    on_broker: bool = True
    """Whether it has an account of the broker. `process.run` connects to the broker, also without a queue."""
    consumes: tuple[str, ...] = ()
    """The stages whose queues it consumes."""
    sends_to: tuple[str, ...] = ()
    """The stages to which it publishes."""
    announces: frozenset[AnomalyKind] = frozenset()
    """The kinds of anomaly events that it publishes."""
    models: ModelsAccount | None = None
    """Its account of the model registry, if it uses models."""
    block_cache: bool = False
    """Whether it shares the block cache with the services on its machine (ADR 35)."""
    serves_http: bool = False
    """Whether people and programs reach it, and not only the servers that it calls."""
    is_job: bool = False
    """Whether it is started for one task and ends, instead of running until it is stopped."""
    resources: Resources = field(default_factory=Resources)
    replicas: int = 1
    """Number of replicas on Kubernetes. It is the largest one if the service is scaled with its queues."""


SERVICES = (
    ServiceEntry(
        name="ingest",
        collections=collections({"objects": "find insert update"}),
        buckets=buckets(
            {
                "inbox": "list read remove",
                "data": "list read write",
                "errors": "list read write",
                "blocks": "list read write",
            }
        ),
        consumes=("ingest",),
        sends_to=("ingest", "validate"),  # to itself: what its sweep of the inbox finds
        block_cache=True,
        resources=Resources(cpus=2, memory_mib=8192, reserved_cpus=0.5, reserved_mib=768),
        replicas=8,
    ),
    ServiceEntry(
        name="validate",
        collections=collections(
            {
                "objects": "insert update",
                "records": "insert update",
                "frames": "find insert update",
            }
        ),
        buckets=buckets({}),
        consumes=("validate",),
        sends_to=("aggregate",),
        replicas=2,
    ),
    ServiceEntry(
        name="aggregate",
        collections=collections(
            {
                "objects": "find insert update",
                "records": "find",
                "devices": "find insert update",
                "windows": "find insert update",
                "unused_sources": "insert",
                "batches": "insert update",
            }
        ),
        buckets=buckets({"inbox": "list"}),
        consumes=("aggregate",),
        sends_to=("features",),
        replicas=2,
    ),
    ServiceEntry(
        name="features",
        collections=collections(
            {
                "batches": "find update",
                "calibration_constants": "find",
                "measurements": "insert update",
            }
        ),
        buckets=buckets({"data": "list", f"data/{CALIBRATION}": "read", "blocks": "list read"}),
        consumes=("features", "detail"),
        sends_to=("inference",),
        block_cache=True,
        resources=Resources(memory_mib=1024, reserved_cpus=0.25, reserved_mib=640),
        replicas=4,
    ),
    ServiceEntry(
        name="inference",
        collections=collections(
            {
                "batches": "update",
                "measurements": "find insert update",
                "shots": "find insert update",
                "shot_counts": "insert update",
                "incidents": "find insert update",
                "levels": "find insert update",
                "events": "find insert update",
                "counters": "find insert update",
                "feedback": "find",
                "shadows": "insert update",
                "scored_hours": "find insert update",
                "model_loads": "insert update remove",
                "promotions": "find",
                "challengers": "find",
                "audit": "find",
            }
        ),
        buckets=buckets({"blocks": "list read", f"blocks/{RESIDUALS}": "write"}),
        consumes=("inference", "shadow"),
        sends_to=("detail", "shadow"),
        announces=frozenset(AnomalyKind) - SLOW_CHANGES,
        models=ModelsAccount.READER,
        block_cache=True,
        resources=Resources(memory_mib=1024, reserved_cpus=0.5, reserved_mib=448),
        replicas=4,
    ),
    ServiceEntry(
        name="history",
        collections=collections(
            {
                "objects": "find update",
                "records": "find remove",
                "windows": "find remove",
                "unused_sources": "find remove",
                "batches": "find remove",
                "shots": "find remove",
                "shot_counts": "find update remove",
                "devices": "find",
                "measurements": "find remove",
                "retention": "find insert update",
                "tables": "find insert update remove",
                "feedback": "find",
                "calibration_constants": "find insert",
                "trends": "find insert update",
                "drifts": "insert update",
                "scored_hours": "find remove",
                "promotions": "find",
                "challengers": "find",
                "audit": "find",
                "events": "find insert update",
                "counters": "find insert update",
                "reconciliations": "find insert update",
            }
        ),
        buckets=buckets(
            {
                "inbox": "list read",
                "data": "list",
                f"data/{CALIBRATION}": "read write",
                "errors": "list read",
                "blocks": "list read",
                "tables": "list read write remove",
            }
        ),
        announces=SLOW_CHANGES,
        models=ModelsAccount.READER,
        block_cache=True,
        resources=Resources(memory_mib=1536, reserved_mib=640),  # an hour of a day table takes 0.5 GiB
    ),
    ServiceEntry(
        name="query",
        collections=collections(
            {
                "objects": "find",
                "records": "find",
                "batches": "find",
                "shots": "find",
                "shot_counts": "find",
                "devices": "find",
                "measurements": "find",
                "calibration_constants": "find",
                "drifts": "find",
                "events": "find",
                "counters": "find",
                "reconciliations": "find",
                "retention": "find",
                "model_loads": "find",
                "promotions": "find",
                "challengers": "find",
                "shadows": "find",
                "scored_hours": "find",
                "feedback": "find insert",
                "searches": "find insert update remove",
                "audit": "find insert",
            }
        ),
        buckets=buckets({"data": "list read", "blocks": "list read", "tables": "list read"}),
        on_broker=False,
        models=ModelsAccount.READER,
        block_cache=True,
        serves_http=True,
        resources=Resources(cpus=2, memory_mib=1024, reserved_mib=256),
        replicas=2,
    ),
    ServiceEntry(
        name="training",
        collections=collections(
            {
                "objects": "find",
                "batches": "find",
                "shots": "find",
                "shot_counts": "find",
                "measurements": "find",
                "events": "find",
                "feedback": "find",
                "challengers": "find insert",
                "audit": "insert",
            }
        ),
        buckets=buckets({"data": "list read", "blocks": "list read", "datasets": "list read write remove"}),
        on_broker=False,
        models=ModelsAccount.ENGINEER,
        is_job=True,
    ),
)
"""Every service, those that a shot passes first, in their order."""
