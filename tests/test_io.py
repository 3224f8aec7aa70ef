"""Saving and loading: round trips, exchange with NumPy and MLX, and files that are not what they
claim.

A bad file must raise ValueError and take no memory to speak of; the fuzz tests below make thousands
of them, always the same ones.
"""

import io
import json
import os
import pathlib
import struct
import tracemalloc
import zipfile
import zlib

import fuzz_files
import numpy as np
import pytest
from fuzz_files import FORMATS, gguf_file, gguf_string, load_bytes, saved, values_of

import mlxc.core as mx

DTYPES = (
    "bool_ uint8 uint16 uint32 uint64 int8 int16 int32 int64 float16 float32 float64 bfloat16 "
    "complex64"
).split()
SHAPES = [(), (1,), (5,), (0,), (2, 3), (0, 3), (3, 0, 2), (2, 1, 3, 2)]
GGUF_DTYPES = ["int8", "int16", "int32", "int64", "float16", "float32", "float64", "bfloat16"]


def bits_of(x):
    return np.asarray(mx.view(x, mx.uint16) if x.dtype == mx.bfloat16 else x)


def assert_same(x, y):
    assert x.dtype == y.dtype
    assert tuple(x.shape) == tuple(y.shape)
    np.testing.assert_array_equal(bits_of(x), bits_of(y))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("format", FORMATS)
def test_every_dtype_and_shape_survives_a_round_trip(format, dtype, shape):
    x = values_of(dtype, shape)
    if format == "gguf" and dtype not in GGUF_DTYPES:
        with pytest.raises(ValueError, match=dtype.rstrip("_")):
            saved(format, x)
        return
    back = load_bytes(saved(format, x), format)
    assert_same(x, back if format == "npy" else back["a"])


@pytest.mark.parametrize("format", FORMATS)
def test_transposed_arrays_are_saved_as_they_look(format):
    x = mx.transpose(values_of("float32", (3, 4)))
    back = load_bytes(saved(format, x), format)
    assert_same(x, back if format == "npy" else back["a"])


def test_compressed_archives_hold_the_same_arrays(tmp_path):
    x, y = values_of("float32", (3, 4)), values_of("bfloat16", (5,))
    mx.savez_compressed(tmp_path / "c", x, named=y)
    back = mx.load(tmp_path / "c.npz")
    assert sorted(back) == ["arr_0", "named"]
    assert_same(x, back["arr_0"])
    assert_same(y, back["named"])


def test_a_name_given_twice_in_an_archive_is_refused():
    with pytest.raises(ValueError, match="arr_0"):
        mx.savez(io.BytesIO(), mx.array(1), arr_0=mx.array(2))


@pytest.mark.parametrize("kind", [str, pathlib.Path])
def test_the_extension_is_added_where_it_lacks(tmp_path, kind):
    x = mx.array([1, 2])
    for name in ("a", "b.npy", "c.d"):
        mx.save(kind(tmp_path / name), x)
    mx.savez(kind(tmp_path / "e"), x=x)
    mx.save_safetensors(kind(tmp_path / "f"), {"x": x})
    mx.save_gguf(kind(tmp_path / "g"), {"x": x}, {})
    names = ["a.npy", "b.npy", "c.d.npy", "e.npz", "f.safetensors", "g.gguf"]
    assert sorted(os.listdir(tmp_path)) == names
    for name in names:
        back = mx.load(kind(tmp_path / name))
        assert_same(x, back["x"] if isinstance(back, dict) else back)


def test_several_arrays_follow_each_other_in_one_file_object():
    file = io.BytesIO()
    mx.save(file, mx.array([1, 2]))
    mx.save(file, mx.array(3.5))
    file.seek(0)
    assert mx.load(file, format="npy").tolist() == [1, 2]
    assert mx.load(file, format="npy").item() == 3.5


def test_file_objects_that_cannot_seek_are_read_whole():
    class Pipe:
        name = "pipe.npy"

        def __init__(self, data):
            self.data = data

        def read(self, *_):
            return self.data

    assert mx.load(Pipe(saved("npy", mx.array([1, 2])))).tolist() == [1, 2]


