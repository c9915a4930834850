"""How a matrix is cut into tiles, one for each program of a kernel."""

from __future__ import annotations

import triton

_ELEMENTS = 2048  # of a tile: 16 for each thread of four warps


def tile(num_columns: int, max_columns: int | None = _ELEMENTS) -> tuple[int, int]:
    """Rows and columns of a tile, both powers of two.

    A tile is as wide as the matrix, or as ``max_columns``, and has as many rows as then fit.
    """
    columns = triton.next_power_of_2(max(num_columns, 1))
    if max_columns is not None:
        columns = min(columns, max_columns)
    return max(_ELEMENTS // columns, 1), columns


def strips(num_rows: int, tile_rows: int, most: int) -> int:
    """How many programs share the rows of a matrix when each of them adds up what it sees.

    Depends on the shape alone and not on the GPU, so that sums are the same everywhere.
    """
    return max(min(triton.cdiv(num_rows, tile_rows), most), 1)
