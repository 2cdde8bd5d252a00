"""Slots whose components contain further components of the same slot, such as policies of augmentation ops.

The annotation of such a slot would be recursive. Instead, an inner value is validated by the slot around it, which also
has the components that plugins add, or, if there is none, by the slot without plugins.
"""

from contextvars import ContextVar
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, TypeAdapter
from pydantic_core import CoreSchema, core_schema

INNER, OUTER = "inner_slot", "outer_slot"
"""Keys of the metadata of a core schema, with the slot's mark: of an inner value, and of the slot around it."""
JSON_SLOT = "x-slot"
"""Key of a JSON schema with the name of the slot, which `tfseg.spec.schema` replaces by a reference."""


@dataclass(frozen=True)
class Slot:
    """Slot around inner values, by its annotation."""

    annotation: Any

    @cached_property
    def adapter(self) -> TypeAdapter[Any]:
        """Validator of the slot, made on first use. That of a running validation cannot be called again inside it."""
        return TypeAdapter(self.annotation)


class Inner:
    """Mark, in `Annotated`, of a value inside a component, with the same choices as the slot of the component.

    Args:
        name: Name of the slot.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.alone: Slot | None = None
        self._around: ContextVar[Slot] = ContextVar(name)

    def around(self, slot: CoreSchema, annotation: Any) -> CoreSchema:
        """Returns the schema of the slot with the given annotation. The first one is that without plugins."""
        own = Slot(annotation)
        self.alone = self.alone or own

        def validated(value: Any, validate: core_schema.ValidatorFunctionWrapHandler) -> Any:
            token = self._around.set(own)
            try:
                return validate(value)
            finally:
                self._around.reset(token)

        return core_schema.no_info_wrap_validator_function(validated, slot, metadata={OUTER: self})

    def validate(self, value: Any) -> Any:
        """Returns the validated inner value."""
        slot = self._around.get(self.alone)
        if slot is None:
            raise TypeError(f"no slot has ByType(inner=Inner({self.name!r}))")
        return slot.adapter.validate_python(value)

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self.validate, metadata={INNER: self})

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {JSON_SLOT: self.name}
