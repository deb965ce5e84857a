"""Colour maps: equal steps of intensity appear equal; positive and negative values appear different."""

import numpy as np
from numpy.typing import NDArray

_INFERNO = (
    (0.0002189403691192265, 0.001651004631001012, -0.01948089843709184),
    (0.1065134194856116, 0.5639564367884091, 3.932712388889277),
    (11.60249308247187, -3.972853965665698, -15.9423941062914),
    (-41.70399613139459, 17.43639888205313, 44.35414519872813),
    (77.162935699427, -33.40235894210092, -81.80730925738993),
    (-71.31942824499214, 32.62606426397723, 73.20951985803202),
    (25.13112622477341, -12.24266895238567, -23.07032500287172),
)
"""Polynomial fit of matplotlib's `inferno` (Matt Zucker, CC0): coefficients of t**n for red, green, blue."""


def _inferno() -> NDArray[np.uint8]:
    powers = np.linspace(0, 1, 256)[:, None] ** np.arange(len(_INFERNO))
    colours = np.clip(powers @ np.array(_INFERNO), 0, 1)
    return np.asarray(np.round(colours * 255), np.uint8)


def _blue_white_red() -> NDArray[np.uint8]:
    anchors = np.array([(33, 102, 172), (255, 255, 255), (178, 24, 43)], float)
    level = np.linspace(-1, 1, 256)
    channels = [np.interp(level, (-1, 0, 1), anchors[:, channel]) for channel in range(3)]
    return np.asarray(np.round(np.stack(channels, axis=1)), np.uint8)


INFERNO = _inferno()
"""The colours of 256 levels, dark to bright: (256, 3) RGB."""
BLUE_WHITE_RED = _blue_white_red()
"""The colours of 256 levels from negative through zero (white) to positive: (256, 3) RGB."""
