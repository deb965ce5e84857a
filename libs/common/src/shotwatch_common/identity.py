"""Deterministic ids: the same thing has the same id however often and wherever it is processed."""

from datetime import datetime
from hashlib import blake2b


def _digest(*parts: object) -> str:
    return blake2b("\n".join(map(str, parts)).encode(), digest_size=12).hexdigest()


def object_id(bucket: str, key: str, etag: str) -> str:
    """Id of one version of an object."""
    return _digest(bucket, key, etag)


def event_id(shot: str, kind: str, revision: int) -> str:
    """Id of an anomaly event: one per shot, kind and revision."""
    return _digest(shot, kind, revision)


def statement_id(*said: object) -> str:
    """Id of what somebody said about an event."""
    return _digest(*said)


def message_id(stage: str, body: bytes) -> str:
    """Id of a message that a stage gave up."""
    return _digest(stage, body)


def raw_key(day: datetime, key: str) -> str:
    """Where the file that arrived under `key` lies in the data bucket once it was read."""
    return f"{day:%Y-%m-%d}/{key}"


def block_folder(day: datetime, object_id: str) -> str:
    """Where the blocks of an object lie in the block bucket."""
    return f"{day:%Y-%m-%d}/{object_id}/"


def residual_folder(shot: str) -> str:
    """Where the residuals of an anomalous shot's frames lie in the block bucket."""
    return f"residuals/{shot}/"


def residual_key(shot: str, device: str) -> str:
    """Where the residual of one of its frames lies (NPY)."""
    return f"{residual_folder(shot)}{device}.npy"


def characterisation_key(device: str, kind: str, data: bytes) -> str:
    """Where the arrays of a characterisation lie (NPZ)."""
    return f"characterisations/{device}/{kind}/{blake2b(data, digest_size=12).hexdigest()}.npz"
