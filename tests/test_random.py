"""Random numbers. The golden numbers were observed from MLX 0.32.4 on a CPU, all with ``key(7)``.

Integers and booleans must agree exactly, as must plain uniform numbers; what goes through erfinv,
log or a product may differ in the last places, in the dtype's own precision.
"""

import threading

import numpy as np
import pytest

import mlxc.core as mx
from mlxc._graph import is_evaluated

R = mx.random
# Relative to the largest value drawn: a few units in the last place.
TOLERANCE = {mx.float32: 2e-6, mx.float16: 4e-3, mx.bfloat16: 3e-2, mx.complex64: 2e-6}


def seven():
    return R.key(7)


def as_numpy(x):
    return np.asarray(x.astype(mx.float32) if x.dtype == mx.bfloat16 else x)


EXACT = {
    "split": (lambda k: R.split(k), [[966301609, 989289821], [1948237315, 1058547403]]),
    "split into 3": (
        lambda k: R.split(k, 3),
        [[276534068, 861967409], [1905761346, 1641862660], [2900896126, 1402713516]],
    ),
    "bits": (lambda k: R.bits((3,), key=k), [966301609, 1830345032, 1948237315]),
    "uniform": (
        lambda k: R.uniform(shape=(5,), key=k),
        [
            0.06438560783863068,
            0.20069243013858795,
            0.6504592299461365,
            0.38227593898773193,
            0.6754174828529358,
        ],
    ),
    "uniform float16": (
        lambda k: R.uniform(shape=(5,), dtype=mx.float16, key=k),
        [0.06439208984375, 0.20068359375, 0.650390625, 0.38232421875, 0.67529296875],
    ),
    "bernoulli": (
        lambda k: R.bernoulli(mx.array([0.2, 0.8]), (3, 2), k),
        [[True, True], [False, True], [False, True]],
    ),
    "randint": (lambda k: R.randint(-5, 100, (5,), key=k), [1, 16, 63, 35, 65]),
    "randint int8": (lambda k: R.randint(-5, 7, (5,), mx.int8, k), [-5, -3, 2, -1, 3]),
    "randint of arrays": (
        lambda k: R.randint(mx.array([0, 10]), mx.array([[5], [100]]), (2, 2), key=k),
        [[1, 10], [45, 32]],
    ),
    "randint bool": (
        lambda k: R.randint(0, 2, (5,), mx.bool_, k),
        [False, False, True, False, True],
    ),
    "permutation": (lambda k: R.permutation(10, key=k), [4, 6, 1, 2, 5, 7, 8, 3, 0, 9]),
    "permutation of rows": (
        lambda k: R.permutation(mx.reshape(mx.arange(12), (6, 2)), key=k),
        [[0, 1], [2, 3], [10, 11], [6, 7], [4, 5], [8, 9]],
    ),
    "permutation of columns": (
        lambda k: R.permutation(mx.reshape(mx.arange(12), (2, 6)), axis=1, key=k),
        [[0, 1, 5, 3, 2, 4], [6, 7, 11, 9, 8, 10]],
    ),
}


WITHOUT_A_KEY = {
    "uniform": lambda **key: R.uniform(shape=(3,), **key),
    "uniform between": lambda **key: R.uniform(-1, mx.array([1.0, 2.0, 3.0]), (3,), **key),
    "normal": lambda **key: R.normal((3,), **key),
    "normal of a list": lambda **key: R.normal([3], loc=1, scale=2.0, **key),
    "complex normal": lambda **key: R.normal((3,), mx.complex64, **key),
    "randint": lambda **key: R.randint(-5, 5, (3,), **key),
    "bernoulli": lambda **key: R.bernoulli(mx.array([0.2, 0.5, 0.7]), **key),
    "truncated normal": lambda **key: R.truncated_normal(-1, 1, (3,), **key),
    "gumbel": lambda **key: R.gumbel((3,), **key),
    "laplace": lambda **key: R.laplace((3,), loc=1, scale=3.0, **key),
    "categorical": lambda **key: R.categorical(mx.zeros((3, 4)), **key),
    "permutation": lambda **key: R.permutation(9, **key),
    "bits": lambda **key: R.bits((3,), **key),
}


