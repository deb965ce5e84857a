"""Fault injection in memory: a service runs once for each step that can fail, and that step fails."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import count
from typing import Any

from .effects import Fault
from .world import Outcome, World

Play = Callable[[World], Awaitable[None]]
"""Runs services on the servers of a world until nothing is left to do."""


async def survived_every_fault(start: World, play: Play) -> Sequence[str]:
    """Check that every fault at every effect leads to the outcome of an undisturbed run.

    Return the effects of the undisturbed run, in their order.
    """
    undisturbed = start.fork()
    await play(undisturbed)
    expected = undisturbed.outcome()
    async for world in after_each_fault(start, play):
        wrong = list(differences(world.outcome(), expected))
        effects = world.effects
        assert not wrong, f"effect {effects.at}, {undisturbed.effects.done[effects.at]}: {effects.fault}"
    return undisturbed.effects.done


async def after_each_fault(start: World, play: Play) -> AsyncIterator[World]:
    """Yield the servers after a run with each fault at each of its effects."""
    for fault in Fault:
        for at in count():
            world = start.fork(fault, at)
            await play(world)
            if not world.effects.happened:
                break
            yield world


def differences(found: Outcome, expected: Outcome) -> Iterator[tuple[str, Any, Any]]:
    """Yield each place where two outcomes differ, with what was found there and what was expected."""
    yield from _differences("", asdict(found), asdict(expected))


def _differences(where: str, found: Any, expected: Any) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(found, Mapping) and isinstance(expected, Mapping):
        for name in sorted(found.keys() | expected.keys(), key=str):
            yield from _differences(f"{where}/{name}", found.get(name), expected.get(name))
    elif found != expected:
        yield where, found, expected
