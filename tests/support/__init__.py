"""Servers in memory, by which a service is tested as a whole without starting any."""
