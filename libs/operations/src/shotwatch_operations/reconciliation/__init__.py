"""Compare the sides of the ledger's equalities."""
