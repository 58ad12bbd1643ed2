"""Content-addressed objects (images, model files) behind obstore: the name of an object is the SHA-256 of its bytes."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import ObjectStore


class ContentMissing(LookupError):
    """No object of this hash is in the store."""

    def __init__(self, sha256: str, address: str) -> None:
        super().__init__(f"object {sha256} is not in the store {address}")
        self.sha256 = sha256
        self.remedy = "restore it from a backup, or check that LOUPE_IMAGE_STORE_URL names the store it was written to"


class ImageStoreUnavailable(OSError):
    """The store neither takes nor gives objects: its disk is full or away, or its server does not answer."""

    def __init__(self, address: str, reason: str) -> None:
        super().__init__(f"the image store {address} can't be used: {reason}")
        self.address, self.reason = address, reason
        self.remedy = "bring it back or make room on it, or correct LOUPE_IMAGE_STORE_URL"


class ContentStore:
    """Bytes by their SHA-256; what `put` has returned is durable."""

    def __init__(self, store: ObjectStore, address: str, settle: Callable[[Sequence[str]], None]) -> None:
        self.address = address
        self._store = store
        self._settle = settle
        """Makes written objects survive a power cut, where the store's own `put` does not."""

    def put(self, data: bytes) -> str:
        """Keep the bytes; returns their SHA-256 in hex. Keeping the same bytes again changes nothing.

        Raises ImageStoreUnavailable, OSError.
        """
        return self.put_all([data])[0]

    def put_all(self, objects: Iterable[bytes]) -> list[str]:
        """Keep several objects and make them durable together; returns their SHA-256 in hex.

        Raises ImageStoreUnavailable, OSError.
        """
        return self.put_known((hashlib.sha256(data).hexdigest(), data) for data in objects)

    def put_known(self, objects: Iterable[tuple[str, bytes]]) -> list[str]:
        """As `put_all`, for bytes whose SHA-256 is known already: (hash, bytes); it is not computed again.

        Raises ImageStoreUnavailable, OSError.
        """
        hashes = []
        with self._reporting():
            for sha256, data in objects:
                self._write(_key(sha256), data)
                hashes.append(sha256)
        self._settle([_key(sha256) for sha256 in hashes])
        return hashes

    def get(self, sha256: str) -> bytes:
        """The bytes.

        Raises ContentMissing, ImageStoreUnavailable.
        """
        try:
            with self._reporting():
                return bytes(obstore.get(self._store, _key(sha256)).bytes())
        except FileNotFoundError as error:
            raise ContentMissing(sha256, self.address) from error

    def has(self, sha256: str) -> bool:
        """Whether the store holds the object.

        Raises ImageStoreUnavailable.
        """
        try:
            with self._reporting():
                obstore.head(self._store, _key(sha256))
        except FileNotFoundError:
            return False
        return True

    def uri(self, sha256: str) -> str:
        """Where the object lies."""
        return f"{self.address.rstrip('/')}/{_key(sha256)}"

    def _write(self, key: str, data: bytes) -> None:
        try:
            obstore.put(self._store, key, data, mode="create")
        except AlreadyExistsError:
            # It may have been written just before a power cut, before it was settled: then it can have a name and no
            # bytes. What is whole is settled by the caller all the same.
            if obstore.head(self._store, key)["size"] != len(data):
                obstore.put(self._store, key, data)

    @contextmanager
    def _reporting(self) -> Iterator[None]:
        try:
            yield
        except BaseError as error:
            raise ImageStoreUnavailable(self.address, str(error).strip().splitlines()[0]) from error


def _key(sha256: str) -> str:
    return f"{sha256[:2]}/{sha256}"
