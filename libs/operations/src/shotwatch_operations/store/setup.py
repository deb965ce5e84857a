"""Set up an object store: buckets, notifications of new objects, expiry, accounts. Set-up may be repeated.

Other configuration of the same buckets stays unchanged, and so do other accounts.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path

from miniopy_async.commonconfig import ENABLED, Filter
from miniopy_async.lifecycleconfig import Expiration, LifecycleConfig, Rule, Transition
from miniopy_async.notificationconfig import NotificationConfig, QueueConfig
from pydantic import NonNegativeInt, SecretStr

from shotwatch_common import rights
from shotwatch_common.settings import Settings
from shotwatch_common.store import BucketMissing, ObjectStore
from shotwatch_common.store.errors import (
    NO_BUCKET,
    REFUSED,
    RequestRefused,
    Unsupported,
    answer_of,
    code_of,
    translated,
)
from shotwatch_operations.account_secrets import read_secrets
from shotwatch_operations.store.accounts import AccountAdmin, StoreAccount

_CREATED = "s3:ObjectCreated:*"
_OURS = "shotwatch"
_ALL = Filter(prefix="")
_UNSUPPORTED = {"NotImplemented", "MethodNotAllowed", "BucketAlreadyExists", "BucketAlreadyOwnedByYou"}
"""With the last two, the store has taken the request for one to create the bucket."""


class SetupSettings(Settings):
    """The settings of all services, with the store administrator's keys and the options of the set-up.

    An account without a secret key is left unchanged.
    """

    event_target: str = "arn:minio:sqs::SHOTWATCH:amqp"
    """The AMQP target for notifications of new objects in the inbox, by the store's name for it (its ARN)."""
    block_days: NonNegativeInt = 30
    """Blocks expire after this many days; they can be made again from the raw files. 0 keeps them."""
    raw_tier: str = ""
    """Storage class to which raw files move after `raw_tier_days`; if empty, they are not moved."""
    raw_tier_days: NonNegativeInt = 30
    """Days after which raw files move to `raw_tier`."""
    database_url: SecretStr = SecretStr("mongodb://not-used")  # the set-up does not use the database
    accounts_folder: Path | None = None
    """Folder with a `database-{account}-password` or `store-{account}-secret-key` of each account."""


class PartState(StrEnum):
    """The state of a part of the set-up."""

    THERE = "there"
    MADE = "made"
    MISSING = "missing"
    """It does not exist, and this is a dry run."""
    UNSUPPORTED = "unsupported"
    """The store does not support it."""
    REFUSED = "refused"
    """The store supports it, but refuses the request."""


@dataclass(frozen=True, slots=True)
class SetupResult:
    """The result for one part of the set-up of a bucket."""

    bucket: str
    what: str
    state: PartState
    detail: str = ""
    """The consequence, or the reason for a refusal."""


class ConfigurableStore(ObjectStore):
    """An object store whose buckets are configured: notifications and lifecycle."""

    async def announces(self, bucket: str, target: str) -> bool:
        """Return whether the target is notified of every new object of the bucket."""
        queues = (await self._notification(bucket)).queue_config_list or []
        return any(_announces_all(queue, target) for queue in queues)

    async def announce(self, bucket: str, target: str) -> None:
        """Configure the bucket to notify the target of every new object."""
        found = await self._notification(bucket)
        others = [queue for queue in found.queue_config_list or [] if queue.queue != target]
        ours = QueueConfig(target, [_CREATED], config_id=_OURS)
        wanted = NotificationConfig(found.cloud_func_config_list, [*others, ours], found.topic_config_list)
        async with _asked(bucket):
            await self._client.set_bucket_notification(bucket, wanted)

    async def has_rule(self, bucket: str, rule: Rule | None) -> bool:
        """Return whether this is our lifecycle rule of the bucket; None means that we have none."""
        ours = [_comparable(found) for found in await self._rules(bucket) if found.rule_id == _OURS]
        return ours == ([_comparable(rule)] if rule else [])

    async def set_rule(self, bucket: str, rule: Rule | None) -> None:
        """Set our lifecycle rule of the bucket; None removes it."""
        rules = [found for found in await self._rules(bucket) if found.rule_id != _OURS]
        if rule:
            rules.append(rule)
        async with _asked(bucket):
            if rules:
                await self._client.set_bucket_lifecycle(bucket, LifecycleConfig(rules))
            else:
                await self._client.delete_bucket_lifecycle(bucket)

    async def _notification(self, bucket: str) -> NotificationConfig:
        async with _asked(bucket):
            return await self._client.get_bucket_notification(bucket)

    async def _rules(self, bucket: str) -> list[Rule]:
        async with _asked(bucket):
            found = await self._client.get_bucket_lifecycle(bucket)
            return found.rules if found else []


@dataclass(frozen=True, slots=True)
class _SetupPart:
    bucket: str
    what: str
    is_there: Callable[[], Awaitable[bool]]
    make: Callable[[], Awaitable[None]]
    otherwise: str = ""
    """What holds if the store does not support this part."""


