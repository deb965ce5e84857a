"""What ingest does, as functions of bytes and arrays: no broker, no store, no framework."""
