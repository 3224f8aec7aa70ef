"""Signatures of the functions that kernel modules export by address. Units: n and rows in elements,
strides in bytes."""

# One elementwise instruction over n contiguous elements: args holds the operands in order, the
# output(s) last. Layout letters of the name, one an operand: v a vector of n, s a single value read
# once.
ctypedef void (*loop_fn)(char** args, Py_ssize_t n) noexcept nogil

# Strided copy of n elements of one size (copy_1, copy_2, copy_4, copy_8): strides in bytes, 0 and
# negative allowed.
ctypedef void (*copy_fn)(
    const char* src, Py_ssize_t src_stride, char* dst, Py_ssize_t dst_stride, Py_ssize_t n
) noexcept nogil

# Contiguous rows x n values to one value a row (op_type_rows, op_type_part), or a column of
# rows values each repeated n times (expand_4 ...).
ctypedef void (*rows_fn)(const char* a, char* out, Py_ssize_t rows, Py_ssize_t n) noexcept nogil

# The same of squares, of values less a center for each row.
ctypedef void (*centered_rows_fn)(
    const char* a, const char* center, char* out, Py_ssize_t rows, Py_ssize_t n
) noexcept nogil

# acc[j] = combine(acc[j], a[r, j] for all r): rows of n values, a step of elements apart, into n
# accumulators (op_type_cols).
ctypedef void (*cols_fn)(
    const char* a, char* acc, Py_ssize_t rows, Py_ssize_t n, Py_ssize_t step
) noexcept nogil

# The same of squares, of values less a center for each column.
ctypedef void (*centered_cols_fn)(
    const char* a, const char* center, char* acc, Py_ssize_t rows, Py_ssize_t n, Py_ssize_t step
) noexcept nogil
