# cython: wraparound=True
"""The handle that users hold: operators, conversions to and from Python and NumPy, evaluation on
demand.

An ``array`` points to a Node. Operators make new Nodes; in-place operators and item assignment move
the handle to a new Node, so that whoever holds the handle sees the change and whoever used the old
value does not. Methods that have a public function of the same name, indexing and printing are
bound once, by ``core/__init__.py``, through ``bind_method``.
"""

import os

cimport cython
from cpython.buffer cimport PyBUF_FORMAT, PyBUF_ND, PyBUF_STRIDES
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from cpython.object cimport Py_EQ, Py_GE, Py_GT, Py_LE, Py_LT, Py_NE, PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.math cimport isfinite
from libc.string cimport memcpy

from mlxc._graph.bind cimport bind_binary, bind_row, bind_unary, cast, row_code
from mlxc._graph.dtypes cimport (
    BFLOAT16, BOOL, COMPLEX64, DTYPE_OBJECTS, FLOAT32, INT32, INT64, UINT64, Dtype, dtype_code,
    dtype_kind, itemsize, load_scalar,
)
from mlxc._graph.evaluate cimport evaluate_one
from mlxc._graph.node cimport (
    ABSTRACT, EVALUATED, MAX_DIMS, Node, is_row_major, leaf_node, live_nodes, scalar_node,
    shape_tuple, tracing,
)
from mlxc._graph.values cimport (
    elements_overlap, filled, first_leaf, nested_list, node_of_numbers, node_of_numpy, own_buffer,
)
from mlxc._graph.views cimport transposed
from mlxc._memory.buffer cimport Buffer, new_buffer

from mlxc._graph import dtypes
from mlxc._graph.errors import ConversionError
from mlxc._table.dtypes import CODE

cdef extern from "Python.h":
    ctypedef struct PyTypeObject:
        PyObject* tp_dict
        const char* tp_name
    void PyType_Modified(PyTypeObject*)

cdef bytes FORMATS = b"?\0B\0H\0I\0Q\0b\0h\0i\0q\0e\0f\0d\0H\0Zf\0"
cdef int[14] FORMAT_AT = [0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26]

cdef int ADD = row_code("add")
cdef int SUBTRACT = row_code("subtract")
cdef int MULTIPLY = row_code("multiply")
cdef int DIVIDE = row_code("divide")
cdef int FLOOR_DIVIDE = row_code("floor_divide")
cdef int REMAINDER = row_code("remainder")
cdef int SQUARE = row_code("square")
cdef int POWER = row_code("power")
cdef int NEGATIVE = row_code("negative")
cdef int ABS = row_code("abs")
cdef int CONCATENATE = row_code("concatenate")
cdef int EQUAL = row_code("equal")
cdef int NOT_EQUAL = row_code("not_equal")
cdef int LESS = row_code("less")
cdef int LESS_EQUAL = row_code("less_equal")
cdef int GREATER = row_code("greater")
cdef int GREATER_EQUAL = row_code("greater_equal")
cdef int AND = row_code("bitwise_and")
cdef int OR = row_code("bitwise_or")
cdef int XOR = row_code("bitwise_xor")
cdef int LEFT_SHIFT = row_code("left_shift")
cdef int RIGHT_SHIFT = row_code("right_shift")
cdef int INVERT = row_code("bitwise_invert")
cdef int LOGICAL_NOT = row_code("logical_not")
cdef int[6] COMPARISONS
COMPARISONS[Py_LT], COMPARISONS[Py_LE], COMPARISONS[Py_EQ] = LESS, LESS_EQUAL, EQUAL
COMPARISONS[Py_NE], COMPARISONS[Py_GT], COMPARISONS[Py_GE] = NOT_EQUAL, GREATER, GREATER_EQUAL

# Filled by core/__init__.py: functions behind special methods, which a compiled class cannot take
# late.
HOOKS = {}

