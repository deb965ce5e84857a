"""Measurements; each says its conditions, and docs/performance.md keeps the figures."""
