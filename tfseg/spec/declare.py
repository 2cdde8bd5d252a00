"""Declaration of specs: frozen, strict dataclasses, and slots that select one of several specs by `type:`."""

import functools
import operator
import os
import types
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeVar, Union, dataclass_transform, get_args, get_origin

from pydantic import BeforeValidator, ConfigDict, Field, GetCoreSchemaHandler, PlainSerializer, ValidationError
from pydantic.dataclasses import dataclass, is_pydantic_dataclass
from pydantic_core import CoreSchema, core_schema

from tfseg.spec.docstrings import field_docstrings
from tfseg.spec.nesting import Inner
from tfseg.spec.validate import spec_error

T = TypeVar("T")

STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, populate_by_name=True)


@dataclass_transform(frozen_default=True, kw_only_default=True)
def spec(cls: type[T], docstrings: bool = True) -> type[T]:
    """Makes `cls` a spec: keyword-only, frozen, unknown keys rejected, scalars never coerced.

    Only the fields are strict. The spec itself still accepts a mapping, which strict pydantic would reject outside
    JSON mode.

    Args:
        cls: Class with annotated fields.
        docstrings: Boolean, whether to describe the fields by the strings below them. This reads the source file of
            the class.
    """

    def core(cls: type[T], source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        schema = handler(source)
        inner: Any = schema
        while inner["type"] != "dataclass":
            inner = inner["schema"]
        inner["strict"] = False
        return schema

    cls.__get_pydantic_core_schema__ = classmethod(core)  # type: ignore[attr-defined]
    for name, text in field_docstrings(cls).items() if docstrings else ():
        cls.__annotations__[name] = Annotated[cls.__annotations__[name], Field(description=text)]
    return _with_spec_errors(dataclass(frozen=True, kw_only=True, config=STRICT)(cls))  # type: ignore[arg-type]


def _with_spec_errors(cls: type[T]) -> type[T]:
    """Makes the constructor of `cls` raise a `SpecError` instead of pydantic's `ValidationError`."""
    construct: Any = cls.__init__

    @functools.wraps(construct)
    def __init__(self: Any, *args: Any, **fields: Any) -> None:
        if args:
            raise TypeError(f"{cls.__name__}() takes keyword arguments only. Received: {len(args)} positional")
        try:
            construct(self, **fields)
        except ValidationError as error:
            raise spec_error(type(self), fields, error) from None

    cls.__init__ = __init__  # type: ignore[assignment,method-assign]
    return cls


def type_name(member: type) -> str:
    """Returns the `type` that selects the spec `member` in a file: the default of its `type` field."""
    return str(member.__dataclass_fields__["type"].default)  # type: ignore[attr-defined]


def members(annotation: Any) -> tuple[type, ...]:
    """Returns the specs of a slot's annotation: `A | B | None` gives `(A, B)`."""
    if get_origin(annotation) is Annotated:
        return members(get_args(annotation)[0])
    if get_origin(annotation) in (types.UnionType, Union):
        return tuple(member for part in get_args(annotation) for member in members(part))
    return () if annotation is type(None) else (annotation,)


@functools.cache  # always the same class, because specs of different classes are never equal
def completed(member: type, contract: type | None) -> type:
    """Returns `member` with the missing optional attributes inherited from `contract`; a subclass of `contract` is
    returned unchanged.

    Raises:
        TypeError: If `member` lacks an attribute that every spec of the slot requires.
    """
    if contract is None or issubclass(member, contract):
        return member
    own = {name for each in member.__mro__ if each is not object for name in vars(each)}
    own |= set(member.__dataclass_fields__)  # type: ignore[attr-defined]
    if missing := [name for name in contract.ASKED if name not in own]:  # type: ignore[attr-defined]
        raise TypeError(f"{member.__qualname__} has no {' and no '.join(missing)}; required by {contract.__qualname__}")
    body: dict[str, Any] = {"__annotations__": {}, "__doc__": member.__doc__, "__module__": member.__module__}
    return spec(type(member.__name__, (member, contract), body), docstrings=False)


class Slot:
    """Mark, in `Annotated`, of a field that accepts one of several components. Plugins can add components."""

    WANTED: ClassVar[str] = "components"
    """Plural noun for its components, for error messages."""

    def members(self, annotation: Any) -> tuple[type, ...]:
        """Returns the components of an annotation that carries this mark."""
        raise NotImplementedError

    def word(self, member: type) -> str:
        """Returns the name that selects `member` in a file."""
        raise NotImplementedError

    def takes(self, member: Any) -> bool:
        """Returns whether `member` is of the kind that the slot accepts: for `ByType`, a class with a `type`."""
        return True

    def refusal(self, member: type) -> str | None:
        """Returns the reason why a component of the right kind cannot be used, or None."""
        return None

    def opened(self, annotation: Any, added: tuple[type, ...]) -> tuple[Any, "Slot"]:
        """Returns the annotation (without the mark) and the mark, both extended by the components `added`.

        Raises:
            TypeError: If the name of a component is taken, or the component lacks an attribute that the slot requires.
        """
        raise NotImplementedError

    def check_words(self, there: Iterable[type], added: Iterable[type]) -> None:
        """Raises TypeError if two components have the same name."""
        taken = {self.word(member): member for member in there}
        for member in added:
            if (other := taken.get(self.word(member), member)) is not member:
                names = [f"{found.__module__}.{found.__qualname__}" for found in (other, member)]
                raise TypeError(f'two components have the type "{self.word(member)}": {" and ".join(names)}')
            taken[self.word(member)] = member


class ByType(Slot):
    """Slot whose `type:` selects the spec; `decoder: fcn` is short for `decoder: {type: fcn}`.

    Args:
        default: String, the type of a mapping without the key `type`, or None if the key is required.
        contract: Base class of the specs of the slot, or None. A spec must have the attributes listed in
            `contract.ASKED`, and inherits the others.
        inner: Mark of values inside the components that have the same choices, if there are any.
    """

    def __init__(self, default: str | None = None, contract: type | None = None, inner: Inner | None = None) -> None:
        self.default = default
        self.contract = contract
        self.inner = inner

    WANTED = "specs with a type"

    def members(self, annotation: Any) -> tuple[type, ...]:
        return members(annotation)

    def word(self, member: type) -> str:
        return type_name(member)

    def takes(self, member: Any) -> bool:
        fields = getattr(member, "__dataclass_fields__", {}) if isinstance(member, type) else {}
        return "type" in fields and isinstance(fields["type"].default, str)

    def refusal(self, member: type) -> str | None:
        if is_pydantic_dataclass(member):
            return None
        return "is not a spec: decorate it with @spec of tfseg.spec instead of @dataclass"

    def opened(self, annotation: Any, added: tuple[type, ...]) -> tuple[Any, "Slot"]:
        wide = tuple(completed(member, self.contract) for member in added)
        self.check_words(members(annotation), wide)
        return functools.reduce(operator.or_, wide, annotation), self

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        choices = {type_name(member): handler.generate_schema(member) for member in members(source)}
        tagged = core_schema.tagged_union_schema(choices, self._tag, metadata={"default_type": self.default})
        schema = core_schema.no_info_before_validator_function(self.expand, tagged)
        slot = core_schema.nullable_schema(schema) if type(None) in get_args(source) else schema
        return slot if self.inner is None else self.inner.around(slot, Annotated[source, self])

    def _tag(self, value: Any) -> Any:
        return value.get("type", self.default) if isinstance(value, dict) else getattr(value, "type", None)

    @staticmethod
    def expand(value: Any) -> Any:
        """Expands `fcn` to `{type: fcn}`; returns any other value unchanged."""
        return {"type": value} if isinstance(value, str) else value


BY_TYPE = ByType()


NAME_LIMIT = 255
"""Largest number of bytes in a file name. Any file system call with a longer one would raise an OSError."""


def _located(value: Any) -> Any:
    """Converts a string to a path. A relative one from a file is joined to the folder of that file."""
    if not isinstance(value, str):
        return value
    try:
        path = Path(value).expanduser()
    except RuntimeError as error:
        raise ValueError(f'no such user; received "{value}"') from error
    if (longest := max((len(os.fsencode(part)) for part in path.parts), default=0)) > NAME_LIMIT:
        raise ValueError(f"a file name in the path has {longest} bytes; file systems allow {NAME_LIMIT}")
    folder = getattr(value, "folder", None)
    if folder is None or path.is_absolute():
        return path
    while path.parts[:1] == ("..",):  # exact, because `read` has resolved the symbolic links in `folder`
        folder, path = folder.parent, Path(*path.parts[1:])
    return folder / path


Location = Annotated[Path, BeforeValidator(_located), PlainSerializer(str)]
"""A path field. Relative paths are relative to the folder of the file that has them (`Text.folder`, set by `read`)."""
