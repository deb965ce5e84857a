"""The sequential test of one statistic in plain Python, one shot at a time: what the compiled functions are
compared with. It was written from the description in `shotwatch_detector.levels`, without their code."""

from dataclasses import dataclass, field
from math import nan, sqrt
from statistics import fmean, median

STEPS = (0.25, 0.5, 1.0, 2.0)


@dataclass
class Cusum:
    """One sum: max(0, previous + excess - step / 2)."""

    step: float
    sum: float = 0.0
    since: int = 0
    evidence: list[float] = field(default_factory=list)

    def add(self, excess: float, deviation: float, time: int) -> None:
        self.sum += excess - self.step / 2
        if self.sum <= 0:
            self.sum, self.evidence = 0.0, []
            return
        if not self.evidence:
            self.since = time
        self.evidence.append(deviation)


@dataclass
class PlainLevelTest:
    """A statistic of which all values are normal or a change of the level; both sides are tested."""

    sigma: float
    least: float
    limits: dict[float, float]
    """Step → limit of its sums."""
    near: float = nan
    reference: tuple[float, float, float] | None = None
    """Centre, scale and allowance."""
    age: int = 0
    repeats: int = 0
    block: list[float] = field(default_factory=list)
    blocks: list[float] = field(default_factory=list)
    """The blocks of the current mean."""
    means: list[float] = field(default_factory=list)
    span: int = 4
    runs: tuple[list[float], ...] = field(default_factory=lambda: ([], [], []))
    """All means of 60, 120 and 240 shots since the last change."""
    squares: tuple[list[float], ...] = field(default_factory=lambda: ([], [], []))

    def __post_init__(self) -> None:
        self._new_sums()

    def add(self, value: float, time: int) -> tuple[float, int, int, float] | None:
        """Add a shot; return step, first shot, number of shots and mean deviation of a change."""
        change = self._tested(value, time) if self.reference else None
        self._learn(value)
        if change:
            self._restart()
        return change

    def _new_sums(self) -> None:
        self.sums = [(way, Cusum(step)) for way in (1, -1) for step in STEPS]

    def _tested(self, value: float, time: int) -> tuple[float, int, int, float] | None:
        assert self.reference
        centre, scale, allowance = self.reference
        most = 3 * scale + allowance
        deviation = max(-most, min(most, value - centre))
        for way, cusum in self.sums:
            cusum.add((way * deviation - allowance) / scale, deviation, time)
        furthest = max((cusum for _, cusum in self.sums), key=lambda each: each.sum / self.limits[each.step])
        if furthest.sum <= self.limits[furthest.step]:
            return None
        return furthest.step, furthest.since, len(furthest.evidence), fmean(furthest.evidence)

    def _restart(self) -> None:
        soon = self.age < 8 * 1920 * 2**self.repeats
        self.repeats = min(self.repeats + 1, 4) if soon else 0
        self.age, self.reference, self.span = 0, None, 2**self.repeats
        self.block, self.blocks, self.means, self.runs = [], [], [], ([], [], [])
        self._new_sums()

    def _learn(self, value: float) -> None:
        if self.near != self.near:
            self.near = value
        step = max(-3 * self.sigma, min(3 * self.sigma, value - self.near))
        self.block.append(self.near + step)
        self.near += step / 16
        self.age += 1
        if len(self.block) == 60:
            mean = fmean(self.block)
            self.block = []
            self._compare(0, mean)
            self.blocks.append(mean)
        if len(self.blocks) == self.span:
            self.means.append(fmean(self.blocks))
            self.blocks = []
            if len(self.means) == 32:
                self._settle()

    def _compare(self, level: int, mean: float) -> None:
        run, squares = self.runs[level], self.squares[level]
        run.append(mean)
        if len(run) > 2:
            square = (run[-1] - 2 * run[-2] + run[-3]) ** 2 / 6
            if len(squares) >= 8:
                square = min(square, 16 * fmean(squares))
            squares.append(square)
            if len(squares) == 512:  # the older ones count half from now on
                squares[:] = [fmean(squares)] * 256
        if len(run) % 2 == 0 and level < 2:
            self._compare(level + 1, fmean(run[-2:]))

    def _settle(self) -> None:
        centre = median(self.means)
        scales = [
            sqrt(60 * 2**level * fmean(squares)) * (1 + 1 / sqrt(2 * len(squares)))
            for level, squares in enumerate(self.squares)
            if len(squares) >= 4
        ]
        moved = sorted(abs(mean - centre) for mean in self.means)[-3]
        unseen = 0.5 * self.sigma if self.span < 16 else 0.0
        self.reference = centre, max(self.sigma, *scales), max(self.least, unseen, 1.5 * moved)
        if self.span < 16:
            self.means = [fmean(self.means[n : n + 2]) for n in range(0, 32, 2)]
            self.span *= 2
        else:
            self.means = self.means[16:]
