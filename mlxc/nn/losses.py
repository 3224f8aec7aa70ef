"""Loss functions.

Rules: shapes are checked and never broadcast by accident; everything is computed in a form that
cannot overflow, so that losses and gradients are finite for all finite inputs.
"""

import math

import mlxc.core as mx

_REDUCTIONS = ("none", "mean", "sum")


def _reduce(loss, reduction):
    if reduction == "none":
        return loss
    if reduction == "mean":
        return mx.mean(loss)
    if reduction == "sum":
        return mx.sum(loss)
    raise ValueError(f"Invalid reduction. Must be one of {_REDUCTIONS}.")


def _check_arrays(op, **arguments):
    for name, value in arguments.items():
        if not isinstance(value, mx.array):
            raise TypeError(f"[{op}] {name} must be an array, got {type(value).__name__}")


def _check_same(op, first, second, first_name="Predictions", second_name="targets"):
    """Raise unless both are arrays of one shape."""
    _check_arrays(op, **{first_name.lower(): first, second_name.lower(): second})
    if first.shape != second.shape:
        raise ValueError(
            f"[{op}] {first_name} shape {first.shape} does not match {second_name} shape "
            f"{second.shape}."
        )


def _check_reduction(reduction):
    if reduction not in _REDUCTIONS:
        raise ValueError(f"Invalid reduction. Must be one of {_REDUCTIONS}.")


def _check_weights(op, weights, loss):
    _check_arrays(op, weights=weights)
    if weights.shape != loss.shape:
        raise ValueError(
            f"[{op}] Weights with shape {weights.shape} is not the same as output loss with "
            f"shape {loss.shape}."
        )


def _axis(op, axis, ndim):
    if not -ndim <= axis < ndim:
        raise ValueError(f"[{op}] axis {axis} is out of range for an array of {ndim} dimensions")
    return axis % ndim


def cross_entropy(logits, targets, weights=None, axis=-1, label_smoothing=0.0, reduction="none"):
    """Cross entropy ``-sum(p · log_softmax(logits))`` of classes or of probabilities p.

    Args:
        logits (array): unnormalised log probabilities.
        targets (array): classes, of the shape of ``logits`` without ``axis``; or probabilities,
            of the shape of ``logits``.
        weights (array, optional): a factor for each loss.
        axis (int): the axis of the classes. Default: ``-1``.
        label_smoothing (float): the share of the uniform distribution in the target
            (Szegedy et al., 2016, sec. 7), in [0, 1). Default: ``0``.
        reduction (str): ``"none"``, ``"mean"`` or ``"sum"``. Default: ``"none"``.

    Returns:
        array: the loss.

    Raises:
        ValueError: when shapes, smoothing or reduction do not fit.
        TypeError: when classes are not integers.

    Example:
        >>> logits = mx.array([[2.0, -1.0], [-1.0, 2.0]])
        >>> cross_entropy(logits, mx.array([0, 1]), reduction="mean")
        array(0.0485873, dtype=float32)
    """
    op = "cross_entropy"
    if not 0 <= label_smoothing < 1:
        raise ValueError(f"Label smoothing must be in [0, 1), got {label_smoothing}.")
    _check_reduction(reduction)
    for name, value in (("logits", logits), ("targets", targets)):
        if not isinstance(value, mx.array):
            raise TypeError(f"[{op}] {name} must be an array, got {type(value).__name__}")
    axis = _axis(op, axis, logits.ndim)
    shape = logits.shape
    as_probabilities = targets.ndim == logits.ndim
    expected = shape if as_probabilities else shape[:axis] + shape[axis + 1 :]
    if targets.shape != expected:
        raise ValueError(
            f"[{op}] Targets shape {targets.shape} does not match logits shape {shape}."
        )
    if as_probabilities:
        # The largest logit is taken out, so that probabilities that do not quite add up to one
        # do not multiply it. A class of probability 0 may have the logit -inf: 0 · -inf is NaN.
        logits = logits - mx.stop_gradient(mx.max(logits, axis=axis, keepdims=True))
        score = mx.sum(mx.where(targets == 0, 0, logits * targets), axis=axis)
    else:
        if not mx.issubdtype(targets.dtype, mx.integer):
            raise TypeError(f"[{op}] classes must be integers, got dtype {targets.dtype}")
        chosen = mx.take_along_axis(logits, mx.expand_dims(targets, axis), axis)
        score = mx.squeeze(chosen, axis)
    normaliser = mx.logsumexp(logits, axis=axis)
    if label_smoothing > 0:
        uniform = mx.mean(logits, axis=axis)
        score = (1 - label_smoothing) * score + label_smoothing * uniform
    loss = normaliser - score
    if weights is not None:
        _check_weights(op, weights, loss)
        loss = loss * weights
    return _reduce(loss, reduction)


