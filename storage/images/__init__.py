"""Image stores by the scheme of their address; a new one is a file and a line here."""

from collections.abc import Callable

from storage.images.content import ContentStore
from storage.images.folder import open_folder

IMAGE_STORES: dict[str, Callable[[str], ContentStore]] = {"file": open_folder}


class UnknownImageStore(ValueError):
    """The address names a kind of store that Loupe does not have."""

    def __init__(self, address: str) -> None:
        super().__init__(f"'{address}' is not the address of an image store")
        self.remedy = f"begin it with one of {', '.join(f'{name}://' for name in sorted(IMAGE_STORES))}"


def open_image_store(address: str) -> ContentStore:
    """The store at an address such as `file:///var/lib/loupe/images`.

    Raises UnknownImageStore.
    """
    scheme, separator, _ = address.partition("://")
    if not separator or scheme not in IMAGE_STORES:
        raise UnknownImageStore(address)
    return IMAGE_STORES[scheme](address)
