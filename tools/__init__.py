"""Tools: what makes snapshot files, and what measures how well and how fast everything is (ADR 31)."""
