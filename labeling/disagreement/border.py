"""Where each inspector sees the border between two classes, and which images lie between the borders.

Images lie on a line from the first class to the second, and every inspector has a point on it where they change over
(Guttman 1944), besides which they slip now and then. Where the points of two inspectors lie apart, they disagree about
the images between them and would do so again. Beside the line an image may be *vague*, so that every look is a toss, or
*open*, so that every inspector has a lasting view of it, whatever their point.

Everything unknown is drawn again and again, each from what the rest says of it (Gibbs sampling; Geman and Geman 1984),
so an inspector's own consistency on other images speaks for an image that they saw once, and few looks give an
undecided answer.
"""

from dataclasses import dataclass
from itertools import product

import numpy as np

from labeling.votes import Floats, Ints

PLACES: Floats = np.array([-2.0, *np.linspace(-1.0, 1.0, 9), 2.0])
"""Where an image may lie between the two classes. At the ends nobody's point is near: all see what it is."""
POINTS: Floats = np.linspace(-1.125, 1.125, 10)
"""Where an inspector may change over: midway between places, so that everybody has a view of every image."""
LAPSES = (0.005, 0.03, 0.1, 0.25)
"""How often an inspector may say the other class by mistake."""
LEANINGS = (0.3, 0.5, 0.7)
"""How often a vague image is called the second class, and how many inspectors may call an open one so."""
CHAINS, SWEEPS, UNUSED = 12, 40, 20
"""Many short runs from the same start: a single one stays with the first explanation that it finds."""

_STATES = len(PLACES) + 2 * len(LEANINGS)
_END = len(PLACES) - 1
_AT_AN_END, _ON_THE_LINE, _ASIDE = 0.4, 0.1, 0.05  # shares of images: at each end; between; vague and open each
_BASE: Floats = np.concatenate(
    [
        [_AT_AN_END],
        np.full(_END - 1, _ON_THE_LINE / (_END - 1)),
        [_AT_AN_END],
        np.full(2 * len(LEANINGS), _ASIDE / len(LEANINGS)),
    ]
)
_IMAGES_OF_BELIEF = 20.0  # in those shares
_POINT_SPREAD = 0.7
_LAPSE_PRIOR: Floats = np.array([0.35, 0.35, 0.22, 0.08])
_INSPECTORS_OF_BELIEF = 4.0  # in that prior
_SHAPES = len(LAPSES) ** 2  # an inspector's two lapses; the ways of judging that share a point stand together
_FLOOR = 1e-300


@dataclass(frozen=True, slots=True)
class Looks:
    """What n images were called by each of J inspectors: how often the first class and how often the second."""

    said: Ints
    """(n, J, 2)"""


@dataclass(frozen=True, slots=True)
class Border:
    """What is known of n images and J inspectors."""

    place: Floats
    """(n,) below 0 towards the first class, above 0 towards the second."""
    book: Floats
    """(n,) probability that two who disagreed about the image have opposite lasting views; 0 where nobody disagreed."""
    noisy: Floats
    """(n,) probability that one of the two would say otherwise another time. What is left are slips."""
    point: Floats
    """(J,) where each inspector changes over, -1.125..1.125; the lower, the more images they call the second class."""
    point_spread: Floats
    """(J,) standard deviation of that belief."""


def border(looks: Looks, rng: np.random.Generator) -> Border:
    """The border between two classes. Every image has a look.

    >>> ann, bo = np.array([[6, 0]] * 8 + [[0, 6]] * 4), np.array([[6, 0]] * 4 + [[0, 6]] * 8)  # 6 looks each
    >>> found = border(Looks(np.stack([ann, bo], axis=1)), np.random.default_rng(0))
    >>> found.book.round(1).tolist()
    [0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0]
    """
    images, inspectors, _ = looks.said.shape
    # Images of which the same was said are one image, so many times.
    kinds, kind, times = np.unique(looks.said.reshape(images, -1), axis=0, return_inverse=True, return_counts=True)
    cells = _Cells.of(kinds.reshape(-1, inspectors, 2))
    tables = _Tables.of(cells.forms)
    state, point, blame = np.zeros((len(kinds), _STATES)), [], []
    for _ in range(CHAINS):
        draw = _Draw(_start(cells), _BASE, np.outer(_NEAR, np.outer(_LAPSE_PRIOR, _LAPSE_PRIOR)).reshape(-1))
        for sweep in range(SWEEPS):
            draw, way = _next(draw, cells, tables, times, rng)
            if sweep >= UNUSED:
                state += draw.state
                point.append(np.repeat(POINTS, _SHAPES)[way])
                blame.append(_blame(draw.state, cells, tables, way[cells.inspector]))
    on_line = state[:, : _END + 1]
    place = on_line @ PLACES / np.maximum(on_line.sum(axis=1), _FLOOR)
    book, noisy = np.mean(blame, axis=0)
    points = np.array(point)
    back = kind.reshape(-1)
    return Border(place[back], book[back], noisy[back], points.mean(axis=0), points.std(axis=0))


