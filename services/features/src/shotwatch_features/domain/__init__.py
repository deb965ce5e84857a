"""The physics: arrays in, named features out."""
