"""What every service is told by its environment (`SHOTWATCH_…`), read once at the start."""

from pathlib import Path
from typing import Self

from pydantic import SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict


class SettingsError(ValueError):
    """The environment lacks a setting or has a wrong one; the message names each."""


class Settings(BaseSettings):
    """Addresses of the servers, the facility file, the buckets. Nothing secret has a default."""

    model_config = SettingsConfigDict(env_prefix="SHOTWATCH_", frozen=True, extra="ignore")

    broker_url: SecretStr
    """amqp://user:password@host:port/vhost"""
    database_url: SecretStr
    """mongodb://…"""
    database_name: str = "shotwatch"
    store_url: str
    """http(s)://host:port of the S3 server"""
    store_access_key: SecretStr
    store_secret_key: SecretStr
    models_url: str
    """http(s)://host:port of the MLflow server"""
    model_name: str = "shotwatch"
    """Name in the model registry."""
    facility: Path
    """The facility file."""
    inbox_bucket: str = "inbox"
    data_bucket: str = "data"
    error_bucket: str = "errors"
    block_bucket: str = "blocks"
    traces_folder: Path | None = None
    """Where spans are written as JSON lines; OTEL_EXPORTER_OTLP_ENDPOINT sends them to a collector."""
    health_host: str = "127.0.0.1"
    health_port: int = 0
    """Port of /live and /ready; 0 = none."""
    prefetch: int = 4
    """Messages that one replica works on at a time."""

    @classmethod
    def load(cls) -> Self:
        """Read the environment.

        Raises:
            SettingsError: a setting is missing or wrong.
        """
        try:
            return cls()
        except ValidationError as error:
            lines = (f"SHOTWATCH_{'_'.join(map(str, e['loc'])).upper()}: {e['msg']}" for e in error.errors())
            raise SettingsError("wrong settings:\n  " + "\n  ".join(lines)) from None
