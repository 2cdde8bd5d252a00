"""A document to a value of a spec type, or every mistake in it at once."""

from functools import lru_cache
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from tfseg.spec.explain import Explainer
from tfseg.spec.nodes import Place
from tfseg.spec.paths import index
from tfseg.spec.problems import Problem, SpecError
from tfseg.spec.source import Document

__all__ = ["Problem", "SpecError", "adapter", "validate"]

T = TypeVar("T")


def adapter(type_: Any) -> TypeAdapter[Any]:
    """Pydantic's validator of a type; made once."""
    return _adapter(type_)


_adapter = lru_cache(maxsize=64)(TypeAdapter)


def validate(type_: type[T], document: Document) -> T:
    """The value that a document describes.

    Raises:
        SpecError: all mistakes of the document, in the order of its lines.
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


def refusal(cls: type, fields: dict[str, Any], error: ValidationError) -> SpecError:
    """What pydantic found wrong with the arguments of a spec's constructor."""
    document = Document(fields, places={(): Place(cls.__name__)})  # type: ignore[arg-type]  # keys are text
    return SpecError(Explainer(dict(adapter(cls).core_schema), document).problems(error.errors(include_url=False)))


def _in_order(problem: Problem) -> tuple[bool, str, int]:
    """Files one after another, each by its lines; overrides last, as they were given."""
    source, _, line = problem.where.rpartition(":")
    number = index(line)
    return (True, "", 0) if number is None else (False, source, number)
