"""Which keys an index may hold, in memory: nearly every part is new, and asking the disk about each costs the line."""

_ADDRESS_BITS = 26
_BITS = 1 << _ADDRESS_BITS
_MASK = _BITS - 1
CAPACITY = 4_000_000
"""With so many keys one in eighty unknown ones is looked up in vain."""


class Known:
    """A Bloom filter (Bloom, 1970) with two hashes in 8 MB; one thread at a time adds, any asks.

    >>> known = Known()
    >>> known.add("a")
    >>> "a" in known, "b" in known
    (True, False)
    """

    def __init__(self) -> None:
        self._bits = bytearray(_BITS >> 3)
        self.count = 0
        """How many were added, those that were there already included."""

    def add(self, key: str) -> None:
        """From now on the key is known."""
        code = hash(key)
        one, other = code & _MASK, (code >> _ADDRESS_BITS) & _MASK
        self._bits[one >> 3] |= 1 << (one & 7)
        self._bits[other >> 3] |= 1 << (other & 7)
        self.count += 1

    def __contains__(self, key: str) -> bool:
        """False only for a key that was never added."""
        code = hash(key)
        one, other = code & _MASK, (code >> _ADDRESS_BITS) & _MASK
        return bool(self._bits[one >> 3] >> (one & 7) & 1 and self._bits[other >> 3] >> (other & 7) & 1)
