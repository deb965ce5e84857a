"""What is measured of the readings of each energy meter."""

import numpy as np

from shotwatch_shots.features.spec import FeatureSpec, Indicator, Side
from shotwatch_shots.vocabulary import AnomalyKind

ENERGY_FEATURES = (
    FeatureSpec(
        "energy",
        "J",
        (0, np.inf),
        "Mean of the meter's two energies when both are positive, else the one that is; NaN when neither is.",
        "ELI-NP report RST-2.3, energy of a shot",
        indicator=Indicator(AnomalyKind.ENERGY, "energy", relative_floor=0.003),
    ),
    FeatureSpec(
        "energy_disagreement",
        "",
        (0, 2),
        "|energy1 - energy2| over their mean; NaN unless both are positive.",
        indicator=Indicator(
            AnomalyKind.ENERGY,
            "disagreement of the meter's two energies",
            Side.HIGH,
            floor=0.002,
            in_unit=True,
        ),
    ),
)
