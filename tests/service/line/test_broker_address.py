import ssl

import pytest

from service.line.broker_address import WrongMqttAddress, read_address


@pytest.mark.parametrize(
    "address",
    [
        "",
        "127.0.0.1:1883",
        "http://secret:secret@host",
        "mqtt://",
        "mqtt://secret@",
        "mqtt://user:secret@host:port",
        "mqtt://user:secret/secret@host:1883",
        "mqtt://user:secret#secret@host",
        "mqtt://user:secret?x=secret@host",
        "mqtt://user:secret@host:70000",
        "mqtt://user:secret@host:0",
        "mqtt://user:secret@host/topic",
        "mqtt://user:secret@host?ca=/etc/hosts",
        "mqtts://user:secret@host?certificate=x",
        "mqtts://user:secret@host?ca=/nowhere/ca.pem",
        "mqtts://user:secret@host?ca=/etc/hosts",
        "mqtt://user:secret@[::1",
        "mqtt://user:secret@" + "x" * 80 + ".com",
    ],
)
def test_wrong_address_is_refused_without_its_password(address: str) -> None:
    with pytest.raises(WrongMqttAddress) as refused:
        read_address(address)
    error: BaseException | None = refused.value
    assert refused.value.remedy
    while error is not None:
        assert "secret" not in str(error)
        error = error.__cause__


def test_addresses_are_read_with_their_defaults_and_escapes() -> None:
    plain = read_address("mqtt://plc:p%40ss%2Fw%3Ard@10.0.0.7")
    assert (plain.host, plain.port, plain.user, plain.password, plain.tls) == (
        "10.0.0.7",
        1883,
        "plc",
        "p@ss/w:rd",
        None,
    )
    assert "p@ss" not in repr(plain)
    secure = read_address("mqtts://broker.plant:9883/")
    assert (secure.port, secure.user) == (9883, None)
    assert secure.tls is not None
    assert secure.tls.verify_mode == ssl.CERT_REQUIRED
    assert secure.tls.check_hostname
    assert read_address("mqtts://[::1]").port == 8883
