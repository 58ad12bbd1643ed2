"""The door of a server that ends: nobody new gets in while the last ones that are at it are still let in."""

import ctypes
import socket
import struct
import sys
from contextlib import suppress

HANDSHAKE_S = 0.05
"""So long a caller that was already connecting may still take."""

_SO_ATTACH_FILTER = 26
"""Linux' number for it; Python has no name."""
_NO_SYN = (  # classic BPF, Linux' linux/filter.h: (code, jump if true, jump if false, value)
    (0x30, 0, 0, 13),  # load the TCP header's flags
    (0x45, 1, 0, 0x02),  # is SYN among them?
    (0x06, 0, 0, 0xFFFF_FFFF),  # no: take the packet whole
    (0x06, 0, 0, 0),  # yes: drop it
)


def keep_out(listening: socket.socket) -> None:
    """From now on nobody begins to connect; who has begun `HANDSHAKE_S` ago is connected, for `accept` to find.

    Closing a listener resets callers that are connected and not accepted, and between the last `accept` and the close
    there is always room for one more. A caller that is kept out asks again after a second, and then nobody listens.
    Does nothing where the system can't do it.
    """
    if sys.platform != "linux":
        return
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in _NO_SYN))
    with suppress(OSError):  # some sandboxes don't know it: then it is as it was
        listening.setsockopt(
            socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HP", len(_NO_SYN), ctypes.addressof(code))
        )
