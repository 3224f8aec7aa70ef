# cython: wraparound=True
"""Making nodes: the only place where rows meet operands.

``bind_*`` convert operands to the dtypes that the row wants, broadcast them (broadcasting and
casting are nodes of their own, so that no derivative ever un-broadcasts), and work out the shape
and dtype of the result. Errors say which operation.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcmp

from mlxc._graph.dtypes cimport BOOL, DTYPE_COUNT, FLOAT32, DTYPE_OBJECTS, itemsize, promoted
from mlxc._graph.node cimport (
    EVALUATED, MAX_DIMS, Node, new_node, new_outputs, put_input, set_inputs, shape_tuple,
)
from mlxc._graph.plan cimport same_params

cdef extern from "Python.h":
    long long PyLong_AsLongLongAndOverflow(object value, int* overflow) except? -1

from mlxc._graph.errors import DtypeError
from mlxc._table import dtypes as dtype_table
from mlxc._table import load_rows

REFUSED = 255
ROWS = load_rows()
CODES = {row.name: row.code for row in ROWS}
cdef list NAMES = [row.name for row in ROWS]
cdef list KERNEL_PARAMS = [tuple(getattr(row, "params", ())) for row in ROWS]


def _operand_dtype(row, fact):
    """The dtype that operands of a dtype are converted to before the row applies; REFUSED if it
    does not."""
    if fact.name in row.refuses:
        return REFUSED
    name = fact.name
    if row.inputs == "float" and fact.kind in "bui":
        name = "float32"
    elif row.inputs == "bool":
        name = "bool_"
    elif row.inputs == "int" and fact.kind in "fc":
        return REFUSED
    elif row.inputs == "int" and fact.kind == "b" and "b8" not in row.types:
        name = "uint8"   # shifts: bits beyond the first have room
    if row.out == "wide" and fact.kind in "bui" and fact.size < 4:
        name = "uint32" if fact.kind == "u" else "int32"
    compute = dtype_table.DTYPES[dtype_table.CODE[name]].compute
    if row.kind == "elementwise" and compute not in row.types:
        return REFUSED
    return dtype_table.CODE[name]


def _result_dtype(row, fact):
    """The dtype that the row gives for operands of a dtype."""
    if row.out == "bool":
        return BOOL
    if row.out == "real" and fact.kind == "c":
        return FLOAT32
    return dtype_table.CODE[fact.name]


cdef void fill_rows():
    cdef int code, dtype
    kinds = {"elementwise": ELEMENTWISE, "reduction": REDUCTION, "movement": MOVEMENT,
             "kernel": KERNEL}
    if len(ROWS) > MAX_ROWS:
        raise ImportError("[mlxc] more rows than MAX_ROWS in _graph/bind.pxd")
    for code, row in enumerate(ROWS):
        row_kind[code] = kinds[row.kind]
        row_arity[code] = row.arity if row.kind == "elementwise" else 1
        if row.kind in ("elementwise", "reduction"):
            for dtype in range(DTYPE_COUNT):
                operand_dtype[code][dtype] = _operand_dtype(row, dtype_table.DTYPES[dtype])
                result_dtype[code][dtype] = _result_dtype(row, dtype_table.DTYPES[dtype])


fill_rows()
ASTYPE = CODES["astype"]
BROADCAST = CODES["broadcast_to"]
TRANSPOSE = CODES["transpose"]
RESHAPE = CODES["reshape"]
SLICE = CODES["slice"]
AS_STRIDED = CODES["as_strided"]
VIEW = CODES["view"]
PICK = CODES["pick"]
SELECT = CODES["select"]
ATTACH = CODES["attach"]


cdef int row_code(str name) except -1:
    return CODES[name]


cdef bint same_shape(Node x, Node y) noexcept:
    cdef int axis
    if x.ndim != y.ndim or x.size != y.size:
        return False
    for axis in range(x.ndim):
        if x.shape[axis] != y.shape[axis]:
            return False
    return True


cdef Node like(Node x, int dtype):
    """A node with x's shape."""
    cdef Node node = new_node(dtype, x.ndim)
    cdef int axis
    for axis in range(x.ndim):
        node.shape[axis] = x.shape[axis]
    node.size = x.size
    return node


