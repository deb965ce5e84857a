"""The facility as the tests need it."""

from collections.abc import Mapping
from pathlib import Path

import yaml

FACILITY = Path(__file__).resolve().parents[1] / "facilities" / "hpls.yaml"


def facility_waiting(lateness_s: Mapping[str, float], folder: Path) -> Path:
    """The facility file, with this time to wait for the members of a shot in each interval."""
    content = yaml.safe_load(FACILITY.read_text(encoding="utf-8"))
    for interval in content["intervals"]:
        interval["lateness_s"] = lateness_s[interval["name"]]
    path = folder / "facility.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return path
