"""Which stations this process decides for, when several line servers share a database.

Every station has a lease. Its owner moves the lease's beat; who sees it stand still for a while takes the station. What
is decided here costs a part two look-ups in memory; the database is asked for stations that are not known yet.
"""

import asyncio
import json
import math
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import structlog

from service.line.requests import Overloaded, PartRequest
from storage import inspections, leases
from storage.database import Connection, Database
from storage.journal import Answered
from storage.records import Lease

BEAT_S = 1.0
"""How often an owner gives a sign of life, and looks for those of the others."""
TAKEOVER_S = 5.0
"""So long an owner may give no sign of life."""
PAUSE_S = 3.0
"""After a pause of this length in one's own looking, the silence of others says nothing."""
ASK_WAIT_S = 0.5
"""How long a part waits to learn whose its station is; then it is served here."""
FORESIGHT_S = 2 * ASK_WAIT_S
"""So long before nobody can be sure any more whose a station is, the question is put: no part waits for it then."""
EARLIER_WAIT_S = 0.1
"""How long a part waits for what the database knows of it."""
EARLIER_PAUSE_S = 5.0
"""When the database did not say so in time, it is not asked again for this long."""
STATION_LIMIT = 1024
"""Names of stations come from outside: more are not taken on."""
log = structlog.get_logger("line")


@dataclass(frozen=True, slots=True)
class Held:
    """A station that is this process's."""

    token: int
    """Of its lease; 0: there is none yet, for the database did not answer."""
    since: datetime | None = None
    """When it was taken from another owner, who may have answered parts of it; None: from the first part on."""


@dataclass(frozen=True, slots=True)
class _Watched:
    lease: Lease
    moved_at: float


