"""The set-up of the database."""
