"""uvicorn on a port that the stack keeps bound: its command line cannot set SO_REUSEPORT.

python -m shotwatch_embedded.servers.uvicorn_server MODULE:FACTORY HOST PORT
"""

import sys

import uvicorn

from shotwatch_common.listening import listener


def main(factory: str, host: str, port: int) -> None:
    """Serve the ASGI application that the factory returns, until SIGTERM or SIGINT."""
    config = uvicorn.Config(factory, host, port, factory=True, access_log=False)
    uvicorn.Server(config).run(sockets=[listener(host, port)])


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
