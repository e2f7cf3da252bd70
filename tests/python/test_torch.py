"""Torch tensors in and out: exact, tied as they were, and without copies."""

from __future__ import annotations

import gc
import io
import warnings
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch

import deathtensors as dt
from helpers import TORCH_DTYPES, data_for, listing, torch_bits


def tensor_of(dtype: str, shape: list[int], seed: int = 0) -> torch.Tensor:
    raw = bytearray(data_for(dtype, shape, seed))
    kind = getattr(torch, TORCH_DTYPES[dtype])
    if not raw:
        return torch.empty(shape, dtype=kind)
    return torch.frombuffer(raw, dtype=torch.uint8).view(kind).reshape(shape)


def mapped(path: Path, address: int) -> bool:
    """Whether an address lies in a mapping of that file."""
    with open("/proc/self/maps") as maps:
        for line in maps:
            low, high = (int(part, 16) for part in line.split()[0].split("-"))
            if low <= address < high:
                return str(path) in line
    return False


def same(a: torch.Tensor, b: torch.Tensor) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and torch_bits(a) == torch_bits(b)


OPTIONS = [{}, {"checksum": True}, {"compress": True}, {"digests": True, "compress": True}]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("dtype", TORCH_DTYPES)
def test_every_dtype_comes_back_bit_for_bit(
    dtype: str, options: dict[str, Any], tmp_path: Path
) -> None:
    tensors = {
        str(shape): tensor_of(dtype, shape, i)
        for i, shape in enumerate(([], [1], [7], [3, 5], [2, 3, 4], [0], [2, 0]))
    }
    path = tmp_path / "x.deathtensors"
    dt.save(path, tensors, **options)
    with dt.open(path, verify=True) as f:
        for name, tensor in tensors.items():
            assert f.info(name)["dtype"] == dtype
            assert f.info(name)["torch_dtype"] == f"torch.{TORCH_DTYPES[dtype]}"
            assert same(f.get_tensor(name), tensor)
            assert f.get_bytes(name) == torch_bits(tensor)
        loaded = f.get_tensors()
    assert list(loaded) == list(tensors)
    assert all(same(loaded[name], tensor) for name, tensor in tensors.items())


def test_packed_float4_keeps_its_bits(tmp_path: Path) -> None:
    packed = torch.arange(24, dtype=torch.uint8).view(torch.float4_e2m1fn_x2).reshape(4, 6)
    path = tmp_path / "x.deathtensors"
    dt.save(path, {"w": packed})
    with dt.open(path) as f:
        assert (f.info("w")["dtype"], f.info("w")["shape"]) == ("F4", [4, 12])
        assert same(f.get_tensor("w"), packed)


# --- no copies when reading


def test_a_tensor_is_a_view_of_the_mapped_file(tmp_path: Path) -> None:
    path = tmp_path / "x.deathtensors"
    values = torch.randn(1000, 100)
    dt.save(path, {"pad": torch.ones(3, dtype=torch.uint8), "w": values})
    with dt.open(path) as f:
        for tensor in (f.get_tensor("w"), f.get_tensor_mmap("w"), f.get_tensors()["w"]):
            assert mapped(path, tensor.data_ptr())
            assert torch.equal(tensor, values)
        rows = f.get_tensor_slice("w", 10, 5)
        assert mapped(path, rows.data_ptr())
        assert torch.equal(rows, values[10:15])


def test_writing_to_a_tensor_changes_nothing_but_the_tensor(tmp_path: Path) -> None:
    path = tmp_path / "x.deathtensors"
    values = torch.randn(64, 64)
    dt.save(path, {"w": values}, checksum=True)
    before = path.read_bytes()
    with dt.open(path) as f:
        tensor = f.get_tensor("w")
        tensor.zero_()
        assert torch.equal(tensor, torch.zeros(64, 64))
        assert f.get_bytes("w") == torch_bits(values)
        assert f.verify()
    assert path.read_bytes() == before
    with dt.open(path, verify=True) as f:
        assert torch.equal(f.get_tensor("w"), values)


def test_another_open_file_does_not_see_writes(tmp_path: Path) -> None:
    path = tmp_path / "x.deathtensors"
    dt.save(path, {"w": torch.ones(5000)})
    with dt.open(path) as a, dt.open(path) as b:
        a.get_tensor("w").fill_(7)
        assert torch.equal(b.get_tensor("w"), torch.ones(5000))