# (address, exception) of the array whose evaluation for a buffer failed last. NumPy drops the
# exception, a Ctrl-C too, and asks __array__ next, which raises it again.
cdef tuple UNHEARD = None


cdef Node NOTHING = scalar_node(BOOL, False)
cdef list REVERSED = [tuple(range(ndim - 1, -1, -1)) for ndim in range(MAX_DIMS + 1)]


# Nodes: a program that never evaluates holds no more history than this.
cdef Py_ssize_t PENDING_LIMIT = int(os.environ.get("MLXC_PENDING_LIMIT") or 400000)
cdef Py_ssize_t RELIEF_AT = PENDING_LIMIT
cdef bint RELIEF_SAID = False


def set_pending_limit(Py_ssize_t limit):
    """Change how many nodes may exist before pending ones are evaluated unasked; the limit before.
    """
    global PENDING_LIMIT, RELIEF_AT
    before = PENDING_LIMIT
    PENDING_LIMIT = limit
    RELIEF_AT = limit
    return before


cdef array wrap(Node node):
    """A new handle."""
    cdef array handle = array.__new__(array)
    handle.node = node
    if live_nodes() > RELIEF_AT:
        relieve(node)
    return handle


cdef int relieve(Node node) except -1:
    """Evaluate a value whose history has grown beyond the limit; say so once."""
    global RELIEF_AT, RELIEF_SAID
    if tracing() or node.flags & (EVALUATED | ABSTRACT):
        return 0
    evaluate_one(node)
    RELIEF_AT = live_nodes() + PENDING_LIMIT
    if not RELIEF_SAID:
        RELIEF_SAID = True
        import warnings
        warnings.warn(
            f"[mlxc] {PENDING_LIMIT} operations were waiting to be evaluated and have been; call "
            "mlxc.core.eval on the results of each step of a loop", RuntimeWarning, stacklevel=2,
        )
    return 0


cdef int scalar_dtype(object value) except -2:
    """The dtype of a Python number alone, or -1 for anything else."""
    if isinstance(value, bool):
        return BOOL
    if isinstance(value, int):
        if -0x80000000 <= value <= 0x7fffffff:
            return INT32
        return INT64 if value < 0x8000000000000000 else UINT64
    if isinstance(value, float):
        return FLOAT32
    if isinstance(value, complex):
        return COMPLEX64
    return -1


cdef int partner_dtype(object value, int dtype) except -2:
    """The dtype a Python number takes beside an array of a dtype; -1 for what is not a number."""
    cdef char kind = dtype_kind[dtype]
    if isinstance(value, bool):
        return dtype
    if isinstance(value, float):
        return dtype if kind == c"f" or kind == c"c" else FLOAT32
    if isinstance(value, int):
        return scalar_dtype(value) if kind == c"b" else dtype
    if isinstance(value, complex):
        return COMPLEX64
    return -1


cdef extern from "Python.h":
    long long PyLong_AsLongLongAndOverflow(object value, int* overflow) except? -1


cdef bint fits(object value, int dtype) except -1:
    """Whether an integer dtype holds a Python integer."""
    cdef int overflow = 0
    cdef int bits = 8 * itemsize[dtype]
    cdef long long number = PyLong_AsLongLongAndOverflow(value, &overflow)
    if dtype_kind[dtype] == c"u":
        if overflow > 0:
            return bits == 64 and value < 0x10000000000000000
        return overflow == 0 and number >= 0 and (bits == 64 or number >> bits == 0)
    return overflow == 0 and (bits == 64 or -(1LL << (bits - 1)) <= number < (1LL << (bits - 1)))


