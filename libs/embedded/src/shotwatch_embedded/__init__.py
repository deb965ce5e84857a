"""The embedded stack: RabbitMQ, a MongoDB-wire server, an S3 server and MLflow on free ports, and the
supervisor of the services."""

from shotwatch_embedded.description import DEFAULT_ROOT, StackDescription, find_stack, running_stacks
from shotwatch_embedded.errors import (
    ProcessFailed,
    RabbitMQMissing,
    StackError,
    StackNotFound,
    StackRunning,
)
from shotwatch_embedded.install import ensure_rabbitmq
from shotwatch_embedded.services import ServiceSpec, path_services
from shotwatch_embedded.stack import DEFAULT_NAME, Stack
from shotwatch_embedded.status import Role, State, Status

__all__ = [
    "DEFAULT_NAME",
    "DEFAULT_ROOT",
    "ProcessFailed",
    "RabbitMQMissing",
    "Role",
    "ServiceSpec",
    "Stack",
    "StackDescription",
    "StackError",
    "StackNotFound",
    "StackRunning",
    "State",
    "Status",
    "ensure_rabbitmq",
    "find_stack",
    "path_services",
    "running_stacks",
]
