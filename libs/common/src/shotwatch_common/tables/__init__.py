"""Day tables at the edges: their files in the object store, and shots of the archive as tables (ADR 49)."""
