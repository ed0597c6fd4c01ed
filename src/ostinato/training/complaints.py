"""Pydantic's validation errors, said so that the author of a recipe can mend it."""

from collections.abc import Iterator, Mapping
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from ostinato.errors import nearest

Model = type[BaseModel]


def explain(error: ValidationError, model: Model, document: Mapping[str, Any], origin: str) -> str:
    """One line a mistake: the file, the key, what was expected, what came, the nearest right name."""
    lines = [_line(detail, model, document) for detail in error.errors()]
    many = f"{len(lines)} mistakes" if len(lines) > 1 else "a mistake"
    return "\n".join([f"{origin}: {many} in this recipe.", *(f"  {line}" for line in lines)])


def _line(detail: ErrorDetails, model: Model, document: Mapping[str, Any]) -> str:
    path, tables = _walk(detail["loc"], model, document)
    key = ".".join(path) or "the recipe"
    match detail["type"]:
        case "missing":
            return f"{key}: missing."
        case "extra_forbidden":
            known = {
                _alias(name, field) for table in tables for name, field in table.model_fields.items()
            }
            return f"{key}: there is no such key; {nearest(path[-1], known)}"
        case "union_tag_invalid":
            context = detail["ctx"]
            key = f"{key}.{str(context['discriminator']).strip(chr(39))}"
            known = {tag.strip(" '") for tag in context["expected_tags"].split(",")}
            return f'{key} = "{context["tag"]}": {nearest(context["tag"], known)}'
        case "union_tag_not_found":
            name = str(detail["ctx"]["discriminator"]).strip("'")
            return f"{key}.{name}: missing."
        case "literal_error":
            options = detail["ctx"]["expected"].replace(" or ", ",").split(",")
            known = {option.strip("' ") for option in options}
            return f"{key} = {detail['input']!r}: {nearest(str(detail['input']), known)}"
        case "value_error":
            return f"{key}: {detail['ctx']['error']}."
        case _:
            expected = detail["msg"].replace("Input should", "should").replace("String", "")
            return f"{key} = {detail['input']!r}: {expected.strip()}."


def _walk(
    loc: tuple[int | str, ...], model: Model, document: Mapping[str, Any]
) -> tuple[list[str], list[Model]]:
    """The dotted path of a location, without the tags of unions, and the models of its table."""
    path: list[str] = []
    models = [model]
    table: Any = document
    for index, part in enumerate(loc):
        if index and _is_tag(part, models, table):
            models = [m for m in models if part in _tags(m)]
            continue
        path.append(str(part))
        if index < len(loc) - 1:
            models = [inner for m in models for inner in _models_of(m, str(part))]
            table = table.get(part) if isinstance(table, Mapping) else None
    return path, models


def _is_tag(part: int | str, models: list[Model], table: Any) -> bool:
    return any(part in _tags(m) for m in models) and not (isinstance(table, Mapping) and part in table)


def _tags(model: Model) -> set[str]:
    """What a union may call this model by: the values of its literal fields."""
    return {
        value
        for field in model.model_fields.values()
        if get_origin(field.annotation) is Literal
        for value in get_args(field.annotation)
    }


def _models_of(model: Model, key: str) -> Iterator[Model]:
    for name, field in model.model_fields.items():
        if _alias(name, field) == key:
            for candidate in (field.annotation, *get_args(field.annotation)):
                if isinstance(candidate, type) and issubclass(candidate, BaseModel):
                    yield candidate


def _alias(name: str, field: Any) -> str:
    return field.alias or name