@pytest.mark.parametrize("name", WITHOUT_A_KEY)
def test_calls_without_a_key_draw_with_the_second_half_of_the_state(name):
    draw = WITHOUT_A_KEY[name]
    R.seed(11)
    state = R.key(11)
    for again in range(4):  # the later ones by a recipe; evaluated at once and among others
        drawn = draw()
        drawn = drawn if again % 2 else mx.concatenate([drawn, drawn])[: drawn.size]
        state, key = R.split(state)
        assert drawn.tolist() == draw(key=key).tolist()
    assert R.state[0].tolist() == state.tolist()


def test_distributions_are_composed_once(monkeypatch):
    draws = [lambda: R.normal((5,)), lambda: R.normal((5,), key=seven())]
    for draw in draws:
        draw()
    monkeypatch.setattr(R, "_between", None)
    for draw in draws:
        assert draw().shape == (5,)


@pytest.mark.parametrize("name", EXACT)
def test_the_same_key_gives_exactly_the_numbers_of_mlx(name):
    draw, expected = EXACT[name]
    assert draw(seven()).tolist() == expected


LOGITS = [[0.0, 1.0, 2.0], [3.0, 0.0, -1.0], [0.0, 0.0, 0.0], [1.0, 2.0, 0.0]]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [2, 0, 0, 1]),
        ({"axis": 0}, [1, 3, 1]),
        ({"num_samples": 3}, [[1, 2, 2], [2, 0, 0], [0, 0, 1], [0, 1, 0]]),
        ({"shape": (2, 4)}, [[2, 0, 1, 0], [2, 0, 2, 1]]),
    ],
)
def test_categorical_draws_are_those_of_mlx(options, expected):
    x = R.categorical(mx.array(LOGITS), key=seven(), **options)
    assert x.dtype == mx.uint32
    assert x.tolist() == expected


CLOSE = {
    "uniform in a range": (
        lambda k: R.uniform(-3, 4.7, (4,), key=k),
        [-1.2676184177398682, -1.2264052629470825, 0.49279189109802246, -1.1022405624389648],
    ),
    "uniform bfloat16": (
        lambda k: R.uniform(-3, 4.7, (5,), mx.bfloat16, k),
        [-2.5, -1.453125, 2.0, -0.0625, 2.1875],
    ),
    "normal": (
        lambda k: R.normal((5,), key=k),
        [
            -1.5189650058746338,
            -0.8391503095626831,
            0.38656067848205566,
            -0.2995086908340454,
            0.45492252707481384,
        ],
    ),
    "normal with loc and scale": (
        lambda k: R.normal((4,), loc=1.3, scale=2.7, key=k),
        [-0.7397589683532715, -0.6918908357620239, 0.985322117805481, -0.5512948036193848],
    ),
    "normal float16": (
        lambda k: R.normal((4,), mx.float16, 1.3, 2.7, k),
        [-0.7392578125, -0.6904296875, 0.9853515625, -0.55078125],
    ),
    "normal bfloat16": (
        lambda k: R.normal((4,), mx.bfloat16, key=k),
        [-0.7578125, -0.73828125, -0.11669921875, -0.68359375],
    ),
    "normal complex64": (
        lambda k: R.normal((2,), mx.complex64, 1 + 2j, 2.5, k),
        [-0.33548831939697266 + 0.6958522796630859j, 0.7939714193344116 + 0.7879045009613037j],
    ),
    "truncated normal": (
        lambda k: R.truncated_normal(-1, 2, (4,), key=k),
        [-0.40476128458976746, -0.39286962151527405, 0.075213223695755, -0.357368528842926],
    ),
    "gumbel": (
        lambda k: R.gumbel((4,), key=k),
        [-0.399931937456131, -0.384045273065567, 0.23506566882133484, -0.33686238527297974],
    ),
    "laplace": (
        lambda k: R.laplace((4,), loc=0.7, scale=1.3, key=k),
        [1.7381486892700195, 1.7075839042663574, 0.8265831470489502, 1.6196188926696777],
    ),
}


