"""Deterministic ids: the same thing has the same id however often and wherever it is processed."""

import re
from collections.abc import Mapping
from datetime import datetime
from hashlib import blake2b

CHARACTERISATIONS = "characterisations/"
"""The folder of the data bucket that has no files of a day, but what was learned of cameras."""
RESIDUALS = "residuals/"
"""The folder of the block bucket that has no blocks of a day, but what reconstructions left of frames."""
NOTE_SUFFIX = ".reason.json"
"""In the error bucket: of the note beside a rejected file that says why it was rejected."""
_SEGMENT_BYTES = 200
"""Most bytes of a part of a key between two slashes. Stores that keep objects as files take 255, less what
they add to the name of a file that they are writing; a suffix such as `.reason.json` needs room, too."""
_KEY_BYTES = 800
"""Most bytes of a whole key under its folder; S3 takes 1,024."""
_KEPT_CHARACTERS = 32
_EXTENSION = re.compile(r"\.[A-Za-z0-9]{1,8}$")
_UNFIT = re.compile(r"[\x00-\x1f\x7f~]")
"""Control characters, and the mark of a name that was shortened: a name that has it is shortened again, so
that no key can be made that equals the shortened form of another."""
_PLAIN_ETAG = re.compile(r"[0-9A-Za-z][0-9A-Za-z-]{0,39}")
"""MD5 in hexadecimal, followed by `-` and a number if it was uploaded in parts. Stores may send others."""


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


def fitting_key(key: str, version: str = "") -> str:
    """Return a key that any store takes below a folder: the same key as a rule, else one with digests in it.

    Parts that are too long, empty, `.` or `..`, or have control characters end in a digest of the whole part
    (`LA_cccc…~5f0c….h5`). A key that is too long as a whole becomes a digest and its last part. A version is
    inserted before the extension of the last part.
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
    """Return a key that any store takes below a folder, with the object's version before the extension.

    `LA_…_07-33-00.h5` with the etag `9a0364b9e99bb480dd25e1f0284c8555` becomes
    `LA_…_07-33-00@9a0364b9e99bb480dd25e1f0284c8555.h5`. An etag with other characters than letters, digits
    and `-`, or more than 40 of them, is replaced by `~` and its digest.
    """
    return fitting_key(key, f"@{etag}" if _PLAIN_ETAG.fullmatch(etag) else f"@~{_digest(etag)}")


def raw_key(day: datetime, key: str, etag: str) -> str:
    """Where this version of the file that arrived under `key` lies in the data bucket once it was read."""
    return f"{day:%Y-%m-%d}/{versioned_key(key, etag)}"


def unversioned_raw_key(day: datetime, key: str) -> str:
    """Where the last version of a file lies in the data bucket if it was read before ADR 22."""
    return f"{day:%Y-%m-%d}/{fitting_key(key)}"


def ignored_key(day: datetime, key: str, etag: str) -> str:
    """Where an object that is no snapshot lies in the data bucket; `day` is the day of its arrival."""
    return f"{day:%Y-%m-%d}/ignored/{versioned_key(key, etag)}"


def rejected_key(day: datetime, reason: str, key: str, etag: str) -> str:
    """Where a file that cannot be read lies in the error bucket; `day` is the day of its arrival."""
    return f"{day:%Y-%m-%d}/{reason}/{versioned_key(key, etag)}"


def reason_key(rejected: str) -> str:
    """Where the note lies that says why: beside the file."""
    return f"{rejected}{NOTE_SUFFIX}"


def block_folder(day: datetime, object_id: str) -> str:
    """Where the blocks of an object lie in the block bucket."""
    return f"{day:%Y-%m-%d}/{object_id}/"


def block_key(day: datetime, object_id: str, device: str) -> str:
    """Where the block of one device of an object lies in the block bucket."""
    return f"{block_folder(day, object_id)}{fitting_name(device)}.arrow"


def blocks_id(etags: Mapping[str, str]) -> str:
    """Id of the blocks of an object, by the names of the blocks in its folder and their etags."""
    return _digest(*(f"{name}/{etag}" for name, etag in sorted(etags.items())))


def residual_folder(shot: str) -> str:
    """Where the residuals of an anomalous shot's frames lie in the block bucket."""
    return f"{RESIDUALS}{shot}/"


def residual_key(shot: str, device: str) -> str:
    """Where the residual of one of its frames lies (NPY)."""
    return f"{residual_folder(shot)}{fitting_name(device)}.npy"


def characterisation_key(device: str, kind: str, data: bytes) -> str:
    """Where the arrays of a characterisation lie (NPZ)."""
    return f"{CHARACTERISATIONS}{fitting_name(device)}/{kind}/{blake2b(data, digest_size=12).hexdigest()}.npz"
