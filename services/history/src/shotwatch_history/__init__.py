"""history: keeps each camera's reference, and tells of slow changes."""
