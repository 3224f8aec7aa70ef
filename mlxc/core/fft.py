"""Fourier transforms: arguments are checked, data padded or truncated to size, and one ``fft`` row
bound.

Rules: results are complex64 (float32 for the complex-to-real family) whatever the input's
    precision, as there is no
complex128; ``norm`` has NumPy's meaning; a transform of length 0 is an error.
"""

from operator import index as _index

import mlxc.core as _mx
from mlxc._graph import Routine as _Routine
from mlxc._graph import bind as _bind

from ._arguments import AxisError as _AxisError
from ._arguments import as_array as _as_array
from ._arguments import normalize_axis as _normalize_axis

__all__ = [
    "fft",
    "fft2",
    "fftfreq",
    "fftn",
    "fftshift",
    "ifft",
    "ifft2",
    "ifftn",
    "ifftshift",
    "irfft",
    "irfft2",
    "irfftn",
    "istft",
    "rfft",
    "rfft2",
    "rfftfreq",
    "rfftn",
    "stft",
]

_NORMS = ("backward", "ortho", "forward")
_PAD_MODES = ("reflect", "constant", "edge")


def _check_norm(op, norm):
    if norm not in _NORMS:
        raise ValueError(
            f"[{op}] norm {norm!r} is unknown; choose from {', '.join(map(repr, _NORMS))}"
        )


def _resolve(op, a, s, axes):
    """The axes in the given order, non-negative, and the sizes asked for (None: as they are)."""
    if a.ndim == 0:
        raise _AxisError(
            f"[{op}] was given a 0-dimensional array; at least one dimension is needed"
        )
    if axes is None:
        count = a.ndim if s is None else len(s)
        if count > a.ndim:
            raise ValueError(f"[{op}] {count} sizes were given for an array of {a.ndim} dimensions")
        axes = range(a.ndim - count, a.ndim)
    axes = tuple(_normalize_axis(op, axis, a.ndim) for axis in axes)
    if len(set(axes)) != len(axes):
        raise ValueError(f"[{op}] axes {axes} repeat; each axis can be transformed once")
    sizes = (None,) * len(axes) if s is None else tuple(s)
    if len(sizes) != len(axes):
        raise ValueError(
            f"[{op}] {len(sizes)} sizes were given for {len(axes)} axes; they must be as many"
        )
    return axes, sizes


def _fit(a, axes, sizes):
    """Truncate or zero-pad each axis at its end to its size."""
    if all(a.shape[axis] == n for axis, n in zip(axes, sizes)):
        return a
    take, widths = [slice(None)] * a.ndim, [(0, 0)] * a.ndim
    for axis, n in zip(axes, sizes):
        take[axis] = slice(0, min(n, a.shape[axis]))
        widths[axis] = (0, max(0, n - a.shape[axis]))
    return _mx.pad(a[tuple(take)], widths)


def _size(op, n):
    """A size as an integer."""
    try:
        return _index(n)
    except TypeError:
        kind = type(n).__name__
        raise TypeError(f"[{op}] a size {n!r} of type {kind}; an integer would be right") from None


