"""Which model and recipe decide: follows the promotions, and swaps only to a model that has proved itself here."""

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass

from models.card import OperatingPoint
from models.classifier import Scorer
from service.line.dispatch import Pace
from service.line.loading import AWAY, REFUSED, Loaded, ModelLoader, PointMissing
from service.line.requests import NotReady
from storage import models
from storage.database import Connection
from storage.records import Model, Promotion, Recipe

RETRY: tuple[object, ...] = ()
"""The attempt of a refusal for a reason that may pass, such as a store that is away: it is made again and again."""
REST_AFTER_S = 2.0
"""A model that was used later than this many seconds ago does not leave memory for another."""


@dataclass(frozen=True, slots=True)
class Active:
    """What decides for a product at a station."""

    model: Model
    classifier: Scorer
    recipe: Recipe
    point: OperatingPoint
    pace: Pace


@dataclass(frozen=True, slots=True)
class Swap:
    """A change of champion, or why it was refused."""

    product: str
    model_id: str
    reason: str | None
    """None: done. Else why the model was refused; the one before it keeps deciding."""


@dataclass(frozen=True, slots=True)
class _Refused:
    swap: Swap
    attempt: tuple[object, ...]
    """The promotion and the recipes under which it was refused: when one of them changes, it is tried again."""


