"""The responses about the model."""

from collections.abc import Mapping

from pydantic import Field

from shotwatch_common.archive.shadows import ShadowRecord
from shotwatch_query.schema import DEVICE, Instant, Schema, Where
from shotwatch_shots.vocabulary import AnomalyKind, ModelAlias


class ModelRecord(Schema):
    """The accuracy of a version of the model, according to people's feedback."""

    raised: int = Field(description="Incidents that it raised an event about.")
    confirmed: int = Field(description="Those that somebody confirmed.")
    false: int = Field(description="Those that somebody called a false alarm.")


class ModelVersionSummary(Schema):
    """A registered version of the model."""

    version: str
    created_at: Instant
    status: str
    run_id: str
    aliases: list[str]
    tags: Mapping[str, str]
    record: ModelRecord
    shadow: ShadowRecord | None = Field(description="Null when it never was the challenger.")


class ReplicaModel(Schema):
    """The version that a replica of inference has loaded for an alias."""

    replica: str
    alias: ModelAlias
    version: str | None = Field(description="The version that has the alias; null when none has it.")
    loaded: str | None = Field(description="The version that the replica judges with; null without one.")
    problem: str = Field(
        description="Why the two differ, and what judges instead; empty when nothing is wrong.",
        examples=[
            "champion: version 3 cannot be loaded: bundle.json does not exist; judging with rules only"
        ],
    )


class RegisteredModel(Schema):
    """The model in the registry; without versions before the first training."""

    name: str
    aliases: Mapping[str, str] = Field(
        description="Alias → version; `champion` scores, `challenger` beside it in silence.",
        examples=[{"champion": "3", "challenger": "4"}],
    )
    versions: list[ModelVersionSummary]
    loads: list[ReplicaModel] = Field(
        description="What each replica of inference has loaded, as reported in the last half a minute."
    )
    promotion_differences: list[str] = Field(
        description="Promotions that the audit does not show, and lines of the audit of the last week about "
        "promotions that were not made; the first hundred. None if all is well.",
        examples=[[]],
    )


class ChampionChange(Schema):
    """A change of the champion to a version."""

    at: Instant
    who: str
    before: str | None = Field(description="Version that was champion until then; null for the first one.")
    version: str | None = Field(description="Version that is it from then on; null when none is.")
    why: str
    rollback: bool = Field(description="Whether an earlier champion came back.")
    digest: str = Field(
        description="SHA-256 of its bundle, without which inference does not load it: that of the lines that "
        "`sha256sum autoencoder.tflite bundle.json cameras.npz` prints. Empty before bundles were pinned."
    )


class ChampionHistory(Schema):
    """Every change of the champion, newest first."""

    promotions: list[ChampionChange]


class FeatureShift(Schema):
    """A recent feature or score, compared with the training period of the champion."""

    name: str = Field(examples=["centroid_x"])
    centre: float = Field(description="Its median in the training period.")
    median: float = Field(description="Its median of late.")
    shift: float = Field(description="median - centre in robust standard deviations of the training period.")
    beyond: float | None = Field(
        description="Share of the newest shots more than three of them away; 0.003 of normal noise."
    )


class DeviceDrift(Schema):
    """The deviation of a device from the training period of the champion."""

    device: str = Field(examples=[DEVICE])
    start: Instant = Field(description="First data that was read.")
    end: Instant = Field(description="Newest data that was read.")
    features: list[FeatureShift] = Field(description="Furthest first.")


class OwnThreshold(Schema):
    """The threshold of a question that the past of a place set."""

    kind: AnomalyKind
    threshold: float = Field(description="Of the question's scores by the fitted tails, `fitted` without it.")


class PlaceThresholds(Where):
    """The thresholds of a place during the newest hour in which it had shots."""

    hour: Instant = Field(description="Start of that hour.")
    fitted: float = Field(description="The threshold of scores, as the version's fitted tails have it.")
    own: list[OwnThreshold] = Field(description="Questions with a threshold from the place's own past.")
    since: Instant | None = Field(description="Start of the past; null without one.")
    normal_blocks: int = Field(description="Blocks of ten seconds, or five pulses, without an anomaly in it.")
    supported_per_hour: float | None = Field(
        description="There are fewer false alarms an hour, with 95 % confidence; null without a past."
    )


class ThresholdReport(Schema):
    """The thresholds of every place that the champion has judged lately."""

    version: str | None = Field(description="The champion; null when there is none.")
    places: list[PlaceThresholds]


class DriftReport(Schema):
    """The drift of every device that the champion knows and that has recorded something since."""

    version: str | None = Field(description="The champion; null when there is none.")
    devices: list[DeviceDrift]
