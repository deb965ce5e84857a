"""Fault injection in memory: a service is run again and again, and each time something else goes wrong."""

from collections.abc import Awaitable, Callable, Sequence
from itertools import count

from .effects import Fault
from .world import World

Play = Callable[[World], Awaitable[None]]
"""Runs services on the servers of a world until nothing is left to do."""


async def survived_every_fault(start: World, play: Play) -> Sequence[str]:
    """Check that every fault at every effect leads to the outcome of an undisturbed run.

    Return the effects of the undisturbed run, in their order.
    """
    undisturbed = start.fork()
    await play(undisturbed)
    expected = undisturbed.outcome()
    for fault in Fault:
        for at in count():
            world = start.fork(fault, at)
            await play(world)
            if not world.effects.happened:
                break
            found = world.outcome()
            assert found == expected, f"effect {at}, {undisturbed.effects.done[at]}: {fault.value}"
    return undisturbed.effects.done
