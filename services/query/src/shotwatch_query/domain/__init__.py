"""Pages, renderings and the settled prefix of events: plain values in, plain values out."""