_NEAR: Floats = np.exp(-0.5 * (POINTS / _POINT_SPREAD) ** 2) / np.exp(-0.5 * (POINTS / _POINT_SPREAD) ** 2).sum()


@dataclass(frozen=True, slots=True)
class _Cells:
    """Everything one inspector said of one image, as equal-length arrays in the order of the images."""

    image: Ints
    inspector: Ints
    form: Ints
    """Which row of `forms`."""
    second: Floats
    """The share of the looks that said the second class."""
    forms: Ints
    """(forms, 2): how often the first and how often the second class was said."""
    starts: Ints
    """(images,) where the cells of an image begin."""
    inspectors: int
    order: Ints
    """The cells by inspector and form."""
    kinds: Ints
    """Inspector x forms + form of those there are, ascending."""
    kind_starts: Ints
    """Where the cells of each kind begin, in that order."""

    @classmethod
    def of(cls, said: Ints) -> "_Cells":
        image, inspector = np.nonzero(said.sum(axis=2))
        forms, form = np.unique(said[image, inspector], axis=0, return_inverse=True)
        second = said[image, inspector, 1] / said[image, inspector].sum(axis=1)
        starts = np.searchsorted(image, np.arange(len(said)))
        kind = inspector * len(forms) + form.reshape(-1)
        order = np.argsort(kind, kind="stable")
        kinds, kind_starts = np.unique(kind[order], return_index=True)
        return cls(image, inspector, form.reshape(-1), second, forms, starts, said.shape[1], order, kinds, kind_starts)

    def by_image(self, values: Floats) -> Floats:
        """(images, …): the sum over the cells of each image."""
        return np.asarray(np.add.reduceat(values, self.starts, axis=0))

    def by_form(self, values: Ints) -> Floats:
        """(inspectors, forms x columns): values (images, columns), summed over the cells of each inspector and form."""
        found = np.zeros((self.inspectors * len(self.forms), values.shape[1]))
        found[self.kinds] = np.add.reduceat(values[self.image[self.order]], self.kind_starts, axis=0)
        return found.reshape(self.inspectors, -1)


@dataclass(frozen=True, slots=True)
class _Tables:
    """By form, way of judging (a point, a lapse to the first class, a lapse to the second) and state of the image."""

    likelihood: Floats
    """Logarithm."""
    by_way: Floats
    """(forms x states, ways) the same."""
    up: Floats
    """Probability of a lasting view that the image is of the second class, given the looks of the form."""
    down: Floats

    @classmethod
    def of(cls, forms: Ints) -> "_Tables":
        ways = np.array(list(product(POINTS, LAPSES, LAPSES)))
        point, to_first, to_second = (column[:, None] for column in ways.T)
        beyond = PLACES[None, :] > point
        seen = np.where(beyond, 1 - to_first, to_second)
        leaning = np.tile(LEANINGS, (len(ways), 1))
        aside = np.zeros_like(leaning)
        likelihood, up, down = [], [], []
        for first, second in forms.tolist():
            line = seen**second * (1 - seen) ** first
            vague = leaning**second * (1 - leaning) ** first
            above = leaning * (1 - to_first) ** second * to_first**first
            below = (1 - leaning) * to_second**second * (1 - to_second) ** first
            open_ = np.maximum(above + below, _FLOOR)
            likelihood.append(np.log(np.maximum(np.concatenate([line, vague, open_], axis=1), _FLOOR)))
            up.append(np.concatenate([beyond, aside, above / open_], axis=1))
            down.append(np.concatenate([~beyond, aside, below / open_], axis=1))
        logs = np.array(likelihood)
        by_way = np.ascontiguousarray(logs.transpose(0, 2, 1).reshape(-1, len(ways)))
        return cls(logs, by_way, np.array(up), np.array(down))