@pytest.mark.parametrize("options", [{}, {"compress": True}])
def test_a_tensor_outlives_its_file(options: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "x.deathtensors"
    values = torch.randn(300, 1000)
    dt.save(path, {"w": values, "v": values[0].clone()}, **options)
    f = dt.open(path)
    tensor, rows = f.get_tensor("w"), f.get_tensor_slice("w", 5, 2)
    f.close()
    del f
    path.unlink()
    gc.collect()
    assert torch.equal(tensor, values)
    assert torch.equal(rows, values[5:7])


def test_mapping_ends_with_the_last_tensor(tmp_path: Path) -> None:
    path = tmp_path / "x.deathtensors"
    dt.save(path, {"w": torch.randn(100_000)})
    f = dt.open(path)
    tensor = f.get_tensor("w")
    f.close()
    address = tensor.data_ptr()
    assert mapped(path, address)
    del tensor, f
    gc.collect()
    assert not mapped(path, address)


def test_mmap_refuses_where_a_copy_would_be_needed(tmp_path: Path) -> None:
    path = tmp_path / "x.deathtensors"
    dt.save(path, {"w": torch.ones(5)}, compress=True)
    with dt.open(path) as f:
        with pytest.raises(dt.UsageError) as caught:
            f.get_tensor_mmap("w")
        assert caught.value.code == "usage.unavailable"
        assert torch.equal(f.get_tensor("w"), torch.ones(5))
    dt.save(path, {"w": torch.ones(5)})
    with dt.open(path, backend="pread") as f, pytest.raises(dt.UsageError):
        f.get_tensor_mmap("w")


def test_misaligned_tensors_are_read_as_copies(tmp_path: Path) -> None:
    """0.3.0 packs without alignment; torch and processors want it."""
    vectors = Path(__file__).parents[1] / "vectors" / "valid"
    with dt.open(vectors / "misaligned.deathtensors") as f:
        tensor = f.get_tensor("b")
        assert tensor.data_ptr() % 8 == 0
        assert torch_bits(tensor) == f.get_bytes("b")
        assert f.get_tensor("b", framework="numpy").flags.aligned
        with pytest.raises(dt.UsageError):
            f.get_tensor_mmap("b")
        assert f.get_tensor_mmap("a").shape == (3,)


@pytest.mark.parametrize("alignment", [64, 4096])
def test_asked_alignment_is_kept_in_memory(alignment: int, tmp_path: Path) -> None:
    path = tmp_path / "x.deathtensors"
    tensors = {f"t{i}": torch.ones(i + 1) for i in range(5)}
    dt.save(path, tensors, alignment=alignment)
    with dt.open(path) as f:
        base = f.facts["data_start"]
        for name, value in tensors.items():
            assert f.info(name)["data_offsets"][0] % alignment == 0
            tensor = f.get_tensor(name)
            assert torch.equal(tensor, value)
            # The mapping starts on a page, so what is aligned in the file is in memory.
            assert tensor.data_ptr() % min(alignment, 64) == 0
        assert base % 64 == 0


# --- every kind of tensor is saved


def views() -> dict[str, torch.Tensor]:
    base = torch.randn(6, 8, dtype=torch.float64)
    z = torch.randn(3, 4, dtype=torch.complex64)
    return {
        "transposed": base.t(),
        "strided": base[::2, 1::3],
        "column": base[:, 3],
        "offset": base[2:4],
        "expanded": torch.randn(1, 4).expand(5, 4),
        "flipped": base.flip(0),
        "permuted": torch.randn(2, 3, 4).permute(2, 0, 1),
        "channels_last": torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last),
        "conjugate": z.conj(),
        "negative": z.conj().imag,
        "real": z.real,
        "unfolded": torch.arange(10.0).unfold(0, 4, 2),
        "parameter": torch.nn.Parameter(base.clone()),
        "needs_grad": (torch.randn(3, requires_grad=True) * 2),
        "scalar_view": base[1, 1],
        "bool": base > 0,
        "inference": torch.ones(3),
    }


@pytest.mark.parametrize("options", [{}, {"compress": True}])
@pytest.mark.parametrize("name", views())
def test_any_layout_is_saved(name: str, options: dict[str, Any], tmp_path: Path) -> None:
    torch.manual_seed(0)
    tensor = views()[name]
    path = tmp_path / "x.deathtensors"
    dt.save(path, {"w": tensor}, **options)
    with dt.open(path) as f:
        back = f.get_tensor("w")
    assert same(back, tensor)
    assert back.is_contiguous() and not back.requires_grad