@pytest.mark.parametrize("name", CLOSE)
def test_the_same_key_gives_the_numbers_of_mlx_up_to_rounding(name):
    draw, expected = CLOSE[name]
    x = draw(seven())
    np.testing.assert_allclose(as_numpy(x), expected, rtol=0, atol=2 * TOLERANCE[x.dtype])


def test_multivariate_normal_numbers_are_those_of_mlx():
    x = R.multivariate_normal(
        mx.array([1.0, 2.0]), mx.array([[2.0, 0.5], [0.5, 1.0]]), (3,), key=seven()
    )
    expected = [
        [-1.3008103370666504, 0.8600023984909058],
        [0.7390276193618774, 1.6774122714996338],
        [1.5416414737701416, 1.6564550399780273],
    ]
    np.testing.assert_allclose(as_numpy(x), expected, rtol=0, atol=2e-5)


def test_calls_without_a_key_advance_the_state_as_in_mlx():
    R.seed(11)
    assert [R.uniform().item() for _ in range(3)] == [
        0.5363286733627319,
        0.6083272099494934,
        0.038799554109573364,
    ]
    assert R.state[0].tolist() == [898213529, 3113549360]


@pytest.mark.parametrize(
    ("seed", "key"),
    [
        (0, [0, 0]),
        (1, [0, 1]),
        (2**32 + 5, [1, 5]),
        (2**64 - 1, [2**32 - 1, 2**32 - 1]),
        (np.int64(3), [0, 3]),
    ],
)
def test_a_key_is_the_seed_in_two_halves(seed, key):
    assert R.key(seed).tolist() == key
    assert R.key(seed).dtype == mx.uint32


# --- the generator ---


def threefry(key, c0, c1):
    """Threefry-2x32-20 as its authors' paper states it, in Python integers."""
    mask, turns = 0xFFFFFFFF, ((13, 15, 26, 6), (17, 29, 16, 24))
    keys = (*key, key[0] ^ key[1] ^ 0x1BD11BDA)
    a, b = (c0 + keys[0]) & mask, (c1 + keys[1]) & mask
    for group in range(5):
        for turn in turns[group % 2]:
            a = (a + b) & mask
            b = ((b << turn | b >> (32 - turn)) & mask) ^ a
        a = (a + keys[(group + 1) % 3]) & mask
        b = (b + keys[(group + 2) % 3] + group + 1) & mask
    return a, b


def test_the_reference_gives_the_published_test_vectors():
    # From the known-answer file of the authors' Random123 distribution.
    assert threefry((0, 0), 0, 0) == (0x6B200159, 0x99BA4EFE)
    ones = 0xFFFFFFFF
    assert threefry((ones, ones), ones, ones) == (0x1CB996FC, 0xBB002BE7)
    assert threefry((0x13198A2E, 0x03707344), 0x243F6A88, 0x85A308D3) == (0xC4923A9C, 0x483DF7A0)


@pytest.mark.parametrize("width", [1, 2, 4])
@pytest.mark.parametrize("n", [0, 1, 2, 3, 4, 5, 7, 8, 511, 512, 513, 1023, 1025, 2050])
def test_bits_are_the_words_of_the_reference(n, width):
    key = (123, 2**32 - 5)
    words = (n * width + 3) // 4
    half = (words + 1) // 2
    pairs = [threefry(key, i, 0 if half + i == words else half + i) for i in range(half)]
    stream = np.array([a for a, _ in pairs] + [b for _, b in pairs], np.uint32)[:words]
    expected = stream.view(f"u{width}")[:n]
    x = R.bits((n,), width, mx.array(key, dtype=mx.uint32))
    assert np.asarray(x).dtype == expected.dtype
    np.testing.assert_array_equal(np.asarray(x), expected)


