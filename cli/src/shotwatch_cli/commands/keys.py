"""`shotwatch keys`: the API keys of the REST API."""

from datetime import UTC, datetime
from os import chown
from pathlib import Path
from stat import S_IMODE
from typing import Annotated

import typer

from shotwatch_cli.failures import Failure, Misuse
from shotwatch_cli.options import JsonOption, read_time
from shotwatch_cli.output import print_json, stderr, stdout, table
from shotwatch_operations.api_keys import ApiKey, holds_key, make_key, read_keys, read_scopes
from shotwatch_shots.vocabulary import Scope

keys = typer.Typer(no_args_is_help=True, help="API keys: who may use the REST API.")

FileOption = Annotated[
    Path,
    typer.Option("--file", envvar="SHOTWATCH_QUERY_KEYS_FILE", dir_okay=False, help="The keys file."),
]
NameOption = Annotated[str, typer.Option("--name", help="Name of its holder; the audit shows it.")]

_COLUMNS = ("name", "scopes", "expires", "")


@keys.command("create")
def create(
    name: NameOption,
    scope: Annotated[str, typer.Option("--scope", help=f"Some of {', '.join(Scope)}.")] = Scope.READ,
    expires: Annotated[
        datetime | None,
        typer.Option("--expires", parser=read_time, metavar="TIME", help="End of validity. Default: never."),
    ] = None,
    file: Annotated[
        Path | None, typer.Option("--file", dir_okay=False, help="Add the line to this keys file.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Create a key, and show it once: only its hash is written to the keys file.

    \b
    Examples:
      shotwatch keys create --name grafana
      shotwatch keys create --name amelie --scope read,label --expires 2027-01-01 --file keys
    """
    try:
        secret, key = make_key(name, read_scopes(scope), expires)
    except ValueError as error:
        raise Misuse(str(error), f"scopes are {', '.join(Scope)}") from error
    if file is not None:
        _add(file, key)
    if json:
        print_json({"key": secret, "line": key.line()})
        return
    stdout.print(secret, soft_wrap=True, highlight=False)
    stderr.print("shown this once; its line in the keys file:" if file is None else f"added to {file}:")
    stderr.print(key.line(), soft_wrap=True, highlight=False)


@keys.command("list")
def show(file: FileOption, json: JsonOption = False) -> None:
    """List the keys of a file."""
    now, found = datetime.now(UTC), _read(file)
    if not json:
        stdout.print(table(str(file), _COLUMNS, (_row(key, now) for key in found)))
        return
    for key in found:
        print_json(_record(key, now))


@keys.command("revoke")
def revoke(name: Annotated[str, typer.Argument(help="Name of the key.")], file: FileOption) -> None:
    """Remove a key from the file. The API reloads the file by itself."""
    if name not in {key.name for key in _read(file)}:
        raise Failure(f"{file} has no key {name}", "`shotwatch keys list` shows those that it has")
    lines = file.read_text(encoding="utf-8").splitlines()
    kept = [line for line in lines if not holds_key(line) or line.split()[0] != name]
    _write(file, "".join(f"{line}\n" for line in kept))
    stdout.print(f"{name} can no longer log in")


def _add(file: Path, key: ApiKey) -> None:
    known = _read(file) if file.exists() else ()
    if key.name in {each.name for each in known}:
        raise Failure(f"{file} has a key {key.name} already", f"`shotwatch keys revoke {key.name}` first")
    before = file.read_text(encoding="utf-8") if file.exists() else ""
    separator = "\n" if before and not before.endswith("\n") else ""
    _write(file, f"{before}{separator}{key.line()}\n")


def _write(file: Path, text: str) -> None:
    """Replace the file atomically, and keep its owner, group and mode. The API never reads half of it.

    A new file is readable by all users: the hash of random bits reveals nothing about a key.

    Raises:
        Failure: this user may not create a file with this owner and group.
    """
    before = file.stat() if file.exists() else None
    draft = file.with_name(f"{file.name}.draft")
    draft.unlink(missing_ok=True)
    draft.touch(mode=0o600, exist_ok=False)  # a link that another user made meanwhile is not followed
    draft.write_text(text, encoding="utf-8")
    if before is not None:
        try:
            chown(draft, before.st_uid, before.st_gid)
        except PermissionError as error:
            draft.unlink()
            raise Failure(f"{file} belongs to another user or group", "run this as its owner") from error
    draft.chmod(0o644 if before is None else S_IMODE(before.st_mode))
    draft.replace(file)


def _read(file: Path) -> tuple[ApiKey, ...]:
    try:
        found, mistakes = read_keys(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise Failure(f"the keys file cannot be read: {error}", "give it with --file") from error
    if mistakes:
        raise Failure(f"{file}, {'; '.join(mistakes)}", "correct or remove these lines")
    return found


def _row(key: ApiKey, now: datetime) -> tuple[object, ...]:
    expires = f"{key.expires:%Y-%m-%d %H:%M}" if key.expires else "never"
    return key.name, ",".join(sorted(key.scopes)), expires, "expired" if key.has_expired(now) else ""


def _record(key: ApiKey, now: datetime) -> dict[str, object]:
    return {
        "name": key.name,
        "scopes": sorted(key.scopes),
        "expires": key.expires and key.expires.isoformat(),
        "expired": key.has_expired(now),
    }
