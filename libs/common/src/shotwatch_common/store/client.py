"""The S3 client, with a session of our own."""

import os
import ssl

import certifi
from aiohttp import ClientSession, ClientTimeout, TCPConnector
from aiohttp_retry import ExponentialRetry, RetryClient
from miniopy_async.api import Minio

_SILENCE_S = 300.0
"""Longest time without any byte of an answer."""


class Client(Minio):
    """The S3 client. It returns objects as they are stored.

    By default, aiohttp decompresses what is declared as compressed. Whoever stores an object chooses its
    Content-Encoding, so a small object could fill the memory of its readers.
    """

    def _ensure_session(self) -> None:
        if self._session is None:
            authorities = os.environ.get("SSL_CERT_FILE") or certifi.where()
            session = ClientSession(
                connector=TCPConnector(limit=10, ssl=ssl.create_default_context(cafile=authorities)),
                timeout=ClientTimeout(connect=_SILENCE_S, sock_read=_SILENCE_S),
                auto_decompress=False,
            )
            again = ExponentialRetry(attempts=5, factor=0.2, statuses={500, 502, 503, 504})
            self.set_session(RetryClient(session, retry_options=again))
