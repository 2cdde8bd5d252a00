"""JSON Schema (draft 2020-12) of the files of a spec type, for editors."""

from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from tfseg.spec.nesting import JSON_SLOT, OUTER
from tfseg.spec.source import INCLUDE
from tfseg.spec.validate import adapter

_PART = ".part"
_INCLUDE = {
    "description": "Base files, relative to this file, which overrides them. Mappings are merged, lists replaced.",
    "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}],
}


def json_schema(type_: Any) -> dict[str, Any]:
    """Returns the JSON Schema of a spec type. In a file with an `include`, no key is required."""
    schema = adapter(type_).json_schema(schema_generator=_Generator)
    named: dict[str, Any] = {}
    schema = _referring(schema, named)
    found = {name: _described(definition) for name, definition in schema.pop("$defs", {}).items()} | named
    root = schema.pop("title", "file")
    if "$ref" in schema:
        root = schema["$ref"].rpartition("/")[2]
    else:
        found[root] = _described(schema)
    parts = {f"{name}{_PART}": _partial(definition) for name, definition in found.items()}
    whole = parts[f"{root}{_PART}"]
    whole["properties"] = {INCLUDE: _INCLUDE, **whole["properties"]}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": root,
        "if": {"required": [INCLUDE]},
        "then": {"$ref": f"#/$defs/{root}{_PART}"},
        "else": {"$ref": f"#/$defs/{root}"},
        "$defs": found | parts,
    }


class _Generator(GenerateJsonSchema):
    """Pydantic's generator, with both forms of slots: `decoder: fcn`, or a mapping whose `type` selects the spec."""

    def tagged_union_schema(self, schema: core_schema.TaggedUnionSchema) -> JsonSchemaValue:
        names, maps = [], []
        default = schema.get("metadata", {}).get("default_type")
        for name, choice in schema["choices"].items():
            json = self.generate_inner(choice)
            if not self.resolve_ref_schema(json).get("required"):
                names.append(name)
            maps.append(json if name == default else {"allOf": [json, {"required": ["type"]}]})
        return {"anyOf": [*([{"type": "string", "enum": names}] if names else []), *maps]}

    def function_wrap_schema(self, schema: core_schema.WrapValidatorFunctionSchema) -> JsonSchemaValue:
        json = super().function_wrap_schema(schema)
        inner = (schema.get("metadata") or {}).get(OUTER)
        return json if inner is None else {JSON_SLOT: inner.name, **json}


def _referring(schema: Any, named: dict[str, Any]) -> Any:
    """Moves the schemas of slots that contain themselves to `named`, and returns the schema with references to them."""
    if isinstance(schema, list):
        return [_referring(item, named) for item in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: _referring(value, named) for key, value in schema.items()}
    if not isinstance(name := found.pop(JSON_SLOT, None), str):
        return found
    if found:
        named[f"{name}.item"] = found
    return {"$ref": f"#/$defs/{name}.item"}


def _described(definition: dict[str, Any]) -> dict[str, Any]:
    """Reduces the description of a definition to the first paragraph of the docstring."""
    if "description" in definition:
        definition["description"] = " ".join(definition["description"].partition("\n\n")[0].split())
    return definition


def _partial(schema: Any) -> Any:
    """Returns a schema without required keys, except in lists: lists are not merged, so their items are complete."""
    if isinstance(schema, list):
        return [_partial(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    found: dict[str, Any] = {}
    for key, value in schema.items():
        if key == "properties":
            found[key] = {name: _partial(item) for name, item in value.items()}
        elif key in ("items", "prefixItems", "default", "enum", "const"):
            found[key] = value
        elif key != "required":
            found[key] = f"{value}{_PART}" if key == "$ref" else _partial(value)
    return found
