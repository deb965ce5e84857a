"""Detection of slow changes, and of whether they matter."""
