"""Hadamard matrices, and how a transform is parted into small ones. Constants only: NumPy, no
arrays of ours.
"""

import numpy as np

# Hadamard matrices of sizes that are no power of 2. 12: Paley's second construction over the
# integers modulo 5.
# 20 and 28: four by four circulant blocks, given by their first rows (Williamson's construction).
_CIRCULANTS = {
    20: (
        "+---- +---- ++--+ +-++-",
        "-++++ +---- -+--+ ++--+",
        "--++- +-++- +---- -++++",
        "-+--+ --++- +---- +----",
    ),
    28: (
        "+------ ++----+ +-+--+- +--++--",
        "--++++- +------ -++--++ +-+--+-",
        "-+-++-+ +--++-- +------ --++++-",
        "-++--++ -+-++-+ ++----+ +------",
    ),
}


def _paley_12():
    conference = np.ones((6, 6)) - np.eye(6)
    squares = {1, 4}
    for i in range(5):
        for j in range(5):
            if i != j:
                conference[i + 1, j + 1] = 1 if (i - j) % 5 in squares else -1
    return np.kron(conference, [[1, 1], [1, -1]]) + np.kron(np.eye(6), [[1, -1], [-1, -1]])


def _circulant(signs):
    row = np.array([1.0 if sign == "+" else -1.0 for sign in signs])
    return np.stack([np.roll(row, k) for k in range(len(row))])


def hadamard_matrix(m):
    """A Hadamard matrix of size 12, 20, 28, or a power of 2 (Sylvester's)."""
    if m == 12:
        return _paley_12()
    if m in _CIRCULANTS:
        return np.block([[_circulant(signs) for signs in row.split()] for row in _CIRCULANTS[m]])
    out = np.ones((1, 1))
    while len(out) < m:
        out = np.block([[out, out], [out, -out]])
    return out


def hadamard_factors(n):
    """Sizes whose Kronecker product the transform is, each small enough for one matrix product."""
    power = n & -n
    rest = n // power
    factors = []
    if rest != 1:
        if rest not in (3, 5, 7) or power < 4:
            raise ValueError(
                f"[hadamard_transform] a last axis of size {n}; m * 2**k with m of 1, 12, 20, 28 "
                f"would be right"
            )
        factors.append(4 * rest)
        power //= 4
    while power > 1:
        factors.append(min(power, 64))
        power //= factors[-1]
    return factors
