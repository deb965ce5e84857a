"""The accounts of an object store: users and their policies, through MinIO's admin API."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from tempfile import NamedTemporaryFile
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from miniopy_async.credentials.providers import StaticProvider
from miniopy_async.error import MinioAdminException
from miniopy_async.minioadmin import MinioAdmin

from shotwatch_common.rights import Policy
from shotwatch_common.store import ObjectStore
from shotwatch_common.store.errors import AWAY, RequestRefused, Unsupported
from shotwatch_shots.errors import Retry

_MAX_DETAIL = 500
_UNSUPPORTED = {HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.NOT_IMPLEMENTED}


@dataclass(frozen=True, slots=True)
class StoreAccount:
    """An account, its secret key, and its rights; the policy has the same name as the account."""

    access_key: str
    secret_key: str
    policy: Policy


class AccountAdmin:
    """The accounts of a store, managed with the keys of its administrator.

    Every method raises Unsupported if the store has no such API, Refused if the store refuses the request,
    and Retry if it cannot be reached.
    """

    def __init__(self, url: str, access_key: str, secret_key: str) -> None:
        parts = urlsplit(url)
        self._url = url
        self._client = MinioAdmin(
            parts.netloc,
            StaticProvider(access_key, secret_key),
            region="us-east-1",
            secure=parts.scheme == "https",
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        if self._client._session is not None:  # the client has no method to close it
            await self._client._session.close()

    async def has(self, account: StoreAccount) -> bool:
        """Return whether the account exists with exactly this secret key and this policy."""
        async with _asked():
            users = json.loads(await self._client.user_list())
            policies = json.loads(await self._client.policy_list())
        user = users.get(account.access_key, {})
        policy = policies.get(account.access_key, {"Statement": []})
        if user.get("policyName") != account.access_key or _rights(policy) != _rights(account.policy):
            return False
        async with ObjectStore.at(self._url, account.access_key, account.secret_key) as store:
            return await store.ready("no-such-bucket")

    async def make(self, account: StoreAccount) -> None:
        """Create the account, or update an existing one to this secret key and only this policy.

        The policy is written before the secret key, so that nobody who learns the new key has the old rights.
        """
        async with _asked():
            with NamedTemporaryFile("w", suffix=".json") as file:
                json.dump(account.policy, file)
                file.flush()
                await self._client.policy_add(account.access_key, file.name)
            await self._client.user_add(account.access_key, account.secret_key)
            await self._client.policy_set(account.access_key, user=account.access_key)


@asynccontextmanager
async def _asked() -> AsyncIterator[None]:
    try:
        yield
    except MinioAdminException as error:
        if error._code in {str(status.value) for status in _UNSUPPORTED}:
            raise Unsupported from error
        raise RequestRefused(f"{error._code}: {error._body[:_MAX_DETAIL]}") from error
    except ValueError as error:  # the store has misunderstood the request
        raise Unsupported from error
    except AWAY as error:
        raise Retry(f"the object store cannot be reached: {error}") from error


def _rights(policy: Policy) -> set[tuple[str, str, str]]:
    """Return effect, action and resource of every statement of a policy, in any order."""
    return {
        (statement["Effect"], action, resource)
        for statement in policy["Statement"]
        for action in statement["Action"]
        for resource in statement["Resource"]
    }
