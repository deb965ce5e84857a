"""Pages, renderings and the settled prefix: plain values in, plain values out."""