def test_metadata_of_safetensors_comes_back_when_asked_for():
    file = io.BytesIO()
    mx.save_safetensors(file, {"a": mx.array(1)}, metadata={"k": "é"})
    arrays, metadata = load_bytes(file.getvalue(), "safetensors", return_metadata=True)
    assert metadata == {"k": "é"}
    assert list(arrays) == ["a"]
    assert (
        load_bytes(saved("safetensors", mx.array(1)), "safetensors", return_metadata=True)[1] == {}
    )


@pytest.mark.parametrize("format", ["npy", "npz"])
def test_formats_without_metadata_say_so(format):
    with pytest.raises(ValueError, match="metadata"):
        load_bytes(saved(format, mx.array(1)), format, return_metadata=True)


def test_metadata_of_gguf_keeps_types_texts_and_lists():
    given = {
        "text": "é",
        "list": ["a", "", "c"],
        "none": [],
        "scalar": mx.array(3, dtype=mx.uint32),
        "flags": mx.array([True, False]),
        "wide": mx.array([2**40, -1], dtype=mx.int64),
        "real": mx.array([1.5], dtype=mx.float32),
    }
    file = io.BytesIO()
    mx.save_gguf(file, {"a": mx.array([1.0])}, given)
    _, metadata = load_bytes(file.getvalue(), "gguf", return_metadata=True)
    assert list(metadata) == list(given)
    for key, value in given.items():
        if isinstance(value, mx.array):
            assert_same(value, metadata[key])
        else:
            assert metadata[key] == value


def test_values_that_formats_cannot_hold_are_refused():
    with pytest.raises(ValueError, match="dimensions"):
        mx.save_gguf(io.BytesIO(), {}, {"m": mx.zeros((2, 2))})
    with pytest.raises(TypeError, match="metadata 'm'"):
        mx.save_gguf(io.BytesIO(), {}, {"m": 3})
    with pytest.raises(ValueError, match="strings"):
        mx.save_safetensors(io.BytesIO(), {}, metadata={"m": 3})
    with pytest.raises(TypeError, match="dict"):
        mx.save_safetensors(io.BytesIO(), [mx.array(1)])
    with pytest.raises(ValueError, match="__metadata__"):
        mx.save_safetensors(io.BytesIO(), {"__metadata__": mx.array(1)})


@pytest.mark.parametrize("dtype", [d for d in DTYPES if d != "bfloat16"])
def test_numpy_reads_what_is_saved(tmp_path, dtype):
    x = values_of(dtype, (2, 3))
    mx.save(tmp_path / "x", x)
    mx.savez(tmp_path / "z", x=x)
    for back in (np.load(tmp_path / "x.npy"), np.load(tmp_path / "z.npz")["x"]):
        assert back.dtype == np.asarray(x).dtype
        np.testing.assert_array_equal(back, np.asarray(x))


@pytest.mark.parametrize(
    "x",
    [
        np.array([1, -2], ">i4"),
        np.array([1.5, -2], ">f8"),
        np.array([1.5 + 2j], ">c8"),
        np.asfortranarray(np.arange(24.0).reshape(2, 3, 4)),
        np.array(3.5),
        np.zeros((0, 3)),
        np.array([True, False]),
    ],
    ids=str,
)
def test_what_numpy_saves_is_read(tmp_path, x):
    np.save(tmp_path / "x.npy", x)
    np.savez_compressed(tmp_path / "z.npz", x=x)
    for back in (mx.load(tmp_path / "x.npy"), mx.load(tmp_path / "z.npz")["x"]):
        assert np.asarray(back).dtype == x.dtype.newbyteorder("=")
        np.testing.assert_array_equal(np.asarray(back), x)


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_every_version_of_npy_is_read(version):
    file = io.BytesIO()
    np.lib.format.write_array(file, np.arange(3), version=version)
    assert load_bytes(file.getvalue(), "npy").tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    "x",
    [
        np.array(["a"]),
        np.array([(1, 2.0)], [("a", "i4"), ("b", "f4")]),
        np.array([1], "M8[s]"),
        np.array([1 + 2j]),
        np.array([{}], object),
    ],
    ids=lambda x: x.dtype.name,
)
def test_numpy_types_without_a_counterpart_are_refused(x):
    file = io.BytesIO()
    np.save(file, x, allow_pickle=True)
    with pytest.raises(ValueError, match="counterpart|not understood"):
        load_bytes(file.getvalue(), "npy")