class Champions:
    """The champions and recipes that hold, and as many of the models in memory as the limit allows.

    `follow` reads the database, `load` does the slow work on another thread, `active` is called for every part.
    """

    def __init__(self, loader: ModelLoader, memory_limit_bytes: int) -> None:
        self._loader, self._memory_limit = loader, memory_limit_bytes
        self._promotions: dict[str, Promotion] = {}
        self._models: dict[str, Model] = {}
        self._recipes: dict[tuple[str, str], Recipe] = {}
        self._loaded: dict[str, Loaded] = {}
        self._refused: dict[str, _Refused] = {}
        self._wanted: set[str] = set()
        """Products that a part asked for while their model was out of memory."""
        self._resting: set[str] = set()
        """Products whose model is out of memory for want of room."""
        self._following = False
        self.pending = threading.Event()
        """Set while there may be something to load."""

    def active(self, product: str | None, station: str) -> Active:
        """What decides for this part.

        Raises NotReady.
        """
        product = product or self._only_product()
        found = self._loaded.get(product)
        if found is None:
            raise self._not_loaded(product)
        recipe = models.recipe_for(self._recipes, product, station)
        if recipe is None:
            raise NotReady(f"product {product!r} has no recipe at station {station!r}", f"loupe recipe set {product}")
        points = found.classifier.card.operating_points
        if recipe.operating_point not in points:
            problem = PointMissing(found.model, recipe, points)
            raise NotReady(str(problem), problem.remedy)
        found.used_at = time.monotonic()
        return Active(found.model, found.classifier, recipe, points[recipe.operating_point], found.pace)

    def _only_product(self) -> str:
        if not self._following:
            raise NotReady("models are being loaded", "send the trigger again in a moment")
        products = list(self._promotions)  # once, for `follow` replaces them meanwhile
        if len(products) == 1:
            return products[0]
        ready = list(self._loaded)
        # Whether a part is judged by a model must not depend on which others have a place in memory.
        if len(ready) == 1 and not self._resting and not self._is_loading():
            return ready[0]
        if self._is_loading():
            raise NotReady("models are being loaded", "send the trigger again in a moment")
        raise NotReady(
            f"the request names no product and {len(products)} products have a champion here",
            "add &product=NAME",
        )

    def _is_loading(self) -> bool:
        return any(self._is_due(promotion) for promotion in self._promotions.values())

    def _not_loaded(self, product: str) -> NotReady:
        promotion = self._promotions.get(product)
        if promotion is not None and product in self._resting:
            self._wanted.add(product)
            self.pending.set()
        if not self._following or (promotion is not None and self._is_due(promotion)):
            return NotReady(f"the model of product {product!r} is being loaded", "send the trigger again in a moment")
        refused = self._refused.get(product)
        return NotReady(
            f"product {product!r} has no champion that is ready" + (f": {refused.swap.reason}" if refused else ""),
            f"`loupe models --product {product}` lists its models, `loupe promote MODEL` makes one decide",
        )

    def knows(self, product: str) -> bool:
        """Whether the product has a champion, in memory or not."""
        return product in self._promotions

    @property
    def is_following(self) -> bool:
        """Whether the promotions have been read once."""
        return self._following

    @property
    def loaded(self) -> Mapping[str, Loaded]:
        """The models in memory by product; a mapping that is never changed, only replaced."""
        return self._loaded

    @property
    def loaded_bytes(self) -> int:
        """Memory that the loaded models take, as far as it is known."""
        return sum(found.classifier.bytes for found in self._loaded.values())

    def recipe(self, product: str, station: str) -> Recipe | None:
        """The recipe that holds for the product at the station."""
        return models.recipe_for(self._recipes, product, station)

    def summary(self) -> dict[str, dict[str, object]]:
        """By product: the model that decides, whether it is in memory, and the promotion that was refused, if any."""
        products = {*self._promotions, *self._loaded}
        return {product: self._product_summary(product) for product in sorted(products)}

    def _product_summary(self, product: str) -> dict[str, object]:
        loaded, refused = self._loaded.get(product), self._refused.get(product)
        return {
            "model": loaded.model.id if loaded else None,
            "execution_provider": loaded.classifier.provider if loaded else None,
            "recipe_fits": loaded is not None and self._recipe_fits(loaded),
            "resting": product in self._resting,
            "refused": None if refused is None else {"model": refused.swap.model_id, "reason": refused.swap.reason},
        }

    def _recipe_fits(self, loaded: Loaded) -> bool:
        """Whether every recipe of the product, of which there must be one, finds its operating point in the model."""
        points = loaded.classifier.card.operating_points
        found = [r for r in self._recipes.values() if r.product == loaded.model.product]
        return bool(found) and all(recipe.operating_point in points for recipe in found)

    def follow(self, connection: Connection) -> None:
        """Take over recipes and promotions; what has to be loaded for it is left to `load`."""
        promotions, recipes = models.champions(connection), models.newest_recipes(connection)
        self._models = models.models_by_id(connection, [p.model_id for p in promotions.values()])
        self._recipes, self._promotions = recipes, promotions
        self._following = True
        if self._is_loading():
            self.pending.set()

    def load(self) -> list[Swap]:
        """Load, warm, challenge, then swap whatever is due; returns what changed. One thread calls this."""
        self.pending.clear()
        swaps = []
        for promotion in list(self._promotions.values()):
            if self._is_due(promotion) and self._has_room(promotion.product):
                told = self._refused.get(promotion.product)
                swap = self._take_over(promotion)
                if told is None or told.swap != swap:
                    swaps.append(swap)
        return swaps

    def _is_due(self, promotion: Promotion) -> bool:
        """Whether the product's champion is not the one in memory, and there is a reason to try."""
        product = promotion.product
        if product in self._resting:
            return product in self._wanted
        loaded = self._loaded.get(product)
        if loaded is not None and loaded.model.id == promotion.model_id:
            self._refused.pop(product, None)
            return False
        refused = self._refused.get(product)
        return refused is None or refused.attempt != self._attempt(promotion)

    def _has_room(self, product: str) -> bool:
        """Whether the product's model may be loaded now; models that were not used for longest make room for it."""
        if product in self._loaded:
            return True
        idle_before = time.monotonic() - REST_AFTER_S
        while self._loaded and self.loaded_bytes >= self._memory_limit:
            longest = min(self._loaded.values(), key=lambda found: found.used_at)
            if product not in self._wanted:
                self._resting.add(product)
                return False
            if longest.used_at > idle_before:
                return False
            self._drop(longest.model.product)
        return True

    def _drop(self, product: str) -> None:
        self._resting.add(product)
        self._loaded = {name: found for name, found in self._loaded.items() if name != product}

    def _attempt(self, promotion: Promotion) -> tuple[object, ...]:
        recipes = [(r.station, r.version) for r in self._recipes.values() if r.product == promotion.product]
        return promotion.seq, *sorted(recipes)

    def _take_over(self, promotion: Promotion) -> Swap:
        product, model = promotion.product, self._models[promotion.model_id]
        try:
            new = self._loader.load(model, self._recipes.values())
        except REFUSED as error:
            return self._refuse(model, error, self._attempt(promotion))
        except AWAY as error:
            return self._refuse(model, error, RETRY)
        # One assignment of a new dict: a part that is being judged keeps the model it began with.
        self._loaded = {**self._loaded, product: new}
        self._refused.pop(product, None)
        self._wanted.discard(product)
        self._resting.discard(product)
        return Swap(product, model.id, None)

    def _refuse(self, model: Model, error: Exception, attempt: tuple[object, ...]) -> Swap:
        swap = Swap(model.product, model.id, str(error))
        self._refused[model.product] = _Refused(swap, attempt)
        self._wanted.discard(model.product)
        return swap
