"""What systemd wants to hear of a service (sd_notify): that it is ready, alive, stopping."""

import socket
from contextlib import suppress

EXTEND_US = 10_000_000
"""While it is not ready, so much more time for the start is asked for each time."""


class Notifier:
    """Tells systemd at `address` (NOTIFY_SOCKET; empty: nobody) what has changed, and that the process lives."""

    def __init__(self, address: str) -> None:
        # A leading @ stands for the NUL of Linux' abstract names.
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self._is_ready = self._is_stopping = False

    def pulse(self, *, ready: bool, stopping: bool) -> None:
        """To be called every second or so by what has to be alive for the service to be."""
        if stopping:
            if not self._is_stopping:
                self._is_stopping = True
                self._tell("STOPPING=1\nSTATUS=answering what is in work")
        elif self._is_ready:
            self._tell("WATCHDOG=1")
        elif ready:
            self._is_ready = True
            self._tell("READY=1\nSTATUS=serving\nWATCHDOG=1")
        else:
            self._tell(f"EXTEND_TIMEOUT_USEC={EXTEND_US}\nSTATUS=waiting for the database")

    def _tell(self, state: str) -> None:
        if not self._address:
            return
        # systemd may be restarting; a full socket must not hold up the line.
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            sender.setblocking(False)
            sender.sendto(state.encode(), self._address)