def test_saving_does_not_change_the_tensor(tmp_path: Path) -> None:
    parameter = torch.nn.Parameter(torch.randn(4, 4))
    conjugate = torch.randn(3, dtype=torch.complex64).conj()
    dt.save(tmp_path / "x", {"p": parameter, "c": conjugate, "t": parameter.t()})
    assert parameter.requires_grad and parameter.is_contiguous()
    assert conjugate.is_conj()


def test_a_model_loads_as_it_was_saved(tmp_path: Path) -> None:
    class Tied(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = torch.nn.Embedding(50, 8)
            self.norm = torch.nn.BatchNorm1d(8)
            self.head = torch.nn.Linear(8, 50, bias=False)
            self.head.weight = self.embed.weight

    model, fresh = Tied(), Tied()
    path = tmp_path / "model.deathtensors"
    dt.save(path, model.state_dict(), checksum=True)
    with dt.open(path, verify=True) as f:
        assert f.info("embed.weight")["data_offsets"] == f.info("head.weight")["data_offsets"]
        assert f.facts["tensor_bytes"] == sum(p.nbytes for p in model.parameters()) + sum(
            b.nbytes for b in model.buffers()
        )
        fresh.load_state_dict(f.get_tensors())
    for name, value in model.state_dict().items():
        assert torch.equal(fresh.state_dict()[name], value)


@pytest.mark.parametrize("options", [{}, {"compress": True}, {"digests": True}])
def test_tied_tensors_are_stored_once_and_come_back_tied(
    options: dict[str, Any], tmp_path: Path
) -> None:
    path = tmp_path / "x.deathtensors"
    weight = torch.randn(10, 4)
    dt.save(
        path, {"a": weight, "b": weight.view(10, 4), "c": torch.nn.Parameter(weight)}, **options
    )
    with dt.open(path) as f:
        offsets = {f.info(name)["data_offsets"] for name in f}
        assert len(offsets) == 1
        loaded = f.get_tensors()
    assert loaded["a"].data_ptr() == loaded["b"].data_ptr() == loaded["c"].data_ptr()
    storages = {t.untyped_storage().data_ptr() for t in loaded.values()}
    assert len(storages) == 1
    loaded["a"].fill_(3)
    assert torch.equal(loaded["b"], torch.full((10, 4), 3.0))


def test_tensors_that_only_share_memory_are_not_tied(tmp_path: Path) -> None:
    path = tmp_path / "x.deathtensors"
    base = torch.arange(12.0)
    tensors = {
        "whole": base, "other_shape": base.view(3, 4), "part": base[:6], "late": base[6:],
        "bits": base.view(torch.int32), "turned": base.view(3, 4).t(),
        "other_turned": base.view(4, 3).t(),
    }  # fmt: skip
    dt.save(path, tensors)
    with dt.open(path) as f:
        assert len({f.info(name)["data_offsets"] for name in f}) == len(tensors)
        assert all(same(f.get_tensor(name), tensor) for name, tensor in tensors.items())


def test_empty_tensors_are_never_tied_by_accident(tmp_path: Path) -> None:
    path = tmp_path / "x.deathtensors"
    dt.save(path, {"a": torch.empty(0), "b": torch.empty(0, 3), "c": torch.ones(2)})
    with dt.open(path) as f:
        loaded = f.get_tensors()
    assert [tuple(t.shape) for t in loaded.values()] == [(0,), (0, 3), (2,)]


# --- what cannot be saved says why


def bad_tensors() -> dict[str, torch.Tensor]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {
            "meta": torch.empty(3, device="meta"),
            "quantised": torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8),
            "sparse": torch.eye(3).to_sparse(),
            "sparse_csr": torch.eye(3).to_sparse_csr(),
            "nested": torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]),
        }


@pytest.mark.parametrize("name", bad_tensors())
def test_what_has_no_plain_bytes_is_refused_by_name(name: str, tmp_path: Path) -> None:
    with pytest.raises(dt.UsageError) as caught:
        dt.save(tmp_path / "x", {"fine": torch.ones(2), "layer.w": bad_tensors()[name]})
    assert caught.value.tensor == "layer.w"
    assert "layer.w" in str(caught.value)
    if name.startswith("sparse"):
        assert "save_sparse" in str(caught.value)
    assert listing(tmp_path) == []


