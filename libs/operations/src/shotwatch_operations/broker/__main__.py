"""`python -m shotwatch_operations.broker`: declare the broker's exchanges, queues and bindings.

The command needs SHOTWATCH_BROKER_URL with the account `setup`, and SHOTWATCH_PREFIX. It may be run again at
any time. Exit status: 0 everything exists, 1 the broker refused something, 2 wrong settings, 3 the broker
cannot be reached.
"""

import asyncio
import sys

from aio_pika.exceptions import AMQPError, ChannelPreconditionFailed
from aiormq.exceptions import ChannelAccessRefused

from shotwatch_common.broker_connection import connection_to
from shotwatch_common.command_line import exit_status, report
from shotwatch_common.settings import BrokerAccountSettings
from shotwatch_common.topology import Topology
from shotwatch_shots.errors import Retry

_ANSWER_S = 30.0


class BrokerRefused(Exception):
    """The broker refused a part of the set-up."""


async def main() -> None:
    settings = BrokerAccountSettings.load()
    topology = Topology(settings.prefix)
    try:
        async with connection_to(settings.broker_url.get_secret_value(), _ANSWER_S) as connection:
            await topology.declare(connection)
    except ChannelPreconditionFailed as error:
        raise BrokerRefused(
            f"{error}: empty it, delete it (`rabbitmqctl delete_queue NAME`), run this again"
        ) from error
    except ChannelAccessRefused as error:
        raise BrokerRefused(f"{error}: set SHOTWATCH_BROKER_URL to the account `setup`") from error
    except (AMQPError, OSError, TimeoutError) as error:
        raise Retry(f"the broker does not answer, or refused the login: {error}") from error
    report("declared", exchanges=len(topology.exchanges), queues=len(topology.queues) + 1)


if __name__ == "__main__":
    sys.exit(exit_status(lambda: asyncio.run(main()), BrokerRefused))
