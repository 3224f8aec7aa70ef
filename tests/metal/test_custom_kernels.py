"""Users' own kernels: what mx.fast.metal_kernel promises of signatures, arguments and errors."""

import numpy as np
import pytest

import mlxc.core as mx

EXP = """
    uint elem = thread_position_in_grid.x;
    T value = inp[elem];
    out[elem] = metal::exp(value);
"""
STRIDED = """
    uint elem = thread_position_in_grid.x;
    uint loc = elem_to_loc(elem, inp_shape, inp_strides, inp_ndim);
    out[elem] = inp[loc];
"""


def call(kernel, inputs, like, **options):
    """One output, with a thread for each of its elements."""
    options.setdefault("grid", (like.size, 1, 1))
    options.setdefault("threadgroup", (64, 1, 1))
    (out,) = kernel(
        inputs=inputs, output_shapes=[like.shape], output_dtypes=[like.dtype], **options
    )
    return out


@pytest.mark.parametrize("dtype", [mx.float32, mx.float16, mx.bfloat16], ids=str)
def test_a_template_argument_may_be_a_dtype(dtype):
    kernel = mx.fast.metal_kernel("exp", ["inp"], ["out"], EXP)
    x = mx.array(np.linspace(-2, 2, 77), dtype=dtype)
    out = call(kernel, [x], x, template=[("T", dtype)])
    assert out.dtype == dtype
    assert mx.allclose(out.astype(mx.float32), mx.exp(x).astype(mx.float32), rtol=1e-2).item()


def test_template_arguments_may_be_numbers_and_truths():
    source = "out[thread_position_in_grid.x] = TWICE ? 2 * N : N;"
    kernel = mx.fast.metal_kernel("number", [], ["out"], source)
    like = mx.zeros((3,), mx.int32)
    for twice, n in ((True, 5), (False, -5), (True, 1), (False, 1)):
        out = call(kernel, [], like, template=[("N", n), ("TWICE", twice)])
        assert out.tolist() == [(2 * n if twice else n)] * 3


def test_inputs_are_copied_where_they_are_not_row_major_and_only_if_that_is_wanted():
    x = mx.array(np.arange(24.0).reshape(4, 6)).T[1:]
    plain = "out[thread_position_in_grid.x] = inp[thread_position_in_grid.x];"
    copied = mx.fast.metal_kernel("plain", ["inp"], ["out"], plain)
    strided = mx.fast.metal_kernel(
        "strided", ["inp"], ["out"], STRIDED, ensure_row_contiguous=False
    )
    both = mx.fast.metal_kernel("both", ["inp"], ["out"], STRIDED)
    for kernel in (copied, strided, both):
        assert np.array_equal(call(kernel, [x], x), np.array(x)), kernel


def test_a_kernel_sees_shape_strides_and_axes_of_its_inputs():
    source = """
        out[0] = inp_ndim; out[1] = inp_shape[1]; out[2] = inp_strides[0]; out[3] = inp_strides[1];
    """
    kernel = mx.fast.metal_kernel("facts", ["inp"], ["out"], source, ensure_row_contiguous=False)
    like = mx.zeros((4,), mx.int64)
    x = mx.array(np.zeros((5, 6), np.float32)).T
    mx.eval(x)
    assert call(kernel, [x], like, grid=(1, 1, 1)).tolist() == [2, 5, 1, 6]


def test_inputs_without_dimensions_are_references_and_numbers_are_arrays():
    source = "out[thread_position_in_grid.x] = inp[thread_position_in_grid.x] * scale + shift;"
    kernel = mx.fast.metal_kernel("affine", ["inp", "scale", "shift"], ["out"], source)
    x = mx.arange(20).astype(mx.float32)
    out = call(kernel, [x, mx.array(3.0), 0.5], x)
    assert out.tolist() == [3 * k + 0.5 for k in range(20)]


def test_outputs_begin_with_a_value_and_may_be_atomic():
    source = """
        atomic_fetch_add_explicit(&count[0], 1, memory_order_relaxed);
        atomic_fetch_add_explicit(&total[1], inp[thread_position_in_grid.x], memory_order_relaxed);
    """
    kernel = mx.fast.metal_kernel("count", ["inp"], ["count", "total"], source, atomic_outputs=True)
    x = mx.arange(100, dtype=mx.int32)
    count, total = kernel(
        inputs=[x], grid=(100, 1, 1), threadgroup=(32, 1, 1), init_value=7,
        output_shapes=[(1,), (2,)], output_dtypes=[mx.int32, mx.int32],
    )  # fmt: skip
    assert count.tolist() == [107] and total.tolist() == [7, 7 + 4950]


