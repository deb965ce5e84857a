"""The settings that services read from the environment (`SHOTWATCH_…`), once at startup."""

import os
from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated, Self, get_args
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, SettingsConfigDict

PREFIX = "SHOTWATCH_"
FILE = "_FILE"
"""Suffix of the variable that names a file with the secret, instead of holding the secret itself."""
MAX_SECRET_BYTES = 64 << 10
OTHERS = frozenset(
    f"{PREFIX}{name}"
    for name in ("API_KEY", f"API_KEY{FILE}", "FAULTS", "PROCESS_OF", "QUERY_URL", "ROOT", "SERVICE")
)
"""Not settings: these variables are for the command line, the image and the embedded stack."""
RENAMED = {
    f"{PREFIX}SWEEP_SECONDS": f"{PREFIX}INBOX_SWEEP_SECONDS or, of aggregate, {PREFIX}WINDOW_SWEEP_SECONDS",
    f"{PREFIX}SWEEP_AGAIN_SECONDS": f"{PREFIX}INBOX_AGAIN_SECONDS",
}
"""Former name of a setting → its current name."""


class SettingsError(ValueError):
    """A setting is missing or invalid; the message names each one."""


def url_with(*schemes: str) -> Callable[[str], str]:
    """Return a check that a text is a URL with one of these schemes and a host."""

    def check(text: str) -> str:
        url = urlsplit(text)
        if url.scheme not in schemes or not url.hostname:
            raise ValueError(f"not {' or '.join(f'{scheme}://…' for scheme in schemes)}")
        return text

    return check


def _secret_url_with(*schemes: str) -> AfterValidator:
    check = url_with(*schemes)

    def check_secret(secret: SecretStr) -> SecretStr:
        check(secret.get_secret_value())
        return secret

    return AfterValidator(check_secret)


BrokerUrl = Annotated[SecretStr, _secret_url_with("amqp", "amqps")]
HttpUrl = Annotated[str, AfterValidator(url_with("http", "https"))]
Port = Annotated[int, Field(ge=0, le=65535)]
PositiveInt = Annotated[int, Field(gt=0)]
Days = Annotated[int, Field(ge=0)]
PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]


_NO_PREFIX = "default_factory_not_called"
"""Pydantic's error for a name without a default because of an invalid prefix.

The prefix itself is reported, so this error is left out.
"""


def _prefixed(name: str, min_length: int) -> str:
    """Return the field of a name that starts with the prefix, unless the complete name is given."""
    field: str = Field(default_factory=lambda known: known["prefix"] + name, min_length=min_length)
    return field


class SystemSettings(BaseSettings):
    """The settings of every process of one system."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, frozen=True, extra="ignore", use_attribute_docstrings=True
    )

    prefix: str = Field("", pattern=r"^([a-z][a-z0-9-]{0,19})?$")
    """Prefix of all names in broker, store, database and registry; systems on one server differ in it."""

    @classmethod
    def load(cls, **given: str) -> Self:
        """Read the settings from the environment; keyword arguments take precedence.

        Secrets are read from files if the environment names files.

        Raises:
            SettingsError: a setting is missing or invalid, a file with a secret cannot be used, or a variable
                has the prefix of settings but is not a setting.
        """
        mistakes = list(_unknown(cls, os.environ))
        variables = {variable(name): value for name, value in given.items()}
        secrets, unusable = _read_secrets(cls, with_settings(os.environ, variables))
        mistakes += unusable.values()
        try:
            settings = cls.model_validate(given | secrets)
        except ValidationError as error:
            mistakes += [
                f"{_variable_of(e['loc'])}{e['msg'].removeprefix('Value error, ')}"
                for e in error.errors()
                if not unusable.keys() & set(e["loc"]) and e["type"] != _NO_PREFIX
            ]
        if mistakes:
            raise SettingsError("wrong settings:\n  " + "\n  ".join(mistakes))
        return settings


class Settings(SystemSettings):
    """Addresses of the servers, the facility file, the buckets. No secret has a default."""

    database_url: Annotated[SecretStr, _secret_url_with("mongodb", "mongodb+srv")]
    """`mongodb://user:password@host:port/database`."""
    database_name: str = _prefixed("shotwatch", 1)
    """Name of the database."""
    store_url: HttpUrl
    """`http(s)://host:port` of the S3 server."""
    store_access_key: SecretStr
    """Access key of the S3 server."""
    store_secret_key: SecretStr
    """Secret key of the S3 server."""
    models_url: HttpUrl
    """`http(s)://host:port` of the MLflow server."""
    models_user: str = ""
    """Account of the MLflow server; if empty, no login is sent."""
    models_password: SecretStr = SecretStr("")
    """Password of the MLflow server's account."""
    model_name: str = _prefixed("shotwatch", 1)
    """Name of the model in the model registry."""
    facility: Path
    """Path of the facility file."""
    inbox_bucket: str = _prefixed("inbox", 3)
    """Bucket for new files."""
    data_bucket: str = _prefixed("data", 3)
    """Bucket for files that have been read."""
    error_bucket: str = _prefixed("errors", 3)
    """Bucket for rejected files, each with its reason beside it."""
    block_bucket: str = _prefixed("blocks", 3)
    """Bucket for blocks, which hold the records of files."""
    dataset_bucket: str = _prefixed("datasets", 3)
    """Bucket for training sets."""
    table_bucket: str = _prefixed("tables", 3)
    """Bucket for day tables: the shots of each place as columns."""
    block_cache: Path | None = None
    """Folder, best in memory (tmpfs), in which ingest keeps recent blocks for services on the same machine.

    It must belong to the service's user and have mode 0700. Without it, blocks are read from the store.
    """
    block_cache_bytes: PositiveInt = 1 << 30
    """Size of the block cache; the oldest blocks make room for new ones. Only ingest writes there, and each
    further replica may exceed the size by an eighth."""
    traces_folder: Path | None = None
    """Folder for spans as JSON lines; OTEL_EXPORTER_OTLP_ENDPOINT sends them to a collector."""
    health_host: str = "127.0.0.1"
    """Address on which /live, /ready and /metrics are served."""
    health_port: Port = 0
    """Port of /live, /ready and /metrics; 0 disables them."""
    reuse_port: bool = False
    """Listen with SO_REUSEPORT. For the embedded stack, whose supervisor keeps the ports bound."""

    @property
    def buckets(self) -> tuple[str, ...]:
        """Names of all buckets that the store must have."""
        return (
            self.inbox_bucket,
            self.data_bucket,
            self.error_bucket,
            self.block_bucket,
            self.dataset_bucket,
            self.table_bucket,
        )


