"""The pass over an overview's pixels that its signature is made of, compiled; other threads run meanwhile.

Kept machine code knows changes of this file alone: nothing here may take a number from another module. What is cast to
a narrow type is cast so that a vector register holds as many pixels as it can.
"""

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from monitoring.compiled import compiled

Pixels = NDArray[np.uint8]
Counts = NDArray[np.int16]
Sums = NDArray[np.int64]

_QUIET_SHARE: Final = 0.7
_QUIET_MEAN_PER_SIGMA: Final = 0.4637
"""Mean of the smallest 70 % of |N(0, 1)|."""
_QUANTILE_OVER_MEAN: Final = 1.299
"""The 70 % quantile of |N(0, 1)| over its mean: where the search for the quantile begins."""

_FRAME: Final = 2
_LAG: Final = 4
_ROWS: Final = 8
"""Rows at hand at once: enough for `_FRAME` before and after one, and for one `_LAG` before it."""
_SHORT: Final = 1 << 14
"""The sum of so many squared differences fits in 32 bits."""
_STRIP: Final = 256


@compiled(long=True)
def scalars(overview: Pixels, light_map: NDArray[np.float32]) -> tuple[float, float, float, float, float, float]:
    """The scalar signals of an overview, uint8 (h, w, 3) without gaps, in the order of `monitoring.signals.SCALARS`.

    Writes the logarithm of the mean luminance of each cell into `light_map`, float32 (n, n). A pixel that lies in two
    cells counts in both with its share.
    """
    height, width, _ = overview.shape
    pixels = height * width
    rows = overview.reshape(height, 3 * width)
    framed = np.empty((_ROWS, width + 2 * _FRAME), np.int16)
    smooth = np.empty((_ROWS, width), np.int16)
    down = np.empty(width + 2 * _FRAME, np.int16)
    curvature = np.empty((height, width), np.uint8)
    colours = np.zeros(3, np.int64)
    fine = np.zeros(4, np.int64)
    coarse = np.zeros(4, np.int64)
    columns = np.zeros(width, np.uint32)
    # What needs the rows after one is done when they are there, `_FRAME` rows later.
    for newest in range(height + _FRAME):
        if newest < height:
            _luminance(rows[newest], framed[newest % _ROWS], colours)
            line = framed[newest % _ROWS, _FRAME : _FRAME + width]
            above = framed[max(newest - 1, 0) % _ROWS, _FRAME : _FRAME + width]
            _add(line, above, 1, fine)
            _cells(line, newest, height, columns, light_map)
        y = newest - _FRAME
        if y >= 0:
            second_before = framed[_mirrored(y - 2, height) % _ROWS]
            before = framed[_mirrored(y - 1, height) % _ROWS]
            here = framed[y % _ROWS]
            after = framed[_mirrored(y + 1, height) % _ROWS]
            _curvature(before, here, after, down, curvature[y])
            mean = smooth[y % _ROWS]
            _mean(second_before, before, here, after, down, mean)
            _add(mean, smooth[(y - _LAG if y >= _LAG else y) % _ROWS], _LAG, coarse)
    noise = _quiet_mean(curvature.reshape(pixels)) / (6 * _QUIET_MEAN_PER_SIGMA)
    level = fine[0] / pixels
    deviation = math.sqrt(max(fine[1] / pixels - level * level, 0.0))
    red, green, blue = colours[0] + pixels, colours[1] + pixels, colours[2] + pixels
    # One count added throughout: it bounds the logarithm of a black image and is nothing in a lit one.
    return (
        math.log(level + 1),
        math.log(red / green),
        math.log(blue / green),
        math.log(deviation / (level + 1) + 1e-3),
        _focus(_detail(fine, height, width, 1), _detail(coarse, height, width, _LAG), noise),
        math.log(noise + 0.1),
    )


@compiled(inner=True)
def _mirrored(index: int, count: int) -> int:
    """What lies at an index when the picture goes on beyond its edges as its mirror image, the edge itself once."""
    if count == 1:
        return 0
    while index < 0 or index >= count:
        index = -index if index < 0 else 2 * count - 2 - index
    return index