@pytest.mark.parametrize(("keys", "n"), [(1000, 3), (3, 70_001), (2, 200_000)])
@pytest.mark.parametrize("width", [1, 4])
def test_a_batch_of_keys_gives_what_each_key_gives(keys, n, width):
    batch = R.split(seven(), keys)
    together = np.asarray(R.bits((n,), width, batch))
    assert together.shape == (keys, n)
    for i in (0, 1, keys - 1):
        np.testing.assert_array_equal(together[i], np.asarray(R.bits((n,), width, batch[i])))


def test_vmap_over_keys_equals_a_loop():
    keys = R.split(seven(), 4)
    for draw in (
        lambda k: R.uniform(shape=(3,), key=k),
        lambda k: R.normal((2, 2), key=k),
        lambda k: R.uniform(shape=(3,), key=R.split(k)[0]),
    ):
        together = np.asarray(mx.vmap(draw)(keys))
        np.testing.assert_array_equal(
            together, np.stack([np.asarray(draw(keys[i])) for i in range(4)])
        )


def test_the_thread_that_draws_does_not_matter():
    drawn = []
    threads = [
        threading.Thread(
            target=lambda: drawn.append(R.uniform(shape=(100_000,), key=seven()).tolist())
        )
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(numbers == drawn[0] for numbers in drawn)


def test_threads_that_share_the_state_never_get_the_same_numbers():
    drawn = []

    def draw():
        for _ in range(50):
            drawn.append(tuple(R.bits((2,)).tolist()))

    threads = [threading.Thread(target=draw) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(drawn)) == 200


def test_the_state_can_be_kept_and_put_back():
    R.seed(5)
    kept = R.state[0]
    first = R.normal((3,)).tolist()
    R.state[0] = kept
    assert R.normal((3,)).tolist() == first
    assert R.normal((3,)).tolist() != first


def test_random_functions_that_capture_the_state_draw_anew_when_compiled():
    draw = mx.compile(lambda: R.uniform(shape=(4,)), inputs=R.state, outputs=R.state)
    R.seed(9)
    compiled = [draw().tolist() for _ in range(3)]
    R.seed(9)
    assert compiled == [R.uniform(shape=(4,)).tolist() for _ in range(3)]


# --- distributions ---

N = 200_000
# mean and variance, from any textbook
MOMENTS = {
    "uniform": (lambda k: R.uniform(-1, 3, (N,), key=k), 1, 16 / 12),
    "normal": (lambda k: R.normal((N,), loc=2, scale=3, key=k), 2, 9),
    "normal float16": (lambda k: R.normal((N,), mx.float16, key=k), 0, 1),
    "truncated normal": (
        lambda k: R.truncated_normal(0, float("inf"), (N,), key=k),
        (2 / np.pi) ** 0.5,
        1 - 2 / np.pi,
    ),
    "gumbel": (lambda k: R.gumbel((N,), key=k), np.euler_gamma, np.pi**2 / 6),
    "laplace": (lambda k: R.laplace((N,), loc=1, scale=2, key=k), 1, 8),
    "bernoulli": (lambda k: R.bernoulli(0.3, (N,), k), 0.3, 0.21),
    "randint": (lambda k: R.randint(0, 10, (N,), key=k), 4.5, 99 / 12),
}


@pytest.mark.parametrize("name", MOMENTS)
def test_mean_and_variance_are_right(name):
    draw, mean, variance = MOMENTS[name]
    x = as_numpy(draw(R.key(20))).astype(np.float64)
    assert abs(x.mean() - mean) < 5 * (variance / N) ** 0.5
    assert abs(x.var() - variance) < 0.02 * variance


@pytest.mark.parametrize("dtype", [mx.float32, mx.float16, mx.bfloat16])
def test_uniform_numbers_lie_in_the_half_open_interval(dtype):
    x = as_numpy(R.uniform(shape=(N,), dtype=dtype, key=seven()))
    assert x.min() >= 0
    assert x.max() < 1


def test_categorical_frequencies_are_the_softmax():
    x = np.asarray(R.categorical(mx.log(mx.array([0.1, 0.2, 0.7])), num_samples=N, key=seven()))
    np.testing.assert_allclose(np.bincount(x) / N, [0.1, 0.2, 0.7], atol=5e-3)


def test_multivariate_normal_has_the_mean_and_the_covariance():
    cov = [[2.0, 0.5, 0.0], [0.5, 1.0, -0.3], [0.0, -0.3, 0.5]]
    x = np.asarray(
        R.multivariate_normal(mx.array([1.0, 2.0, 3.0]), mx.array(cov), (N,), key=seven())
    )
    np.testing.assert_allclose(x.mean(0), [1, 2, 3], atol=0.02)
    np.testing.assert_allclose(np.cov(x.T), cov, atol=0.03)


def test_split_keys_give_unrelated_numbers():
    a, b = R.split(seven())
    x, y, z = (np.asarray(R.normal((N,), key=k)) for k in (seven(), a, b))
    for pair in ((x, y), (x, z), (y, z)):
        assert abs(np.corrcoef(*pair)[0, 1]) < 0.012


def test_permutations_are_permutations_and_equally_likely():
    keys = R.split(seven(), 3000)
    orders = np.asarray(mx.vmap(lambda k: R.permutation(3, key=k))(keys))
    assert (np.sort(orders, axis=1) == [0, 1, 2]).all()
    _, counts = np.unique(orders, axis=0, return_counts=True)
    assert counts.size == 6
    assert counts.min() > 400


def test_bounds_of_truncated_normal_hold_far_out_and_when_reversed():
    for low, high in ((3.1, 3.2), (7, 9), (-9, -7), (0, 0)):
        x = np.asarray(R.truncated_normal(low, high, (1000,), key=seven()))
        assert x.min() >= np.float32(low)
        assert x.max() <= np.float32(high)
    assert set(R.truncated_normal(5, 0, (3,), key=seven()).tolist()) == {5.0}


def test_randint_stays_within_bounds_that_float32_cannot_hold():
    for low, high in ((2**31 - 100, 2**31 - 1), (16777217, 16777219), (-(2**31), 2**31 - 1)):
        x = np.asarray(R.randint(low, high, (10_000,), key=seven()))
        assert x.min() >= low
        assert x.max() < high
    assert set(R.randint(10, 5, (4,), key=seven()).tolist()) == {10}


# --- shapes and arguments ---

SHAPES = {
    "uniform": lambda s: R.uniform(shape=s),
    "normal": lambda s: R.normal(s),
    "gumbel": lambda s: R.gumbel(s),
    "laplace": lambda s: R.laplace(s),
    "randint": lambda s: R.randint(0, 5, s),
    "bernoulli": lambda s: R.bernoulli(0.5, s),
    "truncated_normal": lambda s: R.truncated_normal(-1, 1, s),
}


@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0, 3), (2, 3, 4)])
@pytest.mark.parametrize("name", SHAPES)
def test_results_have_the_shape_asked_for(name, shape):
    x = SHAPES[name](shape)
    assert tuple(x.shape) == shape
    assert np.asarray(x).shape == shape


