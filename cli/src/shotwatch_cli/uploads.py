"""Upload files to a bucket, several at once."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from shotwatch_cli.failures import Failure
from shotwatch_common.store import ObjectStore

_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Upload:
    """A file and its key."""

    path: Path
    key: str
    size: int


Done = Callable[[Upload], None]


def planned_uploads(paths: Iterable[Path]) -> list[Upload]:
    """Return the uploads of files and folders.

    The key of a file is its name. The key of a snapshot file in a folder is its path below the folder. Links
    in a folder are not followed: whoever prepared it does not choose what else is uploaded.

    Raises:
        Failure: a folder holds no snapshot file, or one that is a link or no regular file; a path is neither
            a file nor a folder; or two files would have the same key.
    """
    uploads = [upload for path in paths for upload in _below(path)]
    taken: dict[str, Path] = {}
    for upload in uploads:
        other = taken.setdefault(upload.key, upload.path)
        if other != upload.path:
            raise Failure(f"{other} and {upload.path} would both be the object {upload.key}")
    return uploads


async def upload_all(store: ObjectStore, bucket: str, uploads: Sequence[Upload], done: Done) -> None:
    """Put every file into the bucket; call `done` with each one when it has arrived there.

    Raises:
        Retry: the store cannot be reached.
    """
    free = asyncio.Semaphore(_AT_ONCE)

    async def put(upload: Upload) -> None:
        async with free:
            data = await asyncio.to_thread(upload.path.read_bytes)
            await store.put(bucket, upload.key, data)
            done(upload)

    await asyncio.gather(*map(put, uploads))


def _below(path: Path) -> list[Upload]:
    if path.is_file():
        return [_upload(path, path.name)]
    if not path.is_dir():
        raise Failure(f"{path} is neither a file nor a folder")
    files = sorted(path.rglob("*.h5"))
    if wrong := next((file for file in files if file.is_symlink() or not file.is_file()), None):
        raise Failure(f"{wrong} is a link or no regular file")
    found = [_upload(file, file.relative_to(path).as_posix()) for file in files]
    if not found:
        raise Failure(f"{path} holds no .h5 file", "`shotwatch simulate --out DIR` makes some")
    return found


def _upload(path: Path, key: str) -> Upload:
    return Upload(path, key, path.stat().st_size)
