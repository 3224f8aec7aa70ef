"""Whole expressions that mlxc and the real MLX are both asked: methods, operators, indexing,
conversions, transforms; and the sweeps over dtypes.

Rules: operands as in against_mlx_cases.py; items stand between ``||``. A source of several
statements leaves its answer in ``result``. What makes MLX itself crash is not asked: indices out
of range, a step of 0, ``reshape`` without sizes, integer division by 0.
"""


def items(text):
    """The items of a text, in order."""
    return [item.strip() for item in text.split("||")]


_REDUCING = items(
    r"""
sum || prod || max || min || mean || all || any || logsumexp || argmax || argmin
"""
)

_SCANNING = items(
    r"""
cumsum || cumprod || cummax || cummin || logcumsumexp
"""
)

_UNARY = items(
    r"""
abs || conj || cos || exp || log || log10 || log1p || log2 || reciprocal || round || rsqrt || sin
|| sqrt || square
"""
)

_OPERATORS = items(
    r"""
+ || - || * || / || // || % || ** || < || <= || > || >= || == || !=
"""
)

_BITS = items(
    r"""
& || | || ^ || << || >>
"""
)

_OTHERS = items(
    r"""
None || 'a' || [1.0, 2.0, 3.0, 4.0] || (1, 2) || np.ones(4) || np.float32(2) || np.int64(2) || w
|| v || object() || {} || 1j || True
"""
)

_INDICES = items(
    r"""
0 || -1 || 1, 2 || 0, 1, 2 || ... || None || ..., 0 || None, 0 || 0, None || : || 1: || ::2 || ::-1
|| 3:0:-1 || :, 1:3 || ..., ::2 || 5:2 || -2: || :, -9:9 || b || b[0] || :, b[0, :4] || ix
|| ix, ix || :, ix || ix, 0 || 0, ix || ix, :, None || None, ix || [0, 2] || [True, False, True]
|| np.array([0, 2]) || mx.array(1) || mx.array(1), 1 || s || 1.0 || 'a' || True || () || ..., ...
|| ix, ..., None || mx.array([-1, -3]) || u[0] % 3 || mx.array([], dtype=mx.int32) || np.int64(1)
|| slice(mx.array(0), mx.array(2)) || slice(0.0, 2) || (0, slice(1, 3))
|| [[0, 1], [1, 2]] || [] || ::-2, 1 || :, ::-3 || 1:1 || ix, 1:3 || 1:3, ix
|| mx.array([0, 1]), mx.array([[1], [2]]) || mx.array([0, 1]), mx.array([1, 2, 3])
|| mx.array([0, 1], dtype=mx.int64) || mx.array([0, 1], dtype=mx.uint64) || x
"""
)

_SETS = items(
    r"""
0 || 1, 2 || ... || :, 1:3 || ::2 || ::-1 || ix || ix, ix || ix, 0 || mx.array([0, 1]) || b || None
|| -1 || 5:2 || ..., 0 || [0, 1] || :, ::-2 || 1:3, mx.array([0, 2]) || mx.array(1) || ()
"""
)