class TestExchangeWithMLX:
    """Files written here are read there, and the other way round. MLX has no float64 in safetensors
    and gguf."""

    @pytest.fixture
    def mlx(self):
        return pytest.importorskip("mlx.core")

    @staticmethod
    def same(x, y):
        """x here, y there."""
        assert str(x.dtype).rpartition(".")[2] == str(y.dtype).rpartition(".")[2]
        assert tuple(x.shape) == tuple(y.shape)
        assert x.tolist() == y.tolist()

    @pytest.mark.parametrize("dtype", [d for d in DTYPES if d != "float64"])
    def test_npy_npz_and_safetensors(self, tmp_path, mlx, dtype):
        x = values_of(dtype, (2, 3))
        y = mlx.array(x.tolist(), dtype=getattr(mlx, dtype))
        mx.save(tmp_path / "x", x)
        mx.savez(tmp_path / "x", x)
        mx.save_safetensors(tmp_path / "x", {"arr_0": x}, {"a": "b"})
        mlx.save(str(tmp_path / "y"), y)
        mlx.savez(str(tmp_path / "y"), y)
        mlx.save_safetensors(str(tmp_path / "y"), {"arr_0": y}, {"a": "b"})
        self.same(x, mlx.load(str(tmp_path / "x.npy")))
        self.same(mx.load(tmp_path / "y.npy"), y)
        for extension in ("npz", "safetensors"):
            self.same(x, mlx.load(str(tmp_path / f"x.{extension}"))["arr_0"])
            self.same(mx.load(tmp_path / f"y.{extension}")["arr_0"], y)
        assert mlx.load(str(tmp_path / "x.safetensors"), return_metadata=True)[1] == {"a": "b"}
        assert mx.load(tmp_path / "y.safetensors", return_metadata=True)[1] == {"a": "b"}

    @pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "float16", "float32"])
    def test_gguf(self, tmp_path, mlx, dtype):
        x = values_of(dtype, (2, 3))
        y = mlx.array(x.tolist(), dtype=getattr(mlx, dtype))
        mx.save_gguf(tmp_path / "x", {"w": x}, {"s": "t", "l": ["a", "b"], "n": mx.array([1, 2])})
        mlx.save_gguf(
            str(tmp_path / "y"), {"w": y}, {"s": "t", "l": ["a", "b"], "n": mlx.array([1, 2])}
        )
        there, their_metadata = mlx.load(str(tmp_path / "x.gguf"), return_metadata=True)
        here, our_metadata = mx.load(tmp_path / "y.gguf", return_metadata=True)
        self.same(x, there["w"])
        self.same(here["w"], y)
        self.same(our_metadata.pop("n"), their_metadata.pop("n"))
        assert our_metadata == their_metadata == {"s": "t", "l": ["a", "b"]}


def unpacked(words, bits):
    """The small integers of uint32 words, first in the lowest bits."""
    shifts = np.arange(0, 32, bits, dtype=np.uint32)
    numbers = (np.asarray(words)[..., None] >> shifts) & np.uint32((1 << bits) - 1)
    return numbers.reshape(*words.shape[:-1], -1)


