"""Reconciliation: the same things counted by sources that different code wrote (docs/ledger.md).

- `sides` holds the sources as plain values, `equalities` compares them: both are pure.
- `collecting` reads the sources of one slice (an hour, a day's folder, the inbox) from database and store.
- `reconciler` decides which slices are checked, and stores the results.
"""
