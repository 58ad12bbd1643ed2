"""The address of the MQTT broker: what a setting says of it, and how it can be wrong."""

import ssl
from dataclasses import dataclass, field
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

PORTS = {"mqtt": 1883, "mqtts": 8883}
EXAMPLE = (
    "write mqtt://USER:PASSWORD@HOST:PORT or mqtts://HOST?ca=FILE; in USER and PASSWORD write %40 for @, %2F for /"
)


class WrongMqttAddress(ValueError):
    """The address of the broker can't be used; the message never repeats it, as it may hold a password."""

    def __init__(self, what: str, remedy: str = EXAMPLE) -> None:
        super().__init__(f"the MQTT address {what}")
        self.remedy = remedy


@dataclass(frozen=True, slots=True)
class Broker:
    """Where verdicts go."""

    host: str
    port: int
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: ssl.SSLContext | None = None


def read_address(address: str) -> Broker:
    """The broker at `mqtt://user:password@host:1883` or `mqtts://host:8883?ca=FILE`.

    Without `ca` the machine's own list of authorities holds.

    Raises WrongMqttAddress.

    >>> read_address("mqtt://plc:secret@broker.local")
    Broker(host='broker.local', port=1883, user='plc', tls=None)
    """
    # The errors of the standard library repeat parts of the address: they must not be chained.
    try:
        url = urlsplit(address)
        host, port = url.hostname, url.port
    except ValueError:
        raise WrongMqttAddress("has no port from 1 to 65535, or is damaged") from None
    if url.scheme not in PORTS:
        raise WrongMqttAddress("does not begin with mqtt:// or mqtts://")
    if not host or port == 0 or not _is_host_name(host):
        raise WrongMqttAddress("names no broker")
    if url.path not in ("", "/") or url.fragment:
        raise WrongMqttAddress("has something behind the broker's name and port")
    return Broker(
        host=host,
        port=port or PORTS[url.scheme],
        user=None if url.username is None else unquote(url.username),
        password=None if url.password is None else unquote(url.password),
        tls=_tls(url),
    )


def _is_host_name(host: str) -> bool:
    try:
        return bool(host.encode("idna"))
    except UnicodeError:
        return False


def _tls(url: SplitResult) -> ssl.SSLContext | None:
    options = dict(parse_qsl(url.query, keep_blank_values=True))
    authority = options.pop("ca", None)
    if options:
        raise WrongMqttAddress("has an option that Loupe does not know")
    if url.scheme == "mqtt":
        if authority is not None:
            raise WrongMqttAddress("has ?ca=FILE without TLS", "write mqtts:// where the broker speaks TLS")
        return None
    try:
        context = ssl.create_default_context(cafile=authority)
    except OSError as error:
        reason = error.strerror or "it holds no certificate"
        raise WrongMqttAddress(
            f"names ca={authority}, which can't be read: {reason}", "name a file with the authority's certificate (PEM)"
        ) from error
    context.sslsocket_class = _TidySocket
    return context


class _TidySocket(ssl.SSLSocket):
    """Is closed when nobody gets hold of it, as after a failed handshake."""

    def do_handshake(self, block: bool = False) -> None:
        try:
            super().do_handshake(block)
        except OSError:
            self.close()
            raise
