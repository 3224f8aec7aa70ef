// Runs kernels on the processor: threadgroups on a pool of threads, their threads as fibers.
//
// Rules: a fiber runs thread after thread of its threadgroup until one waits; then another fiber
// takes over. So a kernel that never synchronises is a plain loop on one fiber, and one that uses
// simd functions needs 32. A fault leaves all fibers where they are and ends the dispatch.
#include <dlfcn.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include <algorithm>
#include <atomic>
#include <memory>

#include "switch.h"
#include "worker.h"

namespace softmetal {

thread_local Worker *worker;

static bool flag(const char *name) {
    const char *value = getenv(name);
    return value && *value && strcmp(value, "0") != 0;
}

bool checking() {
    static const bool check = flag("MLXC_SOFTMETAL_CHECK");
    return check;
}

[[noreturn]] void fault(const char *format, ...) {
    Worker &w = *worker;
    if (!w.error[0]) {
        const Thread &t = w.threads[w.current ? w.current->thread : 0];
        int head = snprintf(w.error, SM_ERROR, "kernel %s: ", w.kernel->name);
        va_list arguments;
        va_start(arguments, format);
        head += vsnprintf(w.error + head, SM_ERROR - head, format, arguments);
        va_end(arguments);
        if (head < SM_ERROR)
            snprintf(w.error + head, SM_ERROR - head,
                     "; thread (%u, %u, %u) of threadgroup (%u, %u, %u)", t.in_group.x,
                     t.in_group.y, t.in_group.z, t.group.x, t.group.y, t.group.z);
    }
    siglongjmp(w.recovery, 1);
}

// Fibers

static void finish_thread(Worker &w, unsigned thread);

static void fiber_main() {
    for (;;) {
        Worker &w = *worker;
        Fiber *self = w.current;
        while (w.next < w.count) {
            unsigned thread = self->thread = w.next++;
            w.kernel->run(w.launch, w.threads[thread]);
            finish_thread(w, thread);
        }
        w.idle.push_back(self);
        sm_switch(&self->stack_pointer, w.scheduler);
    }
}

static Fiber *new_fiber(Worker &w) {
    char *memory = (char *)mmap(nullptr, stack_size + stack_guard, PROT_READ | PROT_WRITE,
                                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED)
        fault("no memory for the stacks of its threads");
    mprotect(memory, stack_guard, PROT_NONE);
    Fiber *fiber = new Fiber{nullptr, memory + stack_guard, 0};
    w.fibers.push_back(fiber);
    return fiber;
}

static void start_over(Fiber *fiber) {
    fiber->stack_pointer = sm_prepare(fiber->stack + stack_size, fiber_main);
}

static Fiber *take_fiber(Worker &w) {
    if (w.idle.empty()) {
        Fiber *fiber = new_fiber(w);
        start_over(fiber);
        return fiber;
    }
    Fiber *fiber = w.idle.back();
    w.idle.pop_back();
    return fiber;
}

static void wait(Worker &w) {
    Fiber *self = w.current;
    sm_switch(&self->stack_pointer, w.scheduler);
}

// Meetings of a simdgroup, barriers of a threadgroup

enum { barrier_operation = -1 };

static void release_simdgroup(Worker &w, Simdgroup &s) {
    if (s.operation == barrier_operation) {
        s.epoch.device += (s.memory & device_memory) != 0;
        s.epoch.threadgroup += (s.memory & threadgroup_memory) != 0;
    } else {
        s.combine(s.slots[s.generation & 1]);
    }
    s.generation++;
    s.slots[s.generation & 1].active = 0;
    s.arrived = 0;
    w.ready.insert(w.ready.end(), s.fibers, s.fibers + s.waiting);
    s.waiting = 0;
}

static void arrive_in_simdgroup(Worker &w, Simdgroup &s, int operation) {
    if (s.arrived == 0)
        s.operation = operation;
    else if (s.operation != operation)
        fault("divergent synchronisation: lanes of one simdgroup are at different operations");
    if (++s.arrived == s.live) {
        release_simdgroup(w, s);
        return;
    }
    s.fibers[s.waiting++] = w.current;
    wait(w);
}

static void release_threadgroup(Worker &w) {
    w.epoch.device += (w.memory & device_memory) != 0;
    w.epoch.threadgroup += (w.memory & threadgroup_memory) != 0;
    w.arrived = 0;
    w.ready.insert(w.ready.end(), w.waiting.begin(), w.waiting.end());
    w.waiting.clear();
}

static void finish_thread(Worker &w, unsigned thread) {
    Simdgroup &s = w.simd[thread / 32];
    w.done++;
    w.live--;
    if (w.arrived)
        fault("divergent synchronisation: it returned while %u threads wait at "
              "threadgroup_barrier",
              w.arrived);
    if (--s.live && s.arrived == s.live)
        release_simdgroup(w, s);
}

[[noreturn]] static void deadlock(Worker &w) {
    unsigned lanes = 0;
    for (unsigned i = 0; i < w.simdgroups; i++)
        lanes += w.simd[i].waiting;
    if (!w.waiting.empty())
        w.current = w.waiting[0];
    fault("divergent synchronisation: %u threads wait at threadgroup_barrier, %u at a simdgroup "
          "function or barrier, %u have returned",
          w.arrived, lanes, w.done);
}

// Threadgroups

static Size group_size(const sm_dispatch &d, Size at) {
    auto left = [](uint64_t all, uint64_t size, uint64_t index) {
        return (unsigned)std::min(size, all - index * size);
    };
    return {left(d.grid[0], d.group[0], at.x), left(d.grid[1], d.group[1], at.y),
            left(d.grid[2], d.group[2], at.z)};
}

static void place_threads(Worker &w, Size at, Size size) {
    const Size &full = w.launch.group;
    unsigned i = 0;
    for (unsigned z = 0; z < size.z; z++)
        for (unsigned y = 0; y < size.y; y++)
            for (unsigned x = 0; x < size.x; x++, i++) {
                Thread &t = w.threads[i];
                t.in_grid = {at.x * full.x + x, at.y * full.y + y, at.z * full.z + z};
                t.group = at;
                t.in_group = {x, y, z};
                t.group_size = size;
                t.index = i;
                t.lane = i % 32;
                t.simdgroup = i / 32;
                t.simdgroups = w.simdgroups;
            }
}

// Memory of a threadgroup, between red zones, filled with NaN.
static void take_arena(Worker &w, Array &array, size_t nbytes, size_t alignment, const char *name) {
    constexpr size_t red_zone = 64;
    w.threadgroup_used += nbytes;
    if (w.threadgroup_used > SM_THREADGROUP_MEMORY)
        fault("%zu bytes of threadgroup memory; at most %d", w.threadgroup_used,
              SM_THREADGROUP_MEMORY);
    size_t start = (w.arena_used + red_zone + alignment - 1) / alignment * alignment;
    w.arena_used = start + (nbytes + 15) / 16 * 16;
    array = {name, w.arena + start, nbytes};
    memset(array.start, 0xff, nbytes);
}

static void begin_group(Worker &w, uint32_t number) {
    const Size &groups = w.launch.groups;
    Size at = {number % groups.x, number / groups.x % groups.y, number / groups.x / groups.y};
    Size size = group_size(*w.dispatch, at);
    w.group = number;
    w.count = w.live = size.x * size.y * size.z;
    w.simdgroups = (w.count + 31) / 32;
    w.next = w.done = w.arrived = 0;
    w.epoch = {0, 0};
    for (unsigned i = 0; i < w.simdgroups; i++) {
        Simdgroup &s = w.simd[i];
        s.live = std::min(32u, w.count - 32 * i);
        s.arrived = s.waiting = s.generation = 0;
        s.epoch = {0, 0};
        s.slots[0].active = 0;
    }
    place_threads(w, at, size);
    w.arena_used = w.threadgroup_used = 0;
    for (Array &array : w.arrays)
        array.name = nullptr;
    for (unsigned i = 0; i < SM_BUFFERS; i++)
        if (w.dispatch->threadgroup[i]) {
            take_arena(w, w.dynamic[i], w.dispatch->threadgroup[i], 64, "[[threadgroup]]");
            w.launch.threadgroup[i] = w.dynamic[i].start;
        }
    if (checking())
        shadow_begin_group(w);
}

static void run_group(Worker &w, uint32_t number) {
    begin_group(w, number);
    while (w.done < w.count) {
        if (w.ready_head < w.ready.size()) {
            w.current = w.ready[w.ready_head++];
            if (w.ready_head == w.ready.size()) {
                w.ready.clear();
                w.ready_head = 0;
            }
        } else if (w.next < w.count) {
            w.current = take_fiber(w);
        } else {
            deadlock(w);
        }
        sm_switch(&w.scheduler, w.current->stack_pointer);
    }
    w.current = nullptr;
}

// One dispatch

struct Job {
    const sm_dispatch *dispatch;
    const Kernel *kernel;
    uint32_t groups;
    std::atomic<uint32_t> next{0}, failed{0};
    char error[SM_ERROR] = "";
};

static Worker &own_worker() {
    static thread_local Worker *own;
    if (!own) {
        own = new Worker();
        own->arena = (char *)mmap(nullptr, arena_size, PROT_READ | PROT_WRITE,
                                  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    }
    return *own;
}

static void bind(Worker &w, const sm_dispatch &d) {
    Launch &l = w.launch;
    for (unsigned i = 0; i < SM_BUFFERS; i++) {
        l.buffers[i] = d.buffers[i] ? d.buffers[i] : unbound_address(i);
        l.lengths[i] = d.lengths[i];
        l.threadgroup[i] = unbound_address(i);
    }
    auto parts = [&](int i) { return (unsigned)((d.grid[i] + d.group[i] - 1) / d.group[i]); };
    l.threads = {(unsigned)d.grid[0], (unsigned)d.grid[1], (unsigned)d.grid[2]};
    l.group = {(unsigned)d.group[0], (unsigned)d.group[1], (unsigned)d.group[2]};
    l.groups = {parts(0), parts(1), parts(2)};
}

// After a fault no fiber is where it should be.
static void collect_fibers(Worker &w) {
    w.ready.clear();
    w.waiting.clear();
    w.ready_head = 0;
    w.idle = w.fibers;
    for (Fiber *fiber : w.fibers)
        start_over(fiber);
}

static void work(Job &job) {
    static thread_local char error[SM_ERROR];
    Worker &w = own_worker();
    install_fault_handler();
    error[0] = 0;
    w.error = error;
    w.dispatch = job.dispatch;
    w.kernel = job.kernel;
    bind(w, *job.dispatch);
    worker = &w;
    if (sigsetjmp(w.recovery, 1) == 0) {
        while (!job.failed) {
            uint32_t number = job.next++;
            if (number >= job.groups)
                break;
            run_group(w, number);
        }
    } else {
        collect_fibers(w);
        if (job.failed++ == 0)
            memcpy(job.error, error, SM_ERROR);
    }
    worker = nullptr;
}

// The pool: threads that help with the job of the hour. Anew in the child of a fork.
static struct {
    pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    pthread_cond_t begun = PTHREAD_COND_INITIALIZER, ended = PTHREAD_COND_INITIALIZER;
    Job *job = nullptr;
    uint64_t number = 0; // of jobs so far
    int threads = 0, busy = 0;
} pool;

static void *help(void *) {
    uint64_t seen = 0;
    pthread_mutex_lock(&pool.lock);
    for (;;) {
        while (!pool.job || pool.number == seen)
            pthread_cond_wait(&pool.begun, &pool.lock);
        seen = pool.number;
        Job *job = pool.job;
        pool.busy++;
        pthread_mutex_unlock(&pool.lock);
        work(*job);
        pthread_mutex_lock(&pool.lock);
        if (--pool.busy == 0)
            pthread_cond_broadcast(&pool.ended);
    }
}

static int processors() {
    const char *wanted = getenv("MLXC_SOFTMETAL_THREADS");
    if (wanted)
        return std::max(1, atoi(wanted));
    cpu_set_t set;
    return sched_getaffinity(0, sizeof set, &set) ? 1 : CPU_COUNT(&set);
}

static void pool_after_fork() {
    pthread_mutex_init(&pool.lock, nullptr);
    pthread_cond_init(&pool.begun, nullptr);
    pthread_cond_init(&pool.ended, nullptr);
    pool.job = nullptr;
    pool.threads = pool.busy = 0;
}

static void summon(Job &job) {
    static const int wanted = processors() - 1;
    static const int registered = pthread_atfork(nullptr, nullptr, pool_after_fork);
    (void)registered;
    pthread_mutex_lock(&pool.lock);
    for (pthread_t thread; pool.threads < wanted; pool.threads++) {
        if (pthread_create(&thread, nullptr, help, nullptr))
            break;
        pthread_detach(thread);
    }
    pool.job = &job;
    pool.number++;
    pthread_cond_broadcast(&pool.begun);
    pthread_mutex_unlock(&pool.lock);
}

static void dismiss() {
    pthread_mutex_lock(&pool.lock);
    pool.job = nullptr;
    while (pool.busy)
        pthread_cond_wait(&pool.ended, &pool.lock);
    pthread_mutex_unlock(&pool.lock);
}

static int run_dispatch(const sm_dispatch &d, char *error) {
    Job job;
    job.dispatch = &d;
    job.kernel = (const Kernel *)d.kernel;
    uint64_t groups = 1;
    for (int i = 0; i < 3; i++) {
        groups *= (d.grid[i] + d.group[i] - 1) / d.group[i];
        if (d.grid[i] > UINT32_MAX || groups > UINT32_MAX) {
            snprintf(error, SM_ERROR, "kernel %s: more than 2^32 threads along an axis, or groups",
                     job.kernel->name);
            return 1;
        }
    }
    job.groups = (uint32_t)groups;
    if (checking()) {
        // One processor: what is found then does not depend on chance.
        shadow_begin_dispatch(d);
        work(job);
    } else if (groups == 1 || groups * d.group[0] * d.group[1] * d.group[2] < 2048) {
        work(job); // quicker than waking others
    } else {
        summon(job);
        work(job);
        dismiss();
    }
    if (job.failed)
        memcpy(error, job.error, SM_ERROR);
    return job.failed || check_canaries(d, error);
}

int run_dispatches(const sm_dispatch *dispatches, size_t count, double *seconds, char *error) {
    static pthread_mutex_t one_at_a_time = PTHREAD_MUTEX_INITIALIZER;
    timespec start, end;
    int failed = 0;
    pthread_mutex_lock(&one_at_a_time);
    clock_gettime(CLOCK_MONOTONIC, &start);
    for (size_t i = 0; i < count && !failed; i++)
        failed = run_dispatch(dispatches[i], error);
    clock_gettime(CLOCK_MONOTONIC, &end);
    pthread_mutex_unlock(&one_at_a_time);
    *seconds = (double)(end.tv_sec - start.tv_sec) + 1e-9 * (double)(end.tv_nsec - start.tv_nsec);
    return failed;
}

} // namespace softmetal

// What kernels call

using namespace softmetal;

extern "C" void sm_meet(int operation, const void *in, unsigned in_size, void *out,
                        unsigned out_size, void (*combine)(Slots &)) {
    Worker &w = *worker;
    const Thread &t = w.threads[w.current->thread];
    Simdgroup &s = w.simd[t.simdgroup];
    Slots &slots = s.slots[s.generation & 1];
    memcpy(slots.in[t.lane], in, in_size);
    slots.active |= 1u << t.lane;
    s.combine = combine;
    arrive_in_simdgroup(w, s, operation);
    memcpy(out, slots.out[t.lane], out_size);
}

extern "C" void sm_barrier(int scope, int memory) {
    Worker &w = *worker;
    if (scope == simdgroup_scope) {
        Simdgroup &s = w.simd[w.threads[w.current->thread].simdgroup];
        s.memory = s.arrived ? s.memory & memory : memory;
        arrive_in_simdgroup(w, s, barrier_operation);
        return;
    }
    if (w.live < w.count)
        fault("divergent synchronisation: threadgroup_barrier, while %u threads have returned",
              w.count - w.live);
    w.memory = w.arrived ? w.memory & memory : memory;
    if (++w.arrived == w.live) {
        release_threadgroup(w);
        return;
    }
    w.waiting.push_back(w.current);
    wait(w);
}

extern "C" void *sm_threadgroup_array(unsigned number, unsigned long nbytes,
                                      unsigned long alignment, const char *name) {
    Worker &w = *worker;
    if (number >= max_arrays)
        fault("more than %u threadgroup arrays", max_arrays);
    Array &array = w.arrays[number];
    if (!array.name)
        take_arena(w, array, nbytes, std::max(alignment, 16ul), name);
    return array.start;
}

extern "C" void sm_fault(const char *text) { fault("%s", text); }

extern "C" unsigned sm_lane_index() { return worker->threads[worker->current->thread].lane; }
