"""The arguments that mlxc and the real MLX are both given, by the function's name.

Rules: ``sum prod: x, axis=1 || t, (0, 2)`` asks both for four values, such as
``mx.sum(x, axis=1)``; ``(none)`` is a call without arguments, ``$axes`` the list of that name.
Operands are those of against_mlx_support.operands: x y (3, 4) float32, v (4,), w (4, 5),
t (2, 3, 4), q (4, 4), p likewise and positive definite, s a scalar, e (0, 4), z with infinities
and NaN, i k int32 (3, 4), ix int32 (2, 2) below 3; b bool, u uint8, l int64, c complex64,
h float16, g bfloat16, d float64 (all (3, 4)); K a key. Wrong arguments stand among right ones:
what is compared then is the class of the error. What makes MLX itself crash is not asked.
"""

CASES = r"""
$axes: x || x, 0 || x, axis=-1 || t, axis=(0, 2) || t, [0, -1], True || x, 1, keepdims=True || s
    || x, axis=2 || x, axis=-3 || t, axis=(0, 0) || e, axis=1 || x, axis='0' || x, axis=1.5
    || x, axes=0 || x, axis=() || b, 0 || u || i, 1 || c, 1 || h, 0 || g, 0 || d, 1 || [1, 2]
    || 'x' || 2.0 || (none)
$orders: x, axis=1, 2 || t, 1 || x || i, axis=0 || b || s || x, axis=2 || h, -1 || g, -1 || u || c
    || x, None || t, axis=-4
$scans: x || x, 0 || x, axis=-1 || t, 1 || x, axis=1, reverse=True || x, axis=1, inclusive=False
    || i, 0 || x, 0, reverse=True, inclusive=False || b, 1 || u, 1 || h, 1 || d, 0 || c, 1
    || x, axis=2 || s || x, True || x, axis=-3
$window: 1 || 2 || 7 || 0 || 12 || -3 || 2.5 || x || M=3
$conv1: a1, k1 || a1, k1, 2 || a1, k1, padding=1 || a1, k1, dilation=2 || a1, k1g, groups=2
    || a1, k1g || a1, x || a1, k1, stride=0 || a1, k1, groups=3 || a1.astype(mx.float16), k1
$conv2: a2, k2 || a2, k2, 2 || a2, k2, (1, 2), (1, 0) || a2, k2, dilation=(2, 1)
    || a2, k2, padding=1 || a2, k2g, groups=2 || a2, k2g || a2, a1 || a2, k2, stride=(1, 2, 3)
    || a2, k2, padding=-1
$conv3: a3, k3 || a3, k3, 2, 1 || a3, k3, (1, 2, 1), (0, 1, 1) || a3, k3, dilation=2, padding=2
    || a2, k3
$floats: x || t || s || e || 2 || 0.5 || True || [0.5, 1.0] || (0.5,) || None || 'x' || x, y || a=x
    || np.array([0.5]) || (none) || x, stream=mx.cpu || np.float32(0.5) || np.int32(1)
$pairs: x, y || x, v || x, 2 || 2, x || 2.5, x || x, s || t, x || x, t[..., :2] || x, w || 1, 2
    || 1.5, 2 || x, e || x || x, y, x || x, None || x, 'y' || x, [1.0, 2.0, 3.0, 4.0]
    || [1, 2], [3, 4] || x, True || a=x, b=y || x, np.ones(4) || x, y, stream=mx.cpu || x[:, :1], v
    || i, k || u, k || h, g
$new: 3 || (2, 3) || [2] || () || (0, 3) || -1 || (2, -3) || 2.0 || '3' || (2, 3), mx.int32
    || (2,), dtype=mx.bfloat16 || 3, mx.complex64 || (2,), None || (none) || shape=(2,) || (2, 2.5)
    || None || 3, 'float32' || x
$like: x || i || g || s || e || x, mx.int8 || x, dtype=mx.float16 || 2.0 || [1, 2] || None
    || np.ones(3)
$fft: x || x, 3 || x, 6 || x, n=5, axis=0 || x, axis=2 || c || i || h || x, norm='ortho'
    || x, norm='forward' || x, norm='other' || s || x, n=0 || x, n=-2 || b || e, axis=0
    || x, axis=-1 || t, axis=1
$fft2: x || t || t, axes=(0, 1) || t, s=(4, 3) || t, s=(2, 2), axes=(0, 2) || c || v
    || t, axes=(0, 3) || t, s=(1, 2, 3) || x, norm='ortho' || t, s=(0, 2)
$fftn: $fft2 || t, axes=(0, 1, 2) || t, s=(2, 2, 2) || t, axes=[1] || t, s=[3], axes=[0]
    || t, axes=(0, 0) || t, axes=[] || s
sum prod max min mean all any logsumexp median minmax: $axes
var: $axes || x, 0, False, 1 || x, ddof=1 || x, ddof=12 || x, axis=1, ddof=5
std: $axes || x, 0, False, 1 || x, ddof=1
argmax argmin: $axes || z || z, 1
count_nonzero: b || b, axis=0 || i, axis=(0, 1), keepdims=True || x, axis=3 || x, 0 || z
cumsum: $scans || i, 0, dtype=mx.float32 || u, 0, dtype=mx.int64
cumprod: $scans || i, 0, dtype=mx.float32
cummax cummin logcumsumexp: $scans
sort argsort: $orders || z
partition: x, 4 || x, 1, 5 || v
argpartition: v, 4 || x, 1, 9 || x || x, -5
topk: v, 4 || v, 1 || v, 0 || v, 5 || x, 1, 0 || x, -1 || x, 1, axis=4 || x
searchsorted: v, x || mx.sort(v), 0.5 || mx.sort(v), x, side='right'
    || mx.sort(v), x, side='middle' || x, v || mx.sort(v), i
unique: ix, 3 || ix, 5 || ix, 2 || ix, 4, True, True, True || i, 20, fill_value=-1 || b, 2 || ix
    || ix, 0
abs arccos arccosh arcsin arcsinh arctan arctanh bitwise_invert ceil conj cos cosh degrees erf
    erfinv exp expm1 floor imag isfinite isinf isnan isneginf isposinf log log10 log1p log2
    logical_not negative positive radians real reciprocal rsqrt sigmoid sign sin sinh sqrt square
    stop_gradient tan tanh trunc: $floats
add arctan2 bitwise_and bitwise_or bitwise_xor divide divmod equal floor_divide greater
    greater_equal left_shift less less_equal logaddexp logical_and logical_or logical_xor maximum
    minimum multiply not_equal power remainder right_shift subtract: $pairs
round: x * 10 || x * 10, 1 || x * 123, decimals=-2 || i, -1 || i, 1 || h, 1 || c, 1 || s || 2.5
    || x, 1.5 || u || b || d, 2 || g, 1
clip: x, -1, 1 || x, None, 0.5 || x, 0.1, None || x, None, None || i, 0.5, 2.5 || x, v, s
    || x, a_min=0, a_max=1 || x, 0 || u, 1, 2 || h, 0, 1 || x, y, w
where: b, x, y || b, 1, 2 || b, 1.0, i || x, i, h || b, v, s || b, u, i || True, x, y || b, x, w
    || b, x || b, c, 1 || [True], x, y || b, True, False
nan_to_num: z || z, 1.0 || z, nan=2.0, posinf=5.0, neginf=-5.0 || i || z.astype(mx.float16)
    || z.astype(mx.bfloat16) || 2.0
isclose: x, y || x, x + 1e-6 || z, z || z, z, equal_nan=True || x, x + 0.1, 0.5
    || x, x + 0.1, atol=0.5 || i, i || x, w || x, 1.0 || x, y, 1, 1
allclose: x, y || x, x || z, z || z, z, equal_nan=True || x, x + 0.1, 0.5 || x, w || x, 1.0
array_equal: x, x || x, y || x, v || z, z || z, z, True || z, z, equal_nan=True || i, i * 1.0
    || 1, 1 || x, 'x'
softmax: x || x, -1 || t, axis=(0, 2) || x, axis=0, precise=True || h || g, 1 || i || i, 0 || x, 2
    || s || e, 1 || z, 1 || c || d, 1 || x, ()
reshape: x, (4, 3) || x, [-1] || x, shape=(2, -1, 3) || x, (5,) || x, (-1, -1) || x, (5, -1)
    || e, (-1, 4) || e, (4, 0) || e, (0, -1) || s, (1, 1) || s, () || x, 12 || x || x, (3.0, 4)
    || x, (-2, 6) || 2, (1,) || x, None
flatten: t || t, 1 || t, 0, 1 || t, start_axis=1, end_axis=-1 || s || t, 2, 1 || t, 5 || t, 0, 5
    || t, -2 || t, -5 || 3.0
unflatten: x, 1, (2, 2) || x, axis=-1, shape=[-1, 2] || x, 0, (2, 2) || x, 2, (1, 1) || s, 0, (1,)
    || x, 1, () || x, 1, (-1, -1)
squeeze: x[None] || x[None], 0 || x[None, :, None], (0, 2) || x, 0 || x[None], axis=-3 || x, 2
    || x[None], (0, 0) || s || x[None], [0] || s, 0
expand_dims: x, 0 || x, -1 || x, (0, 1) || x, [0, -1] || x, 3 || x, 4 || x, (0, 0) || x || s, 0
    || x, axis=2 || x, -4 || 2, 0
transpose: x || t, (1, 0, 2) || t, axes=[-1, 0, 1] || t, (0, 1) || t, (0, 0, 1) || t, (0, 1, 3)
    || s || v || x, None || t, 1 || x, 1, 0
moveaxis: t, 0, 2 || t, source=-1, destination=0 || t, 0, 3 || t, 4, 0 || t, (0, 1), (1, 0) || t, 0
swapaxes: t, 0, 2 || t, axis1=-1, axis2=0 || t, 0, 3 || t, 0
matrix_transpose: t || x || v || s
broadcast_to: v, (3, 4) || s, (2,) || x, (2, 3, 4) || x, (3, 3) || x, (4,) || 2, (2, 2)
    || x, shape=[3, 4] || v, (0, 4) || x, (-1, 4) || v, (2.0, 4)
broadcast_arrays: x, v || x || (none) || x, 2.0 || x, w || s, t
broadcast_shapes: (3, 1), (4,) || (3,) || (3,), (4,) || (none) || (), (2,) || [1], (0,)
    || (3, 1), 4 || (-1,), (1,)
concatenate: [x, y] || [x, y], 1 || [x, i], axis=0 || [x, v] || [], 0 || [x, w] || [x], 5
    || (x, y), axis=-1 || x || [x, e] || [s, s] || [x, y], None || [h, g] || [x, 2.0] || [x, t]
    || [u, b]
stack: [x, y] || [x, y], 1 || [x, y], axis=-1 || [x, y], 3 || [x, v] || [] || (x,) || x || [s, s]
    || [x, i] || [x, y], -4 || [1, 2]
unstack: x || x, axis=1 || t, axis=-1 || x, axis=2 || s || e || x, 0
split: x, 2, 1 || x, 3 || x, 2 || x, [1], axis=1 || x, (1, 3), -1 || x, 0 || x, [1, 9], 1 || x, -1
    || x, 2, 2 || s, 1 || x || x, [2, 1], 1 || x, [-1], 1 || x, indices_or_sections=4, axis=1
    || x, 2.0, 1 || x, []
repeat: x, 2 || x, 2, 0 || x, repeats=3, axis=1 || x, 0, 0 || x, -1, 0 || x, 2, 5 || s, 3 || 2.0, 2
    || x, i || x
tile: x, 2 || x, (2, 1) || x, [2, 1, 3] || v, 0 || x, -1 || x, () || s, (2, 2) || 2.0, (2,) || x
    || x, 1.5
pad: x, 1 || x, (1, 2) || x, [(0, 1), (2, 0)] || x, 1, constant_values=3.0 || x, 1, mode='edge'
    || x, ((1, 1),) || x, -1 || x, [(1, 1)] * 3 || x, 1, 'other' || i, 1, constant_values=2 || s, 1
    || x, pad_width=2 || x, [1] || x, (1, 2, 3) || e, 1, 'edge' || u, 1, 'constant', 2
roll: x, 1 || x, -1, 0 || x, (1, 2), (0, 1) || x, 5, 1 || x, 1, 2 || x, (1, 2), 0 || x, (1, 2)
    || e, 1 || s, 1 || x, 1, (0, 1) || x || x, 1.5 || t, 1, [0, 2] || e, 1, 0
flip: x || x, 0 || t, axis=(0, 2) || x, axis=-1 || x, 2 || s || t, [0, 0] || e || x, ()
diff: x || x, 2 || x, 1, 0 || x, n=3, axis=1 || x, 4 || x, 0 || x, -1 || s || x, axis=2 || b || i
    || u
meshgrid: v, v || v, mx.arange(2) || v, mx.arange(2), indexing='ij' || v, mx.arange(2), sparse=True
    || v || (none) || v, v, indexing='zz' || x, v || s, v || v, mx.arange(2), mx.arange(3.0)
atleast_1d: s || x || s, v || 2.0 || (none)
atleast_2d: s || v || t || s, v || 2.0
atleast_3d: s || v || x || t || 2.0
as_strided: v, (2, 2), (1, 1) || v, (2,), (2,), 1 || x, shape=(3,), strides=(4,), offset=1 || x
    || x, (3, 2) || x, (2,), (1, 1) || x, (2, 2), (0, 0), 0
contiguous: x.T || x[:, ::2], True || s
view: x, mx.int32 || x, mx.uint8 || u, mx.float32 || h, mx.bfloat16 || s, mx.int32 || s, mx.int8
    || x, mx.complex64 || x || x, 'int32' || x, dtype=mx.uint32 || v, mx.float64
    || x[:, :1], mx.float64 || b, mx.uint8
astype: x, mx.int32 || x, mx.float16 || x, dtype=mx.bool_ || c, mx.float32 || x || x, 'int32'
    || x, float || 2.0, mx.int32 || x, mx.complex64
diag: v || v, 1 || v, k=-2 || p || x, 1 || x, -1 || x, 9 || t || s || e || 2.0
diagonal: p || x, 1 || t, 0, 1, 2 || t, offset=-1, axis1=0, axis2=1 || v || t, 0, 1, 1
    || t, 0, 0, 5 || x, 9 || x, -9
trace: p || x, 1 || t, 0, 1, 2 || i, dtype=mx.float32 || v || x, offset=-1 || b || u || t, 0, 0, 4
tril triu: p || x, 1 || t, k=-1 || v || s || i
zeros ones: $new
full: (2, 3), 7 || 3, 1.5 || (), 2 || (2,), True || (2, 2), v[:2] || (2,), 1, mx.float16
    || shape=(2,), vals=3, dtype=mx.int8 || (2,) || (2,), x || -1, 0 || (2,), 1j || (2.0,), 1
    || (2,), None || (2,), 'x' || (0,), 1 || (2,), [1, 2]
zeros_like ones_like: $like
full_like: x, 2 || i, 2.5 || x, v || x, 1, mx.int32 || 2.0, 1 || x || x, w
eye: 3 || 2, 3 || 3, k=1 || 3, 4, -1, mx.int32 || 0 || -1 || 2.5 || n=2, m=None, dtype=mx.float16
    || (none) || 3, k=7
identity: 3 || 2, mx.int32 || 0 || -2 || 2.5 || (none)
tri: 3 || 2, 3 || 3, k=1 || 3, 4, -1, mx.int32 || 0 || -1 || 2.5
arange: 5 || 5.0 || 1, 5 || 1, 6, 2 || 0, 1, 0.25 || 5, 1, -1 || 5, 1 || 3, dtype=mx.float32
    || 0, 5, dtype=mx.int8 || 0 || -3 || stop=4 || start=1, stop=4 || 1, 5, step=2 || 0, 1, 0
    || (none) || '5' || float('inf') || float('nan') || 0, 3, 1.5 || 1, 4, 1, mx.bfloat16 || 0.5, 3
    || 2, None || 0, None, 1 || True || 10, 0, -3 || 0, 5, None || 1e10 || 0, 3, dtype=mx.complex64
    || 0, 3, dtype=mx.bool_ || 3, dtype=mx.uint8 || -3, 3, dtype=mx.uint8 || v || 0, 3, 0.1
linspace: 0, 1 || 0, 1, 5 || 0, 1, num=1 || 0, 1, 0 || 0, 1, -1 || 1, 0, 4, dtype=mx.float16
    || 0, 10, 5, dtype=mx.int32 || 0, 1, 2.5 || 0 || start=1, stop=2, num=3 || -1, 1, 7
    || 0, 1, 3, dtype=mx.complex64
bartlett blackman hamming hanning: $window
asarray: 2 || 2.5 || [1, 2] || x || x, mx.int32 || x, copy=True || x, copy=False
    || [1, 2], mx.float16 || np.ones(2) || None || 'x' || [[1], [2, 3]] || True || 1j
    || np.arange(3), copy=False || x, mx.int32, copy=False || [True, False] || () || [] || [1, 2.5]
    || np.float64(2)
array: 2 || 2.5 || True || 1j || [1, 2] || [1, 2.5] || [True, 2] || [[1, 2], [3, 4]] || [] || [[]]
    || [[], []] || [[1], [2, 3]] || [1, [2]] || (1, 2) || None || 'x' || ['x'] || [None] || [x, y]
    || [s, s] || [s, 1.0] || [x, 1.0] || [1, 1j] || 2, mx.float16 || 2.7, mx.int32
    || [1.5, 2.5], mx.int32 || 1j, mx.float32 || [1j], mx.float32 || 300, mx.uint8 || -1, mx.uint8
    || [300], mx.uint8 || [-1], mx.uint8 || 2**31 || 2**40 || 2**63 || 2**64 || [2**31]
    || [2**40, 1] || [2**63] || [2**64] || -2**63 || np.arange(3) || np.float64(1.5) || np.int64(3)
    || np.float16(1.5) || np.ones(3) || np.ones(3), mx.float64 || np.ones(2, np.complex128)
    || np.array(['a']) || np.array([None]) || x || x, mx.int32 || u, mx.float32 || range(3)
    || {1: 2} || {1, 2} || b'ab' || np.ones((2, 3)).T || np.ones((0, 3)) || np.array(2)
    || np.array(True) || [np.ones(2), np.ones(2)] || [np.float32(1), 2] || val=[1, 2]
    || [1, 2], dtype=mx.float16 || 1, 'float32' || 1, float || (none) || 1, 2
    || float('nan'), mx.int32 || 1.0, mx.bool_ || 0.5, mx.bool_ || [0.5], mx.bool_
    || 1.0, mx.complex64 || [True, False], mx.int32 || [[[1, 2]], [[3, 4]]] || [[1, 2], 3]
    || [(1, 2), [3, 4]] || memoryview(b'abc') || np.ones(3, np.int8) || np.ones(3, '>f4') || [x, w]
    || [[x, y], [y, x]] || 1.5, mx.float64 || [0.1], mx.float64 || 2**31, mx.int32 || [1.0, True]
    || iter([1]) || np.bool_(True) || np.uint32(7)
take: x, 0 || x, 1, 0 || x, i % 3, 1 || x, ix, axis=0 || x, ix, axis=-1 || t, ix, 1 || x, ix
    || x, [0, 1], 0 || x, ix, 2 || x, -1, 1 || x, -ix, 0 || x, v || x, 1.5 || x || s, 0
    || x, mx.array([], dtype=mx.int32), 0 || x, mx.array(1), 0 || x, u % 3, 0 || x, b, 0
take_along_axis: x, i % 3, 0 || x, i % 4, 1 || x, i % 4 || x, mx.array([3, 1]), None || x, ix, 0
    || x, i % 3, 2 || x, mx.array([0]), 0 || x, i[:1] % 3, 0 || x, x || x || x, -1 - (i % 4), 1
put_along_axis: x, i[:1] % 3, 9.0, 0 || x, i[:, :1] % 4, y[:, :1], 1 || x, i[:1] % 3, s, axis=0
    || x, mx.array([1, 3]), 5.0 || x, ix, 1.0, 2 || x, i[:1] % 3, i[:1], 0 || x, ix, 1.0, 0 || x
slice: x, mx.array([1]), (0,), (2, 4) || x, mx.array([1, 2]), (0, 1), (2, 2)
    || x, mx.array([1]), (0,), (9, 9) || x, mx.array([1]), (3,), (1, 1)
    || x, mx.array(1), (0,), (2, 4) || x
slice_update: x, y[:2], mx.array([1]), (0,) || x, y[:1, :2], mx.array([1, 2]), (0, 1)
    || x, y, mx.array([0]), (5,) || x, s, mx.array([0]), (0,) || x
matmul: x, w || w, x || v, w || x, v || v, v || t, w || t, t || t, mx.swapaxes(t, 1, 2) || s, x
    || x, s || i, w || i, mx.swapaxes(i, 0, 1) || c, w || h, w || h, w.astype(mx.bfloat16) || e, w
    || b, w || x, 2.0 || x || a=x, b=w || d, w || mx.zeros((3, 0)), mx.zeros((0, 2))
addmm: s, x, w || mx.ones(5), x, w, 0.5, 2.0 || mx.ones((3, 5)), x, w, alpha=2.0, beta=0.0
    || mx.ones(4), x, w || x, x || mx.ones(5), v, w || 1.0, x, w || mx.ones(5), t, w
inner: v, v || x, v || x, y || x, w || s, x || t, x
outer: v, v || x, v || s, v || v
vecdot: v, v || x, y || x, y, axis=0 || x, v || x, w || c, c || i, i || x, y, axis=2 || x, y, 0
tensordot: x, w, 1 || t, t, 3 || x, y, [[0], [0]] || x, y || x, w, ([1], [0]) || x, w, 0 || x, w, 3
    || x, w, [[0], [0]] || x, w, -1 || x, w, axes=1 || t, t, [[0, 1], [0, 1]]
    || x, w, [[0, 1], [0]]
kron: v, v || x, y || x, v || s, x || i, x
einsum: 'ij,jk->ik', x, w || 'ij->ji', x || 'ii', p || 'ii->i', p || 'ij,ij->', x, y
    || 'ij,jk', x, w || '...j,jk->...k', t, w || 'i,j->ij', v, v || 'ij,jk->ik', x, y || 'ij', x, y
    || 'ijk->i', x || 'ij->ijk', x || 'ij,jk,kl->il', x, w, mx.ones((5, 2)) || 'i j -> j i', x
    || '', x || 'ij->', x || x, 'ij' || 'ij,kj->ik', x, x
    || 'bij,bjk->bik', t, mx.swapaxes(t, 1, 2)
einsum_path: 'ij,jk->ik', x, w || 'ij,jk,kl->il', x, w, mx.ones((5, 2))
block_masked_mm: mx.ones((32, 32)), mx.ones((32, 32)), 32, mx.array([[True]])
    || mx.ones((32, 64)), mx.ones((64, 32)), 32, None, mx.array([[1.0, 0.5]]),
    mx.array([[True], [False]])
    || x, w, 16 || mx.ones((32, 32)), mx.ones((32, 32)), 32, mx.array([[True, True]])
    || mx.ones((32, 32)), mx.ones((16, 32)), 32
gather_mm: t, mx.swapaxes(t, 1, 2), mx.array([1, 0]), mx.array([0, 1])
    || t, mx.swapaxes(t, 1, 2), mx.array([1, 0, 1])
    || t, mx.swapaxes(t, 1, 2), rhs_indices=mx.array([[1], [0]]) || t, t, mx.array([0])
    || t, mx.swapaxes(t, 1, 2), v[:2]
segmented_mm: x, w, mx.array([[0, 2], [2, 4]], dtype=mx.uint32)
    || x, w, mx.array([[0, 0]], dtype=mx.uint32) || x, w, mx.array([0, 1, 2])
    || w, x, mx.array([[0, 2]], dtype=mx.uint32)
hadamard_transform: v || x || v, 1.0 || v, scale=0.5 || mx.ones((3,)) || mx.arange(12.0)
    || mx.arange(7.0) || i || h
convolve: v, w[:, 0] || v, w[:, 0], 'same' || v, w[:, 0], mode='valid' || v, mx.ones(2), 'same'
    || v, w[:, 0], 'other' || x, v || v, mx.ones(6) || v, mx.zeros((0,))
conv1d: $conv1
conv2d: $conv2
conv3d: $conv3
conv_transpose1d: a1, k1 || a1, k1, 2 || a1, k1, padding=1 || a1, k1, dilation=2
    || a1, k1g, groups=2 || a1, k1, stride=2, output_padding=1 || a1, x
conv_transpose2d: a2, k2 || a2, k2, 2 || a2, k2, (1, 2), (1, 0) || a2, k2, dilation=(2, 1)
    || a2, k2, padding=1 || a2, k2g, groups=2 || a2, k2, 2, 1, output_padding=1 || a2, a1
conv_transpose3d: $conv3 || a3, k3, stride=2, output_padding=1
conv_general: a2, k2 || a2, k2, stride=2, padding=([1, 0], [0, 1]) || a2, k2, input_dilation=2
    || a2, k2, flip=True || a2, k2, kernel_dilation=(1, 2), groups=1 || a1, k1, padding=1 || a2, k1
    || a2, k2, groups=5
can_cast: mx.int32, mx.float32 || mx.float32, mx.int32 || x, mx.float16
    || from_=mx.int8, to=mx.int16 || mx.int8, mx.uint8 || 1, mx.int32 || mx.bool_, mx.int8
result_type: x, i || mx.int8, mx.uint8 || x, 1 || i, 1.5 || 1, 2.0 || u, True || (none) || h, g
    || i, 1j || mx.float16, 2.0 || 'x'
issubdtype: mx.float32, mx.floating || mx.int32, mx.floating || mx.int32, mx.number
    || mx.floating, mx.inexact || mx.uint8, mx.uint8 || mx.uint8, mx.int8
    || arg1=mx.int8, arg2=mx.integer || 1, 2 || x, mx.floating || mx.bool_, mx.number
    || mx.complex64, mx.complexfloating
isdtype: mx.float32, 'real floating' || mx.int8, 'signed integer' || mx.int8, ('bool', 'integral')
    || mx.int8, mx.int8 || mx.int8, 'other' || mx.bool_, 'numeric'
quantize: qw || qw, 32, 8 || qw, group_size=64, bits=2 || qw, bits=3 || qw, mode='mxfp4'
    || qw, mode='nvfp4' || qw, mode='mxfp8' || qw, 10 || qw, bits=7 || qw, mode='other' || x || v
    || i || qw.astype(mx.float16) || qw, 32, 4, 'mxfp4' || qw, 16, 4, 'mxfp4'
dequantize: *mx.quantize(qw) || *mx.quantize(qw, 32, 8), 32, 8 || *mx.quantize(qw), 32
    || *mx.quantize(qw, mode='mxfp4'), mode='mxfp4' || *mx.quantize(qw), dtype=mx.float16
    || qw, qw, qw || *mx.quantize(qw, mode='nvfp4'), mode='nvfp4'
quantized_matmul: qx, *mx.quantize(qw) || qx, *mx.quantize(qw, 32, 8), group_size=32, bits=8
    || qx[:, :64], *mx.quantize(qw), transpose=False || x, *mx.quantize(qw)
    || qx, *mx.quantize(qw, mode='mxfp4'), mode='mxfp4'
    || qx, *mx.quantize(qw), transpose=True, group_size=32
gather_qmm: qx[None], *mx.quantize(qw[None]), rhs_indices=mx.array([0])
    || qx[None], *mx.quantize(qw[None]), mx.array([0, 0]), mx.array([0, 0])
qqmm: qx, qw, mode='nvfp4' || qx, qw, mode='mxfp8' || qx, x
to_fp8: x || x * 100 || h
from_fp8: mx.to_fp8(x) || mx.to_fp8(x), mx.float32 || u, dtype=mx.float16 || x
fft.fft fft.ifft fft.rfft: $fft
fft.irfft: $fft || mx.fft.rfft(x), n=4
fft.fft2 fft.ifft2 fft.rfft2 fft.irfft2: $fft2
fft.fftn fft.ifftn fft.rfftn fft.irfftn: $fftn
fft.fftshift: x || x, 0 || t, axes=(0, 2) || v || x, 2 || x, [0, 0] || s
fft.ifftshift: x || x, [0] || t, axes=(0, 2) || v || x, 2 || s
fft.fftfreq: 5 || 6 || 6, 0.5 || 1 || 0 || -1 || n=4, d=2.0 || 5, 0
fft.rfftfreq: 5 || 6 || 6, 0.5 || 1 || 0 || n=4, d=2.0
linalg.norm: x || v || t || x, 'fro' || x, 'nuc' || x, 1 || x, -1 || x, 2 || x, -2
    || x, float('inf') || x, -float('inf') || v, 0 || v, 3 || v, -1 || t, axis=(0, 1)
    || t, 1, axis=1 || t, 2, [0, 1], True || x, 'other' || x, 3 || t, 'fro' || t, axis=(0, 1, 2)
    || x, axis=5 || c || c, 1 || i || v, 2.5 || x, ord='fro', keepdims=True || v, 'fro' || s
    || t, 1 || x, ord=2, axis=0
linalg.cholesky: p || p, True || p, upper=True || mx.stack([p, p * 2]) || x || v || i[:, :3]
    || p.astype(mx.float16) || p.astype(mx.float64)
linalg.cholesky_inv: mx.linalg.cholesky(p) || mx.linalg.cholesky(p, True), True || x || v
linalg.cross: x[:, :3], y[:, :3] || x[:, :2], y[:, :2] || x, y || x, y, axis=0 || x[:, :3], v[:3]
    || x[:, :3], y[:, :2] || x[:, :3], y[:, :3], 5 || i[:, :3], k[:, :3]
linalg.det: p || q || mx.stack([p, q]) || x || v || mx.eye(0) || i[:, :3] || p.astype(mx.float64)
linalg.slogdet: p || q || -q || mx.stack([p, q]) || x || mx.zeros((2, 2))
linalg.inv: p || q || mx.stack([p, q]) || x || v || i[:, :3] || q.astype(mx.float16)
linalg.tri_inv: mx.tril(p) || mx.triu(p), True || x || mx.triu(p), upper=True
linalg.solve: p, x.T || p, v || p, w || mx.stack([p, q]), w || x, v || p, x || p, i[0] || p
linalg.solve_triangular: mx.tril(p), v || mx.triu(p), w, upper=True || p, x || x, v
linalg.eigvalsh: p || p, 'U' || p, UPLO='L' || p, 'X' || x || mx.stack([p, p]) || v
linalg.eigh: x || v || p, 'Z'
linalg.eig linalg.eigvals: x || v
linalg.pinv: x || p || t || v || i
linalg.svd: x, compute_uv=False || x, False || t, False || v || i, False || x.T, compute_uv=False
linalg.qr: v || i || e
linalg.lu: q || x || v || w || mx.stack([p, q])
linalg.lu_factor: q || v || x
random.key: 7 || 0 || -1 || 2**40 || 2.5 || 2**64
random.split: K || K, 3 || K, num=1 || K, 0 || x || K, -1
random.uniform: key=K || 0, 2, (3,), key=K || -1.0, v, (2, 4), key=K
    || shape=[2], dtype=mx.float16, key=K || 0, 1, (2,), mx.bfloat16, K || 0, 1, (2,), mx.int32, K
    || 0, v, (3,), key=K || shape=(-1,), key=K || 0, 1, (2,), mx.float32, K, mx.cpu
    || shape=2, key=K || key=x
random.normal: (3,), key=K || (2, 2), mx.float16, key=K || (4,), loc=v, scale=2.0, key=K
    || (2,), mx.complex64, key=K || (2,), mx.int32, key=K || shape=(3,), dtype=mx.bfloat16, key=K
    || (3,), mx.float32, 1.0, 2.0, K
random.randint: 0, 10, (5,), key=K || v * 0, 9, (4,), key=K || -3, 3, (4,), mx.int8, K
    || 0, 5, (2,), mx.float32, K || 0, 10, key=K || low=0, high=4, shape=(2,), key=K
    || 5, 5, (2,), key=K
random.bernoulli: key=K || 0.3, (4,), K || v, key=K || mx.array([0.1, 0.9]), (3, 2), K
    || v, (3,), K || p=0.9, shape=(3,), key=K || i, key=K
random.truncated_normal: -1, 1, (4,), key=K || v - 3, 2.0, key=K || 0, 1, (2,), mx.float16, K
    || 0, 1, (2,), mx.int32, K || lower=0, upper=1, shape=(2,), key=K
random.gumbel: (3,), key=K || key=K || (2,), mx.float16, K || (2,), mx.int32, K
random.laplace: (3,), key=K || (2,), mx.float16, 1.0, 2.0, K || key=K || (2,), mx.int32, key=K
random.categorical: x, key=K || x, 0, key=K || x, num_samples=3, key=K || x, -1, (2, 3), key=K
    || x, shape=(2, 3), num_samples=2, key=K || x, 5, key=K || x, shape=(2,), key=K
random.permutation: 6, key=K || x, key=K || x, 1, K || x, axis=2, key=K || -1, key=K || 0, key=K
    || 2.5, key=K
random.multivariate_normal: v, mx.eye(4), key=K || v, mx.eye(4), (3,), key=K || v, mx.eye(3), key=K
    || v, x, key=K || s, mx.eye(4), key=K || v, mx.eye(4), (3,), mx.float16, K
fast.rms_norm: x, v, 1e-5 || x, None, 1e-5 || h, v.astype(mx.float16), eps=1e-5 || x, w, 1e-5
    || x, mx.ones(3), 1e-5 || s, None, 1e-5 || x, v || i, None, 1e-5 || x, x, 1e-5 || h, v, 1e-5
fast.layer_norm: x, v, v, 1e-5 || x, None, None, 1e-5 || x, v, None, eps=1e-5 || x, None, v, 1e-5
    || h, v.astype(mx.float16), None, 1e-5 || x, mx.ones(3), None, 1e-5 || s, None, None, 1e-5
    || x, v, v || i, None, None, 1e-5
fast.rope: r, 4, traditional=False, base=10000.0, scale=1.0, offset=0
    || r, 8, traditional=True, base=100.0, scale=2.0, offset=3
    || r, 8, traditional=False, base=None, scale=1.0, offset=0, freqs=mx.arange(1.0, 5.0)
    || r, 4, traditional=False, base=None, scale=1.0, offset=0
    || r, 4, traditional=False, base=1.0, scale=1.0, offset=0, freqs=v
    || r, 10, traditional=False, base=10.0, scale=1.0, offset=0
    || r, 4, traditional=False, base=10.0, scale=1.0, offset=mx.array([1, 2])
    || v, 4, traditional=False, base=10.0, scale=1.0, offset=0
    || i, 4, traditional=False, base=10.0, scale=1.0, offset=0
    || r, 3, traditional=False, base=10.0, scale=1.0, offset=0
fast.scaled_dot_product_attention: r, r, r, scale=0.5 || r, r[:, :1], r[:, :1], scale=0.5
    || r, r, r, scale=0.5, mask='causal'
    || r, r, r, scale=0.5, mask=mx.ones((5, 5), dtype=mx.bool_)
    || r, r, r, scale=0.5, mask=mx.zeros((5, 5)) || r, r, r || x, x, x, scale=1.0
    || r, r, r, scale=0.5, mask='other' || r, r[..., :4], r, scale=0.5
    || r, r, r, scale=0.5, mask=mx.zeros((7, 7)) || r, r, r, scale=0.5, sinks=mx.zeros((2,))
    || r, r, r, scale=0.5, sinks=mx.zeros((3,))
    || r.astype(mx.float16), r.astype(mx.float16), r.astype(mx.float16), scale=0.5
fast.cross_entropy: x, ix[0, :1] || x, i[:, 0] % 4 || x, v || x, i
"""


def functions():
    """Argument lists by function name."""
    lists, entries = {}, []
    for line in CASES.strip().splitlines():
        if line[0] != " ":
            entries.append(line)
        else:
            entries[-1] += " " + line.strip()
    for entry in entries:
        names, _, items = entry.partition(": ")
        arguments = []
        for item in items.split(" || "):
            item = item.strip()
            arguments += lists[item] if item[0] == "$" else ["" if item == "(none)" else item]
        lists.update(dict.fromkeys(names.split(), arguments))
    return {name: arguments for name, arguments in lists.items() if name[0] != "$"}