@pytest.mark.parametrize("value", [0.0, -1.5, float("inf"), float("nan")])
def test_what_outputs_begin_with_may_be_any_number(value):
    kernel = mx.fast.metal_kernel("nothing", [], ["out"], "")
    for dtype in (mx.float32, mx.bfloat16, mx.complex64):
        out = call(kernel, [], mx.zeros((5,), dtype), init_value=value)
        assert np.array_equal(np.array(out.astype(mx.float32)), [value] * 5, equal_nan=True)


def test_a_header_stands_before_the_function_and_groups_meet_in_shared_memory():
    header = "inline float twice(float x) { return 2 * x; }"
    source = """
        threadgroup float shared[64];
        uint k = thread_position_in_threadgroup.x;
        shared[k] = twice(inp[thread_position_in_grid.x]);
        threadgroup_barrier(mem_flags::mem_threadgroup);
        out[thread_position_in_grid.x] = shared[63 - k];
    """
    kernel = mx.fast.metal_kernel("mirror", ["inp"], ["out"], source, header=header)
    x = mx.arange(128).astype(mx.float32)
    expected = 2 * np.arange(128).reshape(2, 64)[:, ::-1].reshape(-1)
    assert np.array_equal(call(kernel, [x], x), expected)


def test_a_call_takes_part_in_graphs_and_in_compiled_functions():
    kernel = mx.fast.metal_kernel("exp", ["inp"], ["out"], EXP)

    def function(x):
        y = mx.sin(x) * 2
        return (call(kernel, [y], y, template=[("T", mx.float32)]) + 1).sum()

    x = mx.array(np.linspace(-1, 1, 50), dtype=mx.float32)
    expected = (np.exp(np.sin(np.linspace(-1, 1, 50)) * 2) + 1).sum()
    for f in (function, mx.compile(function)):
        for _ in range(3):
            assert abs(f(x).item() - expected) < 1e-3


def test_an_empty_grid_runs_nothing():
    kernel = mx.fast.metal_kernel("exp", ["inp"], ["out"], EXP)
    x = mx.zeros((0, 3))
    assert call(kernel, [x], x, template=[("T", mx.float32)]).shape == (0, 3)


def test_verbose_prints_what_the_compiler_is_given(capsys):
    kernel = mx.fast.metal_kernel("exp", ["inp"], ["out"], EXP)
    x = mx.zeros((9,))
    mx.eval(call(kernel, [x], x, template=[("T", mx.float32)], verbose=True))
    text = capsys.readouterr().out
    assert "device const float* inp [[buffer(0)]]" in text and EXP in text


def test_an_error_names_the_kernel_and_what_the_compiler_says():
    kernel = mx.fast.metal_kernel("broken", ["inp"], ["out"], "out[0] = nonsense;")
    with pytest.raises(RuntimeError, match=r"(?s)custom_broken.*nonsense"):
        mx.eval(call(kernel, [mx.zeros(9)], mx.zeros(9)))
    assert (mx.ones(3) + 1).tolist() == [2, 2, 2]  # the device is as it was


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"grid": (1, 1)}, ValueError),
        ({"threadgroup": (0, 1, 1)}, ValueError),
        ({"threadgroup": (64, 64, 1)}, ValueError),
        ({"template": [("T", "float")]}, TypeError),
        ({"stream": mx.cpu}, RuntimeError),
    ],
)
def test_a_call_that_cannot_be_is_refused_and_says_which_kernel(options, error):
    kernel = mx.fast.metal_kernel("refused", ["inp"], ["out"], "out[0] = inp[0];")
    with pytest.raises(error, match=r"\[metal_kernel\].*'refused'"):
        call(kernel, [mx.zeros(9)], mx.zeros(9), **options)


def test_wrong_numbers_of_arrays_and_dtypes_that_metal_has_not_are_refused():
    kernel = mx.fast.metal_kernel("refused", ["inp"], ["out"], "out[0] = inp[0];")
    x = mx.zeros(9)
    with pytest.raises(ValueError, match="got 2 inputs; it has 1"):
        call(kernel, [x, x], x)
    with pytest.raises(ValueError, match="float64"):
        call(kernel, [x.astype(mx.float64)], x)
    with pytest.raises(ValueError, match="2 output shapes"):
        kernel(inputs=[x], output_shapes=[(1,), (1,)], output_dtypes=[mx.float32],
               grid=(1, 1, 1), threadgroup=(1, 1, 1))  # fmt: skip


def test_derivatives_of_a_call_are_refused_and_custom_functions_give_them():
    kernel = mx.fast.metal_kernel("exp", ["inp"], ["out"], EXP)

    def plain(x):
        return call(kernel, [x], x, template=[("T", mx.float32)])

    x = mx.array([0.0, 1.0, -1.0] * 3)
    with pytest.raises(ValueError, match="custom_function"):
        mx.grad(lambda x: plain(x).sum())(x)
    function = mx.custom_function(plain)
    function.vjp(lambda primals, cotangent, output: cotangent * output)
    assert mx.allclose(mx.grad(lambda x: function(x).sum())(x), mx.exp(x)).item()
