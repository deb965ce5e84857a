"""The language of searches by value: its grammar is in docs/search.md, and `parser` reads it.

An expression is text from outside. It is parsed into a typed tree of three kinds of nodes and never run as
code; its length, depth and number of nodes are limited.
"""
