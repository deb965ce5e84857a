"""The questions that the statistics of a place answer, and how many independent members each question has.

A question is a kind of anomaly: what operators would act on differently. All questions have an equal share of
the false alarms of a place. Statistics that answer the same question often exceed their limits together: ten
cameras see the same energy. Then they need less of the question's share than as many independent ones.
"""

import numpy as np

from shotwatch_detector.arrays import Values

EXTREME_SHARE = 0.02
"""The share of the normal shots that count as extreme in one statistic."""
FEWEST_EXTREME = 5
"""With fewer extreme shots than this in each statistic, all of them count as independent."""


def effective_members(surprisals: Values) -> float:
    """Return how many independent statistics would exceed their limits in as many normal shots.

    `surprisals` are those of m statistics of the same question in n normal shots: (m, n). Each statistic is
    compared with its own ranks, so the result does not depend on how well its tail is known. It is between 1
    (they are all extreme in the same shots) and m.
    """
    members, shots = surprisals.shape
    extreme = int(EXTREME_SHARE * shots)
    if extreme < FEWEST_EXTREME:
        return float(members)
    highest = np.argpartition(surprisals, shots - extreme, axis=1)[:, shots - extreme :]
    return len(np.unique(highest)) / extreme
