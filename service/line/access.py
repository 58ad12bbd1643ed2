"""Who may post: anyone on this machine while there are no keys, otherwise only holders of a station's key."""

import functools
import ipaddress
from collections.abc import Iterable

from service.line.requests import KeyMissing, NotReady, WrongStation
from storage.keys import secret_hash
from storage.records import Key


class Access:
    """The keys that hold now; replaced as a whole when the database's change.

    Until they have been read nobody is let through: it is not known yet whether there are any.
    """

    def __init__(self) -> None:
        self._stations: dict[str, str] | None = None

    def replace(self, keys: Iterable[Key]) -> None:
        """Take over the keys that are not revoked."""
        self._stations = {key.secret_sha256: key.station for key in keys if key.revoked_at is None}

    def check(self, authorization: str | None, client_host: str | None, station: str | None) -> None:
        """Let the caller through to a station (None: to what belongs to no station).

        Raises NotReady, KeyMissing, WrongStation.
        """
        if self._stations is None:
            raise NotReady(
                "the keys are not known yet: the database has not answered since the start",
                "send the trigger again; look with `loupe doctor` whether the database answers",
            )
        if not self._stations:
            if not _is_loopback(client_host):
                raise KeyMissing(
                    "without any key only this machine is served",
                    "run `loupe keys create --station NAME` and send its key",
                )
            return
        scheme, _, secret = (authorization or "").partition(" ")
        allowed = self._stations.get(secret_hash(secret.strip())) if scheme.lower() == "bearer" else None
        if allowed is None:
            raise KeyMissing(
                "the key is missing or unknown", "send `Authorization: Bearer KEY`; `loupe keys` lists keys"
            )
        if station is not None and allowed not in ("*", station):
            raise WrongStation(f"this key is for station {allowed!r}, not {station!r}", "use the key of that station")


@functools.lru_cache(1024)
def _is_loopback(host: str | None) -> bool:
    try:
        return ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False