@pytest.mark.parametrize(("code", "nbytes", "bits"), [(2, 18, 4), (3, 20, 4), (8, 34, 8)])
def test_quantised_tensors_become_weights_scales_and_biases(code, nbytes, bits):
    rng = np.random.default_rng(0)
    blocks = rng.integers(0, 256, (4, nbytes), dtype=np.uint8)
    scales = rng.standard_normal(4).astype(np.float16)
    minima = rng.standard_normal(4).astype(np.float16)
    blocks[:, :2] = scales[:, None].view(np.uint8)
    if code == 8:
        expected = scales[:, None].astype(np.float32) * blocks[:, 2:].view(np.int8)
    else:
        numbers = np.concatenate([blocks[:, -16:] & 15, blocks[:, -16:] >> 4], axis=1).astype(
            np.float32
        )
        if code == 3:
            blocks[:, 2:4] = minima[:, None].view(np.uint8)
            expected = scales[:, None] * numbers + minima[:, None]
        else:
            expected = scales[:, None] * (numbers - 8)
    arrays = load_bytes(gguf_file(code, (2, 64), blocks.tobytes()), "gguf")
    assert sorted(arrays) == ["w.biases", "w.scales", "w.weight"]
    assert arrays["w.weight"].dtype == mx.uint32
    assert tuple(arrays["w.weight"].shape) == (2, 64 * bits // 32)
    assert tuple(arrays["w.scales"].shape) == tuple(arrays["w.biases"].shape) == (2, 2)
    factors = np.asarray(arrays["w.scales"]).astype(np.float32).repeat(32, axis=1)
    offsets = np.asarray(arrays["w.biases"]).astype(np.float32).repeat(32, axis=1)
    restored = unpacked(np.asarray(arrays["w.weight"]), bits) * factors + offsets
    np.testing.assert_allclose(restored, expected.reshape(2, 64), rtol=1e-3, atol=1e-2)


def test_names_without_weight_get_the_suffixes_appended():
    arrays = load_bytes(gguf_file(2, (32,), bytes(18), name="w"), "gguf")
    assert sorted(arrays) == ["w", "w.biases", "w.scales"]


@pytest.mark.parametrize(
    ("code", "nbytes", "checksum", "first"),
    [
        (10, 84, 1184.0, [0.0, 2.484375, 7.84375]),
        (12, 144, 13183.109375, [-10.625, -5.78125, 18.46875]),
        (14, 210, -28224.875, [3840.0, 2204.0, -196.875]),
    ],
)
def test_k_quants_become_float16(code, nbytes, checksum, first):
    # Observed from llama.cpp's own Python package, gguf 0.19. (MLX 0.32.4 differs for Q4_K: it
    # scales every second group of 32 by its neighbour's scale.)
    block = (np.arange(nbytes) * 37 % 256).astype(np.uint8)
    for at in {10: (80, 82), 12: (0, 2), 14: (208,)}[code]:
        block[at : at + 2] = np.array([0.25 + at / 128], np.float16).view(np.uint8)
    values = np.asarray(load_bytes(gguf_file(code, (256,), block.tobytes()), "gguf")["w.weight"])
    assert values.dtype == np.float16
    np.testing.assert_array_equal(values[[0, 77, 255]], np.array(first, np.float16))
    assert float(values.astype(np.float64).sum()) == checksum


def test_bfloat16_in_gguf_stays_bfloat16():
    bits = np.array([0x3FC0, 0x7149], np.uint16)  # the second is too large for float16
    x = load_bytes(gguf_file(30, (2,), bits.tobytes()), "gguf")["w.weight"]
    assert x.dtype == mx.bfloat16
    assert bits_of(x).tolist() == bits.tolist()


def test_the_alignment_that_gguf_metadata_asks_for_is_used():
    pairs = [("general.alignment", struct.pack("<II", 4, 64))]
    data = np.arange(4, dtype=np.float32).tobytes()
    assert load_bytes(gguf_file(0, (4,), data, pairs=pairs, alignment=64), "gguf")[
        "w.weight"
    ].tolist() == [0, 1, 2, 3]


def gguf_meta(form, *values, key="a", tail=b"", times=1):
    return gguf_file(0, (1,), bytes(4), pairs=[(key, struct.pack(form, *values) + tail)] * times)


GGUF_FAULTS = {
    "magic": b"GGUX" + bytes(40),
    "version": gguf_file(0, (1,), bytes(4), version=4),
    "big-endian": b"GGUF" + struct.pack(">IQQ", 3, 0, 0),
    "tensor count": b"GGUF" + struct.pack("<IQQ", 3, 1 << 60, 0),
    "pair count": b"GGUF" + struct.pack("<IQQ", 3, 0, 1 << 60),
    "string length": b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 1 << 63) + bytes(16),
    "no text": gguf_meta("<IQ", 8, 1, tail=b"\xff"),
    "type of metadata": gguf_meta("<I", 13),
    "nested array": gguf_meta("<IIQ", 9, 9, 0),
    "array length": gguf_meta("<IIQ", 9, 6, 1 << 61),
    "list length": gguf_meta("<IIQ", 9, 8, 1 << 61),
    "key twice": gguf_meta("<IB", 0, 1, times=2),
    "alignment 0": gguf_meta("<II", 4, 0, key="general.alignment"),
    "alignment text": gguf_meta("<IQ", 8, 0, key="general.alignment"),
    "dimensions": gguf_file(0, (1,) * 40, bytes(4)),
    "size": gguf_file(0, (1 << 62, 4), bytes(4)),
    "product": gguf_file(0, (1 << 40, 1 << 40), bytes(4)),
    "zero product": gguf_file(0, (0, 1 << 57, 1 << 57), bytes(4)),
    "short data": gguf_file(0, (4,), bytes(15)),
    "tensor type": gguf_file(99, (4,), bytes(16)),
    "no block": gguf_file(2, (16,), bytes(18)),
    "no axis": gguf_file(2, (), bytes(18)),
}


