# cython: wraparound=True
"""Dispatches made ready to be encoded at every run, when only addresses differ.

Rules: everything is looked up and checked before the first dispatch of a step is encoded, so that a
step is sent whole or not at all; encoding needs no Python. What a launcher or a printed program
declines runs on the processor, on the same memory.
"""

import os
from math import prod

from libc.stdlib cimport calloc, free
from libc.string cimport memset

from mlxc._graph.program cimport Backend, Executable, Program, set_device_backend
from mlxc._memory.buffer cimport Buffer, new_buffer
from mlxc._memory.regions cimport region_of
from mlxc._metal.shim cimport (
    MLXC_METAL_ERROR, Device, Pipeline, device, dispatch, set_buffer, set_bytes, set_pipeline,
    set_threadgroup_memory,
)

from mlxc._table.dtypes import DTYPES

from . import programs
from .dispatch import FAULT_BYTES, LAUNCHERS, Bytes, Faults, In, Operand, Scratch, fault_text
from .pipelines import Pipelines

DEBUG = int(os.environ.get("MLXC_DEBUG", "0") or 0)

cdef enum:
    MOST_THREADGROUP_MEMORY = 31   # arguments

cdef struct Argument:
    int place            # among the work's places, or -1: bytes
    Py_ssize_t offset    # bytes
    const char* data     # bytes, kept by the work
    size_t nbytes

cdef struct Command:     # one dispatch
    int first            # of its arguments
    int count
    size_t[3] grid
    size_t[3] group
    bint groups
    int threadgroup      # arguments of threadgroup memory
    size_t[MOST_THREADGROUP_MEMORY] threadgroup_bytes

cdef struct Place:       # a slot that dispatches read or write
    int slot             # -1: the record of faults
    void* handle
    size_t offset        # bytes, of the slot in the handle


cdef class Work(Executable):
    """The dispatches of one step."""

    cdef Device device
    cdef list pipelines          # Pipeline of each command
    cdef void** handles          # borrowed Pipelines, for use without the GIL
    cdef Command* commands
    cdef int ncommands
    cdef Argument* arguments
    cdef Place* places
    cdef int nplaces
    cdef list kept               # bytes that arguments point to
    cdef list scratch_places     # place of each scratch slot
    cdef Buffer faults           # the back end's, or None: no kernel reports any

    def __dealloc__(self):
        free(self.handles)
        free(self.commands)
        free(self.arguments)
        free(self.places)

    cdef int take_scratch(self, list slots) except -1:
        for place, slot in zip(self.scratch_places, slots):
            self.places[<int>place].slot = slot
        return 0

    cdef int run(self, char** slots) noexcept nogil:
        cdef char[MLXC_METAL_ERROR] error
        cdef Place* place
        cdef void* encoder
        cdef char* address
        cdef int k
        if not self.device.usable():
            return refuse_after_fork(self.device)
        for k in range(self.nplaces):
            place = &self.places[k]
            error[0] = 0
            address = slots[place.slot] if place.slot >= 0 else self.faults.data
            if region_of(address, &place.handle, &place.offset, error):
                self.device.keep_error(error)
                return 2
        for k in range(self.ncommands):
            encoder = self.device.open()
            if encoder == NULL:
                return 2
            self.encode(encoder, k)
            self.device.count_dispatch(self.handles[k])
            if self.commands[k].threadgroup:
                self.device.close()    # lengths stay set in an encoder
        return 0

    cdef void encode(self, void* encoder, int k) noexcept nogil:
        cdef Command* command = &self.commands[k]
        cdef Argument* argument
        cdef Place* place
        cdef int i
        set_pipeline(encoder, <Pipeline>self.handles[k])
        for i in range(command.count):
            argument = &self.arguments[command.first + i]
            if argument.place < 0:
                set_bytes(encoder, argument.data, argument.nbytes, i)
            else:
                place = &self.places[argument.place]
                set_buffer(encoder, place.handle, place.offset + argument.offset, i)
        for i in range(command.threadgroup):
            set_threadgroup_memory(encoder, command.threadgroup_bytes[i], i)
        dispatch(encoder, command.grid, command.group, command.groups)


cdef int refuse_after_fork(Device metal) noexcept nogil:
    with gil:
        try:
            metal.check()
        except RuntimeError as error:
            text = str(error).encode() + b"\0"
            metal.keep_error(text)
    return 2


cdef void* zeroed(size_t count, size_t size) except NULL:
    cdef void* memory = calloc(count + 1, size)
    if memory == NULL:
        raise MemoryError()
    return memory


