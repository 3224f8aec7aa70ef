"""A Metal device for tests: the library's C interface over ctypes, NumPy arrays in and out.

Rules: every array is a buffer of its own, of exactly its bytes, so that what leaves it is seen;
views travel with the memory that they lie in, and are bound at their first element.
"""

import ctypes
import re
import struct

import ml_dtypes
import numpy as np

from mlxc._backends.metal import sources
from mlxc._backends.metal.dispatch import (
    FAULT_BYTES,
    Bytes,
    Dispatch,
    Faults,
    In,
    Out,
    Scratch,
    fault_text,
)

ERROR = 4096  # bytes
TYPES = {"bool": 53, "int": 29, "float": 3}
HANDLES = """device buffer wrap contents library pipeline archive queue begin encoder""".split()


class MetalError(RuntimeError):
    """What the device says of source that does not compile, or of work that failed."""


def dtype_of(name):
    return np.dtype(ml_dtypes.bfloat16 if name == "bfloat16" else name)


class Constant(ctypes.Structure):
    _fields_ = [
        ("index", ctypes.c_uint32),
        ("type", ctypes.c_uint32),
        ("bits", ctypes.c_uint64),
    ]


class Info(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_char * 256),
        ("architecture", ctypes.c_char * 256),
        *((name, ctypes.c_uint64) for name in ("memory", "recommended", "max_buffer")),
        *((name, ctypes.c_uint64) for name in ("threadgroup_memory", "simd_width")),
        *((name, ctypes.c_uint64) for name in ("max_threads", "page")),
        ("unified", ctypes.c_int),
    ]


def constants_of(given):
    """Function constants as the interface takes them."""
    array = (Constant * max(1, len(given)))()
    for slot, (index, value) in zip(array, given.items()):
        if isinstance(value, bool):
            kind, bits = "bool", int(value)
        elif isinstance(value, int):
            kind, bits = "int", value & 0xFFFFFFFF
        else:
            kind, bits = "float", struct.unpack("I", struct.pack("f", value))[0]
        slot.index, slot.type, slot.bits = index, TYPES[kind], bits
    return array


def span(array):
    """(lowest address, bytes) of the memory that an array's elements lie in."""
    low = high = array.__array_interface__["data"][0]
    if array.size == 0:
        return low, 0
    for extent, stride in zip(array.shape, array.strides):
        low += min(0, (extent - 1) * stride)
        high += max(0, (extent - 1) * stride)
    return low, high + array.itemsize - low


def load(path):
    """The library with the types of its functions."""
    library = ctypes.CDLL(str(path))
    for name in HANDLES:
        getattr(library, f"mlxc_metal_{name}").restype = ctypes.c_void_p
    for name in ("allocated", "length", "max_threads", "simd_width"):
        getattr(library, f"mlxc_metal_{name}").restype = ctypes.c_size_t
    library.mlxc_metal_gpu_seconds.restype = ctypes.c_double
    return library