cdef Node unary_node(int op, Node node, Node x):
    """Fill in op and the one input of a node."""
    node.op = op
    set_inputs(node, 1)
    put_input(node, 0, x)
    return node


cdef int refuse(int op, int dtype) except -1:
    raise DtypeError(
        f"[{NAMES[op]}] operands of dtype {DTYPE_OBJECTS[dtype].name.rstrip('_')} have no such "
        "operation; convert them with astype first"
    )


cdef Node cast(Node x, int dtype):
    """x as dtype; x itself if it has that dtype."""
    cdef Node node
    if x.dtype == dtype:
        return x
    node = unary_node(ASTYPE, like(x, dtype), x)
    node.params = CAST_PARAMS[dtype]
    return node


cdef list CAST_PARAMS = [(code,) for code in range(DTYPE_COUNT)]


cdef Node broadcast(Node x, int ndim, const Py_ssize_t* shape):
    """x stretched to a shape that is known to fit; x itself if it has that shape."""
    cdef Node node
    cdef int axis
    cdef bint same = x.ndim == ndim
    for axis in range(ndim):
        same = same and x.shape[axis] == shape[axis]
    if same:
        return x
    node = new_node(x.dtype, ndim)
    node.size = 1
    for axis in range(ndim):
        node.shape[axis] = shape[axis]
        node.size *= shape[axis]
    node.params = (shape_tuple(node),)
    return unary_node(BROADCAST, node, x)


cdef int common_shape(int op, list nodes, int* ndim, Py_ssize_t* shape) except -1:
    """The shape that all operands broadcast to; ValueError where they do not."""
    cdef Node x
    cdef int axis, lead
    cdef Py_ssize_t size
    ndim[0] = 0
    for x in nodes:
        if x.ndim > ndim[0]:
            ndim[0] = x.ndim
    for axis in range(ndim[0]):
        shape[axis] = 1
    for x in nodes:
        lead = ndim[0] - x.ndim
        for axis in range(x.ndim):
            size = x.shape[axis]
            if size != 1 and shape[axis + lead] != size:
                if shape[axis + lead] != 1:
                    shapes = " and ".join([str(shape_tuple(y)) for y in nodes])
                    raise ValueError(
                        f"[{NAMES[op] if op >= 0 else 'broadcast_shapes'}] shapes {shapes} cannot "
                        "be broadcast together; sizes of an axis must be equal or 1, counted from "
                        "the last axis"
                    )
                shape[axis + lead] = size
    check_size(op, ndim[0], shape)
    return 0


cdef int check_size(int op, int ndim, const Py_ssize_t* shape) except -1:
    """Refuse shapes whose size in bytes 64 bits cannot count. An axis of size 0 counts as one of 1,
    as in NumPy: then no stride of an empty array and no product of some of its sizes overflows."""
    cdef Py_ssize_t size = 1
    cdef int axis
    for axis in range(ndim):
        if shape[axis] > (<Py_ssize_t>1 << 58) // size:
            name = NAMES[op] if op >= 0 else "array"
            sizes = tuple([shape[i] for i in range(ndim)])
            raise ValueError(
                f"[{name}] shape {sizes} is larger than memory can be; at most 2**58 elements are "
                "addressable, axes of size 0 counted as 1"
            )
        if shape[axis]:
            size *= shape[axis]
    return 0


cdef Py_ssize_t counted(int op, object size) except? -1:
    """The size of an axis as a machine integer; ValueError where it is none."""
    cdef int overflow = 0
    cdef Py_ssize_t number = PyLong_AsLongLongAndOverflow(size, &overflow)
    if overflow:
        raise ValueError(f"[{NAMES[op]}] an axis of size {size}; a size is at most 2**63 - 1")
    return number


cdef Node bind_unary(int op, Node x):
    """An elementwise row of one operand."""
    cdef int dtype = operand_dtype[op][x.dtype]
    if dtype == 255:
        refuse(op, x.dtype)
    if dtype != x.dtype:
        x = cast(x, dtype)
    return unary_node(op, like(x, result_dtype[op][dtype]), x)


