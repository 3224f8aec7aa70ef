# cython: wraparound=True
"""What the floors above use of the graph: making nodes from arrays, evaluating, and functions that
bind one row."""

from mlxc._graph.array cimport array, node_of, operand_node, wrap
from mlxc._graph.bind cimport (
    TRANSPOSE, bind_binary, bind_elementwise, bind_reduction, bind_row, bind_unary,
    broadcast_to_tuple, cast, pick_again, row_code,
)
from mlxc._graph.dtypes cimport dtype_code
from mlxc._graph.evaluate cimport evaluate, evaluate_one
from mlxc._graph.node cimport (
    ABSTRACT, EVALUATED, ON_DEVICE, Node, live_nodes, placement, set_first_placement, set_placement,
    shape_tuple,
)
from mlxc._graph.small cimport Small, find_small
from mlxc._graph.views cimport reshaped, transposed


cdef object wrapped(object result):
    if isinstance(result, tuple):
        return tuple([wrap(node) for node in result])
    return wrap(result)


def bind(str name, tuple inputs, tuple params=()):
    """Apply a row to arrays: the new array, or a tuple of them for a row of several outputs."""
    cdef tuple nodes = tuple([(<array?>x).node for x in inputs])
    return wrapped(bind_row(row_code(name), nodes, params))


def as_array(value, dtype=None):
    """value as an array: arrays as they are, numbers, lists and NumPy arrays converted; then as
    dtype."""
    cdef Node node = node_of(value)
    if dtype is not None:
        node = cast(node, dtype_code(dtype))
    elif type(value) is array:
        return value
    return wrap(node)


def arrays_of(tree):
    """The arrays of nested lists, tuples and dicts, in order; other leaves are passed over."""
    cdef list found = []
    cdef list pending
    if type(tree) is tuple:   # most often: arguments that are all arrays
        for item in <tuple>tree:
            if type(item) is not array:
                break
        else:
            return list(<tuple>tree)
    pending = [tree]
    while pending:
        item = pending.pop()
        if type(item) is array:
            found.append(item)
        elif isinstance(item, dict):
            pending.extend(reversed(list(item.values())))
        elif isinstance(item, (list, tuple)):
            pending.extend(reversed(item))
    return found


def eval(tree=(), /, *args):
    """Compute the values of arrays now.

    Args:
        tree, *args (arrays or trees of arrays): Lists, tuples and dicts are searched; other leaves
            are passed over.

    Raises:
        ValueError: If a value is not known while a function is traced.
        MemoryError: If there is not enough memory; what was computed before stays.

    Example:
        >>> import mlxc.core as mx
        >>> x = mx.ones((2,)) + 1
        >>> mx.eval(x)
    """
    # An operand of its own lets Cython hand over one array without a tuple.
    cdef array x
    cdef list nodes
    if type(tree) is array and not args:   # no list to make either
        evaluate_one((<array>tree).node)
        return
    nodes = []
    for x in arrays_of((tree, *args)):
        if not x.node.flags & EVALUATED:
            nodes.append(x.node)
    if len(nodes) == 1:
        evaluate_one(<Node>nodes[0])
    elif nodes:
        evaluate(nodes)


def handle(Node node not None):
    """A node as an array."""
    return wrap(node)


def is_evaluated(array x not None):
    """Whether the value is there already."""
    return x.node.flags & EVALUATED != 0


def has_small_plan(array x not None):
    """Whether the value is pending and its plan is found without the long walk."""
    cdef Small small
    return not x.node.flags & EVALUATED and find_small(x.node, &small)


def is_transposed(array x not None):
    """Whether the array is another one with its last two axes exchanged."""
    cdef Node node = x.node
    if node.op != TRANSPOSE or node.nin == 0 or node.ndim < 2:
        return False
    axes = node.params[0]
    return axes[node.ndim - 1] == node.ndim - 2 and axes[node.ndim - 2] == node.ndim - 1


def is_abstract(array x not None):
    """Whether the array stands for a value that tracing does not know."""
    return x.node.flags & ABSTRACT != 0


