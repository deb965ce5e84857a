"""A certificate authority of the tests' own."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import trustme


@dataclass(frozen=True, slots=True)
class Certificates:
    """Files: the authority's certificate, and a server's for 127.0.0.1 with its key."""

    authority: Path
    certificate: Path
    key: Path

    @classmethod
    def make(cls, folder: Path) -> Self:
        authority, made = trustme.CA(), cls(folder / "ca.pem", folder / "server.pem", folder / "server.key")
        server = authority.issue_cert("127.0.0.1")
        authority.cert_pem.write_to_path(str(made.authority))
        server.private_key_pem.write_to_path(str(made.key))
        server.cert_chain_pems[0].write_to_path(str(made.certificate))
        return made
