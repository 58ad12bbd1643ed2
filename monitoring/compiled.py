"""Numeric loops as machine code, kept on disk from one start to the next where a disk lets them be."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar, cast

import numba
from numba.core.caching import FunctionCache

_Loops = TypeVar("_Loops", bound=Callable[..., Any])


def compiled(*, long: bool = False, inner: bool = False, reorder: bool = False) -> Callable[[_Loops], _Loops]:
    """Compile a function of numbers and arrays when it is first called with their types, or load what was compiled.

    Division by zero gives infinity or NaN and whole numbers wrap, as in numpy. While a `long` one runs other threads
    do; a short one keeps the interpreter, for getting it back may take longer than the work. An `inner` one is for
    compiled functions of its own module and is kept as a part of them. One that may `reorder` adds up floats in any
    order, as many at once as fit: the last digits differ from one processor to another.

    What is kept is made anew when its module's text changes, and not when a constant of another module does.
    """

    def make(loops: _Loops) -> _Loops:
        # Of what a compiler calls fast maths only the order of sums: NaN and infinity stay what they are.
        dispatcher = numba.njit(nogil=long, error_model="numpy", fastmath={"reassoc", "nsz"} if reorder else False)(
            loops
        )
        if not inner:
            # Raised where no folder can be written to, beside the source or at home: it is compiled at every start.
            with suppress(RuntimeError):
                dispatcher._cache = _Kept(loops)
        return cast(_Loops, dispatcher)

    return make


class _Kept(FunctionCache):  # type: ignore[misc]  # numba is Any to us
    """Machine code on disk. It can always be made again, so neither damage to it nor a full disk is an error."""

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """What was kept for these types and this processor; None where that is nothing, or can't be read."""
        try:
            return super().load_overload(sig, target_context)
        except Exception:  # noqa: BLE001 - what a damaged file raises is up to the damage
            with suppress(OSError):
                self.flush()
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep it, if there is room."""
        with suppress(OSError):
            super().save_overload(sig, data)
