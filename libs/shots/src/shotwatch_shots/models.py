"""Versions of the model: which was promoted to which alias, which a replica has loaded, how they score."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from heapq import nlargest

from shotwatch_shots.vocabulary import AnomalyKind, ModelAlias

LOAD_REPORT_S = 10.0
"""Interval between two reports of a replica about what it has loaded, in seconds."""


@dataclass(frozen=True, slots=True)
class Promotion:
    """A change of an alias. It determines which bundle inference loads for the alias from then on."""

    at: int
    """Epoch ms; always later than the previous promotion to the same alias."""
    who: str
    before: str | None
    """The version that had the alias until then; None for the first promotion."""
    version: str | None
    """The version that has the alias from then on; None if the alias was withdrawn."""
    why: str
    rollback: bool = False
    """Whether a previous champion was restored."""
    alias: ModelAlias = ModelAlias.CHAMPION
    run_id: str = ""
    """The run that produced the version; empty if there is none."""
    digest: str = ""
    """`digest_of` its bundle; empty for a withdrawal, or if promoted before digests were pinned."""
    audit_line: str = ""
    """Id of the audit line that was written before the promotion; empty if there is none."""

    @property
    def operation(self) -> str:
        """The name of this change in the audit."""
        if self.version is None:
            return f"withdraw_{self.alias}"
        if self.alias is ModelAlias.CHALLENGER:
            return "introduce_challenger"
        return "roll_back" if self.rollback else "promote"

    @property
    def subject(self) -> str:
        """The subject of this change in the audit, for example `version 3, bundle 5f0c…, by amelie`."""
        bundle = f", bundle {self.digest}" if self.digest else ""
        return f"version {self.version or self.before or 'none'}{bundle}, by {self.who}"


@dataclass(frozen=True, slots=True)
class ModelLoad:
    """The version that a replica has loaded for an alias."""

    replica: str
    alias: ModelAlias
    version: str | None
    """The version that has the alias; None if no version has it."""
    loaded: str | None
    """The version that the replica judges with; None if it has none."""
    why_not: str
    """Why the version that has the alias is not loaded; empty if it is."""

    @property
    def problem(self) -> str:
        """Describe the problem: `champion: version 2 cannot be loaded: …; judging with version 1`.

        Empty if there is none.
        """
        if not self.why_not:
            return ""
        subject = f"version {self.version} cannot be loaded: " if self.version else ""
        failed = f"{self.alias}: {subject}{self.why_not}"
        if self.alias is ModelAlias.CHALLENGER:
            return f"{failed}; in shadow: {f'version {self.loaded}' if self.loaded else 'none'}"
        return f"{failed}; judging with {f'version {self.loaded}' if self.loaded else 'rules only'}"


MOST_BLOCKS = 16
"""Number of time blocks of an hour whose highest scores are kept for each question."""


@dataclass(frozen=True, slots=True)
class BlockScores:
    """The highest scores of a series in time blocks, which are numbered from the epoch on.

    Merging is idempotent, and its order does not matter. So a batch may be entered twice, late or out of
    order.
    """

    seen: frozenset[int] = frozenset()
    """Blocks in which there are judged shots."""
    left_out: frozenset[int] = frozenset()
    """Those with an anomalous shot, by a rule or a model: none of their shots counts as normal."""
    alarmed: frozenset[int] = frozenset()
    """Those with a shot that the model found anomalous."""
    highest: Mapping[AnomalyKind, Mapping[int, float]] = field(default_factory=dict)
    """Question → block → the highest score (> 0) of its shots by the fitted tails, of MOST_BLOCKS blocks."""

    @property
    def normal(self) -> frozenset[int]:
        """The blocks whose shots are all normal."""
        return self.seen - self.left_out

    def merged(self, other: "BlockScores") -> "BlockScores":
        """Return the scores of the shots of both."""
        left_out = self.left_out | other.left_out
        kinds = sorted(self.highest.keys() | other.highest.keys())
        return BlockScores(
            self.seen | other.seen,
            left_out,
            self.alarmed | other.alarmed,
            {kind: _highest(left_out, self.highest.get(kind), other.highest.get(kind)) for kind in kinds},
        )


def _highest(left_out: frozenset[int], *parts: Mapping[int, float] | None) -> dict[int, float]:
    highest: dict[int, float] = {}
    for part in parts:
        for block, score in (part or {}).items():
            if block not in left_out:
                highest[block] = max(score, highest.get(block, 0.0))
    return dict(nlargest(MOST_BLOCKS, sorted(highest.items()), key=lambda item: item[1]))


@dataclass(frozen=True, slots=True)
class OwnThresholds:
    """The thresholds of a version in a series during an hour, and how many false alarms its past supports."""

    fitted: float
    """The threshold of questions without one of their own, and the one that scores are stated against."""
    own: Mapping[AnomalyKind, float] = field(default_factory=dict)
    """Question → the threshold of its scores by the fitted tails, from the normal shots of the past."""
    since: int | None = None
    """The first hour of the past, in hours since the epoch; None without a past."""
    blocks: int = 0
    """Number of normal time blocks in the past."""
    supported_per_hour: float | None = None
    """With 95 % confidence, there are fewer false alarms an hour than this; None without a past."""


@dataclass(frozen=True, slots=True)
class ScoredHour:
    """The scores of a series during an hour, by one version of the model. They set later thresholds."""

    series: str
    model: str
    """The version of the model."""
    hour: int
    """Hours since the epoch."""
    thresholds: OwnThresholds
    """Those of this hour. They do not change, so no shot sets its own threshold."""
    version: int = 1
    """Counts changes."""
    scores: BlockScores = field(default_factory=BlockScores)

    def after(self, scores: BlockScores) -> "ScoredHour":
        """Return the next version, with the scores of a batch."""
        return replace(self, version=self.version + 1, scores=self.scores.merged(scores))