cdef Work make_work(Device metal, pipelines, list dispatches, list ins, list outs):
    """The work of dispatches whose In(k) and Out(k) are (slot, offset) pairs, or None where a
    threadgroup is larger than its pipeline allows."""
    cdef Work work = Work.__new__(Work)
    cdef Command* command
    cdef int k, axis, count = 0
    dispatches = [each for each in dispatches if 0 not in each.grid]
    work.device = metal
    work.on_device = True
    work.kept = []
    work.scratch = []
    work.scratch_places = []
    work.alignment = {}
    work.pipelines = [
        pipelines.get(each.file, each.source, each.function, each.constants, each.fast_math)
        for each in dispatches
    ]
    work.ncommands = len(dispatches)
    work.handles = <void**>zeroed(work.ncommands, sizeof(void*))
    work.commands = <Command*>zeroed(work.ncommands, sizeof(Command))
    work.arguments = <Argument*>zeroed(sum([len(each.arguments) for each in dispatches]),
                                       sizeof(Argument))
    places = {}
    for k, each in enumerate(dispatches):
        if prod(each.group) > work.pipelines[k].max_threads:
            return None
        work.handles[k] = <void*><Pipeline>work.pipelines[k]
        command = &work.commands[k]
        for axis in range(3):
            command.grid[axis] = each.grid[axis]
            command.group[axis] = each.group[axis]
        command.groups = each.groups
        command.threadgroup = len(each.threadgroup)
        for axis in range(command.threadgroup):
            command.threadgroup_bytes[axis] = each.threadgroup[axis]
        command.first = count
        command.count = len(each.arguments)
        for argument in each.arguments:
            fill_argument(work, &work.arguments[count], argument, places, ins, outs)
            count += 1
    work.nplaces = len(places)
    work.places = <Place*>zeroed(work.nplaces, sizeof(Place))
    for key, k in places.items():
        if isinstance(key, int):
            work.places[k].slot = key
        elif isinstance(key, Faults):
            work.places[k].slot = -1
    work.scratch_places = [k for key, k in places.items() if isinstance(key, Scratch)]
    work.scratch = [key.nbytes for key in places if isinstance(key, Scratch)]
    return work


cdef int fill_argument(Work work, Argument* argument, given, dict places, list ins,
                       list outs) except -1:
    if isinstance(given, Bytes):
        work.kept.append(given.data)
        argument.place = -1
        argument.data = <const char*>given.data
        argument.nbytes = len(given.data)
        return 0
    if isinstance(given, (Scratch, Faults)):
        key = given
    else:
        key, argument.offset = (ins if isinstance(given, In) else outs)[given.index]
    argument.place = places.setdefault(key, len(places))
    return 0


cdef class MetalBackend(Backend):
    """Programs and rows on the device."""

    cdef Device device
    cdef object pipelines
    cdef Buffer faults           # FAULT_BYTES that kernels write to, zeros while all is well

    cdef Executable lower(self, Program program):
        dispatches = programs.dispatches(program)
        if dispatches is None:
            return None
        if DEBUG >= 3:
            for each in dispatches:
                print(each.source or f"{each.file}.{each.function}")
        loads = [value for value in program.values if value[0] == "load"]
        ins = [(slot, offset) for _, _, slot, offset, _ in loads]
        outs = [(slot, 0) for _, _, slot, _ in program.outputs]
        work = make_work(self.device, self.pipelines, dispatches, ins, outs)
        if work is not None:
            work.work = program.work
            for _, dtype, slot, _, _ in loads:
                align(work, slot, dtype)
        return work

    cdef Executable kernel(self, str name, object params, list inputs, list outputs):
        launcher = LAUNCHERS.get(name)
        if launcher is None:
            return None
        operands = [operand_of(*each) for each in inputs + outputs]
        if None in operands:
            return None
        dispatches = launcher(operands[:len(inputs)], operands[len(inputs):], params)
        if dispatches is None:
            return None
        work = make_work(self.device, self.pipelines, list(dispatches),
                         [(slot, offset) for slot, offset, _, _, _ in inputs],
                         [(slot, offset) for slot, offset, _, _, _ in outputs])
        if work is not None:
            work.faults = self.faults
            work.work = sum([operand.size for operand in operands])
            for slot, _, dtype, _, _ in inputs:
                align(work, slot, dtype)
        return work

    cdef int wait(self) except -1:
        with nogil:
            self.device.finish()
        if self.device.failed:
            memset(self.faults.data, 0, FAULT_BYTES)
            raise RuntimeError(self.complaint())
        if self.faults.data[0]:
            fault = fault_text(self.faults.data[:FAULT_BYTES])
            memset(self.faults.data, 0, FAULT_BYTES)
            raise IndexError(fault)
        return 0

    cdef str complaint(self):
        return self.device.take_error()


cdef int align(Work work, int slot, int dtype) except -1:
    work.alignment[slot] = max(work.alignment.get(slot, 1), DTYPES[dtype].size)
    return 0


def operand_of(slot, offset, dtype, shape, strides):
    """What launchers see of an operand; None where its address is no multiple of its size."""
    fact = DTYPES[dtype]
    if offset % fact.size:
        return None
    return Operand(fact.name, shape, strides, fact.size)


def offer_device():
    """Let the graph use the device; False where there is none."""
    cdef MetalBackend backend
    if device() is None:
        return False
    backend = MetalBackend.__new__(MetalBackend)
    backend.device = device()
    backend.pipelines = Pipelines(backend.device)
    backend.faults = new_buffer(FAULT_BYTES)
    memset(backend.faults.data, 0, FAULT_BYTES)
    set_device_backend(backend)
    return True
