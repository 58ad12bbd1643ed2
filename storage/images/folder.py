"""Images in a folder of this machine."""

import os
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

from obstore.store import LocalStore

from storage.images.content import ContentStore


def open_folder(address: str) -> ContentStore:
    """The store in the folder of a `file://` address; the folder is made when it is not there."""
    root = Path(unquote(urlsplit(address).path))
    root.mkdir(parents=True, exist_ok=True)

    def settle(keys: Sequence[str]) -> None:
        # obstore's local put renames into place without fsync: after a power cut the file could be empty or gone.
        files = [root / key for key in dict.fromkeys(keys)]
        for target in (*files, *dict.fromkeys(file.parent for file in files), root):
            descriptor = os.open(target, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    return ContentStore(LocalStore(root), address, settle)
