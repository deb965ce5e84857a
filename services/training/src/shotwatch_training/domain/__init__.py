"""From a history of shots to what models learn from, and from models to what is usual: arrays only."""
