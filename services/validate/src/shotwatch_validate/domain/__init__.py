"""What validate does, as functions of arrays: no broker, no database, no framework."""
