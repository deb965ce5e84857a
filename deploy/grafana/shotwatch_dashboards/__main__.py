"""Write the dashboards to the folder that provisions Grafana; a test compares them with the code."""

from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from shotwatch_dashboards import beam, models, operations, traces

FOLDER = Path(__file__).resolve().parent.parent / "dashboards"


def written() -> dict[str, str]:
    """Return the dashboards as Grafana reads them, by file name."""
    boards = [module.dashboard().build() for module in (operations, traces, beam, models)]
    return {f"{board.uid}.json": _json(board) for board in boards}


def _json(board: object) -> str:
    return JSONEncoder(sort_keys=True, indent=2, ensure_ascii=False).encode(board) + "\n"


if __name__ == "__main__":
    for name, text in written().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
