"""Searches for failures with made input: a quick selection in `make test`, new input in `make fuzz`."""
