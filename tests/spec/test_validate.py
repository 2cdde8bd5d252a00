"""Tests of the messages about custom validators and types of specs."""

from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator, TypeAdapter, model_validator

from tests.spec.recipe import Recipe, Small
from tfseg.spec import Document, InvalidFields, SpecError, spec, validate


def _small(value: Any) -> Small:
    return TypeAdapter(Small).validate_python(value)


class Model(BaseModel):
    """A pydantic model."""

    model_config = ConfigDict(extra="forbid", strict=True)
    size: int


def _even(value: Any) -> Any:
    if value % 2:
        raise ValueError(f"{value} is odd")
    return value


@spec
class Odd:
    """Spec with the types that the other tests do not use."""

    own: tuple[Annotated[Any, PlainValidator(_small)], ...] = ()
    even: Annotated[int, BeforeValidator(_even)] = 0
    model: Model | None = None
    several: Annotated[list[int], Field(max_length=2)] | Literal["all", 3] | None = None
    pair: tuple[int, str] = (0, "")
    step: Annotated[int, Field(multiple_of=8, lt=100)] = 8
    ratio: Annotated[float, Field(gt=0, lt=1)] = 0.5
    numbers: set[int] = Field(default_factory=set)
    words: dict[Literal["a", "b"], Annotated[tuple[int, ...], Field(min_length=1)]] | None = None
    few: Annotated[tuple[float, ...], Field(min_length=1, max_length=2)] = (1.0,)


@spec
class Outer:
    """Spec with a validator over two levels."""

    a: Odd = Odd()
    b: Odd = Odd()

    @model_validator(mode="after")
    def _check_steps(self) -> "Outer":
        if self.a.step != self.b.step:
            raise InvalidFields(
                (
                    (
                        "a",
                        "step",
                    ),
                    f"is {self.a.step}",
                ),
                (("b", "step"), f"is {self.b.step}; make them equal"),
            )
        return self


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        ({"own": ({}, {"width": "x"})}, ['own.1.width: input should be a valid number; received "x"']),
        ({"even": 3}, ["even: 3 is odd"]),
        ({"model": {"size": "x", "sise": 3}}, [
            'model.size: expected an integer; received "x"',
            'model.sise: unknown key; did you mean "size"? Known keys: size',
        ]),
        ({"model": {}}, ["model.size: missing; expected an integer"]),
        ({"model": 3}, ["model: expected a mapping with keys among size or null; received 3"]),
        ({"several": 3.5}, [
            'several: expected a list of at most 2 integers or one of "all", 3 or null; received 3.5',
        ]),
        ({"several": "al"}, ['several: expected a list of at most 2 integers or one of "all", 3 or null; '
      'received "al"; did you mean "all"?']),
        ({"several": [1, "x"]}, ['several.1: expected an integer; received "x"']),
        ({"several": [1, 2, 3]}, ["several: expected a list of at most 2 integers; received a list of 3 items"]),
        ({"pair": (1,)}, ["pair: expected a list of 2 items; received a list of 1 item"]),
        ({"pair": (1, "x", 2)}, ["pair: expected a list of 2 items; received a list of 3 items"]),
        ({"step": 9}, ["step: expected an integer less than 100 and a multiple of 8; received 9"]),
        ({"ratio": 1}, ["ratio: expected a number greater than 0 and less than 1; received 1"]),
        ({"numbers": 3}, ["numbers: input should be a valid set; received 3"]),
        ({"words": {"c": (1,), "a": ()}}, [
            'words.c: expected one of "a", "b" as the key; received "c"',
            "words.a: expected a list of at least 1 integer; received an empty list",
        ]),
        ({"words": {"a": ("x",)}}, ['words.a.0: expected an integer; received "x"']),
        ({"few": ()}, ["few: expected a list of 1 to 2 numbers; received an empty list"]),
    ],
)  # fmt: skip
def test_messages(data: dict[str, Any], lines: list[str]) -> None:
    with pytest.raises(SpecError) as caught:
        validate(Odd, Document(data))
    assert str(caught.value).split("\n") == lines


def test_invalid_fields_of_several_sections() -> None:
    with pytest.raises(SpecError) as caught:
        validate(Outer, Document({"a": {"step": 16}}))
    assert str(caught.value) == "a.step: is 16\nb.step: is 8; make them equal"


def test_valid_value() -> None:
    value = validate(Recipe, Document({"name": "a", "labels": "voc", "model": {"backbone": "small"}}))
    assert (value.name, value.labels.count, value.model.backbone) == ("a", 21, Small())