def test_bounds_broadcast_to_the_shape():
    x = np.asarray(R.uniform(mx.array([0, 10]), mx.array([[1], [2]]), (3, 2, 2), key=seven()))
    assert (x[..., 0] < 2).all()
    assert (x[..., 1] <= 10).all()
    assert tuple(R.truncated_normal(mx.array([0, 1]), 5).shape) == (2,)
    assert tuple(R.bernoulli(mx.array([0.2, 0.8, 0.1])).shape) == (3,)
    assert tuple(R.normal(loc=mx.array([1.0, 2.0])).shape) == (2,)
    assert tuple(
        R.multivariate_normal(mx.zeros((3,)), mx.broadcast_to(mx.eye(3), (2, 3, 3))).shape
    ) == (2, 3)
    assert tuple(R.multivariate_normal(mx.zeros((4, 3)), mx.eye(3), (2, 4)).shape) == (2, 4, 3)


ERRORS = {
    "shape of the bounds": (ValueError, lambda: R.uniform(mx.array([0, 1, 2]), 5, (2,))),
    "bounds larger than the shape": (ValueError, lambda: R.uniform(mx.array([0, 1, 2]), 5)),
    "integer dtype": (ValueError, lambda: R.uniform(shape=(2,), dtype=mx.int32)),
    "negative size": (ValueError, lambda: R.uniform(shape=(-2,))),
    "shape no sequence": (TypeError, lambda: R.uniform(shape=3)),
    "shape of floats": (TypeError, lambda: R.uniform(shape=(2.5,))),
    "huge shape": (ValueError, lambda: R.bits((2**20, 2**20))),
    "huge sizes": (ValueError, lambda: R.normal((2**40, 2**40))),
    "width": (ValueError, lambda: R.bits((2,), 3)),
    "key of another shape": (
        ValueError,
        lambda: R.uniform(key=mx.array([1, 2, 3], dtype=mx.uint32)),
    ),
    "batch of keys": (ValueError, lambda: R.uniform(key=R.split(seven()))),
    "key without axes": (ValueError, lambda: R.bits((2,), key=mx.array(3, dtype=mx.uint32))),
    "key of another dtype": (ValueError, lambda: R.uniform(key=mx.array([1, 2]))),
    "key no array": (TypeError, lambda: R.uniform(key=[0, 1])),
    "seed negative": (ValueError, lambda: R.seed(-1)),
    "seed too large": (ValueError, lambda: R.key(2**64)),
    "seed no integer": (TypeError, lambda: R.key(1.5)),
    "split count": (ValueError, lambda: R.split(seven(), -1)),
    "split count no integer": (TypeError, lambda: R.split(seven(), 2.0)),
    "normal of integers": (ValueError, lambda: R.normal(dtype=mx.int32)),
    "laplace of integers": (ValueError, lambda: R.laplace(dtype=mx.int32)),
    "gumbel of integers": (ValueError, lambda: R.gumbel(dtype=mx.int32)),
    "truncated normal of integers": (ValueError, lambda: R.truncated_normal(0, 1, dtype=mx.int32)),
    "randint of floats": (ValueError, lambda: R.randint(0, 5, dtype=mx.float32)),
    "randint of NaN": (ValueError, lambda: R.randint(float("nan"), 5)),
    "bernoulli of integers": (ValueError, lambda: R.bernoulli(1)),
    "bernoulli shape": (ValueError, lambda: R.bernoulli(mx.zeros((3, 2)), (2,))),
    "categorical axis": (IndexError, lambda: R.categorical(mx.zeros((3, 2)), axis=2)),
    "categorical without axes": (IndexError, lambda: R.categorical(mx.array(1.0))),
    "categorical of nothing": (ValueError, lambda: R.categorical(mx.zeros((3, 0)))),
    "categorical shape": (ValueError, lambda: R.categorical(mx.zeros((3, 2)), shape=(4,))),
    "categorical shape and number": (
        ValueError,
        lambda: R.categorical(mx.zeros((3, 2)), shape=(3,), num_samples=2),
    ),
    "permutation axis": (IndexError, lambda: R.permutation(mx.zeros((3, 2)), axis=2)),
    "permutation of a scalar": (IndexError, lambda: R.permutation(mx.array(3))),
    "permutation of fewer than none": (ValueError, lambda: R.permutation(-1)),
    "permutation of a list": (TypeError, lambda: R.permutation([1, 2])),
    "covariance of another size": (
        ValueError,
        lambda: R.multivariate_normal(mx.zeros(3), mx.eye(2)),
    ),
    "mean without axes": (ValueError, lambda: R.multivariate_normal(mx.array(0.0), mx.eye(3))),
    "multivariate dtype": (
        ValueError,
        lambda: R.multivariate_normal(mx.zeros(3), mx.eye(3), dtype=mx.float16),
    ),
    "multivariate shape": (
        ValueError,
        lambda: R.multivariate_normal(mx.zeros((4, 3)), mx.eye(3), (2,)),
    ),
}


