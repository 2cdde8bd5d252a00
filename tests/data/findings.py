"""Access to the findings of `examine` in tests."""

from tfseg.data import Dataset
from tfseg.data.doctor import Finding, examine


def messages(data: Dataset) -> tuple[str, ...]:
    """Returns the messages of all findings."""
    return tuple(each.message for each in examine(data).findings)


def kinds(data: Dataset) -> list[tuple[str, str]]:
    """Returns level and kind of all findings."""
    return [(each.level, each.kind) for each in examine(data).findings]


def found(data: Dataset, kind: str) -> Finding:
    """Returns the only finding of a kind."""
    (finding,) = (each for each in examine(data).findings if each.kind == kind)
    return finding
