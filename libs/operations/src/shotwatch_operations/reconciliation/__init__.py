"""Comparison of the sources of the ledger's equalities."""
