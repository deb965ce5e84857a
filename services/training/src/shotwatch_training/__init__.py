"""Builds training sets and models."""
