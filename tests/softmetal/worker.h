// One processor thread that runs threadgroups, and what it knows while it does.
//
// Rules: shared by runtime.cc (scheduling), memory.cc (buffers, faults) and shadow.cc (check mode);
// everything here belongs to the thread whose `worker` it is.
#pragma once

#include <setjmp.h>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "compat/abi.h"
#include "runtime.h"

namespace softmetal {

struct Fiber {
    void *stack_pointer;
    char *stack; // lowest address, above its guard page
    unsigned thread;
};

// Barriers passed, counted by the memory that they order.
struct Epoch {
    uint32_t device, threadgroup;
};

struct Simdgroup {
    unsigned live, arrived, waiting;
    int operation;
    unsigned generation; // of meetings: slots alternate, so that nobody is overtaken
    int memory;          // ordered by the barrier under way
    Epoch epoch;
    void (*combine)(Slots &);
    Fiber *fibers[32];
    Slots slots[2];
};

// A threadgroup array, static or dynamic, within the arena.
struct Array {
    const char *name; // NULL: not yet asked for by this threadgroup
    char *start;
    size_t nbytes;
};

constexpr size_t arena_size = 2 * SM_THREADGROUP_MEMORY;         // with red zones around arrays
constexpr size_t stack_size = 192 * 1024, stack_guard = 1 << 20; // of a fiber
constexpr unsigned max_arrays = 64;

struct Worker {
    const sm_dispatch *dispatch;
    Launch launch;
    const Kernel *kernel;
    uint32_t group; // flat number
    unsigned count, next, done, live, arrived;
    int memory; // ordered by the threadgroup barrier under way
    Epoch epoch;
    unsigned simdgroups;
    Fiber *current;
    void *scheduler; // stack pointer
    std::vector<Fiber *> fibers, idle, ready, waiting;
    size_t ready_head;
    Simdgroup simd[SM_THREADS / 32];
    Thread threads[SM_THREADS];
    char *arena;
    size_t arena_used, threadgroup_used;
    Array arrays[max_arrays], dynamic[SM_BUFFERS];
    sigjmp_buf recovery;
    char *error; // SM_ERROR bytes; empty while all is well
};

extern thread_local Worker *worker; // NULL outside kernels

// Leaves the kernel with a sentence; the first of a dispatch is kept.
[[noreturn]] void fault(const char *format, ...) __attribute__((format(printf, 1, 2)));
bool checking();

// memory.cc
void install_fault_handler();
void *unbound_address(unsigned index);
int unbound_index(const void *address); // -1 if it is no unbound buffer's
const char *describe_address(const void *address, char *text, size_t size);
int check_canaries(const sm_dispatch &dispatch, char *error);
struct Span {
    char *start, *end;
};
Span span_of(void *memory); // of what sm_device.allocate gave

// shadow.cc
void shadow_begin_dispatch(const sm_dispatch &dispatch);
void shadow_begin_group(Worker &worker);

} // namespace softmetal