_TRANSFORMED = items(
    r"""
mx.sum(f * f) || mx.mean(mx.tanh(f) * y) || mx.sum(mx.softmax(f, -1) ** 2) || mx.logsumexp(f @ w)
|| mx.max(f) || mx.prod(f[0]) || mx.sum(mx.where(f > 0, f, 2 * f)) || mx.sum(mx.sort(f, 0) * y)
|| mx.sum(f[ix] * 2) || mx.sum(mx.cumsum(f, 1) * y) || mx.var(f) || mx.std(f)
|| mx.sum(f.astype(mx.float16) * 2) || mx.sum(mx.sigmoid(f) / (1 + f * f)) || mx.linalg.norm(f)
|| mx.sum(mx.abs(f)) || mx.sum(mx.maximum(f, y)) || mx.sum(mx.stop_gradient(f) * f)
|| mx.sum(mx.concatenate([f, y]) ** 2) || mx.sum(mx.pad(f, 1) ** 2)
|| mx.sum(mx.real(mx.fft.fft(f))) || mx.sum(mx.take(f, ix, 0) ** 2) || mx.sum(mx.logaddexp(f, y))
|| mx.sum(mx.clip(f, -0.2, 0.2) ** 2) || mx.sum(mx.cumprod(f, 0)) || mx.sum(f ** 3)
|| mx.sum(2.0 ** f) || mx.sum(mx.erf(f)) || mx.sum(mx.topk(f, 2, 1) ** 2)
|| mx.sum(f.reshape(4, 3) @ f) || mx.sum(mx.repeat(f, 2, 0) ** 2)
|| mx.sum(mx.fast.rms_norm(f, v, 1e-5) * y) || mx.sum(mx.fast.layer_norm(f, v, v, 1e-5) * y)
|| mx.sum(mx.arctan2(f, y)) || mx.sum(mx.remainder(f, 0.3))
|| mx.sum(mx.expm1(f) + mx.log1p(f * f) + mx.sqrt(1 + f)) || mx.sum(mx.round(f))
|| mx.sum(mx.min(f, 1)) || mx.sum(mx.cummax(f, 1) * y)
|| mx.sum(mx.linalg.inv(f @ f.T + mx.eye(3)))
"""
)

_BATCHED = items(
    r"""
f * 2 || f + v || mx.sum(f) || mx.softmax(f) || mx.sort(f) || f @ w || f[::-1] || mx.cumsum(f)
|| mx.argmax(f) || mx.concatenate([f, v]) || mx.take(f, ix) || f[None] || f[mx.array([1, 0])]
|| mx.where(f > 0, f, 0) || mx.outer(f, f) || mx.fft.fft(f) || mx.pad(f, 1) || f.astype(mx.int32)
|| mx.stack([f, f], 1) || mx.tile(f, 2) || mx.var(f, keepdims=True) || mx.full((2,), 3.0)
|| mx.broadcast_to(f, (2, 4)) || mx.topk(f, 2) || mx.clip(f, 0, 1) || f.reshape(2, 2).T
|| mx.einsum('i,i->', f, f) || mx.logsumexp(f) || mx.fast.rms_norm(f, v, 1e-5) || mx.diag(f)
"""
)

