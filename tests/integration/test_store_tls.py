"""The object store over TLS, with a certificate authority of one's own."""

import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from shotwatch_common.store import ObjectStore
from shotwatch_embedded.servers.store import store as plain_store
from shotwatch_shots.errors import Retry
from tests.integration.certificates import Certificates
from tests.integration.conftest import until
from tests.ports import PORTS


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    return Certificates.make(tmp_path)


@pytest.fixture
def address(tmp_path: Path, certificates: Certificates) -> Iterator[str]:
    server = plain_store(tmp_path / "store", "access", "secret", PORTS)
    tls = ("--cert", str(certificates.certificate), "--key", str(certificates.key))
    with subprocess.Popen([*server.command, *tls], env=dict(server.environment)) as process:
        yield f"https://127.0.0.1:{server.port}"
        process.terminate()


async def test_a_store_is_believed_once_its_authority_is_known(
    address: str, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates.authority))
    async with ObjectStore.at(address, "access", "secret") as store:

        async def answers() -> bool:
            with suppress(Retry):
                await store.ensure_buckets("inbox")
                return True
            return False

        await until(answers, "a store that answers")
        await store.put("inbox", "key", b"over TLS")
        assert await store.get("inbox", "key") == b"over TLS"
    monkeypatch.delenv("SSL_CERT_FILE")
    async with ObjectStore.at(address, "access", "secret") as store:
        with pytest.raises(Retry, match="certificate verify failed"):
            await store.get("inbox", "key")