@dataclass(frozen=True, slots=True)
class _Draw:
    """One state of the sampler."""

    state: Floats
    """(images, states), rows sum to 1."""
    mix: Floats
    """(states,)"""
    prior: Floats
    """(ways,)"""


def _next(draw: _Draw, cells: _Cells, tables: _Tables, times: Ints, rng: np.random.Generator) -> tuple[_Draw, Ints]:
    """The next draw, and (J,) the way in which each inspector judges in it."""
    drawn = rng.multinomial(times, draw.state)
    way = _draw_column(rng, _softmax(cells.by_form(drawn) @ tables.by_way + np.log(draw.prior + _FLOOR)))
    mix = rng.dirichlet(_IMAGES_OF_BELIEF * _BASE + drawn.sum(axis=0))
    # How reliable the others of the team are is what is believed of an inspector before a look.
    team = np.bincount(way % _SHAPES, minlength=_SHAPES)
    lapses = np.outer(_LAPSE_PRIOR, _LAPSE_PRIOR).reshape(-1)
    prior = np.outer(_NEAR, rng.dirichlet(_INSPECTORS_OF_BELIEF * lapses + team)).reshape(-1)
    likelihood = cells.by_image(tables.likelihood[cells.form, way[cells.inspector]])
    return _Draw(_softmax(np.log(mix + _FLOOR) + likelihood), mix, prior), way


def _start(cells: _Cells) -> Floats:
    """An image at an end where all say the same, and else on the line where the share of the second class suggests.

    From other starts the points stay together in the middle, and everything is taken for slips.
    """
    share = cells.by_image(cells.second) / cells.by_image(np.ones(len(cells.second)))
    state = np.tile(_BASE, (len(share), 1))
    state[:, 1:_END] *= np.exp(-0.5 * ((PLACES[None, 1:_END] - (2 * share - 1)[:, None]) / 0.5) ** 2)
    state[:, 0] *= share == 0
    state[:, _END] *= share == 1
    state[:, _END + 1 :] *= 0.1
    return np.asarray(state / state.sum(axis=1, keepdims=True))


def _blame(state: Floats, cells: _Cells, tables: _Tables, way: Ints) -> tuple[Floats, Floats]:
    """(images,) of two looks that differ: whether both views last, and whether at least one does not.

    way: (cells,).
    """
    up, down = tables.up[cells.form, way], tables.down[cells.form, way]
    second = cells.second[:, None]
    first = 1 - second
    up_second, down_second, up_first, down_first = (
        cells.by_image(share * view) for share in (second, first) for view in (up, down)
    )
    # Two looks of one inspector never have opposite lasting views, and have the same one whenever there is any.
    opposite = up_second * down_first + down_second * up_first - 2 * cells.by_image(second * first * up * down)
    same = up_second * up_first + down_second * down_first
    same += cells.by_image(second * first * (up - up**2 + down - down**2))
    pairs = cells.by_image(cells.second) * cells.by_image(1 - cells.second)
    contested = pairs > 0
    book, slip = ((state * part).sum(axis=1) / np.where(contested, pairs, 1.0) for part in (opposite, same))
    book = np.where(contested, np.clip(book, 0.0, 1.0), 0.0)
    return book, np.where(contested, np.clip(1 - book - slip, 0.0, 1.0), 0.0)


def _draw_column(rng: np.random.Generator, probability: Floats) -> Ints:
    """(m,) one column drawn for each row."""
    below = probability.cumsum(axis=1) < rng.random((len(probability), 1))
    return np.asarray(np.minimum(below.sum(axis=1), probability.shape[1] - 1), np.int64)


def _softmax(values: Floats) -> Floats:
    powers = np.exp(values - values.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))