async def set_up(
    store: ConfigurableStore, settings: SetupSettings, dry_run: bool = False
) -> AsyncIterator[SetupResult]:
    """Check each part of the set-up, and correct it unless this is a dry run.

    Raises:
        Retry: the store cannot be reached, or does not allow us to create buckets.
        SettingsError: a secret key cannot be read, or is too short.
    """
    secret_keys = read_secrets(settings.accounts_folder, rights.STORE, "store-{}-secret-key")
    for part in _parts(store, settings):
        yield await _settled(part, dry_run)
    keys = settings.store_access_key.get_secret_value(), settings.store_secret_key.get_secret_value()
    async with AccountAdmin(settings.store_url, *keys) as admin:
        for part in _account_parts(admin, settings, secret_keys):
            yield await _settled(part, dry_run)


def _parts(store: ConfigurableStore, settings: SetupSettings) -> Iterator[_SetupPart]:
    for bucket in settings.buckets:
        yield _SetupPart(
            bucket, "bucket", partial(store.has_bucket, bucket), partial(store.ensure_buckets, bucket)
        )
    target = settings.inbox_bucket, settings.event_target
    yield _SetupPart(
        settings.inbox_bucket,
        f"notifies {settings.event_target} of new objects",
        partial(store.announces, *target),
        partial(store.announce, *target),
        "ingest finds new objects by its sweep alone",
    )
    blocks, raw = _block_rule(settings), _raw_rule(settings)
    lasting = f"expire after {settings.block_days} days" if blocks else "stay"
    yield _lifecycle(store, settings.block_bucket, f"blocks {lasting}", blocks)
    lasting = f"move to {settings.raw_tier} after {settings.raw_tier_days} days" if raw else "stay"
    yield _lifecycle(store, settings.data_bucket, f"raw files {lasting}", raw)


def _account_parts(
    admin: AccountAdmin, settings: SetupSettings, secret_keys: Mapping[str, str]
) -> Iterator[_SetupPart]:
    for name, secret_key in secret_keys.items():
        access_key, policy = rights.account_name(name, settings), rights.store_policy(name, settings)
        account = StoreAccount(access_key, secret_key, policy)
        what, otherwise = f"account {access_key}", "make it with the store's own tools (docs/rights.md)"
        yield _SetupPart(
            "accounts", what, partial(admin.has, account), partial(admin.make, account), otherwise
        )


def _block_rule(settings: SetupSettings) -> Rule | None:
    if not settings.block_days:
        return None
    return Rule(ENABLED, expiration=Expiration(days=settings.block_days), rule_filter=_ALL, rule_id=_OURS)


def _raw_rule(settings: SetupSettings) -> Rule | None:
    if not settings.raw_tier:
        return None
    moved = Transition(days=settings.raw_tier_days, storage_class=settings.raw_tier)
    return Rule(ENABLED, transition=moved, rule_filter=_ALL, rule_id=_OURS)


def _lifecycle(store: ConfigurableStore, bucket: str, what: str, rule: Rule | None) -> _SetupPart:
    otherwise = "its objects stay until somebody removes them"
    return _SetupPart(
        bucket, what, partial(store.has_rule, bucket, rule), partial(store.set_rule, bucket, rule), otherwise
    )


async def _settled(part: _SetupPart, dry_run: bool) -> SetupResult:
    try:
        return SetupResult(part.bucket, part.what, await _state(part, dry_run))
    except BucketMissing:  # a dry run does not create the bucket
        return SetupResult(part.bucket, part.what, PartState.MISSING)
    except Unsupported:
        return SetupResult(part.bucket, part.what, PartState.UNSUPPORTED, part.otherwise)
    except RequestRefused as error:
        return SetupResult(part.bucket, part.what, PartState.REFUSED, str(error))


async def _state(part: _SetupPart, dry_run: bool) -> PartState:
    if await part.is_there():
        return PartState.THERE
    if dry_run:
        return PartState.MISSING
    await part.make()
    if not await part.is_there():  # some stores accept every request
        raise Unsupported
    return PartState.MADE


@asynccontextmanager
async def _asked(bucket: str) -> AsyncIterator[None]:
    """Raise Unsupported or Refused for the store's response, BucketMissing, or Retry if it is unavailable."""
    async with translated(bucket, ""):
        try:
            yield
        except ValueError as error:  # the store has misunderstood the request
            raise Unsupported from error
        except REFUSED as error:
            code = code_of(error)
            if code == NO_BUCKET:
                raise
            if code in _UNSUPPORTED:
                raise Unsupported from error
            raise RequestRefused(answer_of(error)) from error


def _announces_all(queue: QueueConfig, target: str) -> bool:
    filtered = queue.prefix_filter_rule or queue.suffix_filter_rule
    return queue.queue == target and _CREATED in queue.events and not filtered


def _comparable(rule: Rule) -> tuple[object, ...]:
    expires = rule.expiration.days if rule.expiration else None
    moves = (rule.transition.days, rule.transition.storage_class) if rule.transition else None
    prefix = (rule.rule_filter.prefix if rule.rule_filter else None) or ""
    return rule.status, prefix, expires, moves
