"""Queries that several panels ask."""

WINDOW = "$__rate_interval"


def rate(metric: str, by: str, selector: str = "", window: str = WINDOW) -> str:
    """Per second, summed over replicas."""
    return f"sum by ({by}) (rate({metric}{_braces(selector)}[{window}]))"


def quantile(q: float, histogram: str, by: str = "") -> str:
    """Of what was observed lately, over all replicas."""
    return f"histogram_quantile({q}, {rate(f'{histogram}_bucket', f'le, {by}' if by else 'le')})"


def counted(metric: str, by: str, window: str, selector: str = "") -> str:
    """How many in the window.

    A series appears with its first observation, which `increase` does not see: what was not there when the
    window began counts whole.
    """
    series = f"{metric}{_braces(selector)}"
    return f"sum by ({by}) ((increase({series}[{window}]) and {series} offset {window}) or {series})"


def seconds_since(timestamp: str) -> str:
    """Since the newest that any replica tells."""
    return f"time() - max({timestamp})"


def _braces(selector: str) -> str:
    return f"{{{selector}}}" if selector else ""
