"""The accounts of the object store, each tried out in full: MinIO refuses what rights.py does not allow."""

import base64
import hmac
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

import aiohttp
import pytest
from miniopy_async.api import Minio
from miniopy_async.error import S3Error
from miniopy_async.notificationconfig import NotificationConfig

from shotwatch_common.actions import ObjectAction
from shotwatch_common.rights import STORE
from shotwatch_common.store import ObjectStore
from shotwatch_common.store.errors import RequestRefused
from shotwatch_embedded.servers import Server
from shotwatch_operations.store.accounts import AccountAdmin, StoreAccount
from shotwatch_operations.store.setup import ConfigurableStore, PartState, SetupResult, SetupSettings, set_up
from shotwatch_shots.errors import Retry
from tests.facilities import FACILITY
from tests.ports import PORTS
from tests.unit.test_deploy_compose import make_env

from .processes import serving
from .store_servers import KEYS, embedded_store, minio

pytestmark = pytest.mark.minio

PLACES = (
    "inbox",
    "data",
    "data/calibration_constants/",
    "errors",
    "blocks",
    "blocks/residuals/",
    "datasets",
    "tables",
    "foreign",
)
SECRETS = {account: f"secret key of {account}" for account in STORE}


def settings_of(server: Server, **further: str) -> SetupSettings:
    variables = {name.removeprefix("SHOTWATCH_").lower(): value for name, value in server.settings.items()}
    return SetupSettings.load(**variables, models_url="http://elsewhere", facility=str(FACILITY), **further)


@contextmanager
def written(secrets: Mapping[str, str]) -> Iterator[str]:
    """A folder with a file for each account."""
    with TemporaryDirectory() as folder:
        for account, secret in secrets.items():
            Path(folder, f"store-{account}-secret-key").write_text(secret)
        yield folder


async def accounts_made(
    server: Server, secrets: Mapping[str, str] = SECRETS, dry_run: bool = False
) -> dict[str, SetupResult]:
    with written(secrets) as folder:
        settings = settings_of(server, accounts_folder=folder)
        async with ConfigurableStore.of(settings) as store:
            found = [finding async for finding in set_up(store, settings, dry_run)]
    return {each.what.rpartition("-")[2]: each for each in found if each.bucket == "accounts"}


@dataclass(frozen=True, slots=True)
class Set:
    """A store that was set up, and its administrator's way into it."""

    server: Server
    root: ObjectStore

    def as_account(self, account: str, secret: str | None = None) -> ObjectStore:
        url = self.server.settings["SHOTWATCH_STORE_URL"]
        return ObjectStore.at(url, f"shotwatch-{account}", secret or SECRETS[account])


@pytest.fixture(scope="module")
async def store(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Set]:
    server = minio(tmp_path_factory.mktemp("accounts"), *KEYS, PORTS)
    async with serving(server), ObjectStore.of(settings_of(server)) as root:
        made = await accounts_made(server)
        assert {name: found.state for name, found in made.items()} == dict.fromkeys(STORE, PartState.MADE)
        await root.ensure_buckets("foreign")
        yield Set(server, root)


async def _listed(store: ObjectStore, bucket: str, key: str) -> None:
    assert key in [found.key async for found in store.list(bucket)]


Act = Callable[[ObjectStore, str, str], Awaitable[object]]
ACTS: dict[ObjectAction, Act] = {
    ObjectAction.LIST: _listed,
    ObjectAction.READ: lambda store, bucket, key: store.get(bucket, key),
    ObjectAction.WRITE: lambda store, bucket, key: store.put(bucket, key, b"written"),
    ObjectAction.REMOVE: lambda store, bucket, key: store.remove(bucket, key),
}


def allowed(account: str, place: str) -> set[str]:
    """The table's rights; a right to a bucket is one to its folders, and only entire buckets are listed."""
    bucket = place.partition("/")[0]
    return set(STORE[account].get(bucket, ())) | set(STORE[account].get(place, ()))


async def done_by(opened: ObjectStore, store: Set, place: str) -> set[str]:
    """What the account may do there, as the store decides."""
    bucket, _, folder = place.partition("/")
    done = set()
    for action, act in ACTS.items():
        key = f"{folder}{action}"
        await store.root.put(bucket, key, b"content")
        try:
            await act(opened, bucket, key)
            done.add(str(action))
        except Retry as error:
            if "AccessDenied" not in str(error):
                raise
    return done


@pytest.mark.parametrize("account", STORE)
async def test_an_account_may_do_what_the_table_states_and_nothing_else(store: Set, account: str) -> None:
    async with store.as_account(account) as opened:
        may = {place: await done_by(opened, store, place) for place in PLACES}
    assert may == {place: allowed(account, place) for place in PLACES}


Ask = Callable[[Minio], Awaitable[object]]
CONFIGURING: dict[str, Ask] = {
    "make a bucket": lambda client: client.make_bucket("another"),
    "remove a bucket": lambda client: client.remove_bucket("foreign"),
    "open a bucket to all": lambda client: client.set_bucket_policy("data", json.dumps(EVERYTHING)),
    "have nothing expire": lambda client: client.delete_bucket_lifecycle("blocks"),
    "silence the inbox": lambda client: client.set_bucket_notification("inbox", NotificationConfig()),
}
EVERYTHING = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": ["s3:*"], "Resource": ["arn:aws:s3:::*"]}],
}


