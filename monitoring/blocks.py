"""Means over the cells of an image, compiled; other threads run meanwhile.

Kept machine code knows changes of this file alone: nothing here may take a number from another module.
"""

import math

import numpy as np
from numpy.typing import NDArray

from monitoring.compiled import compiled

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float64]


@compiled(long=True)
def cell_means(image: Pixels, means: Floats, detail: Floats) -> None:
    """Write the means of an image, uint8 (h, w, 3) without gaps, over a grid of n x n cells.

    means   float64 (n, n, 3), counts of red, green and blue
    detail  float64 (n, n), size of the difference of neighbours in a row, counts

    h and w are n to 256 n: a column's sum over a cell must fit in 16 bits.
    """
    height, width, _ = image.shape
    count = detail.shape[0]
    rows = image.reshape(height, 3 * width)
    columns = np.empty(3 * width, np.uint16)
    differences = np.zeros(3 * width, np.uint16)
    for row in range(count):
        top, bottom = row * height // count, (row + 1) * height // count
        columns[:] = 0
        differences[:] = 0
        for y in range(top, bottom):
            line = rows[y]
            for k in range(3 * width):
                columns[k] += line[k]
            for k in range(3 * width - 3):
                differences[k] += np.uint8(abs(np.int16(line[k + 3]) - np.int16(line[k])))
        for column in range(count):
            left, right = column * width // count, (column + 1) * width // count
            red, green, blue, change = 0, 0, 0, 0
            for x in range(left, right):
                red += int(np.int64(columns[3 * x]))
                green += int(np.int64(columns[3 * x + 1]))
                blue += int(np.int64(columns[3 * x + 2]))
                change += int(np.int64(differences[3 * x]) + differences[3 * x + 1] + differences[3 * x + 2])
            pixels = (bottom - top) * (right - left)
            means[row, column, 0] = red / pixels
            means[row, column, 1] = green / pixels
            means[row, column, 2] = blue / pixels
            detail[row, column] = change / (3 * pixels)


@compiled()
def describe(
    means: Floats,
    detail: Floats,
    still: Floats,
    part: Floats,
    texture: Floats,
    colours: Floats,
    cells: Floats,
    details: Floats,
) -> None:
    """Describe a scene from its cells' means and detail, as `cell_means` gives them.

    still, part, texture  float64 (n, n), weights that add up to 1, or to 0 where there is none: of the cells that keep
                          still, of the part's, and of those where its detail is read

    Writes into `colours`, float64 (6,): red over green and blue over green where it keeps still, the part's level, its
    red over green and blue over green, each against what keeps still, and its detail over its brightness. Writes into
    `cells` and `details`, float64 (n²,), the luminance and the detail of each against its kind's, so that what is
    common to all is not in them. All are natural logarithms.
    """
    count = detail.shape[0]
    sums = np.zeros(8)
    brightness = np.empty((count, count))
    for row in range(count):
        for column in range(count):
            keeps, moves = still[row, column], part[row, column]
            for channel in range(3):
                value = means[row, column, channel]
                sums[channel] += keeps * value
                sums[3 + channel] += moves * value
            sums[6] += texture[row, column] * detail[row, column]
            sums[7] += keeps * detail[row, column]
            brightness[row, column] = _luminance(means[row, column, 0], means[row, column, 1], means[row, column, 2])
    background = math.log(_luminance(sums[0], sums[1], sums[2]) + 1)
    foreground = math.log(_luminance(sums[3], sums[4], sums[5]) + 1)
    colours[0] = math.log((sums[0] + 1) / (sums[1] + 1))
    colours[1] = math.log((sums[2] + 1) / (sums[1] + 1))
    colours[2] = foreground - background
    colours[3] = math.log((sums[3] + 1) / (sums[4] + 1)) - colours[0]
    colours[4] = math.log((sums[5] + 1) / (sums[4] + 1)) - colours[1]
    colours[5] = math.log(sums[6] + 0.1) - foreground
    for row in range(count):
        for column in range(count):
            keeps_still = still[row, column] > 0
            kind, fine = (background, sums[7]) if keeps_still else (foreground, sums[6])
            cells[row * count + column] = math.log(brightness[row, column] + 1) - kind
            details[row * count + column] = math.log((detail[row, column] + 0.1) / (fine + 0.1))


@compiled(inner=True)
def _luminance(red: float, green: float, blue: float) -> float:
    return 0.299 * red + 0.587 * green + 0.114 * blue


def warm() -> None:
    """Load or compile all of it."""
    means, detail, weights = np.zeros((2, 2, 3)), np.zeros((2, 2)), np.zeros((2, 2))
    cell_means(np.zeros((2, 2, 3), np.uint8), means, detail)
    describe(means, detail, weights, weights, weights, np.zeros(6), np.zeros(4), np.zeros(4))
