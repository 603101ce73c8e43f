"""The parameters as a form or a client needs them, read off the one model that judges them."""

from __future__ import annotations

from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from cluster.jobs.places import ALIGN_REFUSED
from mosaic.alignment.settings import AlignSettings
from mosaic.provenance import sections
from mosaic.settings import Settings

_KINDS = {bool: "boolean", int: "integer", float: "number", str: "text"}


@cache
def parameter_document() -> dict[str, Any]:
    """Parameters in sections, and those of the alignment: name, meaning, kind, choices, limits, default."""
    refused = {*ALIGN_REFUSED, "updatehdr"}
    return {
        "alignment": [
            _describe(name, field)
            for name, field in AlignSettings.model_fields.items()
            if name not in refused
        ],
        "sections": [
            {"title": title, "parameters": [_describe(name, Settings.model_fields[name]) for name in names]}
            for title, names in sections()
        ],
    }


def _describe(name: str, field: FieldInfo) -> dict[str, Any]:
    kind, choices, is_optional = _kind(field.annotation)
    limits: dict[str, float] = {}
    for part in field.metadata:
        for limit in ("gt", "ge", "lt", "le"):
            value = getattr(part, limit, None)
            if value is not None:
                limits[limit] = float(value)
    default = list(field.default) if isinstance(field.default, tuple) else field.default
    return {
        "name": name,
        "description": field.description or "",
        "kind": kind,
        "choices": choices,
        "limits": limits,
        "default": default,
        "may_be_blank": is_optional or kind == "text",
    }


def _kind(annotation: Any) -> tuple[str, list[str], bool]:  # noqa: ANN401  (types of any form)
    """Kind, choices, and whether it may be blank, of the type of a parameter."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _kind(get_args(annotation)[0])
    if origin is Literal:
        return "choice", [str(value) for value in get_args(annotation)], False
    if origin is tuple:
        return "numbers", [], False
    if origin in {Union, UnionType}:
        parts = [part for part in get_args(annotation) if part is not NoneType]
        is_optional = len(parts) < len(get_args(annotation))
        kinds = [_kind(part) for part in parts]
        # A choice or a number, such as a weight scale, is written as text.
        choices = [choice for kind in kinds for choice in kind[1]]
        return ("text" if len(kinds) > 1 else kinds[0][0]), choices, is_optional
    return _KINDS.get(annotation, "text"), [], False
