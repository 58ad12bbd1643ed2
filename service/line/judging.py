"""A part that was admitted, on its way to its one answer: the thread that judges it and its deadline race for it."""

import threading
import time
from collections.abc import Callable, Mapping

import structlog

from service.line.admission import Place
from service.line.answers import Reply
from service.line.challenging import check_expected
from service.line.champions import Active
from service.line.pipeline import Arrival
from service.line.requests import Overloaded, PartRequest, WrongRequest
from service.line.server import LineServer
from service.line.tickets import Ticket

log = structlog.get_logger("line")

CAUTION = 2.0
"""A part waits for a thread only if it is in time even when everything takes this many times what it takes on average.
Of those that just fit on average, half would be late, and work on them is lost to the others."""
BODY_WAIT_S = 10.0
"""How long a body may take to arrive where the part has no deadline."""

Tell = Callable[[Reply | Exception], None]


class Judging:
    """`tell` is called exactly once after `begin`, from any thread, with the answer or with what kept it from coming.

    Raises NotReady, WrongRequest where the part can't be judged, Overloaded where it would not be in time.
    """

    def __init__(self, line: LineServer, part: PartRequest, expected: str | None, started: float) -> None:
        self._line, self.part, self._started = line, part, started
        self.active = _deciding(line, part, expected)
        deadline_ms = part.deadline_ms or self.active.recipe.deadline_ms or line.settings.deadline_ms
        self.deadline = None if deadline_ms is None else started + deadline_ms / 1000
        """time.perf_counter() at which the answer must have left."""
        self._cost_ms = self.active.pace.mean_ms * len(part.views)
        self._lock = threading.Lock()
        self._tell: Tell | None = None
        self._ticket: Ticket | None = None
        self._check_in_time()

    @property
    def left_s(self) -> float:
        """How long there is until the answer must leave; how long for the body, where there is no deadline."""
        return left_s(self._line, self.deadline)

    def without_body(self) -> Reply:
        """The answer where the deadline comes before the image."""
        return self._line.pipeline.deadline_without_body(self._arrival({}))

    def begin(self, bodies: Mapping[str, bytes], place: Place, tell: Tell) -> None:
        """Queue the part, whose images these are by view_id; `place` is let go when the thread is done with it.

        Raises Overloaded.
        """
        self._check_in_time()  # others may have been faster with their images
        line, arrival = self._line, self._arrival(bodies)
        # A decision counts as late from the same moment on, whether anybody notices that moment in time or not.
        latest = None if self.deadline is None else self.deadline - line.dispatcher.lag.margin_s
        ticket = Ticket(lambda: line.pipeline.deadline_reply(arrival), latest)
        self._tell, self._ticket, place.handed_on = tell, ticket, True

        def judge() -> None:
            outcome: Reply | Exception
            try:
                outcome = line.pipeline.inspect(arrival, ticket)
            except Exception as error:  # noqa: BLE001 - the edge of a thread: the line must be answered
                outcome = error
            place.leave()  # whoever hears the answer may send the next part at once
            self._settle(outcome)

        line.dispatcher.queue(self.part.station, self._cost_ms, judge)

    def expire(self) -> None:
        """The deadline has come. The thread goes on and records what the line was told; its errors are its own."""
        ticket = self._ticket
        if ticket is not None:
            self._settle(ticket.expire())

    def _settle(self, outcome: Reply | Exception) -> None:
        with self._lock:
            tell, self._tell = self._tell, None
            self._ticket = None  # it holds the images, and a timer may hold this for long
        if tell is None:
            return
        try:
            tell(outcome)
        except Exception as error:
            log.error("answer_not_sent", station=self.part.station, trigger_id=self.part.trigger_id, exc_info=error)

    def _arrival(self, bodies: Mapping[str, bytes]) -> Arrival:
        return Arrival(self.part, self.active, bodies, self._line.clock(), self._started, self.deadline)

    def _check_in_time(self) -> None:
        """What would only wait until it is too late is turned away before its image is even read.

        Raises Overloaded.
        """
        if self.deadline is None:
            return
        wait_ms = self._line.dispatcher.wait_ms(self.part.station, self._cost_ms)
        left_ms = 1000 * (self.deadline - self._line.dispatcher.lag.margin_s - time.perf_counter())
        if wait_ms > 0 and CAUTION * (wait_ms + self._cost_ms) > left_ms:
            raise Overloaded(
                f"a verdict would take {wait_ms + self._cost_ms:.0f} ms, {max(left_ms, 0):.0f} ms are left",
                "send the trigger again later, allow more time, or add threads or a machine",
            )


def left_s(line: LineServer, deadline: float | None) -> float:
    """How long there is until the answer must leave; how long for a body, where there is no deadline."""
    if deadline is None:
        return BODY_WAIT_S
    return max(0.0, deadline - line.dispatcher.lag.margin_s - time.perf_counter())


def presented(line: LineServer, part: PartRequest) -> None:
    """Note that the station sent a part, whether it can be judged or not."""
    known = part.product is not None and line.champions.knows(part.product)
    line.stations.seen(part.station, line.clock(), part.product if known else None)


def _deciding(line: LineServer, part: PartRequest, expected: str | None) -> Active:
    """What decides for the part, and may.

    Raises NotReady, WrongRequest.
    """
    active = line.champions.active(part.product, part.station)
    _check_views(part, active)
    if part.mode == "challenge" and expected is not None:
        check_expected(expected, active.classifier.card)
    elif part.mode == "production":
        line.stations.check(part.station, active.recipe, line.clock())
    return active


def _check_views(part: PartRequest, active: Active) -> None:
    expected = active.recipe.expected_views
    strangers = [view.view_id for view in part.views if expected and view.view_id not in expected]
    if strangers:
        raise WrongRequest(
            f"view {', '.join(strangers)} is not one that the recipe expects",
            f"send {', '.join(expected)}, or change the recipe {active.recipe.product}@{active.recipe.station}: "
            "`loupe recipe set … --view NAME` for each",
        )
