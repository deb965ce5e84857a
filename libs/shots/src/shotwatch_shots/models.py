"""Versions of the model: which one was promoted to which alias, and which one a replica has loaded."""

from dataclasses import dataclass

from shotwatch_shots.vocabulary import ModelAlias

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