def _transform(op, a, s, axes, norm, kind, inverse):
    _check_norm(op, norm)
    a = _as_array(a)
    axes, asked = _resolve(op, a, s, axes)
    if not axes:
        if kind != "c2c":
            raise ValueError(f"[{op}] no axes were given; a real transform needs at least one")
        return a.astype(_mx.complex64)
    sizes = [a.shape[axis] if n is None else _size(op, n) for axis, n in zip(axes, asked)]
    if kind == "c2r" and asked[-1] is None:
        sizes[-1] = 2 * (a.shape[axes[-1]] - 1)
    if min(sizes) < 1:
        raise ValueError(
            f"[{op}] transform sizes {tuple(sizes)} were asked for; each must be at least 1"
        )
    stored = sizes[:-1] + [sizes[-1] // 2 + 1 if kind == "c2r" else sizes[-1]]
    if kind == "r2c" and a.dtype == _mx.complex64:
        a = _mx.real(a)
    a = _fit(a, axes, stored).astype(_mx.float32 if kind == "r2c" else _mx.complex64)
    negative = tuple(axis - a.ndim for axis in axes)
    return _bind("fft", (a,), (negative, tuple(sizes), kind, inverse, norm))


@_Routine
def _line(a, op, n, axis, norm, kind, inverse):
    return _transform(op, a, None if n is None else (n,), (axis,), norm, kind, inverse)


def fft(a, n=None, axis=-1, norm="backward", stream=None):
    """One-dimensional discrete Fourier transform.

    Args:
        a (array): input of any shape (..., m, ...) and dtype.
        n (int, optional): length of the transform; the axis is truncated or zero-padded to it.
        axis (int): the axis to transform.
        norm (str): "backward" (no factor), "ortho" (1/sqrt(n)) or "forward" (1/n).

    Returns:
        array: complex64, the axis having length ``n``.

    Raises:
        ValueError: for a bad ``norm``, a bad axis, or a length below 1.

    Formula: y[k] = sum_t a[t] exp(-2 pi i k t / n) (Cooley and Tukey 1965 for the algorithm).

    >>> import mlxc.core as mx
    >>> mx.fft.fft(mx.array([1.0, 0.0, 0.0, 0.0])).tolist()
    [(1+0j), (1+0j), (1+0j), (1+0j)]
    """
    return _line((_as_array(a),), "fft", n, axis, norm, "c2c", False)


def ifft(a, n=None, axis=-1, norm="backward", stream=None):
    """Inverse of :func:`fft`, with the factor 1/n by default.

    Args and Returns as in :func:`fft`; "backward" means 1/n here and "forward" no factor.

    >>> import mlxc.core as mx
    >>> mx.fft.ifft(mx.array([4.0, 0.0, 0.0, 0.0])).tolist()
    [(1+0j), (1+0j), (1+0j), (1+0j)]
    """
    return _line((_as_array(a),), "ifft", n, axis, norm, "c2c", True)


def fft2(a, s=None, axes=(-2, -1), norm="backward", stream=None):
    """Two-dimensional discrete Fourier transform; :func:`fftn` over the last two axes by default.

    >>> import mlxc.core as mx
    >>> mx.fft.fft2(mx.ones((2, 2)))[0, 0].item()
    (4+0j)
    """
    return _transform("fft2", a, s, axes, norm, "c2c", False)


def ifft2(a, s=None, axes=(-2, -1), norm="backward", stream=None):
    """Inverse of :func:`fft2`; :func:`ifftn` over the last two axes by default.

    >>> import mlxc.core as mx
    >>> mx.fft.ifft2(mx.ones((2, 2)))[0, 0].item()
    (1+0j)
    """
    return _transform("ifft2", a, s, axes, norm, "c2c", True)


def fftn(a, s=None, axes=None, norm="backward", stream=None):
    """Discrete Fourier transform over several axes.

    Args:
        a (array): input of any shape and dtype.
        s (sequence of int, optional): sizes to truncate or zero-pad the axes to.
        axes (sequence of int, optional): by default the last ``len(s)`` axes, or all.
        norm (str): "backward", "ortho" or "forward", as in :func:`fft`.

    Returns:
        array: complex64.

    Raises:
        ValueError: for bad or repeated axes, sizes that are not as many as axes, or sizes below 1.

    >>> import mlxc.core as mx
    >>> mx.fft.fftn(mx.ones((2, 3)))[0, 0].item()
    (6+0j)
    """
    return _transform("fftn", a, s, axes, norm, "c2c", False)


def ifftn(a, s=None, axes=None, norm="backward", stream=None):
    """Inverse of :func:`fftn`; arguments as there.

    >>> import mlxc.core as mx
    >>> mx.fft.ifftn(mx.ones((2, 3)))[0, 0].item()
    (1+0j)
    """
    return _transform("ifftn", a, s, axes, norm, "c2c", True)


def rfft(a, n=None, axis=-1, norm="backward", stream=None):
    """Discrete Fourier transform of real data: the ``n // 2 + 1`` non-negative frequencies.

    Args as in :func:`fft`; of a complex array the real part is taken.

    Returns:
        array: complex64, the axis having length ``n // 2 + 1``.

    >>> import mlxc.core as mx
    >>> mx.fft.rfft(mx.array([1.0, 1.0, 1.0, 1.0])).tolist()
    [(4+0j), 0j, 0j]
    """
    return _line((_as_array(a),), "rfft", n, axis, norm, "r2c", False)


def irfft(a, n=None, axis=-1, norm="backward", stream=None):
    """Inverse of :func:`rfft`.

    Args:
        a (array): half a spectrum, of length ``n // 2 + 1`` along the axis after truncation or
            padding.
        n (int, optional): length of the result; ``2 * (a.shape[axis] - 1)`` by default.
        axis, norm: as in :func:`ifft`.

    Returns:
        array: float32, the axis having length ``n``.

    >>> import mlxc.core as mx
    >>> mx.fft.irfft(mx.array([4.0, 0.0, 0.0])).tolist()
    [1.0, 1.0, 1.0, 1.0]
    """
    return _line((_as_array(a),), "irfft", n, axis, norm, "c2r", True)


def rfft2(a, s=None, axes=(-2, -1), norm="backward", stream=None):
    """Two-dimensional transform of real data; :func:`rfftn` over the last two axes by default.

    >>> import mlxc.core as mx
    >>> mx.fft.rfft2(mx.ones((2, 4))).shape
    (2, 3)
    """
    return _transform("rfft2", a, s, axes, norm, "r2c", False)


def irfft2(a, s=None, axes=(-2, -1), norm="backward", stream=None):
    """Inverse of :func:`rfft2`; :func:`irfftn` over the last two axes by default.

    >>> import mlxc.core as mx
    >>> mx.fft.irfft2(mx.ones((2, 3))).shape
    (2, 4)
    """
    return _transform("irfft2", a, s, axes, norm, "c2r", True)


def rfftn(a, s=None, axes=None, norm="backward", stream=None):
    """Transform of real data over several axes, the last of which is halved to ``n // 2 + 1``.

    Args as in :func:`fftn`; of a complex array the real part is taken.

    >>> import mlxc.core as mx
    >>> mx.fft.rfftn(mx.ones((2, 2, 4))).shape
    (2, 2, 3)
    """
    return _transform("rfftn", a, s, axes, norm, "r2c", False)


def irfftn(a, s=None, axes=None, norm="backward", stream=None):
    """Inverse of :func:`rfftn`; the last of the axes gets size ``s[-1]``, by default ``2 * (m -
    1)``.

    >>> import mlxc.core as mx
    >>> mx.fft.irfftn(mx.ones((2, 2, 3))).shape
    (2, 2, 4)
    """
    return _transform("irfftn", a, s, axes, norm, "c2r", True)


def _check_frequencies(op, n, d):
    if n < 1:
        raise ValueError(f"[{op}] n is {n}; it must be at least 1")
    if d == 0:
        raise ValueError(f"[{op}] the sample spacing d is 0; it must not be")


def fftfreq(n, d=1.0, stream=None):
    """The frequencies of the bins of :func:`fft`, in cycles a unit of ``d``.

    Args:
        n (int): length of the transform.
        d (float): sample spacing.

    Returns:
        array: float32 of shape (n,): 0, 1, ..., then the negative ones, divided by ``n * d``.

    Raises:
        ValueError: if ``n`` is below 1 or ``d`` is 0.

    >>> import mlxc.core as mx
    >>> mx.fft.fftfreq(4).tolist()
    [0.0, 0.25, -0.5, -0.25]
    """
    _check_frequencies("fftfreq", n, d)
    bins = _mx.arange(n)
    return _mx.where(2 * bins < n, bins, bins - n).astype(_mx.float32) / (n * d)


def rfftfreq(n, d=1.0, stream=None):
    """The frequencies of the bins of :func:`rfft`: ``n // 2 + 1`` non-negative ones; arguments as
    in :func:`fftfreq`.

    >>> import mlxc.core as mx
    >>> mx.fft.rfftfreq(4).tolist()
    [0.0, 0.25, 0.5]
    """
    _check_frequencies("rfftfreq", n, d)
    return _mx.arange(n // 2 + 1).astype(_mx.float32) / (n * d)


def _shift(op, a, axes, amount):
    a = _as_array(a)
    if axes is None:
        axes = range(a.ndim)
    elif not isinstance(axes, (tuple, list)):
        axes = (axes,)
    for axis in [_normalize_axis(op, axis, a.ndim) for axis in axes]:
        split = amount(a.shape[axis])
        if split:
            _index = (slice(None),) * axis
            a = _mx.concatenate(
                [a[_index + (slice(split, None),)], a[_index + (slice(0, split),)]], axis=axis
            )
    return a


def fftshift(a, axes=None, stream=None):
    """Move the zero frequency to the centre.

    Args:
        a (array): a spectrum of any shape and dtype.
        axes (int or sequence of int, optional): axes to shift; all by default.

    Returns:
        array: same shape and dtype.

    >>> import mlxc.core as mx
    >>> mx.fft.fftshift(mx.array([0, 1, 2, 3, 4])).tolist()
    [3, 4, 0, 1, 2]
    """
    return _shift("fftshift", a, axes, lambda n: (n + 1) // 2)


def ifftshift(a, axes=None, stream=None):
    """Inverse of :func:`fftshift`; it differs from it for odd sizes.

    >>> import mlxc.core as mx
    >>> mx.fft.ifftshift(mx.array([3, 4, 0, 1, 2])).tolist()
    [0, 1, 2, 3, 4]
    """
    return _shift("ifftshift", a, axes, lambda n: n // 2)


def _integer(op, name, value):
    try:
        return _index(value)
    except TypeError:
        raise TypeError(f"[{op}] {name} is {value!r}; it must be an integer") from None


def _frame_arguments(op, n_fft, hop_length, win_length, window):
    """Check the sizes; the hop and the window padded to ``n_fft`` (None: all ones)."""
    n_fft = _integer(op, "n_fft", n_fft)
    if n_fft < 1:
        raise ValueError(f"[{op}] n_fft is {n_fft}; it must be at least 1")
    hop = n_fft // 4 if hop_length is None else _integer(op, "hop_length", hop_length)
    if hop < 1:
        raise ValueError(f"[{op}] hop_length is {hop}; it must be at least 1")
    if window is not None:
        window = _as_array(window)
        if window.ndim != 1:
            raise ValueError(f"[{op}] the window has {window.ndim} dimensions; it must have one")
        length = window.shape[0]
    else:
        length = n_fft if win_length is None else _integer(op, "win_length", win_length)
        if length == n_fft:
            return hop, None
        window = _mx.ones((max(length, 0),))
    if not 1 <= length <= n_fft:
        raise ValueError(
            f"[{op}] the window has length {length}; it must be from 1 to n_fft = {n_fft}"
        )
    left = (n_fft - length) // 2
    window = _mx.pad(window.astype(_mx.float32), [(left, n_fft - length - left)])
    return hop, window


def _pad_signal(x, pad, mode):
    """``pad`` samples more on both sides of the last axis; reflection bounces where the signal is
    shorter."""
    if mode not in _PAD_MODES:
        raise ValueError(
            f"[stft] pad_mode {mode!r} is unknown; choose from {', '.join(map(repr, _PAD_MODES))}"
        )
    n = x.shape[-1]
    if pad == 0:
        return x
    if mode == "constant":
        return _mx.pad(x, [(0, 0)] * (x.ndim - 1) + [(pad, pad)])
    if n == 0:
        raise ValueError(f"[stft] an empty signal cannot be padded by {mode!r}; use 'constant'")
    if mode == "edge":
        before, after = [0] * pad, [n - 1] * pad
    else:
        period = max(2 * (n - 1), 1)
        bounced = [
            min(i % period, period - i % period) if n > 1 else 0 for i in range(-pad, n + pad)
        ]
        before, after = bounced[:pad], bounced[pad + n :]
    sides = [_mx.take(x, _mx.array(_index), axis=-1) for _index in (before, after)]
    return _mx.concatenate([sides[0], x, sides[1]], axis=-1)


def stft(
    x,
    n_fft=2048,
    hop_length=None,
    win_length=None,
    window=None,
    center=True,
    pad_mode="reflect",
    norm="backward",
    onesided=None,
    stream=None,
):
    """Short-time Fourier transform: the spectra of overlapping windowed frames of the last axis.

    Args:
        x (array): signal (..., samples), real or complex.
        n_fft (int): length of a frame and of its transform.
        hop_length (int, optional): samples from frame to frame; ``n_fft // 4`` by default.
        win_length (int, optional): length of the rectangular window if no ``window`` is given.
        window (array, optional): (win_length,), centred in ``n_fft`` zeros; rectangular by default.
        center (bool): pad both ends by ``n_fft // 2``, so that frames are centred on their sample.
        pad_mode (str): "reflect", "constant" (zeros) or "edge".
        norm (str): as in :func:`fft`.
        onesided (bool, optional): only non-negative frequencies; by default for real input.

    Returns:
        array: complex64 (..., frequencies, frames).

    Raises:
        ValueError: for sizes out of range, an unknown mode, or a signal shorter than a frame.

    Formula: Allen and Rabiner 1977.

    >>> import mlxc.core as mx
    >>> mx.fft.stft(mx.ones((32,)), n_fft=8).shape
    (5, 17)
    """
    _check_norm("stft", norm)
    x = _as_array(x)
    if x.ndim == 0:
        raise ValueError("[stft] was given a 0-dimensional array; at least one dimension is needed")
    hop, window = _frame_arguments("stft", n_fft, hop_length, win_length, window)
    is_complex = x.dtype == _mx.complex64
    x = x if is_complex else x.astype(_mx.float32)
    if center:
        x = _pad_signal(x, n_fft // 2, pad_mode)
    if x.shape[-1] < n_fft:
        raise ValueError(f"[stft] the signal has {x.shape[-1]} samples, fewer than n_fft = {n_fft}")
    count = 1 + (x.shape[-1] - n_fft) // hop
    _index = _mx.expand_dims(_mx.arange(count) * hop, 1) + _mx.arange(n_fft)
    frames = _mx.take(x, _index, axis=-1)
    if window is not None:
        frames = frames * window
    onesided = not is_complex if onesided is None else onesided
    spectra = rfft(frames, norm=norm) if onesided else fft(frames, norm=norm)
    return _mx.swapaxes(spectra, -1, -2)


def istft(
    stft_matrix,
    n_fft=None,
    hop_length=None,
    win_length=None,
    window=None,
    center=True,
    norm="backward",
    onesided=None,
    length=None,
    stream=None,
):
    """Inverse of :func:`stft`: windowed frames are overlap-added and divided by the sum of squared
    windows.

    Args:
        stft_matrix (array): (..., frequencies, frames).
        n_fft (int, optional): length of the transform; inferred (as even, if one-sided) by default.
        hop_length, win_length, window, center, norm: as in :func:`stft`.
        onesided (bool, optional): whether there are only non-negative frequencies; True by default.
        length (int, optional): trim or zero-pad the result to so many samples.

    Returns:
        array: float32 (..., samples).

    Raises:
        ValueError: for sizes out of range or no frames.

    Formula: Griffin and Lim 1984, eq. 6.

    >>> import mlxc.core as mx
    >>> signal = mx.arange(32).astype(mx.float32)
    >>> mx.allclose(mx.fft.istft(mx.fft.stft(signal, n_fft=8)), signal, atol=1e-5).item()
    True
    """
    _check_norm("istft", norm)
    spectra = _as_array(stft_matrix)
    if spectra.ndim < 2:
        raise ValueError(
            f"[istft] was given {spectra.ndim} dimensions; (..., frequencies, frames) is needed"
        )
    onesided = True if onesided is None else onesided
    bins, count = spectra.shape[-2:]
    if count == 0:
        raise ValueError("[istft] was given no frames; at least one is needed")
    if n_fft is None:
        n_fft = 2 * (bins - 1) if onesided else bins
    hop, window = _frame_arguments("istft", n_fft, hop_length, win_length, window)
    spectra = _mx.swapaxes(spectra, -1, -2)
    frames = (
        irfft(spectra, n_fft, norm=norm) if onesided else _mx.real(ifft(spectra, n_fft, norm=norm))
    )
    window = _mx.ones((n_fft,)) if window is None else window
    _index = _mx.expand_dims(_mx.arange(count) * hop, 1) + _mx.arange(n_fft)
    total = (count - 1) * hop + n_fft
    envelope = _mx.zeros((total,)).at[_index].add(_mx.broadcast_to(window * window, (count, n_fft)))
    summed = _mx.zeros(frames.shape[:-2] + (total,)).at[..., _index].add(frames * window)
    signal = summed / _mx.where(envelope > 1e-10, envelope, 1.0)
    if center:
        side = n_fft // 2
        signal = signal[..., side : total - side if length is None else total]
    if length is None:
        return signal
    length = _integer("istft", "length", length)
    if length < 0:
        raise ValueError(f"[istft] length is {length}; it must not be negative")
    signal = signal[..., :length]
    short = length - signal.shape[-1]
    return _mx.pad(signal, [(0, 0)] * (signal.ndim - 1) + [(0, short)]) if short else signal
