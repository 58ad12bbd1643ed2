"""Brokers and who listens to them."""

import os
import shutil
import socket
import subprocess
import threading
from pathlib import Path

import pytest
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion

from tests.service.line.stocked import wait_until


class Listener:
    """Somebody who reads a topic; `name` keeps what was published while nobody was connected."""

    def __init__(self, port: int, topic: str, name: str = "") -> None:
        self.messages: list[MQTTMessage] = []
        subscribed = threading.Event()
        self._client = Client(CallbackAPIVersion.VERSION2, client_id=name, clean_session=not name)
        self._client.on_connect = lambda client, *_: client.subscribe(topic, qos=1)
        self._client.on_subscribe = lambda *_: subscribed.set()
        self._client.on_message = lambda _client, _userdata, message: self.messages.append(message)
        self._client.reconnect_delay_set(1, 1)
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        assert subscribed.wait(10)

    @property
    def bodies(self) -> list[bytes]:
        return [bytes(message.payload) for message in self.messages]

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


class Mosquitto:
    """A broker of the test's own, which keeps its sessions over a restart."""

    def __init__(self, folder: Path, extra: str = "") -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._config = folder / "mosquitto.conf"
        self._config.write_text(
            f"user root\nlistener {self.port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\n"
            f"persistence true\npersistence_location {folder}/\nautosave_interval 1\n"
            f"{extra}\n"
        )
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(
            [str(shutil.which("mosquitto")), "-c", self._config], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        wait_until(self._answers)

    def keeps(self, name: str) -> bool:
        """Whether the session of this name is written down, so that killing the broker does not end it."""
        stored = self._config.with_name("mosquitto.db")
        return stored.exists() and name.encode() in stored.read_bytes()

    def stop(self, kill: bool = False) -> None:
        if self._process is not None:
            (self._process.kill if kill else self._process.terminate)()
            self._process.wait(10)
            self._process = None

    def _answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


def missing(what: str) -> None:
    if "mqtt" in os.environ.get("LOUPE_TEST_REQUIRE", ""):
        pytest.fail(f"MQTT is required and can't be used: {what}")
    pytest.skip(f"MQTT can't be used: {what}")
