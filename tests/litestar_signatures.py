"""Litestar reads a handler's signature once, however many servers the tests start.

It takes five hundred signatures apart for each application, most of what starting a server costs. A product process has
one application; a test process has hundreds, over the same functions. What is read is the same: only kept.
"""

from __future__ import annotations

from functools import partial
from types import CodeType
from typing import Any

from litestar._signature.model import SignatureModel
from litestar.utils.signature import ParsedSignature

_Parsed = tuple[Any, Any, ParsedSignature]


def keep_signatures() -> None:
    """From now on, in this process."""
    _keep_parsed()
    _keep_models()


def _keep_parsed() -> None:
    read = ParsedSignature.from_fn
    kept: dict[CodeType, _Parsed] = {}

    def from_fn(cls: type[ParsedSignature], fn: Any, signature_namespace: dict[str, Any]) -> ParsedSignature:
        code = getattr(fn, "__code__", None)
        if code is None or signature_namespace:
            return read(fn, signature_namespace)
        defaults = (fn.__defaults__, fn.__kwdefaults__)  # a function made in a function may have others each time
        found = kept.get(code)
        if found is None or found[:2] != defaults:
            found = kept[code] = (*defaults, read(fn, signature_namespace))
        return found[2]

    ParsedSignature.from_fn = classmethod(from_fn)  # type: ignore[method-assign, assignment]


def _keep_models() -> None:
    make = SignatureModel.create
    kept: dict[Any, tuple[ParsedSignature, type[SignatureModel]]] = {}

    def create(
        cls: type[SignatureModel],
        dependency_name_set: set[str],
        fn: Any,
        parsed_signature: ParsedSignature,
        type_decoders: Any,
        data_dto: Any = None,
    ) -> type[SignatureModel]:
        decoders = tuple(_known(each) for pair in type_decoders or () for each in pair)
        key = (id(parsed_signature), frozenset(dependency_name_set), decoders, data_dto)
        found = kept.get(key)
        if found is None:
            model = make(dependency_name_set, fn, parsed_signature, type_decoders, data_dto)
            found = kept[key] = (parsed_signature, model)  # the signature is held, so its id stays its own
        return found[1]

    SignatureModel.create = classmethod(create)  # type: ignore[method-assign, assignment]


def _known(decoder: Any) -> Any:
    """What stays the same of a decoder that is put together anew for each application."""
    if isinstance(decoder, partial):
        return decoder.func, decoder.args, tuple(sorted(decoder.keywords.items()))
    return decoder
