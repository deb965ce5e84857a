"""Reconciliation: the same things counted by sources that different code wrote (docs/ledger.md).

- `sides` holds the sources as plain values.
- `objects`, `records`, `shots` and `events` compare them; `outcome` is what a comparison returns.
- `slices` are the hours and days in which the equalities are checked, `summary` sums up many checks.

All of it is pure. `shotwatch_operations.reconciliation` reads the sources from database and store, decides
which slices are checked, and stores the results.
"""
