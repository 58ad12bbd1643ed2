"""Which model and recipe decide: follows the promotions, and swaps only to a model that has proved itself here."""

import hashlib
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from models.card import ModelFileError, OperatingPoint
from models.classifier import UNLOADABLE, Classifier, ExecutionProviderMismatch
from models.preprocess import DECODE_VERSION, UnreadableImage, stored_frame
from models.scoring import score
from service.line.requests import NotReady
from storage import models
from storage.database import Database
from storage.images.content import ContentMissing, ContentStore
from storage.records import Model, Promotion, Recipe

CHALLENGE_TOLERANCE = 0.02
"""How far p_defect of a golden part may lie from what the model gave when it was made."""
WARM_RUNS = 3
RETRY: tuple[object, ...] = ()
"""The attempt of a refusal for a reason that may pass, such as a store that is away: it is made again and again."""


class ChallengeFailed(RuntimeError):
    """The model does not give here what it gave when it was made."""

    def __init__(self, model_id: str, image_sha256: str, expected: float, found: float) -> None:
        super().__init__(
            f"model {model_id} gives p_defect {found:.4f}, not {expected:.4f}, for golden part {image_sha256[:12]}"
        )
        self.remedy = "compare the software versions in the model card with `loupe doctor`; train again on this machine"


class PointMissing(ValueError):
    """The recipe names an operating point that the model does not have."""

    def __init__(self, model: Model, recipe: Recipe, known: Iterable[str]) -> None:
        super().__init__(
            f"recipe {recipe.product}@{recipe.station} version {recipe.version} wants operating point "
            f"'{recipe.operating_point}', model {model.id} has {', '.join(known) or 'none'}"
        )
        self.remedy = "change the recipe, or promote a model that has it"


@dataclass(frozen=True, slots=True)
class Active:
    """What decides for a product at a station."""

    model: Model
    classifier: Classifier
    recipe: Recipe
    point: OperatingPoint


@dataclass(frozen=True, slots=True)
class Swap:
    """A change of champion, or why it was refused."""

    product: str
    model_id: str
    reason: str | None
    """None: done. Else why the model was refused; the one before it keeps deciding."""


@dataclass(frozen=True, slots=True)
class _Loaded:
    model: Model
    classifier: Classifier


@dataclass(frozen=True, slots=True)
class _Refused:
    swap: Swap
    attempt: tuple[object, ...]
    """The promotion and the recipes under which it was refused: when one of them changes, it is tried again."""