class Device:
    """The first device of a library. `run` takes what launchers give."""

    def __init__(self, path):
        self.library = load(path)
        self.error = ctypes.create_string_buffer(ERROR)
        self.handle = self.call("device", 0)
        self.queue = self.call("queue", ctypes.c_void_p(self.handle))
        self.libraries, self.pipelines = {}, {}
        self.seconds = 0.0  # of the last run, on the device

    def call(self, name, *arguments):
        """A function of the interface that gives a handle, or an error."""
        self.error.value = b""
        handle = getattr(self.library, f"mlxc_metal_{name}")(*arguments, self.error)
        if not handle:
            raise MetalError(self.error.value.decode(errors="replace"))
        return handle

    def do(self, name, *arguments):
        return getattr(self.library, f"mlxc_metal_{name}")(*map(self.argument, arguments))

    @staticmethod
    def argument(value):
        return ctypes.c_size_t(value) if isinstance(value, int) else value

    def compile(self, source):
        """The library of a source text; the same text is compiled once."""
        if source not in self.libraries:
            text = source.encode()
            self.libraries[source] = self.call("library", ctypes.c_void_p(self.handle), text, 0)
        return self.libraries[source]

    def pipeline(self, source, function, constants=()):
        key = (source, function, tuple(sorted(dict(constants).items())))
        if key not in self.pipelines:
            library = self.compile(source)
            given = constants_of(dict(constants))
            self.pipelines[key] = self.call(
                "pipeline",
                ctypes.c_void_p(self.handle),
                ctypes.c_void_p(library),
                function.encode(),
                given,
                len(dict(constants)),
                None,
            )
        return self.pipelines[key]

    def source(self, dispatch):
        """The whole text of a dispatch's kernel: a file of shaders/, or printed."""
        return sources.expand(dispatch.source) if dispatch.source else sources.read(dispatch.file)

    def buffer(self, nbytes):
        return self.call("buffer", ctypes.c_void_p(self.handle), ctypes.c_size_t(max(1, nbytes)))

    def contents(self, buffer):
        return self.library.mlxc_metal_contents(ctypes.c_void_p(buffer))

    def run(self, dispatches, ins, outs, repeat=1):
        """Run dispatches on arrays.

        Args:
            dispatches: what a launcher gives.
            ins: NumPy arrays, views too.
            outs: (dtype, shape) of each output; outputs begin as NaN or -1. An array instead is
                an output that begins as that.
            repeat: how often the dispatches are encoded.

        Returns:
            the outputs, as NumPy arrays.

        Raises:
            MetalError: what the device says.
            IndexError: what kernels say of indices.
        """
        made = []
        try:
            places = {}
            for i, array in enumerate(ins):
                low, nbytes = span(array)
                buffer = self.buffer(nbytes)
                made.append(buffer)
                ctypes.memmove(self.contents(buffer), low, nbytes)
                start = array.__array_interface__["data"][0] - low
                places["In", i] = (buffer, start)
            shapes = []
            for i, out in enumerate(outs):
                dtype = out.dtype if isinstance(out, np.ndarray) else dtype_of(out[0])
                shape = out.shape if isinstance(out, np.ndarray) else tuple(out[1])
                shapes.append((dtype, shape))
                buffer = self.buffer(int(np.prod(shape)) * dtype.itemsize)
                made.append(buffer)
                if isinstance(out, np.ndarray):
                    packed = np.ascontiguousarray(out)
                    ctypes.memmove(self.contents(buffer), packed.ctypes.data, packed.nbytes)
                places["Out", i] = (buffer, 0)
            faults = self.buffer(FAULT_BYTES)
            made.append(faults)
            ctypes.memset(self.contents(faults), 0, FAULT_BYTES)
            places["Faults"] = (faults, 0)
            self.encode(dispatches, places, made, repeat)
            if text := fault_text(ctypes.string_at(self.contents(faults), FAULT_BYTES)):
                raise IndexError(text)
            return [
                self.read(places["Out", i][0], dtype, shape)
                for i, (dtype, shape) in enumerate(shapes)
            ]
        finally:
            for buffer in made:
                self.do("release", ctypes.c_void_p(buffer))

    def run_text(self, text, ins, outs, grid, group=(32, 1, 1), more=(), **keywords):
        """Run the first kernel of a source text: buffers are inputs, outputs, then `more`."""
        name = re.search(r"kernel\s+void\s+(\w+)", text)[1]
        arguments = [*map(In, range(len(ins))), *map(Out, range(len(outs))), *more]
        dispatch = Dispatch("", name, arguments, grid, group, source=text, **keywords)
        return self.run([dispatch], ins, outs)

    def read(self, buffer, dtype, shape):
        nbytes = int(np.prod(shape)) * dtype.itemsize
        data = ctypes.string_at(self.contents(buffer), nbytes)
        return np.frombuffer(bytearray(data), dtype).reshape(shape)

    def place(self, argument, places, made):
        if isinstance(argument, In):
            return places["In", argument.index]
        if isinstance(argument, Out):
            return places["Out", argument.index]
        if isinstance(argument, Faults):
            return places["Faults"]
        key = ("Scratch", argument.index)
        if key not in places:
            places[key] = (self.buffer(argument.nbytes), 0)
            made.append(places[key][0])
        return places[key]

    def encode(self, dispatches, places, made, repeat):
        commands = ctypes.c_void_p(self.call("begin", ctypes.c_void_p(self.queue)))
        encoder = ctypes.c_void_p(self.call("encoder", commands))
        former = None
        try:
            for dispatch in [*dispatches] * repeat:
                self.forget(encoder, former, dispatch)
                self.encode_one(encoder, dispatch, places, made)
                former = dispatch
        except Exception:
            self.do("end", encoder)
            self.do("release", encoder)
            self.do("release", commands)
            raise
        self.do("end", encoder)
        self.do("release", encoder)
        self.library.mlxc_metal_commit(commands, None, None)
        self.error.value = b""
        failed = self.library.mlxc_metal_wait(commands, self.error)
        self.seconds = self.library.mlxc_metal_gpu_seconds(commands)
        self.do("release", commands)
        if failed:
            raise MetalError(self.error.value.decode(errors="replace"))

    def forget(self, encoder, former, dispatch):
        """Take back what the dispatch before had and this has not: nothing is inherited."""
        if former is None:
            return
        for index in range(len(dispatch.arguments), len(former.arguments)):
            self.library.mlxc_metal_set_buffer(encoder, None, ctypes.c_size_t(0), index)
        for index in range(len(dispatch.threadgroup), len(former.threadgroup)):
            self.library.mlxc_metal_set_threadgroup_memory(encoder, ctypes.c_size_t(0), index)

    def encode_one(self, encoder, dispatch, places, made):
        source = self.source(dispatch)
        pipeline = self.pipeline(source, dispatch.function, dispatch.constants)
        self.do("set_pipeline", encoder, ctypes.c_void_p(pipeline))
        for index, argument in enumerate(dispatch.arguments):
            if isinstance(argument, Bytes):
                data = bytes(argument.data)
                self.library.mlxc_metal_set_bytes(
                    encoder, data, ctypes.c_size_t(len(data)), ctypes.c_int(index)
                )
                continue
            assert isinstance(argument, In | Out | Scratch | Faults), argument
            buffer, offset = self.place(argument, places, made)
            self.library.mlxc_metal_set_buffer(
                encoder, ctypes.c_void_p(buffer), ctypes.c_size_t(offset), ctypes.c_int(index)
            )
        for index, nbytes in enumerate(dispatch.threadgroup):
            self.library.mlxc_metal_set_threadgroup_memory(
                encoder, ctypes.c_size_t(nbytes), ctypes.c_int(index)
            )
        grid = (ctypes.c_size_t * 3)(*dispatch.grid)
        group = (ctypes.c_size_t * 3)(*dispatch.group)
        name = "dispatch_groups" if dispatch.groups else "dispatch_threads"
        getattr(self.library, f"mlxc_metal_{name}")(encoder, grid, group)

    def info(self):
        info = Info()
        self.library.mlxc_metal_device_info(ctypes.c_void_p(self.handle), ctypes.byref(info))
        return info