@pytest.mark.parametrize("name", ERRORS)
def test_bad_arguments_are_refused(name):
    error, call = ERRORS[name]
    with pytest.raises(error, match=r"^\[\w+\] "):
        call()


def test_refused_calls_leave_the_state_alone():
    R.seed(3)
    for call in (lambda: R.uniform(shape=(-1,)), lambda: R.normal(dtype=mx.int32)):
        with pytest.raises(ValueError, match=r"\["):
            call()
    assert R.state[0].tolist() == [0, 3]


def test_derivatives_pass_through_to_the_parameters():
    def draw(loc, scale):
        return mx.sum(R.normal((1000,), loc=loc, scale=scale, key=seven()))

    dloc, dscale = mx.grad(draw, argnums=(0, 1))(mx.array(1.0), mx.array(2.0))
    assert dloc.item() == 1000
    np.testing.assert_allclose(
        dscale.item(), np.asarray(R.normal((1000,), key=seven())).sum(), rtol=1e-4
    )


def test_a_state_that_has_its_value_is_split_at_once_and_gives_what_the_graph_gives():
    def draw():
        return [mx.random.normal((3,)), mx.random.permutation(5), mx.random.bits((2,))]

    mx.random.seed(11)
    ours = draw()
    assert is_evaluated(mx.random.state[0])
    mx.random.state[0] = mx.random.key(11) + mx.array([0, 0], dtype=mx.uint32)
    again = draw()
    assert not is_evaluated(mx.random.state[0])
    assert [x.tolist() for x in ours] == [x.tolist() for x in again]


