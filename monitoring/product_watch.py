"""The parts of all stations, each product with its own monitor of a model's scores, safe to use from many threads."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from monitoring.alarm import Alarm
from monitoring.expected import Estimate, ExpectedErrors
from monitoring.product import CHARTS, ProductMonitor
from monitoring.sights import MOST, Saved, Sight, Sights, Watched
from monitoring.watch import Observation

COMMISSION: Final = 1000
"""Parts from which is learnt how a model's scores lie, unless told otherwise."""


STRAGGLERS_S: Final = 60.0
"""So long after a model was replaced parts may still come that it judged."""


@dataclass(slots=True)
class _Product(Watched[ProductMonitor]):
    expected: ExpectedErrors = field(default_factory=ExpectedErrors)
    is_learning: bool = False
    """Whether its monitor is being taught elsewhere."""
    former: tuple[str, float] = ("", -math.inf)
    """The model that decided before, and when it ceased to."""


def parts_of(station: str, product: str) -> Sight:
    """What all cameras of a station together say of a product."""
    return Sight(f"{station}/", product)


class ProductWatch:
    """Product monitors by station and product, made as these appear; `commission` is every monitor's.

    `elsewhere` runs a function on another thread: no part waits for the end of a commissioning. Without one that is
    done at once. `clock` counts seconds.
    """

    def __init__(
        self,
        commission: int = COMMISSION,
        *,
        most: int = MOST,
        elsewhere: Callable[[Callable[[], None]], object] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._elsewhere, self._clock = elsewhere, clock
        self._made: Callable[[str], ProductMonitor] = lambda model: ProductMonitor(
            commission, model, deferred=elsewhere is not None
        )
        self._sights = Sights(lambda: _Product(self._made("")), most)

    def intended_change(self, sight: Sight) -> bool:
        """Somebody changed light, optics or product on purpose: learn anew; whether an alarm stood."""
        watched = self._sights.find(sight)
        if watched is None:
            return False
        with watched.lock:
            return self._begin(watched, watched.monitor.model)

    def observe(self, sight: Sight, model: str, p_defects: Sequence[float], passed: bool | None) -> Observation:
        """Take the next part: a model's calibrated probabilities of a defect in each of its views, and whether it
        passed; None: nobody decided.

        Scores of another model than before are learnt anew, and `is_new` says so; those of parts that were still on
        their way when that one began are passed over.
        """
        watched = self._sights.get(sight)
        if watched is None:
            return Observation("unwatched")
        with watched.lock:
            is_new = watched.monitor.model != model
            if is_new:
                now, (former, ceased) = self._clock(), watched.former
                if former == model and now - ceased < STRAGGLERS_S:
                    return Observation("unwatched")
                watched.former = watched.monitor.model, now
                self._begin(watched, model)
            monitor = watched.monitor
            watched.changes += 1
            stood = monitor.standing is not None
            alarm = monitor.update(max(p_defects))
            if monitor.standing is None and passed is not None:
                # A part is defective if it is so in any of its views.
                watched.expected.add(1 - math.prod(1 - p for p in p_defects), passed)
            self._see_to(watched)
            phase = "ok" if monitor.phase == "calibrated" else monitor.phase
            return Observation(
                "alarm" if monitor.standing is not None else phase,
                CHARTS,
                monitor.exact,
                monitor.exact.round(4),
                alarm,
                stood and monitor.standing is None,
                monitor.standing,
                version=watched.version,
                is_new=is_new,
            )

    def monitors(self) -> dict[Sight, tuple[int, ProductMonitor]]:
        """Version and monitor of every sight, each as it is now and going its own way."""
        return {sight: (watched.version, watched.copied()[0]) for sight, watched in self._sights.all().items()}

    def standing(self) -> dict[Sight, tuple[int, Alarm | None]]:
        """As `monitoring.sights.Sights.standing`."""
        return self._sights.standing()

    def estimate(self, sight: Sight) -> Estimate | None:
        """What errors are to be expected of the newest parts; None while they are too few."""
        watched = self._sights.find(sight)
        if watched is None:
            return None
        with watched.lock:
            return watched.expected.estimate()

    def saved(self, sight: Sight) -> Saved | None:
        """As `monitoring.sights.Sights.saved`."""
        return self._sights.saved(sight)

    def changed_states(self) -> Iterator[Saved]:
        """As `monitoring.sights.Sights.changed_states`."""
        return self._sights.changed_states()

    def restore(self, saved: Saved) -> bool:
        """Go on from a saved state after a restart; False where it is damaged: that product is learnt anew."""
        try:
            monitor = ProductMonitor.from_state(saved.state, deferred=self._elsewhere is not None)
            trial = monitor.copy()
            for p_defect in (0.0, 1.0, 0.5):
                trial.update(p_defect)
        # A file can hold anything: what is missing, of another kind or beyond any number shows as these.
        except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError):
            return False
        self._sights.put(saved.sight, _Product(monitor, saved.version))
        return True

    def _begin(self, watched: _Product, model: str) -> bool:
        """Learn anew, as a new version if anything had been learnt; whether an alarm stood. Its lock is held."""
        stood = watched.monitor.standing is not None
        watched.version += watched.monitor.parts > 0
        watched.changes += 1
        watched.monitor, watched.expected, watched.is_learning = self._made(model), ExpectedErrors(), False
        return stood

    def _see_to(self, watched: _Product) -> None:
        """Have the monitor taught elsewhere, if it is due and nobody does."""
        if self._elsewhere is None or watched.is_learning or not watched.monitor.is_due:
            return
        watched.is_learning = True
        of, taught = watched.monitor, watched.monitor.copy()

        def work() -> None:
            taught.learn()
            with watched.lock:
                if watched.monitor is of:
                    watched.monitor, watched.is_learning = taught, False
                    watched.changes += 1

        self._elsewhere(work)
