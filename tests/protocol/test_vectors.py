"""vectors.json: the code agrees with it, and it agrees with what SPEC.md says byte by byte.

Frames, digests and envelopes are made a second time here, by nothing but the words of SPEC.md: so that
a mistake in the code does not become a mistake in the vectors.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import struct
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from msgspec import Raw

from chat_protocol import codec
from chat_protocol import messages as m
from chat_protocol.address import Address, fingerprint, parse_address
from chat_protocol.envelope import Header, read_header
from chat_protocol.errors import BadAddress, BadFrame, BadName, BadSeal, BadText
from chat_protocol.names import check_name, check_room, check_text, clean_text, direct_accounts, skeleton
from chat_protocol.sealing import SigningSealer, VerifyingOpener

FOLDER = Path(__file__).parents[2] / "protocol"
VECTORS: dict[str, Any] = json.loads((FOLDER / "vectors.json").read_text(encoding="ascii"))
READ = {"request": codec.decode_request, "reply": codec.decode_reply, "feed": codec.decode_feed}


def _cases(*names: str) -> pytest.MarkDecorator:
    """One test for each item of these parts of the vectors."""
    items = [item for name in names for item in VECTORS[name]]
    ids = [str(item.get("why") or item.get("name") or index) for index, item in enumerate(items)]
    return pytest.mark.parametrize("case", items, ids=ids)


def _joined(parts: str | list[Any]) -> str:
    if isinstance(parts, str):
        return parts
    return "".join(part if isinstance(part, str) else part[0] * part[1] for part in parts)


def _bytes(parts: str | list[Any]) -> bytes:
    return bytes.fromhex(_joined(parts))


def _packed(value: Any) -> bytes:
    """MessagePack in its shortest form, of what vectors.json holds as fields."""
    match value:
        case None:
            return b"\xc0"
        case bool():
            return b"\xc3" if value else b"\xc2"
        case float():
            return b"\xcb" + struct.pack(">d", value)
        case int():
            return _packed_int(value)
        case str():
            return _headed(value.encode(), (0xA0, 31), (0xD9, 0xDA, 0xDB))
        case list():
            return _packed_array([_packed(item) for item in value])
        case {"hex": data}:
            return _headed(bytes.fromhex(data), None, (0xC4, 0xC5, 0xC6))
        case dict():  # an entry's body stands as it is
            return _packed_array(
                [bytes.fromhex(one["hex"]) if name == "body" else _packed(one) for name, one in value.items()]
            )
    raise AssertionError(value)


def _packed_int(value: int) -> bytes:
    assert value >= 0
    if value < 128:
        return bytes([value])
    for code, size in ((0xCC, 1), (0xCD, 2), (0xCE, 4), (0xCF, 8)):
        if value < 256**size:
            return bytes([code]) + value.to_bytes(size, "big")
    raise AssertionError(value)


def _packed_array(items: list[bytes]) -> bytes:
    assert len(items) < 65_536
    head = bytes([0x90 | len(items)]) if len(items) < 16 else b"\xdc" + len(items).to_bytes(2, "big")
    return head + b"".join(items)


def _headed(data: bytes, short: tuple[int, int] | None, codes: tuple[int, int, int]) -> bytes:
    if short and len(data) <= short[1]:
        return bytes([short[0] | len(data)]) + data
    for code, size in zip(codes, (1, 2, 4), strict=True):
        if len(data) < 256**size:
            return bytes([code]) + len(data).to_bytes(size, "big") + data
    raise AssertionError(len(data))


def _plain(value: Any) -> Any:
    """A message in the form that vectors.json has."""
    if isinstance(value, m.Message):
        return {name: _plain(getattr(value, name)) for name in value.__struct_fields__}
    if isinstance(value, bytes | Raw):
        return {"hex": bytes(value).hex()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def _made(case: Any) -> m.Message:
    kind = getattr(m, case["name"])
    body = _packed_array([_packed(case["kind"]), *map(_packed, case["fields"].values())])
    message = msgspec.msgpack.decode(body, type=kind)
    assert isinstance(message, m.Message)
    return message


def test_the_file_is_what_its_maker_makes() -> None:
    spec = importlib.util.spec_from_file_location("make_vectors", FOLDER / "make_vectors.py")
    assert spec is not None
    assert spec.loader is not None
    maker = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(maker)
    assert json.loads(json.dumps(maker.build())) == VECTORS


def test_every_kind_of_message_is_there() -> None:
    kinds = {kind.__name__ for kind in (*m.AnyRequest.__args__, *m.AnyReply.__args__, *m.AnyFeed.__args__)}
    assert {case["name"] for case in VECTORS["messages"]} == kinds
    assert VECTORS["protocol_version"] == codec.VERSION == 1


# --------------------------------------------------------------------------- frames


@_cases("messages")
def test_a_frame_is_its_fields_packed(case: Any) -> None:
    version = b"" if case["direction"] == "feed" else b"\x01"
    fields = [_packed(case["kind"]), *map(_packed, case["fields"].values())]
    assert version + _packed_array(fields) == _bytes(case["frame"])


@_cases("messages")
def test_messages_are_written_so(case: Any) -> None:
    write = codec.encode_plain if case["direction"] == "feed" else codec.encode
    assert write(_made(case)).hex() == case["frame"]


@_cases("messages", "accepted")
def test_messages_are_read_so(case: Any) -> None:
    message = READ[case["direction"]](_bytes(case["frame"]))
    assert type(message).__name__ == case["name"]
    assert message.__struct_config__.tag == case["kind"]
    assert _plain(message) == case["fields"]


@_cases("several")
def test_several_requests_share_a_frame_so(case: Any) -> None:
    found = codec.decode_requests(_bytes(case["frame"]))
    alone = [None if isinstance(one, BadFrame) else codec.encode(one).hex() for one in found]
    assert alone == case["alone"]
    parts = [bytes.fromhex(frame)[1:] for frame in alone if frame]
    if None not in alone:
        assert b"\x01" + _packed_array(parts) == _bytes(case["frame"])
        requests = [one for one in found if not isinstance(one, BadFrame)]
        assert list(codec.encode_requests(requests)) == [_bytes(case["frame"])]


@_cases("refused")
def test_frames_are_refused_so(case: Any) -> None:
    with pytest.raises(BadFrame) as caught:
        READ[case["direction"]](_bytes(case["frame"]))
    if case["direction"] != "feed":  # a client drops any feed message that it cannot read
        assert (caught.value.code, caught.value.request) == (case["code"], case["request"])


@_cases("entries")
def test_entries_and_their_digests(case: Any) -> None:
    fields = case["fields"]
    body = bytes.fromhex(fields["body"]["hex"])
    head = struct.pack(">QQQH", fields["seq"], fields["at"], fields["account"], fields["kind"])
    assert hashlib.sha256(head + body).digest()[:8].hex() == case["digest"]
    assert _packed(fields) == _bytes(case["entry"])
    [entry] = codec.decode_entries(b"\x91" + _bytes(case["entry"]))
    assert _plain(entry) == fields
    assert m.entry_digest(entry).hex() == case["digest"]
    assert codec.encode_entries([entry]) == b"\x91" + _bytes(case["entry"])


# --------------------------------------------------------------------------- envelopes


@_cases("envelopes")
def test_envelopes_are_what_the_specification_says(case: Any) -> None:
    topic, key = bytes.fromhex(case["topic_hex"]), bytes.fromhex(case["room_key_hex"])
    counter = case["counter"].to_bytes(8, "big")
    header = b"\x01" + bytes.fromhex(case["run_hex"]) + case["generation"].to_bytes(4, "big") + counter
    ciphertext = AESGCM(key).encrypt(bytes(4) + counter, bytes.fromhex(case["plaintext"]), topic + header)
    signer = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(case["signing_seed_hex"]))
    signature = signer.sign(topic + header + ciphertext)
    assert (header + ciphertext + signature).hex() == case["envelope"]
    assert signer.public_key().public_bytes_raw().hex() == case["verify_key_hex"]


@_cases("envelopes")
def test_envelopes_are_sealed_and_opened_so(case: Any) -> None:
    topic, key = bytes.fromhex(case["topic_hex"]), bytes.fromhex(case["room_key_hex"])
    plaintext, envelope = bytes.fromhex(case["plaintext"]), bytes.fromhex(case["envelope"])
    header = Header(bytes.fromhex(case["run_hex"]), case["generation"], case["counter"])
    sealer = SigningSealer(bytes.fromhex(case["signing_seed_hex"]))
    assert sealer.seal(topic, key, header, plaintext) == envelope
    assert read_header(envelope) == header
    assert VerifyingOpener(bytes.fromhex(case["verify_key_hex"])).open(topic, key, envelope) == plaintext


@_cases("bad_envelopes")
def test_bad_envelopes_do_not_open(case: Any) -> None:
    opener = VerifyingOpener(bytes.fromhex(case["verify_key_hex"]))
    with pytest.raises(BadSeal):
        opener.open(
            bytes.fromhex(case["topic_hex"]),
            bytes.fromhex(case["room_key_hex"]),
            bytes.fromhex(case["envelope"]),
        )


# --------------------------------------------------------------------------- addresses, names, texts


@_cases("addresses")
def test_addresses(case: Any) -> None:
    key, invite = (bytes.fromhex(case[name]) if case[name] else None for name in ("key_hex", "invite_hex"))
    address = Address(case["host"], case["port"], key, invite)
    assert parse_address(case["url"]) == address
    assert str(address) == case["printed"]
    assert parse_address(case["printed"]) == address


@pytest.mark.parametrize("url", VECTORS["bad_addresses"])
def test_bad_addresses(url: str) -> None:
    with pytest.raises(BadAddress):
        parse_address(url)


def test_fingerprints() -> None:
    for case in VECTORS["fingerprints"]:
        key = bytes.fromhex(case["key_hex"])
        assert fingerprint(key) == case["fingerprint"]
        assert case["fingerprint"].replace("-", "") == hashlib.sha256(key).hexdigest()[:16]


def test_names() -> None:
    for name in VECTORS["names"]["good"]:
        assert check_name(name) == name
    for name in VECTORS["names"]["bad"]:
        with pytest.raises(BadName):
            check_name(name)
    for pair in VECTORS["names"]["looks"]:
        assert (skeleton(pair["one"]) == skeleton(pair["other"])) is pair["alike"], pair


def test_rooms() -> None:
    for case in VECTORS["rooms"]["good"]:
        assert check_room(case["given"]) == case["name"]
    for room in VECTORS["rooms"]["bad"]:
        with pytest.raises(BadName):
            check_room(room)
    for case in VECTORS["directs"]["good"]:
        assert direct_accounts(case["room"]) == tuple(case["accounts"])
    for room in VECTORS["directs"]["bad"]:
        assert direct_accounts(room) is None


@pytest.mark.parametrize("case", VECTORS["texts"], ids=lambda case: ascii(case["text"])[:20])
def test_texts(case: Any) -> None:
    text = _joined(case["text"])
    if case["code"] is None:
        assert check_text(text) == text
        return
    with pytest.raises(BadText) as caught:
        check_text(text)
    assert caught.value.code == case["code"]


@pytest.mark.parametrize("case", VECTORS["cleaned"], ids=lambda case: ascii(case["text"])[:20])
def test_cleaned_texts(case: Any) -> None:
    assert clean_text(case["text"]) == case["cleaned"]


def test_instances_and_feed_passwords() -> None:
    for case in VECTORS["instances"]:
        assert case["instance_hex"] == case["clock_ms"].to_bytes(8, "big").hex() + case["random_hex"]
    for case in VECTORS["feed_passwords"]:
        assert case["password"] == bytes.fromhex(case["token_hex"]).hex()
