"""Hostile arguments for the fuzzer: any type, any size, any layout, chosen by a generator.

Rules: an argument depends on the generator alone; a call's arguments often fit together, so that
kernels are reached; nothing here calls what is tested, apart from making arrays.
"""

import inspect

import numpy as np

INTEGERS = (
    0,
    1,
    -1,
    2,
    3,
    -2,
    5,
    7,
    -7,
    64,
    2**15,
    2**31 - 1,
    2**31,
    -(2**31),
    2**32 + 1,
    2**62,
    -(2**62),
    2**63 - 1,
    -(2**63),
    2**63,
    2**64,
    2**100,
)
FLOATS = (
    0.0,
    -0.0,
    1.0,
    0.5,
    -1.5,
    1e-45,
    1e38,
    1e308,
    -1e308,
    float("inf"),
    float("-inf"),
    float("nan"),
)
SIZES = (0, 1, 2, 3, 4, 5, 8, 16, 17, 33, 64, 100, 130)
WORDS = (
    "",
    "constant",
    "edge",
    "same",
    "full",
    "valid",
    "left",
    "right",
    "ortho",
    "forward",
    "backward",
    "fro",
    "nuc",
    "L",
    "U",
    "ij",
    "xy",
    "affine",
    "mxfp4",
    "nvfp4",
    "mxfp8",
    "causal",
    "reflect",
    "nearest",
    "linear",
    "cubic",
    "ij,jk->ik",
    "i->",
    "...i,i->...",
    "none",
    "mean",
    "sum",
    "fuzz.npy",
    "\0",
    "é" * 50,
)
DTYPES = (
    "bool_",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "int8",
    "int16",
    "int32",
    "int64",
    "float16",
    "bfloat16",
    "float32",
    "float64",
    "complex64",
)
ARRAY_NAMES = set(
    "a b c x y v q k w arr array input weight inputs values update operand lhs rhs logits targets "
    "scales biases mean cov beta gamma condition predictions labels key sorted_sequence bias "
    "window".split()
)
PATHS = (*"fuzz.npy fuzz.npz fuzz.safetensors fuzz.gguf fuzz no/fuzz.npy".split(), "\0")
STEP_NAMES = set(
    "stride strides padding dilation pad_width kernel_dilation input_dilation output_padding "
    "scale_factor shift".split()
)
INDEX_NAMES = {"indices", "segments", "lhs_indices", "rhs_indices", "start_indices", "index"}
SIZE_NAMES = {"shape", "s", "reps", "size", "sizes", "slice_size", "num_samples", "repeats"}
DIMS_NAMES = {
    "dims",
    "kernel_size",
    "num_heads",
    "num_groups",
    "num_layers",
    "M",
    "N",
    "m",
    "n_fft",
}


def anything(rng, mx):
    """A value of any type at all."""
    endless = []
    endless.append(endless)
    return rng.choice(
        [
            None,
            True,
            False,
            *INTEGERS,
            *FLOATS,
            1j,
            complex("nan"),
            *WORDS,
            b"x",
            [],
            (),
            {},
            set(),
            object(),
            int,
            lambda *a: a,
            [[1], [2, 3]],
            endless,
            [None],
            ["a"],
            [1.5, 2],
            [2**70],
            range(3),
            slice(None, 2),
            ...,
            slice(2**62, -(2**63), -1),
            mx.float32,
            mx.bfloat16,
            np.float64(1),
            np.int8(-1),
            np.zeros(2, "M8[D]"),
            np.array(["a"]),
            np.array([None]),
            np.zeros((1,) * 40),
            np.zeros((2, 0)),
            {"a": 1},
            mx.array,
            mx,
            iter([1, 2]),
            bytearray(b"abcd"),
            memoryview(b"ab"),
            np.random,
            float,
            Ellipsis,
            NotImplemented,
        ]
    )