def binary_cross_entropy(inputs, targets, weights=None, with_logits=True, reduction="mean"):
    """Cross entropy of two classes, ``-t · log(p) - (1 - t) · log(1 - p)``.

    Args:
        inputs (array): logits of p, or p itself.
        targets (array): 0, 1 or between, of the same shape.
        weights (array, optional): a factor for each loss.
        with_logits (bool): whether ``inputs`` are logits, which is more accurate. Logarithms of
            probabilities are cut off at -100. Default: ``True``.
        reduction (str): ``"none"``, ``"mean"`` or ``"sum"``. Default: ``"mean"``.

    Returns:
        array: the loss.

    Raises:
        ValueError: when shapes or reduction do not fit.

    Example:
        >>> binary_cross_entropy(mx.array([0.0, 0.0]), mx.array([0, 1]))
        array(0.693147, dtype=float32)
    """
    _check_same("binary_cross_entropy", inputs, targets, "Inputs")
    if with_logits:
        loss = mx.logaddexp(0.0, inputs) - inputs * targets
    else:
        log_p = mx.maximum(mx.log(inputs), -100)
        log_not_p = mx.maximum(mx.log1p(-inputs), -100)
        loss = -(targets * log_p + (1 - targets) * log_not_p)
    if weights is not None:
        _check_weights("binary_cross_entropy", weights, loss)
        loss = loss * weights
    return _reduce(loss, reduction)


def l1_loss(predictions, targets, reduction="mean"):
    """Absolute error ``|predictions - targets|``.

    Args:
        predictions (array): the predictions.
        targets (array): the truth, of the same shape.
        reduction (str): ``"none"``, ``"mean"`` or ``"sum"``. Default: ``"mean"``.

    Raises:
        ValueError: when shapes or reduction do not fit.

    Example:
        >>> l1_loss(mx.array([1.0, 3.0]), mx.array([0.0, 0.0])).item()
        2.0
    """
    _check_same("l1_loss", predictions, targets)
    return _reduce(mx.abs(predictions - targets), reduction)


def mse_loss(predictions, targets, reduction="mean"):
    """Squared error ``(predictions - targets)²``.

    Args:
        predictions (array): the predictions.
        targets (array): the truth, of the same shape.
        reduction (str): ``"none"``, ``"mean"`` or ``"sum"``. Default: ``"mean"``.

    Raises:
        ValueError: when shapes or reduction do not fit.

    Example:
        >>> mse_loss(mx.array([1.0, 3.0]), mx.array([0.0, 0.0])).item()
        5.0
    """
    _check_same("mse_loss", predictions, targets)
    return _reduce(mx.square(predictions - targets), reduction)


def nll_loss(inputs, targets, axis=-1, reduction="none"):
    """Negative log likelihood ``-inputs[targets]``.

    Args:
        inputs (array): log probabilities.
        targets (array): classes, of the shape of ``inputs`` without ``axis``.
        axis (int): the axis of the classes. Default: ``-1``.
        reduction (str): ``"none"``, ``"mean"`` or ``"sum"``. Default: ``"none"``.

    Raises:
        ValueError: when shapes or reduction do not fit.

    Example:
        >>> nll_loss(mx.array([[-1.0, -2.0]]), mx.array([1])).tolist()
        [2.0]
    """
    _check_arrays("nll_loss", inputs=inputs, targets=targets)
    axis = _axis("nll_loss", axis, inputs.ndim)
    expected = inputs.shape[:axis] + inputs.shape[axis + 1 :]
    if targets.shape != expected:
        raise ValueError(
            f"[nll_loss] targets have shape {targets.shape}; inputs of shape {inputs.shape} "
            f"need {expected}"
        )
    chosen = mx.take_along_axis(inputs, mx.expand_dims(targets, axis), axis)
    return _reduce(-mx.squeeze(chosen, axis), reduction)


