from dataclasses import replace

import pytest

from service.line.access import Access
from service.line.requests import KeyMissing, NotReady, WrongStation
from storage.keys import secret_hash
from storage.records import Key
from tests.service.line.stocked import MADE_AT

KEY = Key("k1", "s1", secret_hash("secret"), MADE_AT, None)
EVERYWHERE = Key("k2", "*", secret_hash("master"), MADE_AT, None)
FAR = "192.0.2.7"


def access(*keys: Key) -> Access:
    made = Access()
    made.replace(keys)
    return made


@pytest.mark.parametrize("host", ["127.0.0.1", "127.3.2.1", "::1"])
def test_without_keys_this_machine_is_served(host: str) -> None:
    access().check(None, host, "s1")


@pytest.mark.parametrize("host", [FAR, "10.0.0.1", "testclient", "", None, "127.0.0.1.example.org"])
def test_without_keys_nobody_else_is_served(host: str | None) -> None:
    with pytest.raises(KeyMissing):
        access().check("Bearer secret", host, "s1")


@pytest.mark.parametrize("host", [FAR, "127.0.0.1"])
@pytest.mark.parametrize(
    "said", [None, "", "Bearer", "Bearer ", "Bearer wrong", "secret", "Basic secret", "Bearer Secret"]
)
def test_once_keys_exist_everybody_needs_one(host: str, said: str | None) -> None:
    with pytest.raises(KeyMissing):
        access(KEY).check(said, host, "s1")


@pytest.mark.parametrize("said", ["Bearer secret", "bearer secret", "BEARER  secret "])
def test_key_opens_its_station(said: str) -> None:
    access(KEY).check(said, FAR, "s1")
    access(KEY).check(said, FAR, None)


def test_key_of_another_station_is_refused() -> None:
    with pytest.raises(WrongStation, match="s1"):
        access(KEY).check("Bearer secret", FAR, "s2")


def test_key_for_every_station_opens_every_station() -> None:
    access(KEY, EVERYWHERE).check("Bearer master", FAR, "s2")


def test_revoked_key_opens_nothing() -> None:
    with pytest.raises(KeyMissing):
        access(replace(KEY, revoked_at=MADE_AT), EVERYWHERE).check("Bearer secret", FAR, "s1")


def test_hash_of_a_secret_is_no_secret() -> None:
    with pytest.raises(KeyMissing):
        access(KEY).check(f"Bearer {KEY.secret_sha256}", FAR, "s1")


@pytest.mark.parametrize("host", [FAR, "127.0.0.1"])
@pytest.mark.parametrize("said", [None, "Bearer secret"])
def test_until_the_keys_are_known_nobody_is_served_or_called_a_stranger(host: str, said: str | None) -> None:
    with pytest.raises(NotReady) as refused:
        Access().check(said, host, "s1")
    assert refused.value.remedy
