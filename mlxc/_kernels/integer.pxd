"""Functions of one integer element, named `function_int`, defined for every pair of operands.

Arithmetic wraps. A quotient by zero is 0, and so is its remainder. Counts of shifts outside the
width move every bit out. A negative power is the reciprocal truncated: 0, except for bases 1 and
-1.
"""

from mlxc._kernels.mathematics cimport floor_f64
from mlxc._kernels.types cimport f64, i32, i64, u32, u64

ctypedef fused integer:
    i32
    u32
    i64
    u64

cdef inline integer floor_divide_int(integer x, integer y) noexcept nogil:
    """The quotient rounded down.

    32-bit operands go through float64, which has vector division and is exact here. A divisor of
    -1 is a negation: the quotient of the least integer is one that the type cannot hold.
    """
    cdef integer q, divisor
    if integer is i32:
        divisor = 1 if (y == 0) | (y == -1) else y
        q = <i32>floor_f64(<f64>x / <f64>divisor)
        q = -x if y == -1 else q
        return 0 if y == 0 else q
    elif integer is u32:
        divisor = 1 if y == 0 else y
        q = <u32>floor_f64(<f64>x / <f64>divisor)
        return 0 if y == 0 else q
    elif integer is i64:
        divisor = 1 if (y == 0) | (y == -1) else y
        q = x // divisor
        q = q - 1 if (x - q * divisor != 0) & ((x < 0) != (divisor < 0)) else q
        q = -x if y == -1 else q
        return 0 if y == 0 else q
    else:
        return 0 if y == 0 else x // y

cdef inline integer remainder_int(integer x, integer y) noexcept nogil:
    """x - floor_divide(x, y) * y: of the sign of y."""
    cdef integer r = x - floor_divide_int(x, y) * y
    return 0 if y == 0 else r

cdef inline integer power_int(integer x, integer y) noexcept nogil:
    """Square and multiply: at most 64 rounds."""
    cdef integer result = 1
    if integer is i32 or integer is i64:
        if y < 0:
            if x == -1:
                return -1 if y & 1 else 1
            return 1 if x == 1 else 0
    while y:
        if y & 1:
            result = result * x
        x = x * x
        y = y >> 1
    return result

cdef inline integer left_shift_int(integer x, integer y) noexcept nogil:
    """Through the unsigned type: a negative value shifted left is undefined in C."""
    cdef integer moved
    if integer is i32 or integer is u32:
        moved = <integer>(<u32>x << (<u32>y & 31))
        return moved if <u32>y < 32 else 0
    else:
        moved = <integer>(<u64>x << (<u64>y & 63))
        return moved if <u64>y < 64 else 0

cdef inline integer right_shift_int(integer x, integer y) noexcept nogil:
    """Of a signed value all bits become copies of the sign where the count is outside the width."""
    if integer is i32:
        return x >> (y if <u32>y < 32 else 31)
    elif integer is i64:
        return x >> (y if <u64>y < 64 else 63)
    elif integer is u32:
        return x >> (y & 31) if y < 32 else 0
    else:
        return x >> (y & 63) if y < 64 else 0
