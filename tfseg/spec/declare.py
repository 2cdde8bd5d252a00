"""How a spec is declared: a frozen, strict dataclass, and a slot that picks one of several by its `type:`."""

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
from tfseg.spec.validate import refusal

T = TypeVar("T")

STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, populate_by_name=True)


@dataclass_transform(frozen_default=True, kw_only_default=True)
def spec(cls: type[T], docstrings: bool = True) -> type[T]:
    """Makes `cls` a spec: keyword-only, frozen, unknown keys refused, scalars never coerced.

    Strictness holds for the fields. The spec itself still accepts a mapping, which strict pydantic would refuse
    outside JSON mode.

    Args:
        docstrings: whether the fields are described by the strings under them, which takes the class's source file.
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
    return _worded(dataclass(frozen=True, kw_only=True, config=STRICT)(cls))  # type: ignore[arg-type]


def _worded(cls: type[T]) -> type[T]:
    """`cls`, whose constructor raises a `SpecError` where pydantic would raise an error of its own."""
    construct: Any = cls.__init__

    @functools.wraps(construct)
    def __init__(self: Any, *args: Any, **fields: Any) -> None:
        if args:
            raise TypeError(f"{cls.__name__}() takes keyword arguments only. Received: {len(args)} without a keyword")
        try:
            construct(self, **fields)
        except ValidationError as error:
            raise refusal(type(self), fields, error) from None

    cls.__init__ = __init__  # type: ignore[assignment,method-assign]
    return cls


def type_name(member: type) -> str:
    """The word that picks the spec `member` in a file: the default of its `type` field."""
    return str(member.__dataclass_fields__["type"].default)  # type: ignore[attr-defined]


def members(annotation: Any) -> tuple[type, ...]:
    """The specs of a slot's annotation: `A | B | None` gives `(A, B)`."""
    if get_origin(annotation) is Annotated:
        return members(get_args(annotation)[0])
    if get_origin(annotation) in (types.UnionType, Union):
        return tuple(member for part in get_args(annotation) for member in members(part))
    return () if annotation is type(None) else (annotation,)


@functools.cache  # equal values need one and the same class
def completed(member: type, contract: type | None) -> type:
    """The spec `member` with what `contract` has and it has not; itself where nothing is missing.

    Raises:
        TypeError: it lacks what every spec of the slot must have.
    """
    if contract is None or issubclass(member, contract):
        return member
    own = {name for each in member.__mro__ if each is not object for name in vars(each)}
    own |= set(member.__dataclass_fields__)  # type: ignore[attr-defined]
    if missing := [name for name in contract.ASKED if name not in own]:  # type: ignore[attr-defined]
        raise TypeError(f"{member.__qualname__} has no {' and no '.join(missing)}; {contract.__qualname__} asks for it")
    body: dict[str, Any] = {"__annotations__": {}, "__doc__": member.__doc__, "__module__": member.__module__}
    return spec(type(member.__name__, (member, contract), body), docstrings=False)


class Slot:
    """Marks what takes one of several things in a file, and which a user's own may join."""

    WANTED: ClassVar[str] = "components"
    """What its components are, in the plural."""

    def members(self, annotation: Any) -> tuple[type, ...]:
        """What it takes, of the annotation that it marks."""
        raise NotImplementedError

    def word(self, member: type) -> str:
        """What picks `member` in a file."""
        raise NotImplementedError

    def takes(self, member: Any) -> bool:
        """Whether it is a thing of this kind at all."""
        return True

    def refusal(self, member: type) -> str | None:
        """Why a component that is of this kind cannot be used all the same, or None."""
        return None

    def opened(self, annotation: Any, added: tuple[type, ...]) -> tuple[Any, "Slot"]:
        """The annotation without this mark, and the mark, where `added` may stand too.

        Raises:
            TypeError: the word of one is taken, or it lacks what the slot asks for.
        """
        raise NotImplementedError

    def check_words(self, there: Iterable[type], added: Iterable[type]) -> None:
        """Raises TypeError where two components would be picked by one word."""
        taken = {self.word(member): member for member in there}
        for member in added:
            if (other := taken.get(self.word(member), member)) is not member:
                names = [f"{found.__module__}.{found.__qualname__}" for found in (other, member)]
                raise TypeError(f'two components have the type "{self.word(member)}": {" and ".join(names)}')
            taken[self.word(member)] = member


class ByType(Slot):
    """Marks a slot whose `type:` picks the spec; `decoder: fcn` is short for `decoder: {type: fcn}`.

    Args:
        default: the type of a mapping that names none, or None where the type must be named.
        contract: what is asked of every spec of the slot: a class whose members `ASKED` a spec must have, and whose
            others stand in for what it has not.
    """

    def __init__(self, default: str | None = None, contract: type | None = None) -> None:
        self.default = default
        self.contract = contract

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
        return "is no spec: put @spec, of tfseg.spec, above it rather than @dataclass"

    def opened(self, annotation: Any, added: tuple[type, ...]) -> tuple[Any, "Slot"]:
        wide = tuple(completed(member, self.contract) for member in added)
        self.check_words(members(annotation), wide)
        return functools.reduce(operator.or_, wide, annotation), self

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        choices = {type_name(member): handler.generate_schema(member) for member in members(source)}
        tagged = core_schema.tagged_union_schema(choices, self._tag, metadata={"default_type": self.default})
        schema = core_schema.no_info_before_validator_function(self.expand, tagged)
        return core_schema.nullable_schema(schema) if type(None) in get_args(source) else schema

    def _tag(self, value: Any) -> Any:
        return value.get("type", self.default) if isinstance(value, dict) else getattr(value, "type", None)

    @staticmethod
    def expand(value: Any) -> Any:
        """`fcn` as `{type: fcn}`; anything else as it is."""
        return {"type": value} if isinstance(value, str) else value


BY_TYPE = ByType()


NAME_LIMIT = 255
"""The most bytes of a file's name. Every later question about a longer one would raise an OSError."""


def _located(value: Any) -> Any:
    """A path as the file that wrote it means it: text from a file knows that file's folder."""
    if not isinstance(value, str):
        return value
    try:
        path = Path(value).expanduser()
    except RuntimeError as error:
        raise ValueError(f'no such user; received "{value}"') from error
    if (longest := max((len(os.fsencode(part)) for part in path.parts), default=0)) > NAME_LIMIT:
        raise ValueError(f"a name in the path has {longest} bytes; file systems take {NAME_LIMIT}")
    folder = getattr(value, "folder", None)
    if folder is None or path.is_absolute():
        return path
    while path.parts[:1] == ("..",):  # exact, because the reader's folders hold no symbolic links
        folder, path = folder.parent, Path(*path.parts[1:])
    return folder / path


Location = Annotated[Path, BeforeValidator(_located), PlainSerializer(str)]
"""A path field. Relative text is taken from the folder of the file that wrote it (`Text.folder`, set by the reader)."""
