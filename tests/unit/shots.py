"""Judged shots of which only some properties matter."""

from collections.abc import Sequence

from shotwatch_shots.place import ShotSeries
from shotwatch_shots.shot import JudgedShot, ShotVerdict
from shotwatch_shots.vocabulary import AnomalyKind


def judged_shot(
    id_: str,
    series: ShotSeries,
    pulse: int,
    kinds: Sequence[str] = (),
    *,
    complete: bool = True,
    batch: str = "batch",
    index: int = 0,
) -> JudgedShot:
    """A shot of revision 1 with these kinds of anomaly."""
    return JudgedShot(
        id=id_,
        series=series,
        pulse=pulse,
        revision=1,
        window="window",
        batch=batch,
        index=index,
        complete=complete,
        missing=(),
        refused=(),
        verdict=ShotVerdict(1.0, 5.0, tuple(map(AnomalyKind, kinds))),
        model=None,
        trace_id="",
        judged_at=0,
    )
