"""From a history to training data, and from models to the references of normal shots: arrays only."""
