"""The broker as operators see it: accounts, set-up, dead letters."""