@compiled(inner=True)
def _luminance(row: Pixels, framed: Counts, colours: Sums) -> None:
    """Write a row's luminance, as OpenCV rounds it, and its mirrored frame; add up red, green and blue."""
    width = framed.size - 2 * _FRAME
    line = framed[_FRAME : _FRAME + width]
    reds = greens = blues = np.int32(0)
    for x in range(width):
        red, green, blue = np.int32(row[3 * x]), np.int32(row[3 * x + 1]), np.int32(row[3 * x + 2])
        line[x] = (red * 9798 + green * 19235 + blue * 3735 + (1 << 14)) >> 15
        reds, greens, blues = np.int32(reds + red), np.int32(greens + green), np.int32(blues + blue)
    colours[0] += reds
    colours[1] += greens
    colours[2] += blues
    for x in range(_FRAME):
        framed[x] = line[_mirrored(x - _FRAME, width)]
        framed[_FRAME + width + x] = line[_mirrored(width + x, width)]


@compiled(inner=True)
def _add(line: Counts, above: Counts, lag: int, sums: Sums) -> None:
    """Add up a row's counts, their squares and squared differences: to the row above, and of pixels `lag` apart."""
    for start in range(0, line.size, _SHORT):
        part, above_part = line[start : start + _SHORT], above[start : start + _SHORT]
        total = square = down = across = np.int32(0)
        for x in range(part.size):
            difference = np.int16(part[x] - above_part[x])
            total = np.int32(total + part[x])
            square = np.int32(square + np.int32(part[x]) * np.int32(part[x]))
            down = np.int32(down + np.int32(difference) * np.int32(difference))
        right = line[start + lag : start + lag + _SHORT]
        for x in range(right.size):
            difference = np.int16(right[x] - part[x])
            across = np.int32(across + np.int32(difference) * np.int32(difference))
        sums[0] += total
        sums[1] += square
        sums[2] += down
        sums[3] += across


@compiled(inner=True)
def _curvature(before: Counts, here: Counts, after: Counts, down: Counts, answer: Pixels) -> None:
    """Write the size of the second difference across of the second difference down, at most 255.

    That is Immerkær's kernel, [1, -2, 1] both ways; it has no answer to planes and edges of any constant slope.
    """
    for x in range(down.size):
        down[x] = before[x] - 2 * here[x] + after[x]
    left, middle, right = down[_FRAME - 1 :], down[_FRAME:], down[_FRAME + 1 :]
    for x in range(answer.size):
        answer[x] = min(abs(np.int16(left[x] - 2 * middle[x] + right[x])), np.int16(255))


@compiled(inner=True)
def _mean(second_before: Counts, before: Counts, here: Counts, after: Counts, down: Counts, mean: Counts) -> None:
    """Write the running mean of 4 x 4 pixels, two of them before the pixel and one after."""
    for x in range(down.size):
        down[x] = second_before[x] + before[x] + here[x] + after[x]
    second, third, fourth = down[1:], down[2:], down[3:]
    for x in range(mean.size):
        # 7/16 goes up, as in the box filter of OpenCV: baselines were learnt with it.
        mean[x] = np.int16(down[x] + second[x] + third[x] + fourth[x] + 9) >> np.int16(4)


