"""The running system that a command works on."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from shotwatch_cli.failures import Failure
from shotwatch_cli.rest import API_KEY, TIMEOUT_S, RestApi
from shotwatch_common.settings import FILE, PREFIX, BrokerSettings, Settings, variable, with_settings
from shotwatch_common.topology import Topology
from shotwatch_embedded.description import DEFAULT_ROOT, StackDescription, find_stack
from shotwatch_embedded.status import Status

NameOption = Annotated[
    str | None, typer.Option("--name", help="Name of the stack. Default: the one that runs.")
]
RootOption = Annotated[
    Path, typer.Option("--root", file_okay=False, help="Folder of the stacks.", envvar="SHOTWATCH_ROOT")
]
ROOT = DEFAULT_ROOT

AnySettings = TypeVar("AnySettings", bound=Settings)

_QUERY_URL = "SHOTWATCH_QUERY_URL"


@dataclass(frozen=True, slots=True)
class Deployment:
    """The addresses of the servers, and the state of the processes if it is known."""

    settings: BrokerSettings
    environment: Mapping[str, str]
    """The environment of a service, with the key or token for the REST API."""
    query_url: str | None
    """Address of the REST API."""
    processes: tuple[Status, ...] = ()
    """The processes of an embedded stack."""
    page_urls: tuple[str, ...] = ()
    """Addresses of the live page that need no login."""
    stack: StackDescription | None = None
    """The embedded stack, if it is one."""

    @property
    def broker_url(self) -> str:
        return self.settings.broker_url.get_secret_value()

    @property
    def topology(self) -> Topology:
        return Topology(self.settings.prefix)

    @property
    def api_url(self) -> str:
        """Address of the REST API.

        Raises:
            Failure: the address is not configured.
        """
        if self.query_url is None:
            raise Failure("the address of the REST API is not known", f"set {_QUERY_URL}=http://host:port")
        return self.query_url

    def require_running(self) -> None:
        """Check, before a connection is opened again, that the servers may still be running.

        Raises:
            Failure: the embedded stack has ended. Any user may listen on its ports now.
        """
        if self.stack is not None and not self.stack.runs:
            raise Failure(f"the stack {self.stack.name} has ended")

    def api(self, timeout_s: float = TIMEOUT_S) -> RestApi:
        """Return a client of the REST API that sends the key or token from the environment.

        Raises:
            Failure: the address of the API is not configured.
            SettingsError: the file that holds the key cannot be used.
        """
        return RestApi(self.api_url, self.environment, timeout_s)


def find_deployment(root: Path, name: str | None) -> Deployment:
    """Return the deployment that the environment describes in full (SHOTWATCH_…), or the running stack.

    Raises:
        StackNotFound: there is neither, or several stacks run and none was named.
    """
    if name is None and _describes_all(os.environ):
        return Deployment(BrokerSettings.load(), dict(os.environ), os.environ.get(_QUERY_URL))
    stack = find_stack(root, name)
    return Deployment(
        settings_of(stack.environment),
        with_settings(os.environ, {**stack.environment, **({API_KEY: stack.token} if stack.token else {})}),
        next(iter(stack.query_urls), None),
        stack.processes,
        stack.page_urls,
        stack,
    )


def _describes_all(environment: Mapping[str, str]) -> bool:
    required = (variable(name) for name, field in BrokerSettings.model_fields.items() if field.is_required())
    return all(environment.get(name) or environment.get(name + FILE) for name in required)


def settings_of(environment: Mapping[str, str]) -> BrokerSettings:
    """Return the settings that a service with this environment has."""
    return settings_as(BrokerSettings, environment)


def settings_as(kind: type[AnySettings], environment: Mapping[str, str]) -> AnySettings:
    """Return the settings of this kind that a process with this environment has.

    Raises:
        SettingsError: a setting is missing or wrong.
    """
    given = {name.removeprefix(PREFIX).lower(): value for name, value in environment.items()}
    return kind.load(**given)
