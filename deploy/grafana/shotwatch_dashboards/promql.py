"""Queries that several panels use."""

WINDOW = "$__rate_interval"


def rate(metric: str, by: str, selector: str = "", window: str = WINDOW) -> str:
    """Return the rate per second, summed over replicas."""
    return f"sum by ({by}) (rate({metric}{_braces(selector)}[{window}]))"


def quantile(q: float, histogram: str, by: str = "") -> str:
    """Return the quantile of recent observations, over all replicas."""
    return f"histogram_quantile({q}, {rate(f'{histogram}_bucket', f'le, {by}' if by else 'le')})"


def counted(metric: str, by: str, window: str, selector: str = "") -> str:
    """Return the number of observations in the window.

    `increase` does not count the first observation of a series, because the series appears with it. So a
    series that did not exist at the start of the window counts with its whole value.
    """
    series = f"{metric}{_braces(selector)}"
    return f"sum by ({by}) ((increase({series}[{window}]) and {series} offset {window}) or {series})"


def seconds_since(timestamp: str) -> str:
    """Return the seconds since the newest timestamp of all replicas."""
    return f"time() - max({timestamp})"


def _braces(selector: str) -> str:
    return f"{{{selector}}}" if selector else ""
