"""`python -m shotwatch_operations.store`: set up the object store, as `shotwatch bucket setup` does.

The command prints a JSON line for each part. Exit status: 0 everything is set up as far as the store supports
it, 1 the store refused something, 2 wrong settings, 3 the store cannot be reached.
"""

import asyncio
import sys

from shotwatch_common.command_line import exit_status, report
from shotwatch_operations.store.setup import ConfigurableStore, PartState, SetupSettings, set_up


class SetupRefused(Exception):
    """The store refused a part of the set-up."""


async def main() -> None:
    settings = SetupSettings.load()
    refused = []
    async with ConfigurableStore.of(settings) as store:
        async for found in set_up(store, settings):
            report(found.state, bucket=found.bucket, what=found.what, detail=found.detail)
            if found.state is PartState.REFUSED:
                refused.append(f"{found.bucket}: {found.what}: {found.detail}")
    if refused:
        raise SetupRefused("; ".join(refused))


if __name__ == "__main__":
    sys.exit(exit_status(lambda: asyncio.run(main()), SetupRefused))