cdef Node bind_binary(int op, Node x, Node y):
    """An elementwise row of two operands: promoted, converted, broadcast."""
    cdef int dtype = x.dtype
    cdef int ndim
    cdef Py_ssize_t[MAX_DIMS] shape
    cdef Node node
    if dtype != y.dtype:
        dtype = promoted[dtype][y.dtype]
    if operand_dtype[op][dtype] == 255:
        refuse(op, dtype)
    dtype = operand_dtype[op][dtype]
    if x.dtype != dtype:
        x = cast(x, dtype)
    if y.dtype != dtype:
        y = cast(y, dtype)
    if not same_shape(x, y):
        if y.ndim == 0:
            y = broadcast(y, x.ndim, x.shape)
        elif x.ndim == 0:
            x = broadcast(x, y.ndim, y.shape)
        else:
            common_shape(op, [x, y], &ndim, shape)
            x = broadcast(x, ndim, shape)
            y = broadcast(y, ndim, shape)
    node = like(x, result_dtype[op][dtype])
    node.op = op
    set_inputs(node, 2)
    put_input(node, 0, x)
    put_input(node, 1, y)
    return node


cdef Node bind_elementwise(int op, list operands):
    """An elementwise row of any number of operands. ``select`` keeps its first one boolean."""
    cdef int first = 1 if op == SELECT else 0
    cdef int dtype, k, ndim
    cdef Py_ssize_t[MAX_DIMS] shape
    cdef Node node, x
    if len(operands) != row_arity[op]:
        raise TypeError(f"[{NAMES[op]}] {len(operands)} operands; {row_arity[op]} would be right")
    if row_arity[op] == 1:
        return bind_unary(op, operands[0])
    if row_arity[op] == 2:
        return bind_binary(op, operands[0], operands[1])
    dtype = (<Node>operands[first]).dtype
    for x in operands[first:]:
        dtype = promoted[dtype][x.dtype]
    if operand_dtype[op][dtype] == 255:
        refuse(op, dtype)
    dtype = operand_dtype[op][dtype]
    common_shape(op, operands, &ndim, shape)
    operands = [
        broadcast(cast(x, BOOL if k < first else dtype), ndim,
                  shape) for k, x in enumerate(operands)
    ]
    node = like(<Node>operands[0], result_dtype[op][dtype])
    node.op = op
    set_inputs(node, len(operands))
    for k, x in enumerate(operands):
        put_input(node, k, x)
    return node


cdef Node bind_reduction(int op, Node x, tuple axes, bint keepdims):
    """A reduction row over sorted, distinct, valid axes."""
    cdef int dtype = operand_dtype[op][x.dtype]
    cdef int axis, ndim = 0
    cdef Py_ssize_t[MAX_DIMS] shape
    cdef bint[MAX_DIMS] gone
    cdef Node node
    if dtype == 255:
        refuse(op, x.dtype)
    x = cast(x, dtype)
    for axis in range(x.ndim):
        gone[axis] = False
    for a in axes:
        gone[<int>a] = True
        if x.shape[<int>a] == 0 and ROWS[op].identity is None:
            raise ValueError(
                f"[{NAMES[op]}] axis {a} of shape {shape_tuple(x)} is empty; a reduction without "
                "an identity needs at least one value"
            )
    for axis in range(x.ndim):
        if not gone[axis]:
            shape[ndim] = x.shape[axis]
            ndim += 1
        elif keepdims:
            shape[ndim] = 1
            ndim += 1
    node = new_node(result_dtype[op][dtype], ndim)
    node.size = 1
    for axis in range(ndim):
        node.shape[axis] = shape[axis]
        node.size *= shape[axis]
    node.params = (axes, keepdims)
    return unary_node(op, node, x)


cdef Node shaped(int op, Node x, int dtype, tuple shape, tuple params):
    """A node of one input with a shape given as a tuple."""
    cdef Node node = new_node(dtype, len(shape))
    cdef int axis
    node.size = 1
    for axis in range(node.ndim):
        node.shape[axis] = counted(op, shape[axis])
        if node.shape[axis] < 0:
            raise ValueError(f"[{NAMES[op]}] shape {shape} has a negative size; sizes are 0 or "
                             "more")
    check_size(op, node.ndim, node.shape)
    for axis in range(node.ndim):
        node.size *= node.shape[axis]
    node.params = params
    return unary_node(op, node, x)


