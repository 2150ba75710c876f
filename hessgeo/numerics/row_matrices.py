"""Matrices of many rows that are zero nearly everywhere, or nowhere: full, or by rows and columns, as is faster."""

from __future__ import annotations

import warnings

import torch
from jaxtyping import Float
from scipy.sparse import csr_matrix
from torch import Tensor

_DENSE = 0.25  # share of entries from which a full matrix is faster than one of rows and columns


def row_matrix(blocks: list[Float[Tensor, "_ column"]]) -> tuple[Tensor, Tensor]:
    """A matrix of blocks of rows, one below the other, and its transpose; zeros are left out where they are many.

    Args:
        blocks: sparse (COO), coalesced, in one precision and on one device.
    """
    shape = (sum(len(block) for block in blocks), blocks[0].shape[1])
    if sum(block._nnz() for block in blocks) > _DENSE * shape[0] * shape[1]:
        full = torch.cat([block.to_dense() for block in blocks])
        return full, full.T
    counts = torch.cat([torch.bincount(block.indices()[0], minlength=len(block)) for block in blocks])
    starts = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
    columns = torch.cat([block.indices()[1] for block in blocks])
    values = torch.cat([block.values() for block in blocks])
    # A counting sort, which torch has none of, on the processor.
    turned = csr_matrix(
        (values.cpu().numpy(), columns.cpu().numpy(), starts.cpu().numpy()), shape=shape
    ).tocsc()
    starts_of, rows_of = (torch.from_numpy(part).to(columns) for part in (turned.indptr, turned.indices))
    transposed = _csr(starts_of, rows_of, torch.from_numpy(turned.data).to(values), (shape[1], shape[0]))
    return _csr(starts, columns, values, shape), transposed


def entries(matrix: Tensor) -> Tensor:
    """What of the matrix is kept, as one tensor."""
    return matrix if matrix.layout == torch.strided else matrix.values()


def with_entries(matrix: Tensor, values: Tensor) -> Tensor:
    """A matrix with other entries in the places of the first one's."""
    if matrix.layout == torch.strided:
        return values
    return _csr(matrix.crow_indices(), matrix.col_indices(), values, tuple(matrix.shape))


def column_sums(matrix: Tensor) -> Float[Tensor, "column"]:
    """Sum over all rows."""
    if matrix.layout == torch.strided:
        return matrix.sum(dim=0)
    total = torch.zeros(matrix.shape[1], dtype=matrix.dtype, device=matrix.device)
    return total.index_add(0, matrix.col_indices(), matrix.values())


def _csr(starts: Tensor, columns: Tensor, values: Tensor, shape: tuple[int, ...]) -> Tensor:
    with warnings.catch_warnings():  # of this layout's beta state
        warnings.filterwarnings("ignore", message="Sparse CSR")
        return torch.sparse_csr_tensor(starts, columns, values, shape, check_invariants=False)