@compiled(inner=True)
def _cells(line: Counts, y: int, height: int, columns: NDArray[np.uint32], light_map: NDArray[np.float32]) -> None:
    """Add a row to the sums of the columns, and write the cells that end in it.

    Counted in shares of 1/n pixel both ways: then every edge of a cell of n x n lies between whole numbers.
    """
    count = light_map.shape[0]
    for cell in range(y * count // height, count):
        top, bottom = max(y * count, cell * height), min((y + 1) * count, (cell + 1) * height)
        if bottom <= top:
            return
        weight = np.uint32(bottom - top)
        for x in range(columns.size):
            columns[x] = np.uint32(columns[x] + weight * np.uint32(line[x]))
        if bottom == (cell + 1) * height:
            _write_cells(columns, height, light_map[cell])
            for x in range(columns.size):
                columns[x] = 0


@compiled(inner=True)
def _write_cells(columns: NDArray[np.uint32], height: int, cells: NDArray[np.float32]) -> None:
    """Write a row of cells from the sums of the columns."""
    width, count = columns.size, cells.size
    for cell in range(count):
        total = 0
        for x in range(cell * width // count, ((cell + 1) * width + count - 1) // count):
            left, right = max(x * count, cell * width), min((x + 1) * count, (cell + 1) * width)
            total += (right - left) * int(np.int64(columns[x]))
        cells[cell] = math.log1p(total / (height * width))


@compiled(inner=True)
def _detail(sums: Sums, height: int, width: int, lag: int) -> float:
    """Mean squared difference of pixels `lag` apart, in counts²; 0 in a direction too short for it."""
    energy = 0.0
    if width > lag:
        energy += sums[3] / (height * (width - lag))
    if height > lag:
        energy += sums[2] / (width * (height - lag))
    return energy / 2


@compiled(inner=True)
def _focus(fine: float, coarse: float, noise: float) -> float:
    """Log ratio of detail at the finest scale to detail at four times that scale.

    The coarse scale is a running mean, not a smaller picture: an edge must count the same wherever it falls.
    """
    # White noise of sigma s adds 2 s² to the energy of a difference; the mean of 4 x 4 leaves a sixteenth of it.
    fine_energy = max(fine - 2 * noise * noise, 0.0) + 1.0
    coarse_energy = max(coarse - noise * noise / 8, 0.0) + 1.0
    return 0.5 * math.log(fine_energy / coarse_energy)


@compiled(inner=True)
def _quiet_mean(values: Pixels) -> float:
    """Mean of the smallest `_QUIET_SHARE` of the values.

    Their sum is that of all values cut at the quantile, less the quantile for every value above: Rockafellar and
    Uryasev (2000), "Optimization of conditional value-at-risk". Searching for the quantile is quicker than counting how
    often every value occurs.
    """
    loud = (1 - _QUIET_SHARE) * values.size
    total = _sum(values, 255)
    # More than a share of the values can't be above their mean over that share (Markov).
    low, high = 0, min(255, int(total / loud))
    probe, step = min(high - 1, int(_QUANTILE_OVER_MEAN * total / values.size)), 1
    above = np.empty(_STRIP, np.uint8)
    while low < high:
        if _count(values, probe, above) > loud:
            low = probe + 1
            probe = min(low + step - 1, (low + high) // 2)
        else:
            high = probe
            probe = max(high - step, (low + high) // 2)
        step *= 2
    return (_sum(values, low) - loud * low) / (values.size - loud)


@compiled(inner=True)
def _sum(values: Pixels, most: int) -> int:
    """Sum of the values, each counted as `most` at most."""
    limit = np.uint8(most)
    found = 0
    for start in range(0, values.size, _SHORT):
        part = values[start : start + _SHORT]
        short = np.int32(0)
        for x in range(part.size):
            short = np.int32(short + np.int32(min(part[x], limit)))
        found += int(short)
    return found


@compiled(inner=True)
def _count(values: Pixels, limit: int, above: Pixels) -> int:
    """How many values are above the limit; `above`, (256,), is scratch.

    Counted in bytes, place by place of a strip: that many comparisons go at once. No byte counts more than 255 strips.
    """
    found = 0
    whole = values.size - values.size % _STRIP
    for start in range(0, whole, 255 * _STRIP):
        for x in range(above.size):
            above[x] = 0
        for first in range(start, min(start + 255 * _STRIP, whole), _STRIP):
            strip = values[first : first + _STRIP]
            for x in range(_STRIP):
                above[x] += strip[x] > np.uint8(limit)
        for x in range(above.size):
            found += int(np.int64(above[x]))
    for x in range(whole, values.size):
        if values[x] > limit:
            found += 1
    return found