cdef Node broadcast_to_tuple(Node x, tuple shape):
    """x stretched to shape; ValueError where it does not fit."""
    cdef int lead = len(shape) - x.ndim
    cdef int axis
    cdef bint fits = lead >= 0
    if fits:
        for axis in range(x.ndim):
            if x.shape[axis] != 1 and x.shape[axis] != shape[axis + lead]:
                fits = False
    if not fits:
        raise ValueError(
            f"[broadcast_to] shape {shape_tuple(x)} cannot be broadcast to {shape}; every axis, "
            "counted from the last, must be equal or 1"
        )
    if shape_tuple(x) == shape:
        return x
    return shaped(BROADCAST, x, x.dtype, shape, (shape,))


cdef Node reshape(Node x, tuple shape):
    """x under another shape of the same size, already without -1."""
    cdef Node node = shaped(RESHAPE, x, x.dtype, shape, (shape,))
    if node.size != x.size:
        raise ValueError(
            f"[reshape] {x.size} values of shape {shape_tuple(x)} do not fill shape {shape}; the "
            "sizes must have the same product"
        )
    return node


cdef Node transpose(Node x, tuple axes):
    """x with its axes permuted; axes are valid."""
    return shaped(TRANSPOSE, x, x.dtype, tuple([x.shape[<int>a] for a in axes]), (axes,))


cdef Node slice_node(Node x, tuple params):
    """Checked against x, since transforms rebuild slices from parameters."""
    cdef Py_ssize_t low, high, step, size
    cdef Py_ssize_t most = <Py_ssize_t>1 << 61   # below which differences fit
    cdef int axis
    start, stop, stride = params
    shape = []
    bounds = []
    if not len(start) == len(stop) == len(stride) == x.ndim:
        raise ValueError(f"[slice] {len(start)} axes given for shape {shape_tuple(x)}; one an axis "
                         "would be right")
    for axis in range(x.ndim):
        low = min(max(start[axis], -most), most)
        high = min(max(stop[axis], -most), most)
        step = min(max(stride[axis], -most), most)
        if step == 0:
            raise ValueError("[slice] a stride of 0; any other number would be right")
        size = (high - low - 1) // step + 1 if step > 0 else (low - high - 1) // -step + 1
        size = size if (high > low if step > 0 else high < low) else 0
        if size and (low < 0 or low >= x.shape[axis] or not 0 <= low + (size - 1)
                     * step < x.shape[axis]):
            raise IndexError(
                f"[slice] {low}:{high}:{step} leaves axis {axis} with size {x.shape[axis]}; "
                "indices must stay inside"
            )
        shape.append(size)
        if size < 2:   # a stride that is not taken is 1: a larger one may not fit in bytes
            low, high, step = low * size, low * size + size, 1
        bounds.append((low, high, step))
    return shaped(SLICE, x, x.dtype, tuple(shape), tuple(zip(*bounds)) if bounds else params)


cdef Node strided_node(Node x, tuple params):
    """Every element the view can reach must lie inside the flat source."""
    shape, strides, offset = params
    if len(shape) != len(strides):
        raise ValueError(f"[as_strided] {len(shape)} sizes and {len(strides)} strides; as many of "
                         "each would be right")
    lowest = highest = offset
    for size, stride in zip(shape, strides):
        if size < 0:
            raise ValueError(f"[as_strided] shape {shape} has a negative size; sizes are 0 or more")
        lowest += min(0, (size - 1) * stride)
        highest += max(0, (size - 1) * stride)
    if 0 not in shape and (lowest < 0 or highest >= x.size):
        raise IndexError(
            f"[as_strided] elements {lowest} to {highest} of an array of {x.size}; the view must "
            "stay inside"
        )
    if 0 in shape:
        strides, offset = (0,) * len(shape), 0   # what is never taken may not fit in bytes
    else:
        strides = tuple([0 if size == 1 else stride for size, stride in zip(shape, strides)])
    return shaped(AS_STRIDED, x, x.dtype, tuple(shape), (tuple(shape), strides, offset))


