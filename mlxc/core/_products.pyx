"""The common cases of matmul, addmm and attention, straight to nodes: what layers call in every
step.

Each function gives None where the case is another one; the general functions in ``matmul.py`` and
``attention.py`` then convert, broadcast, and refuse what is wrong.
"""

from mlxc._graph.array cimport array, wrap
from mlxc._graph.bind cimport broadcast, check_size, reshape, row_code
from mlxc._graph.dtypes cimport dtype_kind, itemsize
from mlxc._graph.node cimport Node, new_node, put_input, set_inputs, shape_tuple

cdef int MATMUL = row_code("matmul")
cdef int ADDMM = row_code("addmm")
cdef int ATTENTION = row_code("attention")


cdef bint fits(Node a, Node b) noexcept:
    """Whether two operands are matrices (or stacks beside one matrix, or equal stacks) of one
    inexact dtype whose inner sizes agree."""
    cdef int axis
    if a.dtype != b.dtype or a.ndim < 2 or b.ndim < 2:
        return False
    if dtype_kind[a.dtype] != c"f" and dtype_kind[a.dtype] != c"c":
        return False
    if a.shape[a.ndim - 1] != b.shape[b.ndim - 2]:
        return False
    if b.ndim == 2:
        return True
    if a.ndim != b.ndim:
        return False
    for axis in range(a.ndim - 2):
        if a.shape[axis] != b.shape[axis]:
            return False
    return True


cdef Node tall(Node a):
    """A stack of matrices as one tall matrix."""
    cdef Py_ssize_t rows = 1
    cdef int axis
    if a.ndim == 2:
        return a
    for axis in range(a.ndim - 1):
        rows *= a.shape[axis]
    return reshape(a, (rows, a.shape[a.ndim - 1]))


cdef Node product_node(int op, Node a, Node b, object params):
    """A node of the product's shape; its inputs are to be put."""
    cdef Node node = new_node(a.dtype, a.ndim)
    cdef int axis
    node.size = 1
    for axis in range(a.ndim - 1):
        node.shape[axis] = a.shape[axis]
        node.size *= a.shape[axis]
    node.shape[a.ndim - 1] = b.shape[b.ndim - 1]
    node.size *= b.shape[b.ndim - 1]
    check_size(op, node.ndim, node.shape)
    node.op = op
    node.params = params
    return node


cdef Node vector_product(Node x, Node y):
    """The product of a vector with a vector or a matrix, or of a matrix with a vector; None where
    they do not fit."""
    cdef Node node
    cdef Node row = reshape(x, (1, x.shape[0])) if x.ndim == 1 else x
    cdef Node column = reshape(y, (y.shape[0], 1)) if y.ndim == 1 else y
    if row.ndim != 2 or column.ndim != 2 or not fits(row, column):
        return None
    node = product_node(MATMUL, row, column, ())
    set_inputs(node, 2)
    put_input(node, 0, row)
    put_input(node, 1, column)
    return reshape(node, shape_tuple(x)[:-1] + shape_tuple(y)[1:])


cdef Node in_shape_of(Node product, Node a):
    """The product of a's tall form, with a's leading axes again."""
    if a.ndim == 2:
        return product
    return reshape(product, shape_tuple(a)[:-1] + (product.shape[1],))


def quick_matmul(a, b):
    """The product of two arrays, or None where the general function is needed."""
    cdef Node x, y, flat, node
    if type(a) is not array or type(b) is not array:
        return None
    x = (<array>a).node
    y = (<array>b).node
    if (x.ndim == 1 and y.ndim) or (y.ndim == 1 and x.ndim):
        node = vector_product(x, y)
        return None if node is None else wrap(node)
    if not fits(x, y):
        return None
    flat = tall(x) if y.ndim == 2 else x
    node = product_node(MATMUL, flat, y, ())
    set_inputs(node, 2)
    put_input(node, 0, flat)
    put_input(node, 1, y)
    return wrap(in_shape_of(node, x) if y.ndim == 2 else node)


def quick_addmm(c, a, b, double alpha, double beta):
    """A product plus a row vector, or None where the general function is needed."""
    cdef Node x, y, z, flat, node
    cdef Py_ssize_t[2] shape
    if type(a) is not array or type(b) is not array or type(c) is not array:
        return None
    x = (<array>a).node
    y = (<array>b).node
    z = (<array>c).node
    if y.ndim != 2 or not fits(x, y) or dtype_kind[x.dtype] != c"f":
        return None
    if z.dtype != x.dtype or z.ndim != 1 or z.shape[0] != y.shape[1]:
        return None
    flat = tall(x)
    shape[0] = flat.shape[0]
    shape[1] = y.shape[1]
    node = product_node(ADDMM, flat, y, (alpha, beta))
    set_inputs(node, 3)
    put_input(node, 0, broadcast(z, 2, shape))
    put_input(node, 1, flat)
    put_input(node, 2, y)
    return wrap(in_shape_of(node, x))


def quick_attention(q, k, v, scale, mask):
    """Attention without a mask or with a causal one, or None where the general function is needed.
    """
    cdef Node a, b, c, node
    cdef int axis
    cdef bint causal = type(mask) is str and mask == "causal"
    if type(q) is not array or type(k) is not array or type(v) is not array:
        return None
    if mask is not None and not causal or type(scale) is not float:
        return None
    a, b, c = (<array>q).node, (<array>k).node, (<array>v).node
    if a.ndim != 4 or b.ndim != 4 or c.ndim != 4 or a.dtype != b.dtype or a.dtype != c.dtype:
        return None
    if dtype_kind[a.dtype] != c"f" or itemsize[a.dtype] == 8:
        return None
    if a.shape[0] != b.shape[0] or a.shape[0] != c.shape[0] or a.shape[3] != b.shape[3]:
        return None
    if b.shape[1] != c.shape[1] or b.shape[2] != c.shape[2]:
        return None
    if b.shape[1] == 0 or a.shape[1] % b.shape[1]:
        return None
    node = new_node(a.dtype, 4)
    for axis in range(4):
        node.shape[axis] = (c if axis == 3 else a).shape[axis]
    check_size(ATTENTION, 4, node.shape)
    node.size = node.shape[0] * node.shape[1] * node.shape[2] * node.shape[3]
    node.op = ATTENTION
    node.params = (scale, causal, "none", False)
    set_inputs(node, 3)
    put_input(node, 0, a)
    put_input(node, 1, b)
    put_input(node, 2, c)
    return wrap(node)