def gaussian_nll_loss(inputs, targets, vars, full=False, eps=1e-6, reduction="mean"):
    """Negative log likelihood of a normal distribution (Nix, Weigend, 1994, eq. 5).

    ``(log(v) + (inputs - targets)² / v) / 2`` with ``v = max(vars, eps)``.

    Args:
        inputs (array): predicted means.
        targets (array): samples, of the same shape.
        vars (array): predicted variances, of the same shape.
        full (bool): whether to add the constant ``log(2π) / 2``. Default: ``False``.
        eps (float): least variance. Default: ``1e-6``.
        reduction (str): ``"none"``, ``"mean"`` or ``"sum"``. Default: ``"mean"``.

    Raises:
        ValueError: when shapes or reduction do not fit.

    Example:
        >>> gaussian_nll_loss(mx.array([1.0]), mx.array([0.0]), mx.array([1.0])).item()
        0.5
    """
    _check_same("gaussian_nll_loss", inputs, targets, "Inputs")
    _check_same("gaussian_nll_loss", inputs, vars, "Inputs", "vars")
    variance = mx.maximum(vars, eps)
    loss = 0.5 * (mx.log(variance) + mx.square(targets - inputs) / variance)
    if full:
        loss = loss + 0.5 * math.log(2 * math.pi)
    return _reduce(loss, reduction)


def kl_div_loss(inputs, targets, axis=-1, reduction="none"):
    """Kullback–Leibler divergence ``sum(exp(targets) · (targets - inputs))``.

    Args:
        inputs (array): predicted log probabilities.
        targets (array): true log probabilities, of the same shape or one that broadcasts.
        axis (int): the axis of the distribution. Default: ``-1``.
        reduction (str): ``"none"``, ``"mean"`` or ``"sum"``. Default: ``"none"``.

    Raises:
        ValueError: when shapes or reduction do not fit.

    Example:
        >>> p = mx.log(mx.array([0.5, 0.5]))
        >>> kl_div_loss(p, p).item()
        0.0
    """
    # A class of probability 0 has the logarithm -inf and adds nothing; 0 · -inf would be NaN.
    present = mx.greater(targets, -math.inf)
    difference = mx.where(present, mx.subtract(targets, inputs), 0)
    return _reduce(mx.sum(mx.exp(targets) * difference, axis), reduction)


def smooth_l1_loss(predictions, targets, beta=1.0, reduction="mean"):
    """Squared for small errors, absolute for large ones (Girshick, "Fast R-CNN", 2015, eq. 3).

    Args:
        predictions (array): the predictions.
        targets (array): the truth, of the same shape.
        beta (float): where the two meet; 0 is the absolute error. Default: ``1.0``.
        reduction (str): ``"none"``, ``"mean"`` or ``"sum"``. Default: ``"mean"``.

    Raises:
        ValueError: when shapes or reduction do not fit, or beta is negative.

    Example:
        >>> smooth_l1_loss(mx.array([1.0, 3.0]), mx.array([0.0, 0.0]), reduction="none").tolist()
        [0.5, 2.5]
    """
    _check_same("smooth_l1_loss", predictions, targets)
    if beta < 0:
        raise ValueError(f"[smooth_l1_loss] beta must not be negative, got {beta}")
    error = mx.abs(predictions - targets)
    if beta == 0:
        return _reduce(error, reduction)
    # Cut off before squaring, so that the branch that is not taken cannot overflow.
    small = mx.minimum(error, beta)
    loss = mx.where(error < beta, (0.5 / beta) * mx.square(small), error - 0.5 * beta)
    return _reduce(loss, reduction)


def triplet_loss(
    anchors, positives, negatives, axis=-1, p=2, margin=1.0, eps=1e-6, reduction="none"
):
    """``max(|A - P| - |A - N| + margin, 0)`` with p-norms (Schroff et al., "FaceNet", 2015, eq. 3).

    Args:
        anchors (array): the anchors.
        positives (array): what should be near, of the same shape or one that broadcasts.
        negatives (array): what should be far, of the same shape or one that broadcasts.
        axis (int): the axis of the vectors. Default: ``-1``.
        p (int): degree of the norm. Default: ``2``.
        margin (float): the wanted difference. Default: ``1.0``.
        eps (float): added under the root, which has no derivative at 0. Default: ``1e-6``.
        reduction (str): ``"none"``, ``"mean"`` or ``"sum"``. Default: ``"none"``.

    Raises:
        ValueError: when shapes or reduction do not fit.

    Example:
        >>> a = mx.array([[0.0, 0.0]])
        >>> triplet_loss(a, a, a + 3.0).tolist()
        [0.0]
    """
    if p == 0:
        raise ValueError("[triplet_loss] p is 0; norms have another degree, such as 1 or 2")

    def distance(a, b):
        difference = mx.subtract(a, b)
        if p == 2:
            return mx.sqrt(mx.sum(mx.square(difference), axis) + eps)
        return mx.power(mx.sum(mx.power(mx.abs(difference), p), axis) + eps, 1 / p)

    loss = distance(anchors, positives) - distance(anchors, negatives) + margin
    return _reduce(mx.maximum(loss, 0), reduction)