@pytest.mark.parametrize("account", STORE)
async def test_no_account_may_configure_a_bucket_or_see_one_that_it_does_not_use(
    store: Set, account: str
) -> None:
    url = urlsplit(store.server.settings["SHOTWATCH_STORE_URL"]).netloc
    client = Minio(url, f"shotwatch-{account}", SECRETS[account], secure=False, region="us-east-1")
    try:
        for ask in CONFIGURING.values():
            with pytest.raises(S3Error, match="AccessDenied"):
                await ask(client)
        with suppress(S3Error):  # to an account without such buckets it lists none
            seen = {bucket.name for bucket in await client.list_buckets()}
            assert seen <= {place.partition("/")[0] for place in STORE[account]}
    finally:
        await client.close_session()


async def test_no_account_may_manage_accounts(store: Set) -> None:
    for account, secret in SECRETS.items():
        url = store.server.settings["SHOTWATCH_STORE_URL"]
        async with AccountAdmin(url, f"shotwatch-{account}", secret) as admin:
            with pytest.raises(RequestRefused, match=r"403: .*AccessDenied"):
                await admin.make(StoreAccount(f"shotwatch-{account}", secret, EVERYTHING))


async def test_a_set_up_that_changed_nothing_finds_every_account_as_it_is(store: Set) -> None:
    assert {found.state for found in (await accounts_made(store.server)).values()} == {PartState.THERE}


async def test_a_secret_key_is_replaced_while_a_file_is_on_its_way(store: Set) -> None:
    """The file stays, whoever holds the old key is refused and knows it; with the new key work goes on."""
    async with store.as_account("ingest") as before, store.as_account("ingest", "another secret") as after:
        await store.root.put("inbox", "under way.h5", b"content")
        assert await before.get("inbox", "under way.h5") == b"content"
        new = {"ingest": "another secret"}
        assert (await accounts_made(store.server, new, dry_run=True))["ingest"].state is PartState.MISSING
        made = await accounts_made(store.server, SECRETS | new)
        assert {name for name, found in made.items() if found.state is PartState.MADE} == {"ingest"}
        with pytest.raises(Retry, match="SignatureDoesNotMatch"):
            await before.get("inbox", "under way.h5")
        assert not await before.ready("blocks"), "messages are held until the service is restarted"
        assert await after.ready("blocks")
        await after.move(("inbox", "under way.h5"), ("data", "2022-07-01/under way.h5"))
        assert await store.root.get("data", "2022-07-01/under way.h5") == b"content"
    await accounts_made(store.server)


async def test_a_right_that_somebody_added_by_hand_is_taken_away_by_the_next_set_up(store: Set) -> None:
    async with AccountAdmin(store.server.settings["SHOTWATCH_STORE_URL"], *KEYS) as admin:
        await admin.make(StoreAccount("shotwatch-validate", SECRETS["validate"], EVERYTHING))
    async with store.as_account("validate") as opened:
        await opened.put("data", "by hand", b"")
        assert (await accounts_made(store.server))["validate"].state is PartState.MADE
        with pytest.raises(Retry, match="AccessDenied"):
            await opened.remove("data", "by hand")


async def test_a_store_without_such_an_api_reports_it_and_is_set_up_all_the_same(tmp_path: Path) -> None:
    server = embedded_store(tmp_path, *KEYS, PORTS)
    async with serving(server):
        made = await accounts_made(server)
    assert {found.state for found in made.values()} == {PartState.UNSUPPORTED}


async def test_prometheus_reads_the_metrics_with_the_token_of_its_account_and_nobody_else_does(
    store: Set, tmp_path: Path
) -> None:
    """With the key and the token that deploy/make-env makes."""
    made = make_env(tmp_path)
    key, token = ((made / f"store-monitor-{name}").read_text() for name in ("secret-key", "token"))
    await accounts_made(store.server, {"monitor": key})
    try:
        assert await metrics_status(store, token) == 200
        for other in ("", token_of("ingest", SECRETS["ingest"]), token_of("monitor", SECRETS["ingest"])):
            assert await metrics_status(store, other) == 403
    finally:
        await accounts_made(store.server)


def token_of(account: str, key: str) -> str:
    """Return a token for MinIO's metrics in the name of an account, signed with a key."""
    parts = ({"alg": "HS512", "typ": "JWT"}, {"iss": "prometheus", "sub": f"shotwatch-{account}"})
    signed = ".".join(_base64url(json.dumps(part).encode()) for part in parts)
    return f"{signed}.{_base64url(hmac.digest(key.encode(), signed.encode(), 'sha512'))}"


def _base64url(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


async def metrics_status(store: Set, token: str) -> int:
    url = f"{store.server.settings['SHOTWATCH_STORE_URL']}/minio/v2/metrics/cluster"
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as response:
        return response.status
