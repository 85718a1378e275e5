"""Which names in the header Host are a server's own."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchwright.web.hosts import Hosts, host_header, is_loopback, is_same_origin

PORTS = st.one_of(st.just(""), st.integers(1, 65535).map(lambda port: f":{port}"))
OWN = st.one_of(
    st.just("localhost"),
    st.ip_addresses(v=4, network="127.0.0.0/8").map(str),
    st.just("[::1]"),
    st.just("[0:0:0:0:0:0:0:1]"),
)


def cased(name: str, upper: list[bool]) -> str:
    pairs = zip(name, [*upper, *[False] * len(name)], strict=False)
    return "".join(sign.upper() if high else sign for sign, high in pairs)


@given(OWN, PORTS, st.lists(st.booleans(), max_size=12))
def test_every_spelling_of_this_machine_is_answered(
    name: str, port: str, upper: list[bool]
) -> None:
    assert Hosts("127.0.0.1").is_allowed(cased(name, upper) + port)


@given(
    st.from_regex(r"[a-z0-9-]{1,20}(\.[a-z0-9-]{1,20}){1,3}", fullmatch=True),
    st.sampled_from(["{}", "127.0.0.1.{}", "localhost.{}", "{}#localhost", "{}@127.0.0.1", "x@{}"]),
    PORTS,
)
def test_no_name_of_somebody_else_is(name: str, form: str, port: str) -> None:
    host = form.format(f"{name}.example")
    assert not Hosts("127.0.0.1").is_allowed(host + port)
    assert not Hosts("0.0.0.0").is_allowed(host + port)


@pytest.mark.parametrize(
    "host",
    [
        *(
            None,
            "",
            ":8000",
            "[",
            "[]",
            "[::1",
            "::1",
            "localhost:",
            "localhost:a",
            "localhost:1:2",
        ),
        *("localhost/", "localhost:999999", "[127.0.0.1]", "[localhost", " localhost", "a\nb"),
    ],
)
def test_what_is_no_host_is_not_answered(host: str | None) -> None:
    assert not Hosts("::1").is_allowed(host)


@given(st.ip_addresses(), PORTS)
def test_the_address_that_it_listens_on_is_its_own_and_another_is_not(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address, port: str
) -> None:
    written = f"[{address}]" if address.version == 6 else str(address)
    assert Hosts(str(address)).is_allowed(written + port)
    assert Hosts("0.0.0.0").is_allowed(written + port), "no web site has an address for a name"
    assert Hosts("127.0.0.1").is_allowed(written + port) == address.is_loopback


def test_names_are_answered_beside_its_own() -> None:
    hosts = Hosts("MyMachine.lan", ("Page.example", "[2001:db8::1]"))
    for host in ("mymachine.lan:80", "page.EXAMPLE.", "[2001:DB8::1]:8501", "localhost"):
        assert hosts.is_allowed(host)
    assert not hosts.is_allowed("test" + "server"), "no name of any test's is built in"
    assert not hosts.is_allowed("sub.page.example")


def scope(*headers: tuple[bytes, bytes]) -> dict[str, object]:
    return {"type": "websocket", "headers": list(headers)}


def test_a_request_with_two_hosts_has_none() -> None:
    one, other = (b"host", b"localhost"), (b"Host", b"evil.example")
    assert host_header(scope(one)) == "localhost"
    assert host_header(scope(one, other)) is host_header(scope()) is None


@pytest.mark.parametrize(
    ("origin", "same"),
    [
        (None, True),
        (b"http://LOCALHOST:8501", True),
        (b"http://localhost:3000", False),
        (b"http://evil.example", False),
        (b"null", False),
    ],
)
def test_a_page_of_another_site_or_port_is_of_another_origin(
    origin: bytes | None, same: bool
) -> None:
    headers = [(b"host", b"localhost:8501")]
    headers += [] if origin is None else [(b"origin", origin)]
    assert is_same_origin(scope(*headers)) is same


@pytest.mark.parametrize(
    ("host", "alone"),
    [
        *(("localhost", True), ("LocalHost", True), ("127.9.9.9", True), ("::1", True)),
        *(("0.0.0.0", False), ("::", False), ("192.0.2.1", False), ("example.org", False)),
    ],
)
def test_what_this_machine_alone_reaches(host: str, alone: bool) -> None:
    assert is_loopback(host) is alone