def hinge_loss(inputs, targets, reduction="none"):
    """``max(0, 1 - inputs · targets)`` (Cortes, Vapnik, 1995).

    Args:
        inputs (array): the predictions.
        targets (array): -1 or 1, of the same shape or one that broadcasts.
        reduction (str): ``"none"``, ``"mean"`` or ``"sum"``. Default: ``"none"``.

    Raises:
        ValueError: when shapes or reduction do not fit.

    Example:
        >>> hinge_loss(mx.array([0.5, 2.0]), mx.array([1, 1])).tolist()
        [0.5, 0.0]
    """
    return _reduce(mx.maximum(1 - mx.multiply(inputs, targets), 0), reduction)


def huber_loss(inputs, targets, delta=1.0, reduction="none"):
    """Squared up to ``delta``, linear beyond (Huber, 1964, eq. 2.1).

    Args:
        inputs (array): the predictions.
        targets (array): the truth, of the same shape or one that broadcasts.
        delta (float): where the two meet. Default: ``1.0``.
        reduction (str): ``"none"``, ``"mean"`` or ``"sum"``. Default: ``"none"``.

    Raises:
        ValueError: when shapes or reduction do not fit.

    Example:
        >>> huber_loss(mx.array([1.0, 3.0]), mx.array([0.0, 0.0])).tolist()
        [0.5, 2.5]
    """
    error = mx.abs(mx.subtract(inputs, targets))
    # Cut off before squaring, so that the branch that is not taken cannot overflow.
    small = mx.minimum(error, delta)
    loss = mx.where(error <= delta, 0.5 * mx.square(small), delta * (error - 0.5 * delta))
    return _reduce(loss, reduction)


def log_cosh_loss(inputs, targets, reduction="none"):
    """``log(cosh(inputs - targets))``, which is squared for small and linear for large errors.

    Args:
        inputs (array): the predictions.
        targets (array): the truth, of the same shape or one that broadcasts.
        reduction (str): ``"none"``, ``"mean"`` or ``"sum"``. Default: ``"none"``.

    Raises:
        ValueError: when shapes or reduction do not fit.

    Example:
        >>> log_cosh_loss(mx.array([0.0]), mx.array([0.0])).tolist()
        [0.0]
    """
    error = mx.subtract(inputs, targets)
    # log((e^x + e^-x) / 2), with the larger exponential taken out.
    return _reduce(mx.logaddexp(error, -error) - math.log(2), reduction)


def cosine_similarity_loss(x1, x2, axis=1, eps=1e-8, reduction="none"):
    """Cosine of the angle, ``x1 · x2 / max(|x1| |x2|, eps)``.

    Args:
        x1 (array): the first vectors.
        x2 (array): the second vectors, of the same shape or one that broadcasts.
        axis (int): the axis of the vectors. Default: ``1``.
        eps (float): least denominator. Default: ``1e-8``.
        reduction (str): ``"none"``, ``"mean"`` or ``"sum"``. Default: ``"none"``.

    Raises:
        ValueError: when shapes or reduction do not fit.

    Example:
        >>> cosine_similarity_loss(mx.array([[1.0, 0.0]]), mx.array([[1.0, 1.0]]))
        array([0.707107], dtype=float32)
    """
    lengths = mx.linalg.norm(x1, axis=axis) * mx.linalg.norm(x2, axis=axis)
    product = mx.sum(mx.multiply(x1, x2), axis=axis)
    return _reduce(product / mx.maximum(lengths, eps), reduction)


def margin_ranking_loss(inputs1, inputs2, targets, margin=0.0, reduction="none"):
    """``max(0, -targets · (inputs1 - inputs2) + margin)`` (Herbrich et al., 1999).

    Args:
        inputs1 (array): first scores.
        inputs2 (array): second scores, of the same shape.
        targets (array): 1 where the first should rank higher, else -1, of the same shape.
        margin (float): the wanted difference. Default: ``0.0``.
        reduction (str): ``"none"``, ``"mean"`` or ``"sum"``. Default: ``"none"``.

    Raises:
        ValueError: when shapes or reduction do not fit.

    Example:
        >>> margin_ranking_loss(mx.array([1.0]), mx.array([3.0]), mx.array([1])).tolist()
        [2.0]
    """
    _check_arrays("margin_ranking_loss", inputs1=inputs1, inputs2=inputs2, targets=targets)
    if not inputs1.shape == inputs2.shape == targets.shape:
        raise ValueError(
            "The shapes of the arguments do not match. The provided shapes are "
            f"{inputs1.shape=}, {inputs2.shape=}, and {targets.shape=}."
        )
    loss = mx.maximum(0, -targets * (inputs1 - inputs2) + margin)
    return _reduce(loss, reduction)