def pending_state(seed):
    """Have the state depend on something that is not evaluated."""
    mx.random.state[0] = mx.random.key(seed) + mx.array([0, 0], dtype=mx.uint32)


def test_few_numbers_are_there_at_once_and_are_those_of_the_graph():
    draws = (
        lambda: mx.random.normal((3, 5)),
        lambda: mx.random.normal((7,), loc=1.0, scale=mx.array([2.0] * 7)),
        lambda: mx.random.normal((2, 2), mx.float16),
        lambda: mx.random.normal([4], mx.complex64),
        lambda: mx.random.uniform(-1, 2, (1000,)),
        lambda: mx.random.randint(0, 100, (9,)),
        lambda: mx.random.bernoulli(0.3, (0, 3)),
        lambda: mx.random.gumbel(),
    )
    for draw in draws:
        for again in range(3):
            mx.random.seed(again)
            now = [draw(), draw()]
            assert all(is_evaluated(x) for x in (*now, mx.random.state[0]))
            left = mx.random.state[0].tolist()
            pending_state(again)
            later = [draw(), draw()]
            assert not any(is_evaluated(x) for x in (*later, mx.random.state[0]))
            assert [x.tolist() for x in later] == [x.tolist() for x in now]
            assert mx.random.state[0].tolist() == left


def test_many_numbers_and_those_of_a_trace_stay_pending():
    assert not is_evaluated(mx.random.normal((100_000,)))
    seen = []

    def noisy(x):
        seen.append(mx.random.normal((3,)))
        return (x * seen[0]).sum()

    mx.random.seed(3)
    gradient = mx.grad(noisy)(mx.ones((3,)))
    mx.random.seed(3)
    assert gradient.tolist() == mx.random.normal((3,)).tolist()
    step = mx.compile(
        lambda: mx.random.normal((3,)), inputs=mx.random.state, outputs=mx.random.state
    )
    mx.random.seed(3)
    compiled = [step().tolist() for _ in range(3)]
    mx.random.seed(3)
    assert compiled == [mx.random.normal((3,)).tolist() for _ in range(3)]