cdef Node operand_node(object value, Node partner):
    """The node of an operand beside partner, or None for what is no operand (a list, a string)."""
    cdef int dtype
    if type(value) is array:
        return (<array>value).node
    dtype = partner_dtype(value, partner.dtype)
    if dtype >= 0:
        if isinstance(value, int) and dtype_kind[dtype] in (c"i", c"u") and not fits(value, dtype):
            raise ValueError(
                f"[array] {value} beside an array of dtype {DTYPE_OBJECTS[dtype].name}, which does "
                "not hold it; convert the array with astype first"
            )
        return scalar_node(dtype, value)
    if hasattr(value, "__array__") or hasattr(value, "__mlx_array__"):
        return numpy_number(value, partner.dtype) or node_of(value)
    return None


cdef Node numpy_number(object value, int partner):
    """NumPy's numbers take the dtype that Python's take beside an array; None where theirs is
    needed to hold them, and for anything else."""
    import numpy
    cdef int dtype
    if not isinstance(value, numpy.generic):
        return None
    number = value.item()
    dtype = partner_dtype(number, partner)
    if dtype < 0 or (
        isinstance(number, int) and dtype_kind[dtype] in (c"i", c"u") and not fits(number, dtype)
    ):
        return None
    return scalar_node(dtype, number)


cdef object binary(int op, object x, object y):
    """An operator; NotImplemented where an operand is none of ours."""
    cdef Node a, b
    if type(x) is array:
        a = (<array>x).node
        b = (<array>y).node if type(y) is array else operand_node(y, a)
        if b is None:
            return NotImplemented
    else:
        b = (<array>y).node
        a = operand_node(x, b)
        if a is None:
            return NotImplemented
    return wrap(bind_binary(op, a, b))


cdef Node small_power(Node x, object exponent):
    """x squared or cubed by products, exact and far cheaper than a general power; None for other
    exponents."""
    cdef Node square
    if dtype_kind[x.dtype] != c"f" or not (exponent == 2 or exponent == 3):
        return None
    square = bind_unary(SQUARE, x)
    return square if exponent == 2 else bind_binary(MULTIPLY, square, x)


cdef object in_place(int op, array x, object y):
    """x op= y: the handle moves to the result."""
    cdef Node operand = operand_node(y, x.node)
    if operand is None:
        return NotImplemented
    x.node = bind_binary(op, x.node, operand)
    return x


cdef Node node_of(object value):
    """Anything array-like as a node: arrays, numbers, nested lists and tuples, NumPy arrays,
    buffers."""
    cdef int dtype
    if type(value) is array:
        return (<array>value).node
    dtype = scalar_dtype(value)
    if dtype >= 0:
        return scalar_node(dtype, value)
    if isinstance(value, (list, tuple)):
        return node_of_list(value)
    if hasattr(value, "__mlx_array__"):
        result = value.__mlx_array__()
        if type(result) is not array:
            raise TypeError(f"[array] __mlx_array__ gave {type(result).__name__}; an array would "
                            "be right")
        return (<array>result).node
    try:
        return node_of_numpy(value)
    except ConversionError:
        raise
    except TypeError:                    # a tensor of bfloat16, which NumPy does not know
        if not hasattr(value, "__dlpack__"):
            raise
    return (<array>HOOKS["from_dlpack"](value, copy=True)).node


cdef bint holds_array(object value, int depth=0) except -1:
    """Whether nested sequences hold an array (or what converts to one); refuses what is too deep
    for any array."""
    if type(value) is float or type(value) is int:   # most leaves
        return False
    if type(value) is array or hasattr(value, "__mlx_array__"):
        return True
    if isinstance(value, (list, tuple)):
        if depth == MAX_DIMS:
            raise ValueError(f"[array] lists nested more than {MAX_DIMS} deep; at most {MAX_DIMS} "
                             "axes are supported")
        for item in value:
            if holds_array(item, depth + 1):
                return True
    return False


