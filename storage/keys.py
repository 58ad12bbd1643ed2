"""Keys that let a station post."""

import hashlib

from sqlalchemy import Connection, insert, select, update

from storage.database import from_row, to_row
from storage.records import Key
from storage.tables import keys


def secret_hash(secret: str) -> str:
    """What is stored of a secret: secrets are 256 random bits, so a plain hash can't be searched."""
    return hashlib.sha256(secret.encode()).hexdigest()


def add(connection: Connection, key: Key) -> None:
    """Store a key."""
    connection.execute(insert(keys).values(to_row(key)))


def listing(connection: Connection) -> list[Key]:
    """All keys, revoked ones too."""
    return [from_row(Key, row) for row in connection.execute(select(keys).order_by(keys.c.created_at)).mappings()]


def revoke(connection: Connection, key: Key) -> None:
    """Write the time of revocation that the record carries."""
    connection.execute(update(keys).where(keys.c.id == key.id).values(revoked_at=key.revoked_at))
