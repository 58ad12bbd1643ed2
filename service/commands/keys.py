"""Commands about who may post."""

import secrets
from dataclasses import replace
from typing import Annotated

import typer

from service.line.requests import STATION_REMEDY, wrong_station
from service.settings import load_settings
from service.terminal import emit, say, table
from service.wiring import now, open_stores
from storage import keys as key_store
from storage.records import Key

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]


class KeyUnknown(LookupError):
    """There is no such key."""

    def __init__(self, key_id: str) -> None:
        super().__init__(f"there is no key {key_id}")
        self.remedy = "`loupe keys list` shows the keys"


class NoStationName(ValueError):
    """No station can have this name."""

    def __init__(self, wrong: str) -> None:
        super().__init__(f"station {wrong}")
        self.remedy = f"{STATION_REMEDY}, or * for all stations"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    keys = typer.Typer(help="Keys that let stations post from other machines.", no_args_is_help=True)
    keys.command("create")(create_key)
    keys.command("list")(list_keys)
    keys.command("revoke")(revoke_key)
    app.add_typer(keys, name="keys")


def create_key(
    station: Annotated[str, typer.Option("--station", help="Station, or * for all.")], json: Json = False
) -> None:
    """Create a key; it is shown once. From the first key on, every request needs one.

    Example: loupe keys create --station s1
    """
    if (wrong := wrong_station(station)) is not None:
        raise NoStationName(wrong)
    secret = secrets.token_urlsafe(32)
    key = Key(secrets.token_hex(4), station, key_store.secret_hash(secret), now(), None)
    with open_stores(load_settings()) as stores, stores.database.write() as connection:
        key_store.add(connection, key)
    if json:
        emit({"id": key.id, "station": station, "key": secret})
    else:
        say(f"key {key.id} for station {station} (it is not shown again):")
        say(secret)


def list_keys(json: Json = False) -> None:
    """List the keys, without their secrets.

    Example: loupe keys list
    """
    with open_stores(load_settings()) as stores, stores.database.read() as connection:
        found = key_store.listing(connection)
    if json:
        emit(
            [{"id": k.id, "station": k.station, "created_at": k.created_at, "revoked_at": k.revoked_at} for k in found]
        )
        return
    rows = [
        (k.id, k.station, f"{k.created_at:%Y-%m-%d %H:%M}", f"{k.revoked_at:%Y-%m-%d %H:%M}" if k.revoked_at else "")
        for k in found
    ]
    table("keys", ["id", "station", "created (UTC)", "revoked (UTC)"], rows)


def revoke_key(key_id: Annotated[str, typer.Argument(help="Id of the key.")]) -> None:
    """Revoke a key; the line server follows within a second.

    Example: loupe keys revoke 1a2b3c4d
    """
    with open_stores(load_settings()) as stores, stores.database.write() as connection:
        found = [key for key in key_store.listing(connection) if key.id == key_id]
        if not found:
            raise KeyUnknown(key_id)
        key_store.revoke(connection, replace(found[0], revoked_at=now()))
    say(f"key {key_id} is revoked")