cdef Node node_of_list(object value):
    """Nested sequences of numbers, or of arrays of one shape."""
    import numpy
    cdef Node node = node_of_numbers(value)
    if node is not None:
        return node
    if holds_array(value):
        return (<array>HOOKS["stack"]([wrap(node_of(item)) for item in value])).node
    try:
        values = numpy.array(value)
    except ValueError:
        raise ValueError(
            "[array] the nested lists have different lengths; every list of a level must have the "
            "same length"
        ) from None
    if values.dtype == object and isinstance(first_leaf(value), int):
        raise OverflowError("[array] an integer outside 64 bits; float32 values would be right")
    if values.dtype == object or values.dtype.kind not in "biufc":
        raise ConversionError(
            f"[array] a list with elements of type {type(first_leaf(value)).__name__}; numbers "
            "would be right"
        )
    if values.dtype == numpy.int64:
        small = values.size == 0 or (values.min() >= -0x80000000 and values.max() <= 0x7fffffff)
        values = values.astype(numpy.int32) if small else values
    if values.size == 0 and values.dtype == numpy.float64:
        values = values.astype(numpy.float32)
    return node_of_numpy(values)


@cython.final
@cython.no_gc
@cython.freelist(1024)
cdef class array:
    """A multi-dimensional array whose value is computed when it is needed.

    Args:
        val: A number, nested lists or tuples of numbers, a NumPy array, or another array.
        dtype (Dtype, optional): The element type. Default: that of the values; ``float32`` for
            Python floats,
            ``int32`` for Python integers.

    Raises:
        ValueError: If nested lists have different lengths or hold something other than numbers.

    Example:
        >>> import mlxc.core as mx
        >>> mx.array([[1, 2], [3, 4]], dtype=mx.float32)
        array([[1, 2],
               [3, 4]], dtype=float32)
    """

    def __cinit__(self):
        self.node = NOTHING   # whatever skips __init__ still finds a node

    def __init__(self, val, dtype=None):
        cdef int code = -1
        cdef Node node
        if dtype is not None:
            code = dtype_code(dtype)
            if isinstance(val, (bool, int)) or isinstance(val, (float, complex)) and (
                dtype_kind[code] == c"c"
                or isinstance(val, float) and (dtype_kind[code] == c"f" or isfinite(val))
            ):
                self.node = scalar_node(code, val)
                return
            if dtype_kind[code] == c"f" and itemsize[code] == 8 and type(val) is not array:
                self.node = double_node(val, code)
                return
        node = node_of(val)
        self.node = node if dtype is None else cast(node, code)

    @property
    def shape(self):
        """The sizes of the axes, as a tuple."""
        return shape_tuple(self.node)

    @property
    def ndim(self):
        """How many axes there are."""
        return self.node.ndim

    @property
    def size(self):
        """How many elements there are."""
        return self.node.size

    @property
    def itemsize(self):
        """Bytes an element."""
        return itemsize[self.node.dtype]

    @property
    def nbytes(self):
        """Bytes of all elements."""
        return self.node.size * itemsize[self.node.dtype]

    @property
    def dtype(self):
        """The element type."""
        return DTYPE_OBJECTS[self.node.dtype]

    @property
    def T(self):
        """The array with its axes in reverse order."""
        return wrap(transposed(self.node, REVERSED[self.node.ndim]))

    def item(self):
        """The value of an array of size 1 as a Python number.

        Raises:
            ValueError: If the array has more or fewer than one element.
        """
        if self.node.size != 1:
            raise ValueError(f"[item] an array of shape {shape_tuple(self.node)}; only size 1 "
                             "converts to a number")
        evaluate_one(self.node)
        return load_scalar(self.node.dtype, self.node.data)

    def tolist(self):
        """The values as nested Python lists; a number for an array of no axes."""
        evaluate_one(self.node)
        return nested_list(self.node, 0, self.node.data)

    def __add__(x, y):
        return binary(ADD, x, y)

    def __radd__(x, y):
        return binary(ADD, y, x)

    def __sub__(x, y):
        return binary(SUBTRACT, x, y)

    def __rsub__(x, y):
        return binary(SUBTRACT, y, x)

    def __mul__(x, y):
        return binary(MULTIPLY, x, y)

    def __rmul__(x, y):
        return binary(MULTIPLY, y, x)

    def __truediv__(x, y):
        return binary(DIVIDE, x, y)

    def __rtruediv__(x, y):
        return binary(DIVIDE, y, x)

    def __div__(x, y):
        return binary(DIVIDE, x, y)

    def __rdiv__(x, y):
        return binary(DIVIDE, y, x)

    def __floordiv__(x, y):
        return binary(FLOOR_DIVIDE, x, y)

    def __rfloordiv__(x, y):
        return binary(FLOOR_DIVIDE, y, x)

    def __mod__(x, y):
        return binary(REMAINDER, x, y)

    def __rmod__(x, y):
        return binary(REMAINDER, y, x)

    def __pow__(x, y, modulo):
        if modulo is not None:
            return NotImplemented
        if type(x) is array and (type(y) is int or type(y) is float):
            node = small_power((<array>x).node, y)
            if node is not None:
                return wrap(node)
        return binary(POWER, x, y)

    def __rpow__(x, y, modulo):
        if modulo is not None:
            return NotImplemented
        return binary(POWER, y, x)

    def __and__(x, y):
        return binary(AND, x, y)

    def __rand__(x, y):
        return binary(AND, y, x)

    def __or__(x, y):
        return binary(OR, x, y)

    def __ror__(x, y):
        return binary(OR, y, x)

    def __xor__(x, y):
        return binary(XOR, x, y)

    def __rxor__(x, y):
        return binary(XOR, y, x)

    def __lshift__(x, y):
        return binary(LEFT_SHIFT, x, y)

    def __rlshift__(x, y):
        return binary(LEFT_SHIFT, y, x)

    def __rshift__(x, y):
        return binary(RIGHT_SHIFT, x, y)

    def __rrshift__(x, y):
        return binary(RIGHT_SHIFT, y, x)

    def __matmul__(x, y):
        return HOOKS["matmul"](x, y)

    def __rmatmul__(x, y):
        return HOOKS["matmul"](y, x)

    def __iadd__(self, y):
        return in_place(ADD, self, y)

    def __isub__(self, y):
        return in_place(SUBTRACT, self, y)

    def __imul__(self, y):
        return in_place(MULTIPLY, self, y)

    def __itruediv__(self, y):
        if dtype_kind[self.node.dtype] not in (c"f", c"c"):
            raise ValueError(f"[divide] dtype {self.dtype.name} in place; the quotients are "
                             "floating point: x = x / y would be right")
        return in_place(DIVIDE, self, y)

    def __ifloordiv__(self, y):
        return in_place(FLOOR_DIVIDE, self, y)

    def __imod__(self, y):
        return in_place(REMAINDER, self, y)

    def __ipow__(self, y):
        return in_place(POWER, self, y)

    def __iand__(self, y):
        return in_place(AND, self, y)

    def __ior__(self, y):
        return in_place(OR, self, y)

    def __ixor__(self, y):
        return in_place(XOR, self, y)

    def __ilshift__(self, y):
        return in_place(LEFT_SHIFT, self, y)

    def __irshift__(self, y):
        return in_place(RIGHT_SHIFT, self, y)

    def __imatmul__(self, y):
        self.node = (<array>HOOKS["matmul"](self, y)).node
        return self

    def __neg__(self):
        return wrap(bind_unary(NEGATIVE, self.node))

    def __pos__(self):
        return wrap(self.node)

    def __abs__(self):
        return wrap(bind_unary(ABS, self.node))

    def __invert__(self):
        return wrap(bind_unary(LOGICAL_NOT if self.node.dtype == BOOL else INVERT, self.node))

    def __divmod__(x, y):
        return HOOKS["divmod"](x, y)

    def __rdivmod__(x, y):
        return HOOKS["divmod"](y, x)

    def __richcmp__(x, y, int comparison):
        if y is None or isinstance(y, str):
            if comparison == Py_EQ:
                return False
            if comparison == Py_NE:
                return True
            return NotImplemented
        return binary(COMPARISONS[comparison], x, y)

    def __hash__(self):
        return <Py_ssize_t><void*>self >> 4

    def __bool__(self):
        if self.node.size != 1:
            raise ValueError(
                f"[bool] the truth of an array of shape {shape_tuple(self.node)}; only size 1 has "
                "one: use any() or all()"
            )
        return bool(self.item())

    def __int__(self):
        return int(self.item())

    def __float__(self):
        return float(self.item())

    def __complex__(self):
        return complex(self.item())

    def __index__(self):
        if dtype_kind[self.node.dtype] not in (c"i", c"u", c"b") or self.node.ndim != 0:
            raise TypeError(
                f"[index] an array of dtype {self.dtype.name} and shape {self.shape}; an integer "
                "scalar would be right"
            )
        return int(self.item())

    def __len__(self):
        if self.node.ndim == 0:
            raise TypeError("[len] an array of no axes has no length")
        return self.node.shape[0]

    def __iter__(self):
        if self.node.ndim == 0:
            raise TypeError("[iter] an array of no axes cannot be iterated over")
        return HOOKS["iter"](self)

    def __getitem__(self, key):
        return HOOKS["getitem"](self, key)

    def __setitem__(self, key, value):
        self.node = (<array>HOOKS["setitem"](self, key, value)).node

    def __contains__(self, value):
        return bool((<array>HOOKS["any"](self == value)).item())

    def __repr__(self):
        evaluate_one(self.node)
        return HOOKS["repr"](self)

    def __format__(self, spec):
        if self.node.ndim == 0:
            return format(self.item(), spec)
        if spec:
            raise TypeError(f"[format] {spec!r} for an array of shape {self.shape}; only a scalar "
                            "takes a format")
        return repr(self)

    def __bytes__(self):
        return HOOKS["bytes"](self)

    def __copy__(self):
        return wrap(self.node)

    def __deepcopy__(self, memo):
        return wrap(self.node)

    def __getstate__(self):
        return HOOKS["getstate"](self)

    def __reduce__(self):
        return rebuild, HOOKS["getstate"](self)

    def __array__(self, dtype=None, copy=None):
        global UNHEARD
        import numpy
        if UNHEARD is not None and UNHEARD[0] == <size_t><void*>self:
            error, UNHEARD = UNHEARD[1], None
            raise error
        values = to_numpy(self)
        if dtype is not None and values.dtype != dtype:
            return values.astype(dtype)
        return values.copy() if copy is not False else values

    def __dlpack__(self, **options):
        return HOOKS["dlpack"](self, **options)

    def __dlpack_device__(self):
        return (1, 0)

    def __array_namespace__(self, api_version=None):
        return HOOKS["namespace"]()

    def __getbuffer__(self, Py_buffer* view, int flags):
        global UNHEARD
        cdef Node node = self.node
        cdef Py_ssize_t* dims
        if node.dtype == BFLOAT16 and flags & PyBUF_FORMAT == PyBUF_FORMAT:
            raise BufferError(
                "[buffer] the buffer protocol knows no bfloat16; astype(float32) gives values, "
                "view(uint16) bits"
            )
        UNHEARD = None
        try:
            evaluate_one(node)
            if elements_overlap(node):   # the handle moves to a copy with a place for each
                node = bind_row(CONCATENATE, (node,), (0,))
                evaluate_one(node)
                self.node = node
        except BaseException as error:
            UNHEARD = (<size_t><void*>self, error)
            raise
        own_buffer(node)
        if not flags & PyBUF_STRIDES and not is_row_major(node):
            raise BufferError("[buffer] the array is not dense in row-major order; ask for "
                              "strides, or contiguous()")
        dims = <Py_ssize_t*>PyMem_Malloc((2 * node.ndim + 1) * sizeof(Py_ssize_t))
        if dims == NULL:
            raise MemoryError()
        for axis in range(node.ndim):
            dims[axis] = node.shape[axis]
            dims[node.ndim + axis] = node.strides[axis]
        view.buf = node.data
        view.obj = self
        view.len = node.size * itemsize[node.dtype]
        view.readonly = node.buffer.readonly
        view.itemsize = itemsize[node.dtype]
        view.format = <char*>FORMATS + FORMAT_AT[node.dtype] if flags & PyBUF_FORMAT else NULL
        view.ndim = node.ndim
        view.shape = dims if flags & PyBUF_ND else NULL
        view.strides = dims + node.ndim if flags & PyBUF_STRIDES else NULL
        view.suboffsets = NULL
        Py_INCREF(node.buffer)   # the handle may move to another node while the view lives
        view.internal = <void*>node.buffer
        self.keep_dims(view, dims)

    cdef void keep_dims(self, Py_buffer* view, Py_ssize_t* dims) noexcept:
        """The last word of dims names the Buffer, so that releasing finds both."""
        dims[2 * self.node.ndim] = <Py_ssize_t>view.internal
        view.internal = dims

    def __releasebuffer__(self, Py_buffer* view):
        cdef Py_ssize_t* dims = <Py_ssize_t*>view.internal
        Py_DECREF(<object><PyObject*>dims[2 * view.ndim])
        PyMem_Free(dims)