class Ownership:
    """The stations of this process and of the others; `is_ours` and `owner_of` are for the event loop.

    `memory` is the file that says what the owner held when it ended.
    """

    def __init__(
        self,
        database: Database,
        owner_id: str,
        address: str,
        memory: Path,
        *,
        clock: Callable[[], datetime],
        tell: Callable[[str, str, dict[str, object]], None],
        before_taking: Callable[[], object] = lambda: None,
        count: Callable[[int], None] = lambda _: None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.owner_id, self.address = owner_id, address
        self._database, self._memory_path = database, memory
        self._clock, self._monotonic = clock, monotonic
        self._tell = tell
        """Called with an event: its kind, the station, details."""
        self._before_taking = before_taking
        """Called before stations of a dead owner are taken: what it still has to say goes into the database."""
        self._count = count
        self._ours: dict[str, Held] = {}
        self._others: dict[str, Lease] = {}
        self._watched: dict[str, _Watched] = {}
        self._wanted: dict[str, Lease | None] = {}
        """Stations that are to be taken, with their leases as they were seen."""
        self._looked_at = -math.inf
        self._sure_until = self._monotonic() + TAKEOVER_S
        """Until then nobody can have taken what is ours; without end while the database is away."""
        self._blind_until = -math.inf
        self._remembered = _remembered(memory)
        self._asked: dict[str, tuple[asyncio.Future[bool], float]] = {}
        self._foreseen: dict[str, float] = {}
        """For which end of `_sure_until` the question was put ahead, by station."""
        self._unheard: set[asyncio.Future[bool]] = set()
        """Of these, those to which no answer came in time."""
        self._database_lock = threading.Lock()
        """Who holds it reads the leases and acts on what he read."""
        self._pool = ThreadPoolExecutor(2, thread_name_prefix="ownership")

    def is_ours(self, station: str) -> bool:
        """Whether the station is known to be this process's; False also where that has to be asked for."""
        left_s = self._sure_until - self._monotonic()
        if station not in self._ours or left_s <= 0:
            return False
        if left_s <= FORESIGHT_S and self._foreseen.get(station) != self._sure_until:
            # No sign of life got through: who asks now need not keep a part waiting when the time is up.
            self._foreseen[station] = self._sure_until
            self._begin_asking(station)
        return True

    async def owner_of(self, station: str, wait_s: float = ASK_WAIT_S) -> str | None:
        """The address of the line server to which the station belongs, None where it is this one.

        A station that nobody has is taken. Where the database does not say in time whose it is, it is served here.
        Raises Overloaded.
        """
        if self._monotonic() >= self._sure_until or not self._is_known(station):
            if math.isinf(self._sure_until):
                self._serve_unasked(station)
            else:
                await self._ask(station, wait_s)
        return self.known_elsewhere(station)

    def known_elsewhere(self, station: str) -> str | None:
        """The address of the other line server to which the station belongs, as far as that is known already."""
        lease = self._others.get(station)
        return None if lease is None else lease.address

    def others(self) -> list[str]:
        """The addresses of all other line servers that own a station."""
        return sorted({lease.address for lease in self._others.copy().values()} - {self.address})

    def doubt(self, station: str) -> None:
        """Its owner can't be reached: ask the database again at the next part."""
        self._others.pop(station, None)

    def look(self) -> bool:
        """Give a sign of life, note what was lost and what nobody looks after any more; for one thread.

        Raises DatabaseUnavailable.
        """
        try:
            with self._database_lock:
                with self._database.write() as connection:
                    mine, all_leases = leases.beat(connection, self.owner_id), leases.listing(connection)
                self._wanted = self._follow(mine, all_leases)
        except BaseException:
            # Nobody can ask whose a station is, and nobody else can take it: verdicts go on.
            self._sure_until = math.inf
            raise
        self._count(len(self._ours))
        return False

    def take(self) -> bool:
        """Take the stations that `look` found; on a thread of its own, for signs of life must not wait for this.

        Raises DatabaseUnavailable.
        """
        wanted, self._wanted = self._wanted, {}
        if any(lease is not None and lease.owner not in ("", self.owner_id) for lease in wanted.values()):
            self._before_taking()
        if wanted:
            with self._database_lock:
                with self._database.write() as connection:
                    taken = [
                        (leases.take(connection, station, self.owner_id, self.address, seen), seen)
                        for station, seen in sorted(wanted.items())
                    ]
                for lease, before in taken:
                    if lease is not None:
                        self._hold(lease, before)
            self._count(len(self._ours))
        return False

    def earlier(self, part: PartRequest, since: datetime) -> Mapping[str, Answered]:
        """What an earlier owner of the station answered for this part since then, by idempotency key.

        Costs nothing for stations that were always this process's. Nothing too where the database is not quick to say.
        """
        held = self._ours.get(part.station)
        if held is None or held.since is None or held.since < since:
            return {}
        if math.isinf(self._sure_until) or self._monotonic() < self._blind_until:
            return {}
        asked = self._pool.submit(self._read_earlier, part, since)
        try:
            return asked.result(EARLIER_WAIT_S)
        except Exception as error:  # noqa: BLE001 - whatever the database does, the part is judged
            self._blind_until = self._monotonic() + EARLIER_PAUSE_S
            log.warning("earlier_answers_unknown", station=part.station, reason=str(error) or type(error).__name__)
            return {}

    def release(self) -> None:
        """Give all stations back: others may take them at once.

        Raises DatabaseUnavailable.
        """
        with self._database_lock, self._database.write() as connection:
            leases.release(connection, self.owner_id)

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _is_known(self, station: str) -> bool:
        return station in self._ours or station in self._others

    def _serve_unasked(self, station: str) -> None:
        if self._is_known(station):
            return
        if len(self._ours) + len(self._others) >= STATION_LIMIT:
            raise Overloaded(f"there are {STATION_LIMIT} stations already", "send a station that exists")
        self._ours.setdefault(station, Held(0))

    async def _ask(self, station: str, wait_s: float) -> None:
        """Ask the database whose the station is; without an answer in time it is taken for ours."""
        if not self._is_known(station) and len(self._ours) + len(self._others) >= STATION_LIMIT:
            raise Overloaded(f"there are {STATION_LIMIT} stations already", "send a station that exists")
        asked, since = self._begin_asking(station)
        # A database that hangs is waited for once, and not by some parts every few seconds for as long as it hangs.
        if asked not in self._unheard:
            await asyncio.wait([asked], timeout=max(0.0, wait_s - (self._monotonic() - since)))
        if not asked.done():
            self._unheard.add(asked)
            asked.add_done_callback(self._unheard.discard)
        if not asked.done() or not asked.result():
            self._sure_until = max(self._sure_until, self._monotonic() + TAKEOVER_S)
        self._serve_unasked(station)

    def _begin_asking(self, station: str) -> tuple[asyncio.Future[bool], float]:
        """The question whose the station is, and when it was put; one at a time."""
        found = self._asked.get(station)
        if found is None:
            asked = asyncio.get_running_loop().run_in_executor(self._pool, self._claim, station)
            found = self._asked[station] = asked, self._monotonic()
            asked.add_done_callback(lambda _: self._asked.pop(station, None))
        return found

    def _claim(self, station: str) -> bool:
        """Learn whose the station is; take it where it is nobody's. Returns whether the database said so."""
        try:
            with self._database_lock:
                with self._database.write() as connection:
                    found, before = _taken_if_free(connection, station, self.owner_id, self.address)
                if found.owner == self.owner_id:
                    self._hold(found, before)
                else:
                    self._lose(found)
        except Exception as error:  # noqa: BLE001 - whatever the database does, the part is judged
            log.warning("owner_unknown", station=station, reason=str(error))
            return False
        return True

    def _follow(self, mine: Mapping[str, Lease], all_leases: Mapping[str, Lease]) -> dict[str, Lease | None]:
        """Take note of what the leases say; returns the stations to take with their leases as they were seen."""
        now = self._monotonic()
        was_away = now - self._looked_at > PAUSE_S
        self._looked_at, self._sure_until = now, now + TAKEOVER_S
        for lease in mine.values():
            self._hold(lease, None)
        foreign = {s: lease for s, lease in all_leases.items() if lease.owner not in ("", self.owner_id)}
        # Copied, for the parts on other threads add stations: `list(...items())` can be interrupted, a copy can't.
        for station, held in self._ours.copy().items():
            if station in foreign:
                self._lose(foreign[station])
            elif held.token and station not in mine:
                del self._ours[station]  # given back in our name: whoever has a part for it takes it
        self._others = dict(foreign)  # others add to it and take from it meanwhile
        watched = {}
        for station, lease in foreign.items():
            known = self._watched.get(station)
            watched[station] = known if known and known.lease == lease and not was_away else _Watched(lease, now)
        self._watched = watched
        wanted: dict[str, Lease | None] = {
            station: found.lease for station, found in watched.items() if now - found.moved_at >= TAKEOVER_S
        }
        # Served without a lease while the database was away; or under an address that is ours no more.
        wanted |= {s: all_leases.get(s) for s, held in self._ours.copy().items() if not held.token}
        wanted |= {s: lease for s, lease in mine.items() if lease.address != self.address}
        return wanted

    def _hold(self, lease: Lease, before: Lease | None) -> None:
        """The lease is ours; `before`: what it was until now."""
        station, known = lease.station, self._ours.get(lease.station)
        if known is not None and known.token == lease.token:
            return
        remembered = self._remembered.get(station)
        if remembered is not None and lease.token - remembered.token in (0, 1):
            held = Held(lease.token, remembered.since)  # nobody had it between
        elif lease.token == 1:
            held = Held(1)
        else:
            held = Held(lease.token, self._clock())
        self._ours[station] = held
        self._others.pop(station, None)
        self._remember(station, held)
        if held.since is not None and (remembered is None or held.since != remembered.since):
            owner = before.owner if before is not None else ""
            self._say("station_taken", station, {"token": lease.token, "from": owner or None})

    def _lose(self, lease: Lease) -> None:
        """The lease is another's."""
        self._others[lease.station] = lease
        if self._ours.pop(lease.station, None) is not None:
            self._say("station_lost", lease.station, {"token": lease.token, "to": lease.owner})

    def _say(self, kind: str, station: str, detail: dict[str, object]) -> None:
        try:
            self._tell(kind, station, detail)
        except Exception as error:  # noqa: BLE001 - it has happened, on record or not
            log.error("event_not_recorded", kind=kind, station=station, reason=str(error), **detail)

    def _remember(self, station: str, held: Held) -> None:
        self._remembered[station] = held
        kept = {
            name: [known.token, known.since.isoformat() if known.since else None]
            for name, known in self._remembered.items()
        }
        partial = self._memory_path.with_suffix(".part")
        try:
            partial.write_text(json.dumps(kept))
            partial.replace(self._memory_path)
        except OSError as error:
            # After a restart the database is then asked for answers of another owner that never was.
            log.warning("ownership_not_saved", path=str(self._memory_path), reason=str(error))

    def _read_earlier(self, part: PartRequest, since: datetime) -> dict[str, Answered]:
        with self._database.read() as connection:
            found = inspections.of_trigger(connection, part.station, part.trigger_epoch, part.trigger_id)
        if found is None or found.received_at < since:
            return {}
        answer = found.answer.encode()
        digests = {view.view_id: view.image_sha256 for view in found.views}
        told = {part.key(v): digests[v.view_id] for v in part.views if v.view_id in digests} | {part.part_key: ""}
        return {key: Answered(found.result_id, digest, answer) for key, digest in told.items()}


def owner_id(path: Path) -> str:
    """The name under which this line server owns stations: made once, and the same after every restart.

    It belongs to the journal beside it: whoever has that knows what was answered. Raises OSError.
    """
    with suppress(FileNotFoundError):
        found = path.read_text().strip()
        if found:
            return found
    made = secrets.token_hex(8)
    partial = path.with_suffix(".part")
    partial.write_text(made)
    partial.replace(path)
    return made


def _taken_if_free(connection: Connection, station: str, owner: str, address: str) -> tuple[Lease, Lease | None]:
    """The station's lease, taken where it was free, and what it was before."""
    before = leases.listing(connection).get(station)
    if before is None or not before.owner:
        taken = leases.take(connection, station, owner, address, before)
        return taken or leases.listing(connection)[station], before
    return before, before


def _remembered(path: Path) -> dict[str, Held]:
    try:
        found = json.loads(path.read_text())
        return {
            station: Held(int(token), datetime.fromisoformat(since) if since else None)
            for station, (token, since) in found.items()
        }
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        log.warning("ownership_unreadable", path=str(path), reason=str(error))
        return {}
