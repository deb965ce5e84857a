"""The set-up of the object store."""