cdef Node view_node(Node x, int dtype, tuple params):
    """The last axis grows or shrinks with the size of an element."""
    cdef int old = itemsize[x.dtype]
    cdef int new = itemsize[dtype]
    shape = shape_tuple(x)
    if old != new:
        if x.ndim == 0:
            raise ValueError("[view] an array of no dimensions keeps its element size; reshape it "
                             "to (1,) first")
        width = shape[-1] * old
        if width % new:
            raise ValueError(
                f"[view] {width} bytes along the last axis of shape {shape} do not divide into "
                f"elements of {new}"
            )
        shape = shape[:-1] + (width // new,)
    return shaped(VIEW, x, dtype, shape, params)


cdef object bind_movement(int op, Node x, tuple params):
    if op == ASTYPE:
        return cast(x, params[0])
    if op == BROADCAST:
        return broadcast_to_tuple(x, params[0])
    if op == TRANSPOSE:
        return transpose(x, params[0])
    if op == RESHAPE:
        return reshape(x, params[0])
    if op == SLICE:
        return slice_node(x, params)
    if op == AS_STRIDED:
        return strided_node(x, params)
    if op == VIEW:
        return view_node(x, params[0], params)
    raise TypeError(f"[{NAMES[op]}] is made by its primitive, not bound")


cdef class Output:
    """What `infer` of a Kernel row says of an output."""

    cdef int dtype
    cdef int ndim
    cdef Py_ssize_t size
    cdef Py_ssize_t[MAX_DIMS] shape


cdef enum:
    MAX_INFERRED = 4096
    RECENT_INFERRED = 512      # found without a dictionary; a power of two
    FEW_WORDS = 32             # of operands that are looked for there

cdef dict INFERRED = {}        # (row, dtypes and shapes as words; params) -> list of Outputs


cdef class Inference:
    """The outputs of a Kernel row for operands and parameters."""

    cdef bytes words
    cdef tuple params
    cdef list outputs


cdef PyObject* RECENT[RECENT_INFERRED]     # strong references, or NULL


cdef Output new_output(int op, tuple shape, str dtype):
    """Checked once for all nodes that are made like it."""
    cdef Output output = Output.__new__(Output)
    cdef int axis
    if len(shape) > MAX_DIMS:
        raise ValueError(f"[{NAMES[op]}] {len(shape)} dimensions; at most {MAX_DIMS} are supported")
    output.dtype = dtype_table.CODE[dtype]
    output.ndim = len(shape)
    output.size = 1
    for axis in range(output.ndim):
        output.shape[axis] = counted(op, shape[axis])
    check_size(op, output.ndim, output.shape)
    for axis in range(output.ndim):
        output.size *= output.shape[axis]
    return output


cdef Py_ssize_t count_words(tuple inputs):
    """How many words describe a row and its operands."""
    cdef Py_ssize_t count = 1
    for x in inputs:
        count += 1 + (<Node>x).ndim
    return count


cdef void write_words(int op, tuple inputs, int64_t* words):
    """A row, and its operands' dtypes and shapes."""
    cdef Node x
    cdef int axis
    words[0] = op
    words += 1
    for x in inputs:
        words[0] = x.dtype << 8 | x.ndim
        for axis in range(x.ndim):
            words[1 + axis] = x.shape[axis]
        words += 1 + x.ndim


cdef list inferred(int op, tuple inputs, tuple params):
    """The Outputs of a Kernel row: its own ``infer`` gives shapes and dtypes, and refuses bad
    input."""
    cdef int64_t[FEW_WORDS] words
    cdef Py_ssize_t count = count_words(inputs), k
    cdef uint64_t h = 0x9e3779b97f4a7c15
    cdef Inference found
    cdef PyObject* before
    cdef bytes key
    if count <= FEW_WORDS:
        write_words(op, inputs, words)
        for k in range(count):
            h = (h ^ words[k]) * <uint64_t>0xff51afd7ed558ccd
        before = RECENT[(h >> 32) % RECENT_INFERRED]
        if before != NULL:
            found = <Inference>before
            if (PyBytes_GET_SIZE(found.words) == count * <Py_ssize_t>sizeof(int64_t)
                    and memcmp(PyBytes_AS_STRING(found.words), words,
                               count * sizeof(int64_t)) == 0
                    and same_params(found.params, params)):
                return found.outputs
    key = PyBytes_FromStringAndSize(NULL, count * sizeof(int64_t))
    write_words(op, inputs, <int64_t*>PyBytes_AS_STRING(key))
    outputs = infer(op, inputs, params, key)
    if op == ATTACH or count > FEW_WORDS:
        return outputs
    found = Inference.__new__(Inference)
    found.words, found.params, found.outputs = key, params, outputs
    before = RECENT[(h >> 32) % RECENT_INFERRED]
    Py_INCREF(found)
    RECENT[(h >> 32) % RECENT_INFERRED] = <PyObject*>found
    if before != NULL:
        Py_DECREF(<object>before)
    return outputs


cdef list infer(int op, tuple inputs, tuple params, bytes words):
    cdef list outputs
    # What cannot be hashed cannot be planned: better said here.
    key = (words, params)
    found = INFERRED.get(key)
    if found is not None:
        return <list>found
    row = ROWS[op]
    given = row.infer([shape_tuple(x) for x in inputs],
                      [DTYPE_OBJECTS[(<Node>x).dtype].name for x in inputs],
                      **dict(zip(row.params, params)))
    outputs = [new_output(op, tuple(shape), dtype) for shape, dtype in given]
    if len(INFERRED) >= MAX_INFERRED:
        INFERRED.clear()
    if op != ATTACH:   # whose rules may hold arrays
        INFERRED[key] = outputs
    return outputs


cdef Output NOTHING = new_output(0, (), "bool_")


cdef object bind_kernel(int op, tuple inputs, tuple params):
    """A Kernel row: a Node, or a tuple of them."""
    cdef Node bundle, node
    cdef int k
    cdef list outputs = inferred(op, inputs, params)
    if len(outputs) == 1 and op != ATTACH:
        return kernel_node(op, <Output>outputs[0], inputs, params)
    bundle = kernel_node(op, NOTHING, inputs, params)
    new_outputs(bundle, len(outputs))
    picks = []
    for k in range(bundle.noutputs):
        node = kernel_node(PICK, <Output>outputs[k], (bundle,), (k,))
        bundle.outputs[k] = <PyObject*>node
        picks.append(node)
    return tuple(picks)


cdef Node pick_again(Node bundle, int k):
    """Output number k of a primitive of several outputs, which has died, of the same computation
    while that is still to come; else of a new one."""
    cdef Node pick
    inputs = tuple([<Node>bundle.inputs[j] for j in range(bundle.nin)])
    if bundle.flags & EVALUATED:
        return bind_kernel(bundle.op, inputs, bundle.params)[k]
    pick = kernel_node(PICK, <Output>inferred(bundle.op, inputs, bundle.params)[k], (bundle,), (k,))
    bundle.outputs[k] = <PyObject*>pick
    return pick


cdef Node kernel_node(int op, Output output, tuple inputs, tuple params):
    """A node of any number of inputs."""
    cdef Node node = new_node(output.dtype, output.ndim)
    cdef Node x
    cdef int axis, k = 0
    for axis in range(output.ndim):
        node.shape[axis] = output.shape[axis]
    node.size = output.size
    node.op = op
    node.params = params
    set_inputs(node, <int>len(inputs))
    for x in inputs:
        put_input(node, k, x)
        k += 1
    return node


cdef object bind_row(int op, tuple inputs, tuple params):
    """Any row by its code: what transforms and the public functions of kernels call."""
    if row_kind[op] == ELEMENTWISE:
        return bind_elementwise(op, list(inputs))
    if row_kind[op] == REDUCTION:
        return bind_reduction(op, inputs[0], params[0], params[1])
    if row_kind[op] == MOVEMENT:
        return bind_movement(op, inputs[0], params)
    return bind_kernel(op, inputs, params)