cdef Node double_node(object value, int code):
    """Values as float64 without a detour through float32."""
    import numpy
    if holds_array(value):
        return cast(node_of(value), code)
    try:
        values = numpy.array(value, order="C")
    except (ValueError, TypeError):
        return cast(node_of(value), code)   # says what is wrong with it
    if values.dtype.kind not in "biuf" or values.ndim > MAX_DIMS:
        return cast(node_of(value), code)
    return filled(code, values.astype(numpy.float64))


def to_numpy(array x not None):
    """The values as a NumPy array over the same memory; bfloat16 as float32 values.

    The memory belongs to the array: what is written to the result is seen by the array.
    """
    import numpy
    if x.node.dtype == BFLOAT16:
        x = wrap(cast(x.node, FLOAT32))
    evaluate_one(x.node)
    return numpy.asarray(memoryview(x))


def rebuild(values, name, shape):
    """An array from the bytes that a pickle holds."""
    import numpy
    cdef int code = CODE[name]
    cdef Buffer buffer = new_buffer(len(values))
    cdef Py_ssize_t[MAX_DIMS] sizes
    cdef bytes raw = values
    cdef int axis
    count = 1
    for size in shape:
        count *= size
    if len(shape) > MAX_DIMS or any([size < 0
                                     for size in shape]) or count * itemsize[code] != len(raw):
        raise ValueError(f"[array] {len(raw)} bytes for shape {shape} of {name}; the sizes must "
                         "agree")
    for axis in range(<int>len(shape)):
        sizes[axis] = shape[axis]
    cdef Node node = leaf_node(code, len(shape), sizes, buffer)
    memcpy(buffer.data, <char*>raw, len(raw))
    return wrap(node)


def bind_method(str name, function):
    """Give arrays a method (or property): how core binds, once, what stands above this floor."""
    methods = <dict>(<PyTypeObject*>array).tp_dict
    methods[name] = function
    PyType_Modified(<PyTypeObject*>array)


cdef list TYPE_NAMES = []                # for ever: types point to them


def show_package(str package):
    """The package that arrays, data types and their types say they are of."""
    dtypes.PACKAGE = package
    for kind in (array, Dtype):
        TYPE_NAMES.append(f"{package}.{kind.__name__}".encode())
        (<PyTypeObject*>kind).tp_name = <bytes>TYPE_NAMES[-1]
        PyType_Modified(<PyTypeObject*>kind)


show_package(dtypes.PACKAGE)
