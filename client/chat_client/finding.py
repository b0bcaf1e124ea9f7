"""Where the broker is: the URL that was given, $CHAT_BROKER, or a broker of this user on this machine."""

from __future__ import annotations

import os
from pathlib import Path

from msgspec.structs import replace

from chat_client.home import Home, check_private
from chat_protocol.address import DEFAULT_PORT, Address, parse_address
from chat_protocol.errors import BadAddress, SetupError, Unreachable
from chat_protocol.places import connection_file, connection_folder


def default_home() -> Path:
    """$CHAT_HOME, or the user's data folder."""
    chosen = os.environ.get("CHAT_HOME")
    if chosen:
        return Path(chosen)
    import platformdirs

    return Path(platformdirs.user_data_dir("simple-chat")) / "client"


def find_broker(url: str | None, home: Home) -> Address:
    """The broker's address, with its key, checked against what is known of it.

    Raises BadAddress, Unreachable (no broker known, or its key has changed) or SetupError.
    """
    url = url or os.environ.get("CHAT_BROKER")
    if not url:
        return _local_broker()
    address = parse_address(url)
    if address.key is None:
        known = home.pinned(address.place)
        if known is None:
            raise BadAddress(
                f"{url} names no key, and no broker at {address.place} is known yet; "
                "use the whole address that the operator gave (chat-broker invite prints one)"
            )
        return replace(address, key=known)
    home.check_pin(address)
    return address


def how_it_is_found(url: str | None) -> str:
    """In words, what `find_broker` goes by."""
    if url:
        return "as it was named"
    return "as CHAT_BROKER says" if os.environ.get("CHAT_BROKER") else "which runs on this machine"


def has_local_broker() -> bool:
    """Whether a broker of this user has left word on this machine."""
    return next(connection_folder().glob("*.url"), None) is not None


def _local_broker() -> Address:
    """From the file that a broker of this user has left in the runtime folder."""
    folder = connection_folder()
    found = sorted(folder.glob("*.url"))
    usual = connection_file(DEFAULT_PORT)
    if not found:
        raise Unreachable(
            "no broker is known: start one (chat-broker start), or name one with --broker or CHAT_BROKER"
        )
    if len(found) > 1 and usual not in found:
        places = ", ".join(path.stem for path in found)
        raise Unreachable(f"brokers run here on ports {places}: choose one with --broker")
    path = usual if usual in found else found[0]
    try:
        check_private(path)
        return parse_address(path.read_text())
    except OSError as error:
        raise SetupError(f"{path} cannot be read: {error.strerror}") from error
    except (BadAddress, UnicodeDecodeError) as error:
        raise SetupError(f"{path} holds no address: {error}; delete it, or name a broker") from error