class Champions:
    """The loaded champions; `refresh` follows the database, `active` is called for every part."""

    def __init__(
        self, database: Database, images: ContentStore, cache: Path, open_model: Callable[[Path], Classifier]
    ) -> None:
        self._database, self._images, self._cache, self._open_model = database, images, cache, open_model
        self._loaded: dict[str, _Loaded] = {}
        self._recipes: dict[tuple[str, str], Recipe] = {}
        self._refused: dict[str, _Refused] = {}
        self._refreshing = threading.Lock()
        self._following = False
        self._loading: frozenset[str] = frozenset()

    def active(self, product: str | None, station: str) -> Active:
        """What decides for this part.

        Raises NotReady.
        """
        loaded = self._loaded
        if product is None:
            if len(loaded) != 1 and (self._loading or not self._following):
                raise NotReady("models are being loaded", "send the trigger again in a moment")
            if len(loaded) != 1:
                raise NotReady(
                    f"the request names no product and {len(loaded)} products have a champion here", "add &product=NAME"
                )
            product = next(iter(loaded))
        if product not in loaded:
            if product in self._loading or not self._following:
                raise NotReady(
                    f"the model of product {product!r} is being loaded", "send the trigger again in a moment"
                )
            refused = self._refused.get(product)
            raise NotReady(
                f"product {product!r} has no champion that is ready" + (f": {refused.swap.reason}" if refused else ""),
                f"`loupe models --product {product}` lists its models, `loupe promote MODEL` makes one decide",
            )
        recipe = models.recipe_for(self._recipes, product, station)
        if recipe is None:
            raise NotReady(f"product {product!r} has no recipe at station {station!r}", f"loupe recipe set {product}")
        found = loaded[product]
        card = found.classifier.card
        if recipe.operating_point not in card.operating_points:
            problem = PointMissing(found.model, recipe, card.operating_points)
            raise NotReady(str(problem), problem.remedy)
        return Active(found.model, found.classifier, recipe, card.operating_points[recipe.operating_point])

    @property
    def is_following(self) -> bool:
        """Whether the promotions have been read once."""
        return self._following

    def summary(self) -> dict[str, dict[str, object]]:
        """By product: the model that decides, and the promotion that was refused, if any."""
        products = {*self._loaded, *self._refused}
        return {product: self._product_summary(product) for product in sorted(products)}

    def _product_summary(self, product: str) -> dict[str, object]:
        loaded, refused = self._loaded.get(product), self._refused.get(product)
        return {
            "model": loaded.model.id if loaded else None,
            "execution_provider": loaded.classifier.provider if loaded else None,
            "recipe_fits": loaded is not None and self._recipe_fits(loaded),
            "refused": None if refused is None else {"model": refused.swap.model_id, "reason": refused.swap.reason},
        }

    def _recipe_fits(self, loaded: _Loaded) -> bool:
        """Whether every recipe of the product, of which there must be one, finds its operating point in the model."""
        points = loaded.classifier.card.operating_points
        found = [r for r in self._recipes.values() if r.product == loaded.model.product]
        return bool(found) and all(recipe.operating_point in points for recipe in found)

    def refresh(self) -> list[Swap]:
        """Take over recipes and promotions; load, warm, challenge, then swap. Returns what changed.

        Raises DatabaseUnavailable.
        """
        with self._refreshing:
            with self._database.read() as connection:
                promotions = models.champions(connection)
                recipes = models.newest_recipes(connection)
                by_id = models.models_by_id(connection, [p.model_id for p in promotions.values()])
            self._recipes = recipes
            self._following = True
            pending = [p for p in promotions.values() if self._is_new(p)]
            self._loading = frozenset(p.product for p in pending)
            told = {product: refused.swap for product, refused in self._refused.items()}
            swaps = [self._take_over(promotion, by_id[promotion.model_id]) for promotion in pending]
            self._loading = frozenset()
            return [swap for swap in swaps if told.get(swap.product) != swap]

    def _is_new(self, promotion: Promotion) -> bool:
        loaded = self._loaded.get(promotion.product)
        refused = self._refused.get(promotion.product)
        if loaded is not None and loaded.model.id == promotion.model_id:
            self._refused.pop(promotion.product, None)
            return False
        return refused is None or refused.attempt != self._attempt(promotion)

    def _attempt(self, promotion: Promotion) -> tuple[object, ...]:
        recipes = [(r.station, r.version) for r in self._recipes.values() if r.product == promotion.product]
        return promotion.seq, *sorted(recipes)

    def _take_over(self, promotion: Promotion, model: Model) -> Swap:
        try:
            classifier = self._load(model)
            for _ in range(WARM_RUNS):
                classifier.warm(classifier.card.geometry.tiles)
            self._challenge(model, classifier)
            self._check_points(model, classifier)
        except (
            *UNLOADABLE,
            PointMissing,
            ModelFileError,
            ExecutionProviderMismatch,
            ChallengeFailed,
            UnreadableImage,
        ) as error:
            return self._refuse(model, error, self._attempt(promotion))
        except (OSError, ContentMissing) as error:
            return self._refuse(model, error, RETRY)
        # One assignment of a new dict: a part that is being judged keeps the model it began with.
        self._loaded = {**self._loaded, model.product: _Loaded(model, classifier)}
        self._refused.pop(model.product, None)
        return Swap(model.product, model.id, None)

    def _refuse(self, model: Model, error: Exception, attempt: tuple[object, ...]) -> Swap:
        swap = Swap(model.product, model.id, str(error))
        self._refused[model.product] = _Refused(swap, attempt)
        return swap

    def _cached(self, sha256: str, suffix: str) -> Path:
        """The object on this machine: a restart must not need the store."""
        path = self._cache / f"{sha256}{suffix}"
        if not _is_intact(path, sha256):
            self._cache.mkdir(parents=True, exist_ok=True)
            partial = path.with_suffix(".part")
            partial.write_bytes(self._images.get(sha256))
            partial.replace(path)
        return path

    def _load(self, model: Model) -> Classifier:
        classifier = self._open_model(self._cached(model.sha256, ".onnx"))
        if classifier.sha256 != model.sha256:
            raise ModelFileError(f"the file of model {model.id} is damaged", "restore the image store, or train again")
        version = classifier.card.geometry.decode_version
        if version != DECODE_VERSION:
            raise ModelFileError(
                f"model {model.id} needs decode version {version}, this program has {DECODE_VERSION}", "train it again"
            )
        return classifier

    def _check_points(self, model: Model, classifier: Classifier) -> None:
        """Every recipe of the product must find its operating point in the model."""
        points = classifier.card.operating_points
        for recipe in self._recipes.values():
            if recipe.product == model.product and recipe.operating_point not in points:
                raise PointMissing(model, recipe, points)

    def _challenge(self, model: Model, classifier: Classifier) -> None:
        """Golden parts through decoding, geometry and session must give what they gave in training."""
        for golden in model.challenge:
            sha256, expected = str(golden["image_sha256"]), float(str(golden["p_defect"]))
            data = self._cached(sha256, ".golden").read_bytes()
            found = score(classifier, stored_frame(data, str(golden["media_type"]))).p_defect
            if not abs(found - expected) <= CHALLENGE_TOLERANCE:
                raise ChallengeFailed(model.id, sha256, expected, found)


def _is_intact(path: Path, sha256: str) -> bool:
    """A copy may be torn: it was written without waiting for the disk."""
    return path.exists() and hashlib.sha256(path.read_bytes()).hexdigest() == sha256
