"""The request shapes of the Lambda API, taken from botocore's own service model.

The model is read once, reduced to what the checks need, and dropped: its documentation alone is megabytes.
"""

import functools
from collections.abc import Mapping
from typing import Any

import botocore.loaders

from hearth_gateway.core.validation import Blob, Flag, ListOf, MapOf, Member, Moment, Number, Shape, Structure, Text

API_VERSION = "2015-03-31"

# Narrower than the model, whose wider ranges belong to Managed Instances and accelerators.
# AWS Lambda quotas; the service answers with these numbers.
CLASSIC_MAXIMA = {"Timeout": 900, "MemorySize": 10_240, "EphemeralStorageSize": 10_240}

# The service refuses an unknown runtime with an InvalidParameterValueException of its own, not by this check.
OPEN_ENUMS = frozenset({"Runtime"})

# Event sources and destinations may also be of this platform's own ARN forms: see `core/addresses`.
OWN_ARN = r"arn:hearth:(?:redis|sqs|webhook):[a-z0-9-]*:(\d{12})?:.+"
OWN_ARN_SHAPES = frozenset({"Arn", "DestinationArn"})


@functools.cache
def load_inputs(
    operations: tuple[str, ...], service: str = "lambda", version: str = API_VERSION
) -> Mapping[str, Structure]:
    """The input shape of each of these operations. Shapes never change, so they are read once per process."""
    model: Mapping[str, Any] = botocore.loaders.Loader().load_service_model(service, "service-2", version)
    reader = _Reader(model["shapes"])
    return {name: reader.structure(model["operations"][name].get("input", {}).get("shape")) for name in operations}


class _Reader:
    """Turns the model's shapes into ours; each named shape once, however often it is used."""

    def __init__(self, shapes: Mapping[str, Any]) -> None:
        self._shapes = shapes
        self._known: dict[str, Shape] = {}

    def structure(self, name: str | None) -> Structure:
        """A named structure; no name is a request without members."""
        if name is None:
            return Structure({})
        model = self._shapes[name]
        return Structure(
            {key: self._member(key, member) for key, member in model.get("members", {}).items()},
            tuple(model.get("required", ())),
            model.get("payload", ""),
        )

    def _member(self, name: str, model: Mapping[str, Any]) -> Member:
        return Member(self._shape(model["shape"]), model.get("location", ""), model.get("locationName", name))

    def _shape(self, name: str) -> Shape:
        if name not in self._known:
            self._known[name] = self._read(name, self._shapes[name])
        return self._known[name]

    def _read(self, name: str, model: Mapping[str, Any]) -> Shape:
        match model["type"]:
            case "structure":
                return self.structure(name)
            case "list":
                return ListOf(self._shape(model["member"]["shape"]), model.get("min"), model.get("max"))
            case "map":
                key = _text(model["key"]["shape"], self._shapes[model["key"]["shape"]])
                return MapOf(
                    key,
                    self._shape(model["value"]["shape"]),
                    is_sensitive=model.get("sensitive", False),
                    key_name=model["key"].get("locationName", "key"),
                    value_name=model["value"].get("locationName", "value"),
                )
            case _:
                return _scalar(name, model)


def _scalar(name: str, model: Mapping[str, Any]) -> Shape:
    match model["type"]:
        case "string":
            return _text(name, model)
        case "integer" | "long":
            return Number(model.get("min"), CLASSIC_MAXIMA.get(name, model.get("max")))
        case "float" | "double":
            return Number(model.get("min"), model.get("max"), is_whole=False)
        case "boolean":
            return Flag()
        case "timestamp":
            return Moment()
        case "blob":
            return Blob()
        case other:
            raise TypeError(f"the service model has a type we do not know: {other} of {name}")


def _text(name: str, model: Mapping[str, Any]) -> Text:
    pattern = model.get("pattern")
    return Text(
        pattern=f"{pattern}|{OWN_ARN}" if pattern and name in OWN_ARN_SHAPES else pattern,
        values=() if name in OPEN_ENUMS else tuple(model.get("enum", ())),
        least=model.get("min"),
        most=model.get("max"),
        is_sensitive=model.get("sensitive", False),
    )
