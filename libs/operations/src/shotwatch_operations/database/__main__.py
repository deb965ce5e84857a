"""`python -m shotwatch_operations.database`: create indexes and accounts, as a database administrator.

The command prints a JSON line for each step. Exit status: 0 done, 1 the database refused something, 2 wrong
settings, 3 the database cannot be reached or refuses this account.
"""

import asyncio
import sys

from pymongo.errors import OperationFailure

from shotwatch_common.archive import TRANSIENT
from shotwatch_common.command_line import exit_status, report
from shotwatch_operations.database.setup import DatabaseSetupSettings, set_up


async def main() -> None:
    async for part, made in set_up(DatabaseSetupSettings.load()):
        report(part, made=made)


if __name__ == "__main__":
    sys.exit(exit_status(lambda: asyncio.run(main()), OperationFailure, away=TRANSIENT))