class Arguments:
    """Makes hostile arguments; what belongs to one call often fits together, so that kernels are
    reached."""

    def __init__(self, rng, mx):
        self.rng, self.mx = rng, mx
        self.numbers = np.random.default_rng(rng.getrandbits(32))
        self.base = self.new_shape()
        self.dtype = rng.choice(DTYPES + ("float32",) * 10)

    def chance(self, percent):
        return self.rng.random() * 100 < percent

    def new_shape(self):
        if self.chance(4):
            return tuple([1] * self.rng.choice((6, 12, 31, 32)))
        return tuple(
            self.rng.choice(SIZES) for _ in range(self.rng.choice((0, 1, 1, 2, 2, 2, 3, 3, 4, 5)))
        )

    def small_shape(self):
        shape = self.new_shape()
        while np.prod(shape, dtype=float) > 2**17:
            shape = shape[1:]
        return shape

    def shape_near(self):
        """A shape that often fits the call's base shape."""
        base = self.base
        while np.prod(base, dtype=float) > 2**17:
            base = base[1:]
        return self.rng.choice(
            [
                base,
                base,
                base,
                base[-1:],
                base[-2:],
                (),
                base[:-2] + base[-2:][::-1],
                base[:-1] + (1,),
                base[:-1] + (base[-1:] or (1,)),
                ((1,) + base)[:32],
                base[:-1],
                self.small_shape(),
            ]
        )

    def contents(self, shape, name):
        """NumPy values of a dtype: usual, extreme, or not finite."""
        numbers, way = self.numbers, self.rng.randrange(5)
        if name == "bool_":
            return numbers.integers(0, 2, shape).astype(bool)
        if name[0] in "iu":
            info = np.iinfo(name)
            low, high = [(0, 4), (max(info.min, -9), 10), (info.min, info.max), (0, 1), (0, 100)][
                way
            ]
            return np.asarray(numbers.integers(low, high, shape, dtype=name))
        values = np.asarray(numbers.normal(size=shape) * (1, 1e30, 1, 1e-30, 10)[way])
        if way == 2 and values.size:
            values.flat[:: max(1, values.size // 3)] = self.rng.choice(FLOATS)
        with np.errstate(over="ignore"):
            if name == "complex64":
                return (values + 1j * values[..., ::-1] if values.ndim else values + 1j).astype(
                    name
                )
            return values.astype("float32" if name == "bfloat16" else name)

    def array(self, shape=None, name=None):
        """An array of any dtype and layout."""
        mx, rng = self.mx, self.rng
        shape = self.shape_near() if shape is None else shape
        name = name or (self.dtype if self.chance(70) else rng.choice(DTYPES))
        dtype = getattr(mx, name)
        way = rng.randrange(12)
        if way == 1 and len(shape) > 1:
            return mx.array(self.contents(shape[::-1], name), dtype=dtype).T
        if way == 2 and shape:
            return mx.array(self.contents((2 * shape[0] + 1, *shape[1:]), name), dtype=dtype)[1::2]
        if way == 3 and shape:
            return mx.array(self.contents(shape, name), dtype=dtype)[..., ::-1]
        if way == 4 and shape:
            return mx.broadcast_to(mx.array(self.contents(shape[1:], name), dtype=dtype), shape)
        if way == 5 and shape and 0 not in shape:
            reach = 1 + sum(size - 1 for size in shape)
            flat = mx.array(self.contents((reach,), name), dtype=dtype)
            return mx.as_strided(flat, shape, (1,) * len(shape))
        if way == 6:
            return mx.array(self.contents(shape, name), dtype=dtype) + mx.zeros(shape, dtype)
        if way == 7 and name != "bfloat16" and len(shape) <= 32:
            frozen = np.array(self.contents(shape, name))
            frozen.flags.writeable = False
            return mx.asarray(frozen, dtype=dtype)
        if way == 8 and self.chance(20):
            huge = rng.choice(
                [(2**31, 1), (2**16, 2**16), (2**57,), (3, 2**31), (2**40, 0), (2**28, 2**29)]
            )
            return mx.broadcast_to(
                mx.array(self.contents((1,) * len(huge), name), dtype=dtype), huge
            )
        return mx.array(self.contents(shape, name), dtype=dtype)

    def arraylike(self):
        if self.chance(88):
            return self.array()
        return self.rng.choice(
            [
                self.contents(self.shape_near(), "float32"),
                self.rng.choice(INTEGERS),
                self.rng.choice(FLOATS),
                [1, 2.5],
                [[1, 2], [3, 4]],
                [self.array()],
                True,
                np.float32(2),
            ]
        )

    def integer(self):
        return self.rng.choice(INTEGERS) if self.chance(30) else self.rng.randrange(-3, 9)

    def count(self):
        """A size that often makes sense."""
        return self.rng.choice(INTEGERS) if self.chance(15) else self.rng.choice(SIZES)

    def axis(self):
        if self.chance(12):
            return self.rng.choice([None, 2**31, -(2**31), 2**62, -(2**63), 2**64, 33, -33])
        return self.rng.randrange(-len(self.base) - 1, len(self.base) + 2)

    def several(self, make, most=4):
        return [make() for _ in range(self.rng.randrange(most + 1))]

    def listed(self, make):
        """One, or a list or tuple of several."""
        if self.chance(50):
            return make()
        return self.rng.choice((tuple, list))(self.several(make))

    def pick(self):
        """An index array, mostly inside."""
        high = max((*self.base, 1))
        if self.chance(25):
            return self.array(name=self.rng.choice(("int32", "int64", "uint64", "int8")))
        values = self.numbers.integers(-high, high, self.shape_near())
        return self.mx.array(
            values, dtype=getattr(self.mx, self.rng.choice(("int32", "uint32", "int64")))
        )

    def key(self):
        """What may stand in brackets."""
        make = self.rng.choice(
            [
                self.integer,
                self.pick,
                lambda: slice(*[self.rng.choice([None, self.integer()]) for _ in range(3)]),
                lambda: ...,
                lambda: None,
                lambda: self.array(name="bool_"),
                lambda: self.array(self.small_base(), "bool_"),
                lambda: self.array((), "int32"),
                lambda: [0, 1],
                lambda: anything(self.rng, self.mx),
            ]
        )
        return make()

    def keys(self):
        return self.key() if self.chance(50) else tuple(self.several(self.key))

    def function(self):
        mx = self.mx
        return self.rng.choice(
            [
                mx.sum,
                mx.exp,
                lambda x: x,
                lambda x: (x * 2).sum(),
                lambda *a: a[0],
                lambda x: [x, x + 1],
                lambda x: None,
                lambda x: x.item(),
                lambda x, y: x @ y,
                lambda: 1,
                lambda x: 1.0,
                lambda x: {"a": x},
            ]
        )

    def named(self, name, default):
        """A value for a parameter, by its name and default."""
        rng, mx = self.rng, self.mx
        if name == "stream":
            return rng.choice(
                [None, None, mx.cpu, mx.default_stream(mx.default_device()), "cpu", 7]
            )
        if name in ("fun", "f", "func", "function"):
            return self.function()
        if name in ("dtype", "to", "from_"):
            return getattr(mx, rng.choice(DTYPES)) if self.chance(90) else anything(rng, mx)
        if name in ("arrays", "arys", "primals", "tangents", "cotangents", "operands"):
            return self.several(self.arraylike)
        if name in ("file", "path", "filename"):
            return rng.choice(PATHS)
        if name in INDEX_NAMES:
            return self.pick()
        if name == "mask" or name.startswith("mask_"):
            return rng.choice([None, self.array(name="bool_"), self.array(), "causal"])
        if name in SIZE_NAMES:
            near = tuple(self.shape_near())
            return rng.choice([near, near, (-1,), (2, -1), (), self.listed(self.count)])
        if "axis" in name or "axes" in name or name in ("source", "destination"):
            return self.listed(self.axis) if self.chance(30) else self.axis()
        if name in DIMS_NAMES or name.endswith(
            ("_dims", "_size", "_channels", "_features", "_embeddings")
        ):
            return self.count()
        if name in STEP_NAMES:
            return self.listed(lambda: rng.choice((0, 1, 1, 2, 3, -1, *INTEGERS)))
        if isinstance(default, bool):
            return self.chance(50)
        if isinstance(default, int):
            return self.integer()
        if isinstance(default, float):
            return rng.choice(FLOATS)
        if isinstance(default, str):
            return rng.choice(WORDS)
        if name in ARRAY_NAMES or default is inspect.Parameter.empty:
            return self.arraylike() if self.chance(85) else self.integer()
        return rng.choice(
            [None, self.arraylike(), self.integer(), rng.choice(FLOATS), rng.choice(WORDS)]
        )

    def for_signature(self, signature):
        """Positional and keyword arguments for a callable."""
        args, kwargs, by_name = [], {}, False
        for name, parameter in signature.parameters.items():
            if parameter.kind is parameter.VAR_POSITIONAL:
                args += self.several(
                    lambda name=name: self.named(name.rstrip("s"), inspect.Parameter.empty)
                )
                continue
            if parameter.kind is parameter.VAR_KEYWORD:
                continue
            optional = parameter.default is not parameter.empty
            if optional and self.chance(55):
                by_name = True
                continue
            wild = self.chance(3)
            value = anything(self.rng, self.mx) if wild else self.named(name, parameter.default)
            if parameter.kind is parameter.KEYWORD_ONLY or by_name:
                kwargs[name] = value
                if parameter.kind is parameter.POSITIONAL_ONLY:
                    kwargs.pop(name)
            else:
                args.append(value)
        return args, kwargs

    def small_base(self):
        """The call's base shape, without the leading axes that make it large."""
        while np.prod(self.base, dtype=float) > 2**17:
            self.base = self.base[1:]
        return self.base