def place_on_device(bint yes):
    """Say whether this thread's operations are the GPU's; whether they were."""
    before = placement() != 0
    set_placement(ON_DEVICE if yes else 0)
    return before


def begin_on_device(bint yes):
    """Say what threads that were not asked begin with. Called once, at import."""
    set_first_placement(ON_DEVICE if yes else 0)


def node_count():
    """How many nodes exist: what tests watch for leaks."""
    return live_nodes()


def unary_function(str name):
    """The public function of an elementwise row of one operand."""
    cdef int op = row_code(name)

    def function(a, /, *, stream=None):
        return wrap(bind_unary(op, node_of(a)))

    return function


def binary_function(str name):
    """The public function of an elementwise row of two operands."""
    cdef int op = row_code(name)

    def function(a, b, /, *, stream=None):
        cdef Node x, y
        if type(a) is array:
            x = (<array>a).node
            y = operand_node(b, x)
            if y is None:
                y = node_of(b)
        elif type(b) is array:
            y = (<array>b).node
            x = operand_node(a, y)
            if x is None:
                x = node_of(a)
        else:
            x = node_of(a)
            y = node_of(b)
        return wrap(bind_binary(op, x, y))

    return function


def select(condition, x, y):
    """where: x and y keep their common dtype, numbers beside arrays take the array's."""
    cdef Node a, b
    if type(x) is array:
        a = (<array>x).node
        b = operand_node(y, a)
    elif type(y) is array:
        b = (<array>y).node
        a = operand_node(x, b)
    else:
        a = node_of(x)
        b = node_of(y)
    if a is None:
        a = node_of(x)
    if b is None:
        b = node_of(y)
    return wrap(bind_elementwise(row_code("select"), [node_of(condition), a, b]))


def reduce_axes(str name, array x, tuple axes, bint keepdims):
    """A reduction row over sorted, valid axes."""
    return wrap(bind_reduction(row_code(name), x.node, axes, keepdims))


def reshape_to(array x not None, tuple shape):
    """x under another shape; one size may be -1."""
    cdef object known = 1  # of any size: a product of sizes may be beyond 64 bits
    cdef int missing = -1
    cdef int axis
    for axis in range(<int>len(shape)):
        if shape[axis] == -1:
            if missing >= 0:
                raise ValueError(f"[reshape] shape {shape} leaves two sizes open; at most one may "
                                 "be -1")
            missing = axis
        elif shape[axis] < 0:
            raise ValueError(f"[reshape] shape {shape} has a negative size; sizes are 0 or more, "
                             "one may be -1")
        else:
            known *= shape[axis]
    if missing >= 0:
        if known == 0 or x.node.size % known:
            raise ValueError(
                f"[reshape] {x.node.size} values of shape {x.shape} do not fill shape {shape}; the "
                "other sizes must divide their number"
            )
        shape = shape[:missing] + (x.node.size // known,) + shape[missing + 1:]
    if shape_tuple(x.node) == shape:
        return wrap(x.node)   # another handle: in-place operations must not reach x
    return wrap(reshaped(x.node, shape))


def transpose_to(array x not None, tuple axes):
    """x with its axes permuted; axes are valid."""
    return wrap(transposed(x.node, axes))


def broadcast(array x not None, tuple shape):
    """x repeated to shape."""
    return wrap(broadcast_to_tuple(x.node, shape))


def astype(array x not None, dtype):
    """x converted to dtype."""
    return wrap(cast(x.node, dtype_code(dtype)))


def replace(array x not None, array y not None):
    """Let the handle x stand for y's value."""
    x.node = y.node


def bundle_pick(array bundle not None, int index):
    """Output number index of a primitive of several outputs, whose handle has died."""
    return wrap(pick_again(bundle.node, index))


def buffer_extent(array x not None):
    """Address and bytes of the memory behind an evaluated array."""
    if x.node.buffer is None:
        return <size_t>x.node.data, 8
    return <size_t>x.node.buffer.data, x.node.buffer.nbytes
