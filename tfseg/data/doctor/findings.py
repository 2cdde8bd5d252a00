"""Findings about a dataset, proposals for its settings, and the report that holds both."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

Level = Literal["error", "warning"]


@dataclass(frozen=True)
class Finding:
    """Finding about some files of a dataset.

    Args:
        level: `error` if training would stop or be invalid, otherwise `warning`.
        kind: Short name of the check; the table in docs/data.md lists all of them.
        message: Files, received and expected values, and what to do.
        split: Name of the split; None if the finding is about several splits.
        names: Names of the examples; at most some of them for findings about a whole split.
        files: Files of these examples.
    """

    level: Level
    kind: str
    message: str
    split: str | None = None
    names: tuple[str, ...] = ()
    files: tuple[str, ...] = ()


@dataclass(frozen=True)
class Proposal:
    """Proposed value of a key of the pipeline file.

    Args:
        key: Dotted path of the key.
        value: Value as YAML on one line, so that `tfseg fit FILE key=value` accepts it.
        reason: Values of the dataset that suggest it.
    """

    key: str
    value: str
    reason: str


def as_yaml(proposals: Iterable[Proposal]) -> str:
    """Returns the proposals as one block of YAML, to be merged into a pipeline file, with the reasons as comments.

    >>> print(as_yaml([Proposal("data.crop", "[16, 24]", "why"), Proposal("data.source.mask", "colors", "because")]))
    data:
      crop: [16, 24]  # why
      source:
        mask: colors  # because
    """
    tree: dict[str, Any] = {}
    for each in proposals:
        *parents, last = each.key.split(".")
        node = tree
        for key in parents:
            node = node.setdefault(key, {})
        node[last] = each
    return "\n".join(_lines(tree))


def _lines(tree: dict[str, Any], indent: str = "") -> Iterator[str]:
    for key, value in tree.items():
        if isinstance(value, Proposal):
            yield f"{indent}{key}: {value.value}  # {value.reason}"
        else:
            yield f"{indent}{key}:"
            yield from _lines(value, f"{indent}  ")


@dataclass(frozen=True)
class Report:
    """Result of the checks of a dataset.

    Args:
        findings: Findings, in the order of the checks.
        proposals: Proposed settings.
        statistics: Statistics per split, as `tfseg data stats` prints them.
    """

    findings: tuple[Finding, ...]
    proposals: tuple[Proposal, ...]
    statistics: dict[str, dict[str, Any]]

    @property
    def errors(self) -> tuple[Finding, ...]:
        """Findings that stop a training or make it invalid."""
        return tuple(each for each in self.findings if each.level == "error")

    @property
    def warnings(self) -> tuple[Finding, ...]:
        """Findings about data that can be used for training."""
        return tuple(each for each in self.findings if each.level == "warning")

    def as_json(self) -> dict[str, Any]:
        """Returns the report as plain values, with the schema that docs/data.md describes."""
        return {
            "findings": [asdict(each) for each in self.findings],
            "counts": {"errors": len(self.errors), "warnings": len(self.warnings)},
            "statistics": self.statistics,
            "proposals": [asdict(each) for each in self.proposals],
        }
