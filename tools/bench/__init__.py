"""Measurements. Each one prints the environment it ran in; docs/performance.md keeps the figures."""