EXPRESSIONS = [
    *(
        f"x.{name}({args})"
        for name in _REDUCING
        for args in ("", "0", "axis=-1, keepdims=True", "5", "1, True", "stream=mx.cpu", "axes=0")
    ),
    *(
        f"x.{name}({args})"
        for name in _SCANNING
        for args in ("", "0", "axis=1, reverse=True", "0, inclusive=False", "7", "1, stream=mx.cpu")
    ),
    *(
        f"({operand} * 0.5 + 1).{name}({args})"
        for operand in ("x", "h", "c")
        for name in _UNARY
        for args in ("", "stream=mx.cpu")
    ),
    *(
        f"x.{name}({args})"
        for name in ("var", "std")
        for args in ("", "0", "0, True", "axis=1, ddof=1", "0, False, 1")
    ),
    *(
        f"{left} {op} {right}"
        for op in _OPERATORS
        for other in _OTHERS
        for left, right in (("x", other), (other, "x"))
        if (left, right) != ("np.ones(4)", "x") and (not left.startswith("np."))
    ),
    *(
        f"{left} {op} {right}"
        for op in _BITS
        for left, right in (
            ("i", "k"),
            ("i", "2"),
            ("2", "k"),
            ("b", "b"),
            ("b", "True"),
            ("x", "y"),
            ("u", "i"),
            ("i", "1.5"),
            ("i", "None"),
        )
    ),
    *(
        f"q = x.astype(mx.float32); q {op}= {other}; result = q"
        for op in ("+", "-", "*", "/", "//", "%", "**")
        for other in ("y", "2", "2.5", "v", "t", "i", "c", "None", "'a'", "[1.0]", "d", "True")
    ),
    *(
        f"q = i.astype(mx.int32); q {op}= {other}; result = q"
        for op in ("+", "-", "*", "/", "//", "**", "&", "|", "^", "<<", ">>")
        for other in ("k", "2", "2.5", "x", "u + 1")
    ),
    *items(
        r"""
x @ w || x @ v || v @ w || x @ y || x @ 2 || 2 @ x || q = x * 1; q @= w; result = q || -x || +x
|| abs(x) || ~b || ~i || ~x || ~u || -b || -u || divmod(x, y) || x // 0.0 || round(x) || x.item()
|| s.item() || mx.array([[3]]).item() || x.tolist() || s.tolist() || b.tolist() || c.tolist()
|| e.tolist() || g[0].tolist() || h[0].tolist() || bool(s) || bool(x) || bool(e) || int(s)
|| int(x) || float(s) || float(i[0, 0]) || float(x) || complex(c[0, 0]) || complex(s)
|| int(c[0, 0]) || len(x) || len(s) || len(e) || [1, 2, 3][mx.array(1)] || [1, 2][s]
|| range(mx.array(3)) || '%d' % mx.array(3) || list(v) || list(s) || list(x) || iter(e) || x in [1]
|| 0.5 in mx.array([0.5, 1.0]) || 3 in mx.array([0.5, 1.0]) || hash(x) == hash(x)
|| repr(mx.array([1, 2])) || str(v) || f'{s}' || f'{s:.3f}' || f'{x}' || f'{v:.2f}'
|| repr(mx.array([[1.5, 2.5]])) || repr(mx.array(True)) || repr(g) || repr(c) || repr(e)
|| repr(mx.arange(2000)) || repr(mx.zeros((50, 50))) || repr(mx.zeros((2, 0, 3))) || repr(z)
|| repr(h) || repr(d) || str(mx.array([1e10, 1e-10])) || bytes(mx.array([1, 2])) || np.array(x)
|| np.array(b) || np.asarray(i) || np.array(x, dtype=np.float64) || np.array(h) || np.array(c)
|| np.sum(x) || memoryview(i).format || memoryview(x).shape || memoryview(h).format
|| memoryview(b).format || memoryview(c).format || memoryview(u).format || memoryview(l).format
|| x.shape || x.ndim || x.size || x.itemsize || x.nbytes || x.dtype || s.shape || e.size || x.T
|| t.T || t.mT || v.T || v.mT || s.T || c.real || c.imag || x.real || x.imag || x.dtype.size
|| x.dtype == mx.float32 || x.dtype != mx.int32 || str(mx.float32) || repr(mx.bool_)
|| hash(mx.float32) == hash(mx.float32) || mx.float32 == 'float32' || x.shape == (3, 4)
|| type(x.shape) || x.__dlpack_device__()[1] || x.flags || import copy; result = copy.copy(x)
|| import copy; result = copy.deepcopy([x])
|| import pickle; result = pickle.loads(pickle.dumps(x))
|| import pickle; result = pickle.loads(pickle.dumps(g)) || x.__array_namespace__() is mx
|| x == None || x != None || x == 'a' || x is x || mx.iinfo(mx.int8).max || mx.iinfo(mx.int8).min
|| mx.iinfo(mx.uint32).max || mx.iinfo(mx.float32) || mx.finfo(mx.float32).eps
|| mx.finfo(mx.float16).max || mx.finfo(mx.bfloat16).min || mx.finfo(mx.int32)
|| mx.finfo(mx.float32).dtype || mx.finfo(mx.complex64).eps || mx.finfo(mx.float16).bits
|| mx.finfo(mx.float16).smallest_normal || mx.iinfo(mx.int8).dtype || mx.iinfo(mx.bool_)
|| mx.finfo(mx.float64).eps || mx.finfo(mx.float64).max || mx.iinfo(mx.uint64).max
|| mx.iinfo(mx.int64).min || mx.pi || mx.e || mx.inf || mx.nan || mx.newaxis || mx.euler_gamma
|| x.astype(mx.int32) || x.astype(mx.int32, mx.cpu) || x.astype(dtype=mx.float16)
|| x.astype('int32') || x.astype(int) || x.view(mx.int32) || x.view(dtype=mx.int32) || x.view(3)
|| x.reshape(4, 3) || x.reshape((4, 3)) || x.reshape([2, -1]) || x.reshape(-1) || x.reshape(5)
|| x.reshape(shape=(4, 3)) || x.reshape(2.0, 6) || x.reshape('a') || x.reshape(4, (3,))
|| x.reshape(x) || t.transpose() || t.transpose(1, 0, 2) || t.transpose((1, 0, 2))
|| t.transpose([2, 1, 0]) || t.transpose(axes=(1, 0, 2)) || t.transpose(0, 1)
|| t.transpose(0, 1, 5) || t.transpose(-1, 0, 1) || t.transpose(None) || x.flatten()
|| t.flatten(1) || t.flatten(0, 1) || t.flatten(start_axis=1, end_axis=2) || x[None].squeeze()
|| x[None].squeeze(0) || x[None].squeeze(axis=1) || x.squeeze(0) || t.swapaxes(0, 1)
|| t.swapaxes(0, 4) || t.moveaxis(0, -1) || t.moveaxis(source=0, destination=1) || t.moveaxis(5, 0)
|| x.split(2, 1) || x.split(2, axis=1) || x.split([1], axis=1) || x.split(5)
|| x.split(indices_or_sections=3) || p.diag() || p.diag(1) || v.diag(k=1) || p.diagonal()
|| p.diagonal(1) || t.diagonal(offset=0, axis1=1, axis2=2) || (x * 10).round(1)
|| (x * 10).round(decimals=1) || x.round(1.5) || x.conj() || c.conj() || x.sort() || x.foo
|| x.foo = 1 || x.shape = (4, 3) || x.tobytes() || x.copy()
"""
    ),
    *(f"x[{key}]" for key in _INDICES),
    *(
        f"t[{key}]"
        for key in (
            "0, 1, 2",
            "..., 1",
            "ix[:, :1] % 2, :, 1",
            ":, ix",
            ":, ix, ix",
            "ix % 2, :, ix",
            "b[0, :2]",
            ":, b[0, :3]",
            "1, ..., 2",
            "1, :, None, ::2",
            "mx.array(1), :, mx.array([0, 1])",
            "0, 0, 0, 0",
        )
    ),
    *(
        f"q = x * 1; q[{key}] = {value}; result = q"
        for key in _SETS
        for value in ("0", "2.5", "v[0]", "v[:1]", "y[0, 0]")
        if (key, value) != ("b", "v[:1]")  # MLX reads beyond the values
    ),
    *(
        f"q = x * 1; q[{key}] = {value}; result = q"
        for key, value in (
            ("0", "v"),
            ("0", "y[:2]"),
            (":", "y"),
            ("...", "t"),
            ("b", "y"),
            ("b", "s"),
            ("ix", "t[0, :2][:, None]"),
            ("1:", "y[1:]"),
            ("::-1", "y"),
            ("0", "[1, 2, 3, 4]"),
            ("0", "np.ones(4)"),
            ("0", "None"),
            ("0", "'a'"),
            ("0", "1j"),
            ("0", "True"),
            ("0", "i[0]"),
            ("0", "c[0]"),
            ("mx.array([0, 1])", "y[:2]"),
            ("mx.array([0, 1]), :2", "y[:2, :2]"),
            (":, mx.array([0, 1])", "y[:, :2]"),
        )
    ),
    *items(
        r"""
q = s * 1; q[0] = 1; result = q || q = s * 1; q[...] = 1; result = q
|| q = s * 1; q[()] = 1; result = q || q = i * 1; q[0] = 2.7; result = q
|| q = x * 1; r = q; q[0] = 0; result = r || q = x * 1; r = q[0]; q[0] = 0; result = r
|| q = x * 1; r = q; q += 1; result = r || del x[0] || s[0] || s[...] || s[None] || s[()] || e[:1]
|| e[ix]
"""
    ),
    *(
        f"x.at[{key}].{verb}({value})"
        for verb in ("add", "subtract", "multiply", "divide", "maximum", "minimum")
        for key, value in (
            ("0", "1.0"),
            ("mx.array([0, 0])", "2.0"),
            ("1:, ::2", "y[1:, ::2]"),
            ("ix, ix", "v[:2]"),
            ("b", "1.0"),
            ("...", "2"),
            ("0", "w"),
            ("None", "1.0"),
        )
    ),
    *items(
        r"""
x.at[0] || x.at.add(1)
"""
    ),
    *(f"mx.grad(lambda f: {body})(x)" for body in _TRANSFORMED),
    *(f"mx.value_and_grad(lambda f: {body})(x)" for body in _TRANSFORMED[:6]),
    *(f"mx.compile(lambda f: {body})(x)" for body in _TRANSFORMED),
    *(f"mx.jvp(lambda f: {body}, [x], [y])" for body in _TRANSFORMED),
    *(
        f"mx.grad(lambda f: mx.sum(mx.grad(lambda f: {body})(f)))(x)"
        for body in (
            "mx.sum(f ** 3)",
            "mx.sum(mx.sin(f) * f)",
            "mx.sum(mx.exp(f * f))",
            "mx.sum(mx.tanh(f))",
            "mx.logsumexp(f)",
        )
    ),
    *(f"mx.vmap(lambda f: {body})(x)" for body in _BATCHED),
    *(
        f"mx.vmap(lambda f: {body}, in_axes=1, out_axes=0)(mx.concatenate([x, y[:1]]))"
        for body in _BATCHED
    ),
    *items(
        r"""
mx.grad(lambda a, b: mx.sum(a * b))(x, y) || mx.grad(lambda a, b: mx.sum(a * b), argnums=1)(x, y)
|| mx.grad(lambda a, b: mx.sum(a * b), argnums=[0, 1])(x, y)
|| mx.grad(lambda a, b: mx.sum(a * b), (1,))(x, y)
|| mx.grad(lambda a, b: mx.sum(a * b), argnums=2)(x, y)
|| mx.grad(lambda a, b: mx.sum(a * b), argnums=-1)(x, y)
|| mx.grad(lambda a, b: mx.sum(a * b), argnums=[0, 0])(x, y)
|| mx.grad(lambda a, *, b: mx.sum(a * b), argnames='b')(x, b=y)
|| mx.grad(lambda a, *, b: mx.sum(a * b), argnums=0, argnames=['b'])(x, b=y)
|| mx.grad(lambda a, *, b: mx.sum(a * b), argnames=['c'])(x, b=y) || mx.grad(lambda a: a)(x)
|| mx.grad(lambda a: 3)(x) || mx.grad(lambda a: mx.sum(a).astype(mx.int32))(x)
|| mx.grad(lambda a: mx.sum(a))(i) || mx.grad(lambda a: mx.sum(a))(2.0)
|| mx.grad(lambda a: a * a)(mx.array(3.0)) || mx.grad(lambda a: (mx.sum(a), a))(x)
|| mx.value_and_grad(lambda a: (mx.sum(a), a))(x)
|| mx.value_and_grad(lambda a: (mx.sum(a), 3, 'u'))(x)
|| mx.grad(lambda a: mx.sum(a['w'] * 2) + mx.sum(a['l'][0]))({'w': x, 'l': [y]})
|| mx.grad(lambda a: mx.sum(y))(x) || mx.grad(3)(x) || mx.grad(lambda a: mx.sum(a))()
|| mx.grad(lambda a: 'x')(x) || mx.grad(lambda a: None)(x)
|| mx.grad(lambda a: mx.sum(a['w']))({'w': x, 'n': 3})
|| mx.grad(lambda a, b: mx.sum(a[0]))([x, y], 3)
|| mx.vjp(lambda a, b: (a * b, a + b), [x, y], [x, x]) || mx.vjp(lambda a: a * 2, [x], [v])
|| mx.vjp(lambda a: a * 2, [x], []) || mx.vjp(lambda a: a * 2, x, x)
|| mx.jvp(lambda a, b: (a * b, a + b), [x, y], [x, x]) || mx.jvp(lambda a: a * 2, [x], [v])
|| mx.jvp(lambda a: a * 2, [x], []) || mx.vjp(lambda a: mx.stack([a, a]), [v], [x[:2]])
|| mx.vmap(lambda a, b: a + b)(x, y) || mx.vmap(lambda a, b: a + b, in_axes=(0, None))(x, v)
|| mx.vmap(lambda a, b: a + b, in_axes=(0, 1))(x, y.T)
|| mx.vmap(lambda a, b: a @ b, in_axes=(None, 0))(x, y) || mx.vmap(lambda a, b: a + b)(x, v)
|| mx.vmap(lambda a: a, in_axes=2)(x) || mx.vmap(lambda a: a, in_axes=-1)(x)
|| mx.vmap(lambda a: a, in_axes=None)(x) || mx.vmap(lambda a: (a, a * 2), out_axes=(0, 1))(x)
|| mx.vmap(lambda a: a, out_axes=5)(x) || mx.vmap(lambda a: a['u'] + 1)({'u': x})
|| mx.vmap(lambda a: [a, {'k': a}])(x) || mx.vmap(mx.vmap(lambda a: a * 2))(x)
|| mx.vmap(mx.grad(lambda a: mx.sum(a * a)))(x) || mx.grad(lambda a: mx.sum(mx.vmap(mx.sin)(a)))(x)
|| mx.vmap(lambda a: 3)(x) || mx.vmap(lambda a: a)(2.0) || mx.vmap(3)(x)
|| mx.vmap(lambda a, b: a * b, in_axes=(0,))(x, y)
|| mx.vmap(lambda a: a, in_axes=0, out_axes=None)(x)
|| mx.vmap(lambda a, b: a * b, in_axes=[0, 0])(x, y)
|| mx.vmap(lambda a: mx.random.uniform(shape=(2,), key=a))(mx.random.split(K, 3))
|| mx.compile(lambda a, b: {'s': a + b, 't': (a, 2)})(x, y) || mx.compile(lambda a, n: a * n)(x, 3)
|| mx.compile(lambda a, n: a * n)(x, 'u') || mx.compile(lambda a, k=2: a * k)(x, k=3)
|| mx.compile(lambda a: a.reshape(-1))(x)
|| mx.compile(lambda a: a.shape[0] * a, shapeless=True)(x) || mx.compile(3)
|| mx.compile(lambda a: 3)(x) || mx.compile(lambda a: float(mx.sum(a)))(x)
|| mx.compile(mx.grad(lambda a: mx.sum(a ** 2)))(x)
|| mx.grad(mx.compile(lambda a: mx.sum(a ** 2)))(x) || mx.compile(lambda a: [])(x)
|| mx.compile(lambda *a: sum(a))(x, y, x) || mx.checkpoint(lambda a: mx.sin(a) * a)(x)
|| mx.grad(mx.checkpoint(lambda a: mx.sum(mx.sin(a) * a)))(x) || mx.eval(x)
|| mx.eval([x, {'a': y}], 3) || mx.async_eval(x) || mx.eval() || mx.depends(x, y)
|| mx.depends([x, y], [v]) || mx.depends(x, 3) || mx.synchronize()
|| f = mx.custom_function(lambda a: a * 2); f.vjp(lambda p, c, o: c * 5);
result = mx.grad(lambda a: mx.sum(f(a)))(x)
|| f = mx.custom_function(lambda a, b: a * b); result = f(x, y)
|| f = mx.custom_function(lambda a, b: a * b); f.jvp(lambda p, t: t[0] * 7);
result = mx.jvp(f, [x, y], [x, x])
|| mx.linalg.eigh(p)[0] || (lambda s: s[1] @ mx.diag(s[0]) @ s[1].T)(mx.linalg.eigh(p))
|| (lambda s: s[0][:, :3] @ mx.diag(s[1]) @ s[2][:3])(mx.linalg.svd(x))
|| (lambda s: s[0] @ s[1])(mx.linalg.qr(x)) || [a.shape for a in mx.linalg.qr(x.T)]
|| [a.shape for a in mx.linalg.svd(x)] || [a.dtype for a in mx.linalg.svd(x)]
|| mx.sort(mx.abs(mx.linalg.eigvals(q))) || mx.sort(mx.abs(mx.linalg.eig(q)[0]))
|| [a.dtype for a in mx.linalg.eig(q)] || type(mx.linalg.qr(x)) || type(mx.linalg.svd(x))
|| type(mx.linalg.eigh(p)) || type(mx.split(x, 3)) || type(mx.divmod(x, y))
|| type(mx.meshgrid(v, v)) || type(mx.broadcast_arrays(x, v)) || type(mx.unstack(x))
|| type(mx.linalg.lu(q)) || type(mx.minmax(x)) || mx.sort(mx.partition(x, 1, -1)[:, :2])
|| mx.sort(mx.partition(v, 2)[2:]) || mx.sort(mx.partition(x, 5, None)[:6])
|| mx.sort(mx.topk(x, 2)) || mx.sort(mx.topk(x, 5, None))
|| mx.sort(mx.take(v, mx.argpartition(v, 1)[:2])) || mx.partition(i, 1, -1).dtype
|| mx.argpartition(x, 1).dtype || mx.argsort(x).dtype
|| mx.fft.istft(mx.fft.stft(mx.sin(mx.arange(64.0)), 16, 8), 16, 8)
|| mx.fft.stft(mx.arange(64.0), 16)
|| mx.fft.stft(mx.arange(64.0), n_fft=16, hop_length=4, window=mx.hanning(16))
|| mx.fft.stft(x, 16) || mx.default_device() == mx.Device(mx.cpu, 0) || mx.Device(mx.cpu) == mx.cpu
|| mx.Device(mx.cpu).type == mx.cpu || repr(mx.Device(mx.cpu)) || mx.Device('cpu')
|| mx.default_stream(mx.cpu).device == mx.Device(mx.cpu)
|| mx.add(x, y, stream=mx.default_stream(mx.cpu)) || mx.add(x, y, stream='cpu')
|| mx.add(x, y, stream=mx.gpu) || mx.add(x, y, stream=3) || mx.add(x, y, stream=mx.Device(mx.cpu))
|| mx.is_available(mx.cpu) || mx.is_available(mx.gpu) || mx.device_count(mx.cpu)
|| mx.metal.is_available() || mx.cuda.is_available() || mx.set_default_device(mx.cpu)
|| mx.set_default_device(3) || mx.distributed.is_available() || mx.distributed.init().size()
|| mx.distributed.init().rank() || mx.distributed.all_sum(x)
"""
    ),
    # files, streams, printing, devices that are not there
    *items(
        r"""
mx.empty((2, 3)).shape || mx.empty(3, mx.int8).dtype || mx.empty(-1) || mx.empty_like(x).shape
|| mx.empty_like(h).dtype || mx.random.seed(3); result = mx.random.uniform(shape=(3,))
|| mx.random.seed(3); result = [mx.random.normal((2,)), mx.random.randint(0, 9, (2,))]
|| mx.random.seed(-1) || mx.from_dlpack(np.arange(3.0, dtype=np.float32))
|| mx.from_dlpack(np.arange(3)) || mx.from_dlpack(3) || with mx.stream(mx.cpu): result = x + y
|| mx.stream(3) || mx.get_printoptions().precision
|| with mx.printoptions(precision=2): result = repr(v)
|| old = mx.get_printoptions().precision; mx.set_printoptions(precision=3);
result = repr(v); mx.set_printoptions(precision=old)
|| mx.set_printoptions(other=3)
|| mx.disable_compile(); result = mx.compile(lambda a: a * 2)(x); mx.enable_compile()
|| mx.distributed.all_max(x) || mx.distributed.all_min(x) || mx.distributed.all_gather(x)
|| mx.distributed.send(x, 0) || mx.distributed.recv((2,), mx.float32, 0)
|| mx.distributed.recv_like(x, 0) || mx.distributed.sum_scatter(x)
|| import io; f = io.BytesIO(); mx.save(f, x); f.seek(0); result = mx.load(f, 'npy')
|| import io; f = io.BytesIO(); mx.savez(f, x, k=y); f.seek(0); result = sorted(mx.load(f, 'npz'))
|| import io; f = io.BytesIO(); mx.savez_compressed(f, a=x); f.seek(0); result = sorted(np.load(f))
|| import io; f = io.BytesIO(); mx.save_safetensors(f, {'a': x, 'g': g}); f.seek(0);
result = mx.load(f, 'safetensors')['g']
|| mx.load('nowhere.npy') || mx.load('nowhere.npz') || mx.load('nowhere.safetensors')
|| mx.load('nowhere.gguf') || mx.load('nowhere.txt') || mx.load(3) || mx.save('/nowhere/x.npy', x)
|| mx.save(3, x) || mx.save_safetensors('/nowhere/x', {'a': x})
|| mx.save_gguf('/nowhere/x', {'a': x}) || mx.savez('/nowhere/x', x) || mx.metal.device_info()
|| mx.metal.start_capture('x.gputrace') || mx.metal.stop_capture()
|| mx.fast.metal_kernel(name='f', input_names=['a'], output_names=['o'], source='')
|| mx.fast.cuda_kernel(name='f', input_names=['a'], output_names=['o'], source='')
|| mx.new_stream(mx.cpu).device || mx.new_stream(mx.gpu) || mx.new_stream(3)
|| mx.new_thread_local_stream(mx.cpu).device || mx.new_thread_unsafe_stream(mx.cpu).device
|| mx.set_default_stream(mx.default_stream(mx.cpu)) || mx.set_default_stream(3)
|| mx.device_info(mx.cpu)['architecture'] || mx.device_info(mx.gpu)
|| mx.import_function('nowhere') || mx.get_active_memory() > 0 || mx.reset_peak_memory()
|| mx.clear_cache() || result = mx.set_wired_limit(10); mx.set_wired_limit(result)
|| mx.set_cache_limit('a')
|| mx.gather_qqmm(qx[None], qw[None], mode='nvfp4')
|| mx.fast.gated_delta_update(r[..., :1, :], r[..., :1, :], r[..., :1, :],
r[..., :1, 0] * 0 + 0.5, r[..., :1, 0])
|| [a.shape for a in mx.fast.gated_delta_update(r, r, r, r[..., 0], r[..., 0])]
|| mx.fast.gated_delta_update(r, r, r) || mx.fast.gated_delta_update(x, x, x, x, x)
"""
    ),
]

