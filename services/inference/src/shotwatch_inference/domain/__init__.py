"""What rules, not models, say of a shot."""
