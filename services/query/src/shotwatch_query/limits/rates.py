"""Rate limits: a token bucket for each name."""

from collections import OrderedDict
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address
from time import monotonic

from shotwatch_query.errors import TooMany

BURST_S = 10.0
"""Capacity of a bucket: the tokens of this many seconds."""
MOST_NAMES = 10_000
"""Maximum number of buckets."""
_IPV6_HOST_BITS = 64


class Rates:
    """Token buckets by name, each with BURST_S · `per_second` tokens when it is full.

    Only the time at which a bucket will be full again is stored (the generic cell rate algorithm, ITU-T
    I.371). If there are more than MOST_NAMES buckets, the least recently used one is removed; it is full when
    it is used again.
    """

    def __init__(self, per_second: float, setting: str, clock: Callable[[], float] = monotonic) -> None:
        """Create the buckets, all full.

        Args:
            per_second: tokens that are added to a bucket per second.
            setting: the variable that sets the rate; refusals name it.
            clock: returns the time in seconds.
        """
        self._per_second = per_second
        self._setting = setting
        self._clock = clock
        self._full_at: OrderedDict[str, float] = OrderedDict()

    def take(self, name: str, tokens: int = 1) -> None:
        """Take tokens out of a bucket.

        Raises:
            TooMany: there are fewer in it; none is taken.
        """
        now = self._clock()
        full_at = max(self._full_at.get(name, now), now) + tokens / self._per_second
        wait_s = full_at - now - BURST_S
        if wait_s > 0:
            raise TooMany(
                f"{name} asks more often than {self._per_second:g} times a second ({self._setting}): "
                f"wait {wait_s:.1f} s",
                wait_s,
            )
        self._full_at[name] = full_at
        self._full_at.move_to_end(name)
        if len(self._full_at) > MOST_NAMES:
            self._full_at.popitem(last=False)


def network_of(host: str) -> str:
    """Return the name under which an address is limited: IPv4 address, or /64 network of an IPv6 address.

    A user with one IPv6 address usually has its whole network.
    """
    try:
        address = ip_address(host)
    except ValueError:
        return host
    if not isinstance(address, IPv6Address):
        return host
    if address.ipv4_mapped:
        return str(address.ipv4_mapped)
    network = int(address) >> _IPV6_HOST_BITS << _IPV6_HOST_BITS
    return f"{IPv6Address(network)}/{_IPV6_HOST_BITS}"
