"""The names in the header Host that a server answers to.

A web page can give its own host name the address of somebody else's machine (DNS
rebinding): to the browser that server is then a part of the page's site, and the page
reads whatever it answers. The browser still sends the name that it believes in, so a
server that anybody on its machine may use without a password answers to its own alone.
"""

import ipaddress
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

_HOST = re.compile(r"(?:\[(?P<literal>[^\[\]]+)\]|(?P<name>[^\[\]:@/?#\s]+))(?::\d{1,5})?")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True)
class Hosts:
    """The names of one server.

    `listening` is the address that it was told to listen on, `names` are further ones under which
    it may be reached.
    """

    listening: str
    names: tuple[str, ...] = ()

    def is_allowed(self, host: str | None) -> bool:
        """Whether a header Host, with or without a port, has a name of this server.

        These are `localhost` and every address that leads to this machine alone, the address that
        it listens on (every address, where it listens on all), and `names`; in any letter case.
        """
        found = _HOST.fullmatch(host or "")
        if found is None:
            return False
        name = _normalize_name(found["literal"] or found["name"])
        listening = _normalize_name(self.listening)
        if name in {"localhost", listening, *map(_normalize_name, self.names)}:
            return True
        address, own = _address(name), _address(listening)
        if address is None or (address.version == 6) != (found["literal"] is not None):
            return False
        return address.is_loopback or address == own or (own is not None and own.is_unspecified)


def is_loopback(host: str) -> bool:
    """Whether an address to listen on is reached from this machine alone."""
    address = _address(host)
    return _normalize_name(host) == "localhost" if address is None else address.is_loopback


def host_header(scope: Mapping[str, Any]) -> str | None:
    """The one header Host of an ASGI scope; None where there is none, or several."""
    found = list(_headers(scope, b"host"))
    return found[0] if len(found) == 1 else None


def is_same_origin(scope: Mapping[str, Any]) -> bool:
    """Whether a request was made by no web page, or by one of the same host and port."""
    host = host_header(scope) or ""
    return all(
        urlsplit(origin).netloc.lower() == host.lower() for origin in _headers(scope, b"origin")
    )


def _headers(scope: Mapping[str, Any], name: bytes) -> Iterable[str]:
    return (value.decode("latin-1") for key, value in scope["headers"] if key.lower() == name)


def _normalize_name(name: str) -> str:
    """A name as names are compared: DNS knows neither letter case nor the dot of its root."""
    return name.strip("[]").lower().removesuffix(".")


def _address(name: str) -> Address | None:
    try:
        return ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return None
