"""Translation of the object store's errors into ours."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus

import aiohttp
from miniopy_async.error import InvalidResponseError, S3Error, ServerError

from shotwatch_shots.errors import Retry

NO_BUCKET = "NoSuchBucket"
UNKNOWN_KEYS = {"InvalidAccessKeyId", "SignatureDoesNotMatch"}
"""Error codes: the store does not know the access key, or the secret key does not match it."""
_ABSENT = {"NoSuchKey", "NoSuchObject", "NoSuchVersion", f"HTTP {HTTPStatus.NOT_FOUND}"}
_PART = r"<{0}>([^<]*)</{0}>"
MOST_KEY_BYTES = 1024
"""Maximum length of a key in S3."""

REFUSED = (S3Error, InvalidResponseError)
"""The client raises the latter for an error response whose content type it cannot read."""
AWAY = (TimeoutError, ServerError, aiohttp.ClientError, OSError)


class ObjectGone(LookupError):
    """The object does not exist (any more)."""


class ObjectTooLarge(ValueError):
    """The object has more bytes than the caller accepts."""


class BucketMissing(Retry):
    """The bucket does not exist: the store has not been set up yet, or the bucket was removed."""


class Unsupported(Exception):
    """The store does not support the request."""


class RequestRefused(Exception):
    """The store refuses the request; the message is the store's own."""


@asynccontextmanager
async def translated(bucket: str, key: str) -> AsyncIterator[None]:
    """Raise ObjectGone, BucketMissing or Retry in place of the errors that the client raises.

    No object can have a key with a part `.` or `..`, or one of more than MOST_KEY_BYTES: the client and most
    stores refuse such keys.
    """
    if len(key.encode(errors="replace")) > MOST_KEY_BYTES or not {".", ".."}.isdisjoint(key.split("/")):
        raise ObjectGone(f"{bucket}/{key}: no object can have this key")
    try:
        yield
    except REFUSED as error:
        raise _in_our_words(error, bucket, key) from error
    except AWAY as error:
        raise Retry(f"{bucket}/{key}: the object store cannot be reached: {error}") from error


def code_of(error: S3Error | InvalidResponseError) -> str:
    """Return S3's code of the error, such as `AccessDenied`; `HTTP 507` if the store gives none."""
    if isinstance(error, S3Error):
        return error.code or "an error without a code"
    return _part(error, "Code") or f"HTTP {error._code}"


def answer_of(error: S3Error | InvalidResponseError) -> str:
    """Return the code and the store's message: `InternalError: no space left on device`."""
    message = error.message if isinstance(error, S3Error) else _part(error, "Message")
    return f"{code_of(error)}: {message}" if message else code_of(error)


def _in_our_words(error: S3Error | InvalidResponseError, bucket: str, key: str) -> Exception:
    code = code_of(error)
    if code == NO_BUCKET:
        return BucketMissing(f"there is no bucket {bucket}: `shotwatch bucket setup` makes it")
    if code in _ABSENT:
        return ObjectGone(f"{bucket}/{key} does not exist")
    return Retry(f"{bucket}/{key}: the object store reports {answer_of(error)}")


def _part(error: InvalidResponseError, name: str) -> str:
    found = re.search(_PART.format(name), error._body or "")
    return found[1] if found else ""
