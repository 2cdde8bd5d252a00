"""Validation of a document: a value of a spec type, or all its problems at once."""

from functools import lru_cache
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from tfseg.spec.explain import Explainer
from tfseg.spec.nodes import Origin
from tfseg.spec.paths import index
from tfseg.spec.problems import Problem, SpecError
from tfseg.spec.source import Document

__all__ = ["Problem", "SpecError", "adapter", "validate"]

T = TypeVar("T")


def adapter(type_: Any) -> TypeAdapter[Any]:
    """Returns pydantic's validator of a type (cached)."""
    return _adapter(type_)


_adapter = lru_cache(maxsize=64)(TypeAdapter)


def validate(type_: type[T], document: Document) -> T:
    """Converts a document to a value of a spec type.

    Raises:
        SpecError: If the document has problems; it holds all of them, in the order of their lines.
    """
    problems = list(document.problems)
    try:
        value: T = adapter(type_).validate_python(document.data)
    except ValidationError as error:
        unreadable = {problem.path for problem in problems}
        found = Explainer(dict(adapter(type_).core_schema), document).problems(error.errors(include_url=False))
        problems += [problem for problem in found if problem.path not in unreadable]
        raise SpecError(sorted(dict.fromkeys(problems), key=_in_order)) from error
    if problems:
        raise SpecError(sorted(problems, key=_in_order))
    return value


def spec_error(cls: type, fields: dict[str, Any], error: ValidationError) -> SpecError:
    """Converts pydantic's error about the arguments of a spec's constructor."""
    document = Document(fields, origins={(): Origin(cls.__name__)})  # type: ignore[arg-type]  # keys are strings
    return SpecError(Explainer(dict(adapter(cls).core_schema), document).problems(error.errors(include_url=False)))


def _in_order(problem: Problem) -> tuple[bool, str, int]:
    """Sort key: by file and line; overrides last, in their given order."""
    source, _, line = problem.where.rpartition(":")
    number = index(line)
    return (True, "", 0) if number is None else (False, source, number)
