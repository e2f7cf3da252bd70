"""Sparse tensors come back in their layout, and wrong indices never reach torch."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

import deathtensors as dt
from helpers import listing

warnings.filterwarnings("ignore", message="Sparse")


def dense(dtype: torch.dtype = torch.float32) -> torch.Tensor:
    value = torch.zeros(4, 6)
    value[0, 1], value[2, 3], value[3, 0], value[3, 5] = 1.5, -2.0, 3.0, 4.0
    return value.to(dtype)


def examples() -> dict[str, torch.Tensor]:
    d = dense()
    indices = torch.tensor([[0, 0, 3, 0], [1, 1, 5, 2]])
    uncoalesced = torch.sparse_coo_tensor(indices, torch.tensor([1.0, 2.0, 3.0, 4.0]), (4, 6))
    hybrid = torch.sparse_coo_tensor([[0, 2]], torch.arange(6.0).reshape(2, 3), (4, 3))
    return {
        "coo": d.to_sparse(),
        "coo_1d": d[3].to_sparse(),
        "coo_3d": torch.stack([d, d * 2]).to_sparse(),
        "coo_hybrid": hybrid.coalesce(),
        "coo_uncoalesced": uncoalesced,
        "coo_empty": torch.zeros(3, 4).to_sparse(),
        "coo_zero_rows": torch.zeros(0, 4).to_sparse(),
        "coo_bf16": dense(torch.bfloat16).to_sparse(),
        "coo_int": dense(torch.int64).to_sparse(),
        "coo_complex": dense(torch.complex64).to_sparse(),
        "csr": d.to_sparse_csr(),
        "csc": d.to_sparse_csc(),
        "bsr": d.to_sparse_bsr((2, 3)),
        "bsc": d.to_sparse_bsc((2, 2)),
        "csr_empty": torch.zeros(3, 4).to_sparse_csr(),
        "csr_double": dense(torch.float64).to_sparse_csr(),
        "csr_batched": torch.stack([d, d]).to_sparse_csr(),
    }


def parts(value: torch.Tensor) -> list[torch.Tensor]:
    if value.layout is torch.sparse_coo:
        return [value._indices(), value._values()]
    if value.layout in (torch.sparse_csr, torch.sparse_bsr):
        return [value.crow_indices(), value.col_indices(), value.values()]
    return [value.ccol_indices(), value.row_indices(), value.values()]


@pytest.mark.parametrize("options", [{}, {"compress": True, "checksum": True}, {"digests": True}])
@pytest.mark.parametrize("name", examples())
def test_every_layout_comes_back(name: str, options: dict[str, Any], tmp_path: Path) -> None:
    value = examples()[name]
    path = tmp_path / "x.deathtensors"
    dt.save_sparse(path, {"w": value, "dense": dense()}, **options)
    with dt.open(path, verify=True) as f:
        back = dt.get_sparse(f, "w")
        assert torch.equal(dt.get_sparse(f, "dense"), dense())
    assert back.layout is value.layout
    assert back.shape == value.shape and back.dtype == value.dtype
    if value.layout is torch.sparse_coo:
        assert back.is_coalesced() == value.is_coalesced()
    for mine, theirs in zip(parts(back), parts(value)):
        assert torch.equal(mine.to(theirs.dtype), theirs)


def test_coo_is_stored_as_published(tmp_path: Path) -> None:
    path = tmp_path / "x.deathtensors"
    value = dense().to_sparse()
    dt.save_sparse(path, {"w": value})
    with dt.open(path) as f:
        assert set(f) == {"w.indices", "w.values", "w.shape"}
        for role in ("indices", "values", "shape"):
            notes = f.info(f"w.{role}")["metadata"]
            assert notes["sparse_role"] == role
            assert notes["sparse_parent"] == "w"
        assert f.info("w.values")["metadata"]["sparse_coalesced"] == "true"
        assert (f.info("w.indices")["dtype"], f.info("w.indices")["shape"]) == ("I64", [2, 4])
        assert f.get_tensor("w.shape").tolist() == [4, 6]
        assert f.info("w.shape")["dtype"] == "I64"


@pytest.mark.parametrize(
    ("layout", "roles"),
    [
        ("csr", {"crow_indices", "col_indices", "values", "shape"}),
        ("csc", {"ccol_indices", "row_indices", "values", "shape"}),
        ("bsr", {"crow_indices", "col_indices", "values", "shape"}),
        ("bsc", {"ccol_indices", "row_indices", "values", "shape"}),
    ],
)
def test_compressed_layouts_are_stored_as_specified(
    layout: str, roles: set[str], tmp_path: Path
) -> None:
    path = tmp_path / "x.deathtensors"
    dt.save_sparse(path, {"w": examples()[layout]})
    with dt.open(path) as f:
        assert set(f) == {f"w.{role}" for role in roles}
        for role in roles:
            notes = f.info(f"w.{role}")["metadata"]
            assert notes["sparse_role"] == role
            assert notes["sparse_parent"] == "w"
            assert notes["sparse_layout"] == layout


def test_global_metadata_and_other_arguments_reach_save(tmp_path: Path) -> None:
    path = tmp_path / "x.deathtensors"
    dt.save_sparse(
        path,
        {"w": dense().to_sparse(), "d": dense()},
        metadata={"d": {"k": "v"}},
        global_metadata={"g": "1"},
        checksum=True,
    )
    with dt.open(path) as f:
        assert f.metadata() == {"g": "1"}
        assert f.info("d")["metadata"] == {"k": "v"}
        assert f.has_checksum()


def test_sparse_tensors_may_be_in_shards_and_appended(tmp_path: Path) -> None:
    path = tmp_path / "x.deathtensors"
    dt.save_sparse(path, {"w": dense().to_sparse_csr()})
    dt.append(path, {"more": torch.ones(2)})
    with dt.open(path) as f:
        assert torch.equal(dt.get_sparse(f, "w").to_dense(), dense())
        assert torch.equal(dt.get_sparse(f, "more"), torch.ones(2))


def test_a_missing_name_is_a_key_error(tmp_path: Path) -> None:
    path = tmp_path / "x.deathtensors"
    dt.save_sparse(path, {"w": dense().to_sparse()})
    with dt.open(path) as f, pytest.raises(KeyError):
        dt.get_sparse(f, "none")


def test_names_that_collide_with_parts_are_misuse(tmp_path: Path) -> None:
    with pytest.raises(dt.UsageError):
        dt.save_sparse(tmp_path / "x", {"w": dense().to_sparse(), "w.values": torch.ones(1)})
    assert listing(tmp_path) == []


# --- groups that make no tensor

COO: dict[str, Any] = {
    "indices": torch.tensor([[0, 2], [1, 3]]),
    "values": torch.tensor([1.0, 2.0]),
    "shape": torch.tensor([4, 6]),
}
CSR: dict[str, Any] = {
    "crow_indices": torch.tensor([0, 1, 1, 2, 2]),
    "col_indices": torch.tensor([1, 3]),
    "values": torch.tensor([1.0, 2.0]),
    "shape": torch.tensor([4, 6]),
}
WRONG: dict[str, tuple[dict[str, Any], str | None]] = {
    "index_too_large": ({**COO, "indices": torch.tensor([[0, 4], [1, 3]])}, None),
    "index_negative": ({**COO, "indices": torch.tensor([[0, 2], [1, -1]])}, None),
    "index_huge": ({**COO, "indices": torch.tensor([[0, 2], [1, 1 << 62]])}, None),
    "index_dtype": ({**COO, "indices": torch.tensor([[0.0, 2.0], [1.0, 3.0]])}, None),
    "index_rank": ({**COO, "indices": torch.tensor([0, 2])}, None),
    "too_few_axes": ({**COO, "indices": torch.tensor([[0, 2]])}, None),
    "counts_differ": ({**COO, "values": torch.tensor([1.0])}, None),
    "shape_negative": ({**COO, "shape": torch.tensor([4, -6])}, None),
    "shape_overflows": ({**COO, "shape": torch.tensor([1 << 62, 1 << 62])}, None),
    "shape_rank": ({**COO, "shape": torch.tensor([[4, 6]])}, None),
    "no_values": ({k: v for k, v in COO.items() if k != "values"}, None),
    "no_shape": ({k: v for k, v in COO.items() if k != "shape"}, None),
    "csr_column_too_large": ({**CSR, "col_indices": torch.tensor([1, 6])}, "csr"),
    "csr_column_negative": ({**CSR, "col_indices": torch.tensor([-1, 3])}, "csr"),
    "csr_rows_decrease": ({**CSR, "crow_indices": torch.tensor([0, 2, 1, 2, 2])}, "csr"),
    "csr_rows_past_end": ({**CSR, "crow_indices": torch.tensor([0, 1, 1, 2, 3])}, "csr"),
    "csr_rows_not_zero": ({**CSR, "crow_indices": torch.tensor([1, 1, 1, 2, 2])}, "csr"),
    "csr_rows_short": ({**CSR, "crow_indices": torch.tensor([0, 1, 2])}, "csr"),
    "csr_no_columns": ({k: v for k, v in CSR.items() if k != "col_indices"}, "csr"),
    "unknown_layout": (CSR, "dia"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_groups_are_refused(name: str, tmp_path: Path) -> None:
    group, layout = WRONG[name]
    path = tmp_path / "x.deathtensors"
    notes = {
        f"w.{role}": {
            "sparse_role": role,
            "sparse_parent": "w",
            **({"sparse_layout": layout} if layout else {}),
            **({"sparse_coalesced": "true"} if role == "values" and not layout else {}),
        }
        for role in group
    }
    dt.save(path, {f"w.{role}": value for role, value in group.items()}, metadata=notes)
    with dt.open(path) as f, pytest.raises(dt.FormatError) as caught:
        dt.get_sparse(f, "w")
    assert caught.value.code == "sparse.invalid"
    assert caught.value.tensor is not None and caught.value.tensor.startswith("w")


def test_a_false_claim_to_be_coalesced_is_refused(tmp_path: Path) -> None:
    """torch would give wrong sums for indices that stand twice."""
    path = tmp_path / "x.deathtensors"
    notes = {f"w.{role}": {"sparse_role": role, "sparse_parent": "w"} for role in COO}
    notes["w.values"]["sparse_coalesced"] = "true"
    for indices in ([[0, 0], [1, 1]], [[2, 0], [1, 1]]):
        group = {**COO, "indices": torch.tensor(indices)}
        dt.save(path, {f"w.{role}": value for role, value in group.items()}, metadata=notes)
        with dt.open(path) as f, pytest.raises(dt.FormatError):
            dt.get_sparse(f, "w")