SWEEP_UNARY = items(
    r"""
abs || arccos || arccosh || arcsin || arcsinh || arctan || arctanh || bitwise_invert || ceil
|| conj || cos || cosh || degrees || erf || erfinv || exp || expm1 || floor || imag || isfinite
|| isinf || isnan || isneginf || isposinf || log || log10 || log1p || log2 || logical_not
|| negative || radians || real || reciprocal || round || rsqrt || sigmoid || sign || sin || sinh
|| sqrt || square || tan || tanh || trunc || nan_to_num || sum || prod || max || min || mean || var
|| std || all || any || argmax || argmin || logsumexp || median || softmax || cumsum || cumprod
|| cummax || cummin || logcumsumexp || sort || argsort || diff || count_nonzero || minmax
|| fft.fft || zeros_like || ones_like || transpose || flip || tril || linalg.norm || stop_gradient
|| atleast_2d || to_fp8
"""
)

SWEEP_BINARY = items(
    r"""
add || subtract || multiply || divide || floor_divide || remainder || power || maximum || minimum
|| logaddexp || arctan2 || equal || not_equal || less || less_equal || greater || greater_equal
|| logical_and || logical_or || logical_xor || bitwise_and || bitwise_or || bitwise_xor
|| left_shift || right_shift || divmod || matmul || outer || isclose || array_equal || inner
|| where(A > 1,  || concatenate([ || kron || addmm(mx.array(1.0),  || result_type || convolve
|| full_like || vecdot
"""
)

SCALARS = ["True", "3", "-1", "300", "70000", "2**35", "2.5", "-0.5", "float('inf')", "1j"]
