"""Requests of any kind and shape that can be decoded, made from the message types themselves."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from msgspec import inspect

from chat_protocol.codec import decode_request, encode
from chat_protocol.messages import AnyRequest

KINDS: tuple[type[AnyRequest], ...] = AnyRequest.__args__
TEXTS = (
    "", " ", "hi", "users", "x" * 16_385, "x\n" * 201, "\x1b[2J", "\u202e", "\x00", "@", "#", "$server",
    "@1:1", "@1:2", "@2:1", "@0:1", "@3:9007199254740993", "#lobby", "#LOBBY", "#ﬀ", "İ", "日本語", "🎉",
    "a" * 32, "a" * 64,
)  # fmt: skip


class Anything:
    """Makes requests. `texts` and `blobs` are values that mean something to the broker that is asked."""

    def __init__(self, rng: random.Random, texts: Sequence[str], blobs: Sequence[bytes]) -> None:
        self.rng = rng
        self.texts = [*TEXTS, *texts]
        self.blobs = blobs

    def request(self, token: bytes) -> AnyRequest:
        """A request that survives the codec, most often with this token."""
        while True:
            kind = self.rng.choice(KINDS)
            fields = {
                field.name: self.value(field.type)
                for field in inspect.type_info(kind).fields  # type: ignore[attr-defined]
            }
            if "token" in fields and self.rng.random() < 0.9:
                fields["token"] = token
            message: AnyRequest = kind(**fields)
            try:
                return decode_request(encode(message))
            except Exception:
                continue  # outside the limits of the format: the next one

    def value(self, kind: inspect.Type) -> Any:
        rng = self.rng
        match kind:
            case inspect.IntType():
                low, high = kind.ge or 0, kind.le or 2**53 - 1
                return min(high, max(low, rng.choice([low, low + 1, 2, 3, 10, rng.randint(low, high), high])))
            case inspect.StrType():
                return rng.choice(self.texts)[: kind.max_length]
            case inspect.BytesType():
                size = kind.max_length or 16
                fitting = [blob for blob in self.blobs if len(blob) == size]
                return rng.choice([*fitting, bytes(size), rng.randbytes(size)])
            case inspect.BoolType():
                return rng.random() < 0.5
            case inspect.EnumType():
                return rng.choice(list(kind.cls))
            case inspect.ListType():
                return [self.value(kind.item_type) for _ in range(rng.choice([1, 1, 2, 5, 500]))]
            case inspect.UnionType():
                return self.value(rng.choice(kind.types))
            case inspect.NoneType():
                return None
            case inspect.StructType():
                return kind.cls(**{field.name: self.value(field.type) for field in kind.fields})
        raise AssertionError(f"no value for {kind}")
