"""Beam features as they were measured before the kernels were fused: the standard of these kernels.

Copied from libs/physics of 2026-11-27 and not to be changed: it computes with (n, h, w) arrays, one feature
after the other. What the fused kernels did not replace is imported from libs/physics.
"""