@pytest.mark.parametrize("fault", GGUF_FAULTS)
def test_faulty_gguf_files_are_refused(fault):
    with pytest.raises(ValueError, match="file object"):
        load_bytes(GGUF_FAULTS[fault], "gguf")


def gguf_pair(names, offsets):
    """Two float32 tensors of 8 values each, wherever they claim to be."""
    head = b"GGUF" + struct.pack("<IQQ", 3, 2, 0)
    for name, offset in zip(names, offsets):
        head += gguf_string(name) + struct.pack("<IQIQ", 1, 8, 0, offset)
    return head + b"\0" * (-len(head) % 32) + bytes(64)


def test_gguf_tensors_must_not_share_bytes_or_names():
    assert sorted(load_bytes(gguf_pair("ab", (32, 0)), "gguf")) == ["a", "b"]
    with pytest.raises(ValueError, match="overlaps"):
        load_bytes(gguf_pair("ab", (0, 0)), "gguf")
    with pytest.raises(ValueError, match="multiples"):
        load_bytes(gguf_pair("ab", (0, 33)), "gguf")
    with pytest.raises(ValueError, match="two tensors"):
        load_bytes(gguf_pair("aa", (0, 32)), "gguf")


def npy_file(header, data=b"", version=(1, 0)):
    header = header.encode("latin-1")
    return b"\x93NUMPY" + bytes(version) + struct.pack("<H", len(header)) + header + data


def npy_of(shape, data=bytes(4), descr="'<f4'"):
    return npy_file(f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}}}", data)


NPY_FAULTS = {
    "empty": b"",
    "magic": b"\x93NUMPX" + bytes(100),
    "version": npy_file("{}", version=(9, 0)),
    "header length": b"\x93NUMPY\x02\x00\xff\xff\xff\xff{}",
    "no dictionary": npy_file("(1, 2)"),
    "missing key": npy_file("{'descr': '<f4', 'shape': (1,)}", bytes(4)),
    "key twice": npy_of("(1,), 'descr': '<f4'"),
    "call": npy_of("(1,)", descr="__import__('os')"),
    "nesting": npy_file("{'descr': " + "(" * 60000),
    "object": npy_of("(1,)", bytes(8), "'|O'"),
    "structure": npy_of("(1,)", descr="[('a', '<f4')]"),
    "negative size": npy_of("(-1,)"),
    "huge": npy_of("(1000000000000,)"),
    "overflow": npy_of("(4294967296, 4294967297)"),
    "digits": npy_of("(" + "9" * 5000 + ",)"),
    "zero product": npy_of(f"(0, {2**57}, {2**57})"),
    "dimensions": npy_of("(" + "1, " * 40 + ")"),
    "no tuple": npy_of("(1)"),
    "wrong kinds": npy_file("{'descr': True, 'fortran_order': (1,), 'shape': '<f4'}", bytes(4)),
    "short data": npy_of("(2,)", bytes(7)),
}


@pytest.mark.parametrize("fault", NPY_FAULTS)
def test_faulty_npy_files_are_refused(fault):
    with pytest.raises(ValueError, match="file object"):
        load_bytes(NPY_FAULTS[fault], "npy")


def zip_file(members):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return bytearray(file.getvalue())


def test_members_of_an_archive_must_be_whole_arrays_and_nothing_else():
    data = saved("npy", mx.array([1, 2, 3]))
    for members in ([("a.npy", data + b"x")], [("a.npy", data[:-1])], [("a.txt", b"hello")]):
        with pytest.raises(ValueError, match="file object"):
            load_bytes(zip_file(members), "npz")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_members_of_an_archive_must_not_share_a_name():
    data = saved("npy", mx.array([1, 2, 3]))
    with pytest.raises(ValueError, match="unique"):
        load_bytes(zip_file([("a.npy", data), ("a.npy", data)]), "npz")


