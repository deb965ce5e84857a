"""Deterministic ids: the same thing has the same id however often and wherever it is processed."""

import re
from collections.abc import Mapping
from datetime import datetime
from hashlib import blake2b

CALIBRATION = "calibration_constants/"
"""The folder of the data bucket for calibration constants of cameras; the other folders are days."""
RESIDUALS = "residuals/"
"""The folder of the block bucket for residuals of reconstructions; the other folders are days."""
NOTE_SUFFIX = ".reason.json"
"""Suffix of the note beside a rejected file, in the error bucket, that contains the reason."""
_SEGMENT_BYTES = 200
"""Maximum number of bytes of a part of a key between two slashes.

Stores that keep objects as files accept 255, less what they add to the name of a file while they write it. A
suffix such as `.reason.json` needs room, too.
"""
_KEY_BYTES = 800
"""Maximum number of bytes of a whole key below its folder; S3 accepts 1,024."""
_KEPT_CHARACTERS = 32
_EXTENSION = re.compile(r"\.[A-Za-z0-9]{1,8}$")
_UNFIT = re.compile(r"[\x00-\x1f\x7f~]")
"""Control characters, and the mark of a shortened name.

A name with that mark is shortened again, so no key can equal the shortened form of another.
"""
BLOCK_SUFFIX = ".arrow"
_PLAIN_ETAG = re.compile(r"[0-9A-Za-z][0-9A-Za-z-]{0,39}")
"""MD5 in hexadecimal, followed by `-` and a number after a multipart upload; or XXH128. Stores may use other
etags.
"""


def _digest(*parts: object) -> str:
    return blake2b("\n".join(map(str, parts)).encode(), digest_size=12).hexdigest()


def object_id(bucket: str, key: str, etag: str) -> str:
    """Return the id of one version of an object."""
    return _digest(bucket, key, etag)


def event_id(shot: str, kind: str, revision: int) -> str:
    """Return the id of an anomaly event: one per shot, kind and revision."""
    return _digest(shot, kind, revision)


def statement_id(*fields: object) -> str:
    """Return the id of a person's statement about an event."""
    return _digest(*fields)


def message_id(stage: str, body: bytes) -> str:
    """Return the id of a dead-lettered message."""
    return _digest(stage, body)


def fitting_key(key: str, version: str = "") -> str:
    """Return a key that every store accepts below a folder: usually the same key, else one with digests.

    Parts that are too long, empty, `.` or `..`, or contain control characters end in a digest of the whole
    part (`LA_cccc…~5f0c….h5`). A key that is too long as a whole becomes a digest and its last part. A
    version is inserted before the extension of the last part.
    """
    *folders, name = key.split("/")
    fitting = "/".join([*map(fitting_name, folders), fitting_name(name, version)])
    if len(fitting.encode()) <= _KEY_BYTES:
        return fitting
    return f"~{_digest(key)}/{fitting.rpartition('/')[2]}"


def fitting_name(name: str, version: str = "") -> str:
    """Return a name that fits between two slashes of a key; see `fitting_key`."""
    extension = found[0] if (found := _EXTENSION.search(name)) else ""
    stem = name.removesuffix(extension)
    too_long = len(f"{name}{version}".encode()) > _SEGMENT_BYTES
    if name in ("", ".", "..") or too_long or _UNFIT.search(name):
        stem = f"{_UNFIT.sub('', stem)[:_KEPT_CHARACTERS]}~{_digest(name)}"
    return f"{stem}{version}{extension}"


def versioned_key(key: str, etag: str) -> str:
    """Return a key that every store accepts below a folder, with the version before the extension.

    `LA_…_07-33-00.h5` with the etag `9a0364b9e99bb480dd25e1f0284c8555` becomes
    `LA_…_07-33-00@9a0364b9e99bb480dd25e1f0284c8555.h5`. An etag with characters other than letters, digits
    and `-`, or with more than 40 characters, is replaced by `~` and its digest.
    """
    return fitting_key(key, f"@{etag}" if _PLAIN_ETAG.fullmatch(etag) else f"@~{_digest(etag)}")


def raw_key(day: datetime, key: str, etag: str) -> str:
    """Return the key in the data bucket of this version of a file that arrived under `key`."""
    return f"{day:%Y-%m-%d}/{versioned_key(key, etag)}"


def unversioned_raw_key(day: datetime, key: str) -> str:
    """Return the key in the data bucket of the last version of a file that was read before ADR 22."""
    return f"{day:%Y-%m-%d}/{fitting_key(key)}"


def ignored_key(day: datetime, key: str, etag: str) -> str:
    """Return the key of an ignored object in the data bucket; `day` is the day of its arrival."""
    return f"{day:%Y-%m-%d}/ignored/{versioned_key(key, etag)}"


def rejected_key(day: datetime, reason: str, key: str, etag: str) -> str:
    """Return the key of a rejected file in the error bucket; `day` is the day of its arrival."""
    return f"{day:%Y-%m-%d}/{reason}/{versioned_key(key, etag)}"


def reason_key(rejected: str) -> str:
    """Return the key of the note with the rejection reason, beside the rejected file."""
    return f"{rejected}{NOTE_SUFFIX}"


def block_folder(day: datetime, object_id: str) -> str:
    """Return the folder of an object's blocks in the block bucket."""
    return f"{day:%Y-%m-%d}/{object_id}/"


def block_key(day: datetime, object_id: str, device: str) -> str:
    """Return the key of the block of one device of an object in the block bucket."""
    return f"{block_folder(day, object_id)}{fitting_name(device)}{BLOCK_SUFFIX}"


def blocks_id(etags: Mapping[str, str]) -> str:
    """Return the id of an object's blocks, from the names of the blocks in its folder and their etags."""
    return _digest(*(f"{name}/{etag}" for name, etag in sorted(etags.items())))


def residual_folder(shot: str) -> str:
    """Return the folder of an anomalous shot's residuals in the block bucket."""
    return f"{RESIDUALS}{shot}/"


def residual_key(shot: str, device: str) -> str:
    """Return the key of the residual of one of the shot's frames (NPY)."""
    return f"{residual_folder(shot)}{fitting_name(device)}.npy"


def calibration_key(device: str, kind: str, data: bytes) -> str:
    """Return the key of a camera's calibration constants (NPZ)."""
    return f"{CALIBRATION}{fitting_name(device)}/{kind}/{blake2b(data, digest_size=12).hexdigest()}.npz"