def test_a_dtype_that_torch_lacks_is_still_bytes(tmp_path: Path) -> None:
    path = tmp_path / "x.deathtensors"
    dt.save_file(path, [("w", "F6_E2M3", [4], b"abc", {}), ("odd", "F4", [2, 3], b"abc", {})])
    with dt.open(path) as f:
        for name in f:
            with pytest.raises(dt.DeathTensorsError) as caught:
                f.get_tensor(name)
            assert caught.value.code == "usage.unavailable"
            assert "get_bytes" in str(caught.value)
            assert f.get_bytes(name) == b"abc"


# --- frameworks and slices


def test_bf16_and_fp8_come_to_numpy_as_ml_dtypes(tmp_path: Path) -> None:
    path = tmp_path / "x.deathtensors"
    values = torch.tensor([[1.0, -2.5], [0.0, 3.0]])
    kinds = {
        torch.bfloat16: ml_dtypes.bfloat16,
        torch.float8_e4m3fn: ml_dtypes.float8_e4m3fn,
        torch.float8_e5m2: ml_dtypes.float8_e5m2,
        torch.float8_e4m3fnuz: ml_dtypes.float8_e4m3fnuz,
        torch.float8_e5m2fnuz: ml_dtypes.float8_e5m2fnuz,
    }
    dt.save(path, {str(kind): values.to(kind) for kind in kinds})
    with dt.open(path) as f:
        for kind, numpy_kind in kinds.items():
            array = f.get_tensor(str(kind), framework="numpy")
            assert array.dtype == numpy_kind and array.shape == (2, 2)
            assert np.array_equal(array.astype(np.float32), values.numpy())


def test_an_unknown_framework_is_misuse(tmp_path: Path) -> None:
    path = tmp_path / "x.deathtensors"
    dt.save(path, {"w": torch.ones(2)})
    with dt.open(path) as f, pytest.raises(dt.UsageError):
        f.get_tensor("w", framework="tensorflow")


@pytest.mark.parametrize("options", [{}, {"compress": True}, {"alignment": 64}])
def test_slices_of_large_tensors(options: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "x.deathtensors"
    table = torch.randn(5000, 300)
    dt.save(path, {"pad": torch.ones(7), "table": table}, **options)
    with dt.open(path) as f:
        for start, count in ((0, 1), (0, 5000), (4999, 1), (1234, 2000), (17, 0), (873, 1)):
            assert torch.equal(
                f.get_tensor_slice("table", start, count), table[start : start + count]
            )
        assert torch.equal(f.get_tensor_slice("table", 4990), table[4990:])
        assert torch.equal(f.get_tensor_slice("table"), table)
        assert f.get_tensor_slice("table", 5000).shape == (0, 300)


@pytest.mark.parametrize(
    ("start", "count"),
    [(-1, 1), (0, 6), (6, None), (5, 1), (1, 5), (0, -1), (1 << 63, 1), (0.5, 1)],
)
def test_slices_outside_the_tensor_are_misuse(start: Any, count: Any, tmp_path: Path) -> None:
    path = tmp_path / "x.deathtensors"
    dt.save(path, {"w": torch.ones(5, 2)})
    with dt.open(path) as f, pytest.raises(dt.UsageError) as caught:
        f.get_tensor_slice("w", start, count)
    assert caught.value.code == "usage.range"
    assert caught.value.tensor == "w"


def test_a_scalar_has_no_rows(tmp_path: Path) -> None:
    path = tmp_path / "x.deathtensors"
    dt.save(path, {"s": torch.tensor(1.0)})
    with dt.open(path) as f, pytest.raises(dt.UsageError):
        f.get_tensor_slice("s", 0, 1)


def test_loading_then_torch_save_works(tmp_path: Path) -> None:
    """A mapped tensor behaves as any other."""
    path = tmp_path / "x.deathtensors"
    values = torch.randn(20, 20)
    dt.save(path, {"w": values})
    with dt.open(path) as f:
        tensor = f.get_tensor("w")
    buffer = io.BytesIO()
    torch.save(tensor, buffer)
    buffer.seek(0)
    assert torch.equal(torch.load(buffer, weights_only=True), values)
    assert torch.equal(tensor @ tensor, values @ values)
    tensor.requires_grad_(True)
    tensor.sum().backward()
    assert torch.equal(tensor.grad, torch.ones(20, 20))