def test_a_member_that_claims_more_than_it_can_inflate_to_is_refused_before_memory_is_taken():
    header = npy_file("{'descr': '|u1', 'fortran_order': False, 'shape': (4000000000,)}")
    archive = zip_file([("a.npy", header + bytes(100))])
    claimed = struct.pack("<I", len(header) + 4_000_000_000 & 0xFFFFFFFF)
    real = struct.pack("<I", len(header) + 100)
    archive = bytes(archive).replace(real, claimed)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="corrupt"):
            load_bytes(archive, "npz")
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_changed_bytes_of_an_archive_are_noticed():
    data = bytearray(saved("npz", mx.arange(100)))
    data[data.index(b"NUMPY") + 200] ^= 1
    with pytest.raises(ValueError, match="CRC"):
        load_bytes(bytes(data), "npz")


def st_file(header, data=bytes(8), length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def st_tensor(dtype="U8", shape=(8,), offsets=(0, 8)):
    return {"a": {"dtype": dtype, "shape": shape, "data_offsets": offsets}}


ST_FAULTS = {
    "empty": b"",
    "length": st_file({}, length=1 << 62),
    "length of a gibibyte": st_file({}, length=1 << 30),
    "no JSON": st_file(b"{hello}"),
    "no UTF-8": st_file(b'{"\xff": 1}'),
    "no object": st_file([]),
    "nesting": st_file(b"[" * 200_000),
    "name twice": st_file(
        b'{"a":{"dtype":"U8","shape":[8],"data_offsets":[0,8]},'
        b'"a":{"dtype":"U8","shape":[8],"data_offsets":[0,8]}}'
    ),
    "entry": st_file({"a": 3}),
    "metadata": st_file({"__metadata__": {"a": 1}}, b""),
    "dtype": st_file(st_tensor(dtype="Q8")),
    "dtype list": st_file(st_tensor(dtype=["U8"])),
    "shape": st_file(st_tensor(shape=8)),
    "negative sizes": st_file(st_tensor(shape=(-2, -4))),
    "overflow": st_file(st_tensor(shape=(4294967297, 4294967296), offsets=(0, 8))),
    "zero product": st_file(st_tensor(shape=(0, 1 << 57, 1 << 57), offsets=(0, 0)), b""),
    "true size": st_file(st_tensor(shape=(True, 8))),
    "real size": st_file(st_tensor(shape=(8.0,))),
    "infinite size": st_file(b'{"a":{"dtype":"U8","shape":[Infinity],"data_offsets":[0,8]}}'),
    "dimensions": st_file(st_tensor(shape=(1,) * 40 + (8,))),
    "offsets": st_file(st_tensor(offsets=(0, 9))),
    "offsets backwards": st_file(st_tensor(offsets=(8, 0))),
    "negative offsets": st_file(st_tensor(offsets=(-8, 0))),
    "three offsets": st_file(st_tensor(offsets=(0, 4, 8))),
    "hole before": st_file(st_tensor(offsets=(8, 16)), bytes(16)),
    "bytes after": st_file(st_tensor(), bytes(9)),
    "cut": st_file(st_tensor(), bytes(7)),
    "overlap": st_file(
        {
            "a": {"dtype": "U8", "shape": [5], "data_offsets": [0, 5]},
            "b": {"dtype": "U8", "shape": [5], "data_offsets": [3, 8]},
        }
    ),
}


@pytest.mark.parametrize("fault", ST_FAULTS)
def test_faulty_safetensors_files_are_refused(fault):
    with pytest.raises(ValueError, match="file object"):
        load_bytes(ST_FAULTS[fault], "safetensors")


def test_8_bit_floats_come_as_their_bits():
    for word in ("F8_E4M3", "F8_E5M2"):
        x = load_bytes(st_file(st_tensor(dtype=word), bytes(range(8))), "safetensors")["a"]
        assert x.dtype == mx.uint8
        assert x.tolist() == list(range(8))


def test_missing_files_and_directories_say_so(tmp_path):
    for format in FORMATS:
        with pytest.raises(FileNotFoundError, match="nowhere"):
            mx.load(tmp_path / f"nowhere.{format}")
        (tmp_path / f"d.{format}").mkdir()
        with pytest.raises(OSError, match="d\\."):
            mx.load(tmp_path / f"d.{format}")
    with pytest.raises(IsADirectoryError, match="d.npy"):
        mx.save(tmp_path / "d", mx.array(1))
    with pytest.raises(FileNotFoundError, match="nowhere"):
        mx.save(tmp_path / "nowhere" / "x", mx.array(1))


def test_what_is_no_regular_file_is_refused():
    with pytest.raises(ValueError, match="regular"):
        mx.load("/dev/zero", format="npy")


def test_unknown_formats_are_refused(tmp_path):
    (tmp_path / "x.dat").write_bytes(b"")
    with pytest.raises(ValueError, match="'dat' is unknown"):
        mx.load(tmp_path / "x.dat")
    with pytest.raises(ValueError, match="'zzz' is unknown"):
        mx.load(tmp_path / "x.dat", format="zzz")
    with pytest.raises(ValueError, match="extension"):
        mx.load(io.BytesIO())
    with pytest.raises(TypeError, match="int is no file"):
        mx.load(3, format="npy")
    with pytest.raises(TypeError, match="int is no file"):
        mx.save(3, mx.array(1))
    with pytest.raises(TypeError, match="binary"):
        mx.load(io.StringIO("hello"), format="npy")


@pytest.mark.parametrize("format", FORMATS)
def test_a_save_that_fails_midway_leaves_the_old_file(tmp_path, monkeypatch, format):
    path = tmp_path / f"x.{format}"
    path.write_bytes(b"old")
    save = {
        "npy": lambda: mx.save(path, mx.arange(1000)),
        "npz": lambda: mx.savez(path, mx.arange(1000)),
        "safetensors": lambda: mx.save_safetensors(path, {"a": mx.arange(1000)}),
        "gguf": lambda: mx.save_gguf(path, {"a": mx.arange(1000)}, {}),
    }[format]

    def full(descriptor):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            save()
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == [path.name]
    save()
    assert path.read_bytes() != b"old"
    assert os.listdir(tmp_path) == [path.name]


def test_permissions_survive_and_links_are_followed(tmp_path):
    real = tmp_path / "real.npy"
    real.write_bytes(b"old")
    real.chmod(0o640)
    (tmp_path / "link.npy").symlink_to(real)
    mx.save(tmp_path / "link.npy", mx.array(1))
    assert (tmp_path / "link.npy").is_symlink()
    assert real.stat().st_mode & 0o777 == 0o640
    assert mx.load(real).item() == 1


def test_an_array_can_be_saved_over_the_file_it_was_loaded_from(tmp_path):
    mx.save(tmp_path / "x", mx.arange(1000))
    for _ in range(3):
        mx.save(tmp_path / "x", mx.load(tmp_path / "x.npy") + 1)
    assert mx.load(tmp_path / "x.npy").tolist() == list(range(3, 1003))


@pytest.mark.parametrize("kind", fuzz_files.KINDS)
def test_files_with_faults_raise_value_errors_and_take_no_memory(kind):
    findings, refused = fuzz_files.try_files(fuzz_files.Source(kind, 20), 0, 2500)
    assert not findings
    assert refused > 1000


def test_a_loader_that_trusts_a_file_would_be_found(monkeypatch):
    def trusting(data, format):
        return mx.zeros((int.from_bytes(data[:3], "little"),))

    monkeypatch.setattr(fuzz_files, "load_bytes", trusting)
    findings, _ = fuzz_files.try_files(fuzz_files.Source("npy", 20), 0, 50)
    assert findings and all("took" in wrong for _, wrong in findings)


def test_inflating_stops_at_the_declared_size():
    # The archive says 300 bytes; what is deflated inside goes on for 50 MB.
    npy = saved("npy", mx.zeros((43,), dtype=mx.float32))
    archive = zip_file([("a.npy", npy)])
    bomb = zlib.compress(npy + bytes(50_000_000))[2:-4]
    start = 30 + len("a.npy")
    size = struct.unpack("<I", archive[18:22])[0]
    tail = bytes(archive[start + size :])
    head = bytes(archive[:18]) + struct.pack("<I", len(bomb)) + bytes(archive[22:start])
    tail = tail.replace(struct.pack("<II", size, len(npy)), struct.pack("<II", len(bomb), len(npy)))
    end = tail.rindex(b"PK\x05\x06")
    tail = tail[: end + 16] + struct.pack("<I", start + len(bomb)) + tail[end + 20 :]
    tracemalloc.start()
    try:
        back = load_bytes(head + bomb + tail, "npz")["a"]
        assert tracemalloc.get_traced_memory()[1] < 1 << 21
    finally:
        tracemalloc.stop()
    assert back.tolist() == [0.0] * 43
