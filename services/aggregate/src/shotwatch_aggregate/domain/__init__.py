"""The join, as pure functions on windows."""