class BrokerAccountSettings(SystemSettings):
    """The settings of the broker's set-up."""

    broker_url: BrokerUrl
    """`amqp(s)://setup:password@host:port/vhost`."""


class BrokerSettings(Settings):
    """The settings of all services that consume a queue."""

    broker_url: BrokerUrl
    """`amqp(s)://user:password@host:port/vhost`."""

    @property
    def drain_seconds(self) -> float:
        """How long a replica may continue to handle its messages after it has received a stop signal (s)."""
        return 30.0


def variable(name: str) -> str:
    """Return the environment variable of a setting."""
    return PREFIX + name.upper()


def is_secret(field: FieldInfo) -> bool:
    """Return whether a setting is a secret, which may be given in a file."""
    return SecretStr in (field.annotation, *get_args(field.annotation))


def with_settings(environment: Mapping[str, str], own: Mapping[str, str]) -> dict[str, str]:
    """Return the environment with these variables added, and without files that hold the same secrets."""
    files = {name + FILE for name in own}
    return {name: value for name, value in environment.items() if name not in files} | dict(own)


def read_secret(name: str, environment: Mapping[str, str]) -> str | None:
    """Return the secret that a variable holds, or the content of the file that `{name}_FILE` names.

    One line feed at the end of the file is not part of the secret. An empty `{name}_FILE` counts as not set.
    Return None if neither variable is set.

    Raises:
        SettingsError: both are set, or the file cannot be read, is empty, is larger than 64 KiB, or is not
            UTF-8. The message never contains the secret.
    """
    if not environment.get(name + FILE):
        return environment.get(name)
    path = Path(environment[name + FILE])
    if name in environment:
        raise SettingsError(f"{name} and {name}{FILE} are both set: set one of them")
    try:
        with path.open("rb") as file:
            content = file.read(MAX_SECRET_BYTES + 1)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise SettingsError(f"{name}{FILE}: cannot read '{path}': {why}") from error
    if len(content) > MAX_SECRET_BYTES:
        raise SettingsError(f"{name}{FILE}: '{path}' is larger than {MAX_SECRET_BYTES >> 10} KiB")
    try:
        secret = content.decode().removesuffix("\n")
    except UnicodeDecodeError:
        raise SettingsError(f"{name}{FILE}: '{path}' is not UTF-8 text") from None
    if not secret:
        raise SettingsError(f"{name}{FILE}: '{path}' is empty")
    return secret


def installed_settings() -> dict[str, type[Settings]]:
    """Return service → settings class, for every installed service."""
    return {found.name: found.load() for found in entry_points(group="shotwatch.settings")}


def _read_secrets(
    asked: type[SystemSettings], environment: Mapping[str, str]
) -> tuple[dict[str, str], dict[str, str]]:
    """Return the secrets that are set, and why others cannot be used; both by the name of the setting."""
    secrets: dict[str, str] = {}
    unusable: dict[str, str] = {}
    for name in (name for name, field in asked.model_fields.items() if is_secret(field)):
        try:
            secret = read_secret(variable(name), environment)
        except SettingsError as error:
            unusable[name] = str(error)
        else:
            if secret is not None:
                secrets[name] = secret
    return secrets, unusable


def _unknown(asked: type[SystemSettings], environment: Mapping[str, str]) -> Iterator[str]:
    """Describe the errors in variables that no installed service reads; most are misspelt."""
    classes = (asked, *installed_settings().values())
    known = {each for settings in classes for each in _variables(settings)} | OTHERS
    for name in sorted(environment):
        if name in RENAMED:
            yield f"{name}: renamed; set {RENAMED[name]}"
        elif name.startswith(PREFIX) and name not in known:
            close = get_close_matches(name, known, n=1)
            yield f"{name}: there is no such setting" + (f"; is {close[0]} meant?" if close else "")


def _variables(settings: type[SystemSettings]) -> Iterator[str]:
    """Yield the variables from which a service reads its settings."""
    for name, field in settings.model_fields.items():
        yield variable(name)
        if is_secret(field):
            yield variable(name) + FILE


def _variable_of(where: tuple[int | str, ...]) -> str:
    return f"{variable('_'.join(map(str, where)))}: " if where else ""
