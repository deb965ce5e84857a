"""Pure functions on findings: the rules, incidents, and the comparison of two model versions."""
