// Buffers between guard pages, and what happens when a kernel leaves them.
//
// Rules: a buffer's end lies at a guard page, but for the bytes that align its start to 64; those
// hold a pattern that is looked at after every dispatch. Fresh buffers are filled with 0xff: NaN in
// every floating type. A fault within a kernel becomes its error; any other goes to the handler
// that was there before.
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#include "worker.h"

namespace softmetal {

constexpr size_t guard = 64 << 20, alignment = 64; // address space alone: nobody pays for it
constexpr unsigned char canary = 0xff;

// What sm_device.allocate and .wrap give.
struct Block {
    char *start;
    size_t nbytes;
    char *mapping; // NULL where memory is wrapped
    size_t mapped;
    Span guarded() const {
        return mapping ? Span{mapping, mapping + mapped} : Span{start, start + nbytes};
    }
    char *slack() const { return start + nbytes; }
    size_t slack_size() const { return mapping ? (size_t)(mapping + mapped - guard - slack()) : 0; }
};

static void *fail(char *error, const char *text) {
    snprintf(error, SM_ERROR, "%s", text);
    return nullptr;
}

static size_t round_up(size_t n, size_t unit) { return (n + unit - 1) / unit * unit; }

void *allocate(size_t nbytes, char *error) {
    constexpr size_t page = 4096, poisoned = 64 << 20;
    size_t inner = round_up(nbytes, page), mapped = inner + 2 * guard;
    char *mapping = (char *)mmap(nullptr, mapped, PROT_NONE,
                                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (mapping == MAP_FAILED || mprotect(mapping + guard, inner, PROT_READ | PROT_WRITE))
        return fail(error, "no memory for the buffer");
    char *start = mapping + guard + inner - round_up(nbytes, alignment);
    Block *memory = new Block{start, nbytes, mapping, mapped};
    // Large ones at both ends only: their pages need not all exist.
    if (nbytes <= poisoned) {
        memset(start, 0xff, nbytes);
    } else {
        memset(start, 0xff, poisoned / 2);
        memset(memory->slack() - poisoned / 2, 0xff, poisoned / 2);
    }
    memset(memory->slack(), canary, memory->slack_size());
    return memory;
}

void *wrap(void *pages, size_t nbytes, char *) {
    return new Block{(char *)pages, nbytes, nullptr, 0};
}

void release(void *given) {
    Block *memory = (Block *)given;
    if (memory->mapping)
        munmap(memory->mapping, memory->mapped);
    delete memory;
}

void *contents(void *memory) { return ((Block *)memory)->start; }

Span span_of(void *given) {
    Block *memory = (Block *)given;
    return {memory->start, memory->start + memory->nbytes};
}

int check_canaries(const sm_dispatch &d, char *error) {
    for (unsigned i = 0; i < SM_BUFFERS; i++) {
        Block *memory = (Block *)d.owners[i];
        for (size_t k = 0; memory && k < memory->slack_size(); k++)
            if ((unsigned char)memory->slack()[k] != canary) {
                memory->slack()[k] = (char)canary;
                snprintf(error, SM_ERROR,
                         "kernel %s: buffer %u was written past its end: byte %zu of %zu",
                         ((const Kernel *)d.kernel)->name, i, memory->nbytes + k, memory->nbytes);
                return 1;
            }
    }
    return 0;
}

// Buffers that are not bound: addresses without memory, from which the number can be told.

constexpr size_t unbound_size = (size_t)8 << 30; // bytes an argument

static char *unbound_region() {
    static char *const region = (char *)mmap(nullptr, (SM_BUFFERS + 1) * unbound_size, PROT_NONE,
                                             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return region;
}

void *unbound_address(unsigned index) {
    char *region = unbound_region();
    return region == MAP_FAILED ? nullptr : region + index * unbound_size + unbound_size / 2;
}

int unbound_index(const void *address) {
    char *region = unbound_region();
    if (region == MAP_FAILED || (char *)address < region ||
        (char *)address >= region + SM_BUFFERS * unbound_size)
        return -1;
    return (int)((size_t)((char *)address - region) / unbound_size);
}

// "buffer 2, 4 bytes past its end (of 4096)", for whatever a kernel touches.
const char *describe_address(const void *given, char *text, size_t size) {
    const char *address = (const char *)given;
    int unbound = unbound_index(address);
    if (unbound >= 0) {
        snprintf(text, size, "buffer %d, which is not bound", unbound);
        return text;
    }
    const sm_dispatch &d = *worker->dispatch;
    for (unsigned i = 0; i < SM_BUFFERS; i++) {
        if (!d.owners[i])
            continue;
        Block *memory = (Block *)d.owners[i];
        Span span = memory->guarded();
        if (address < span.start || address >= span.end)
            continue;
        long at = address - memory->start, end = (long)memory->nbytes;
        if (at >= end)
            snprintf(text, size, "buffer %u past its end: byte %ld of %ld", i, at, end);
        else if (at < 0)
            snprintf(text, size, "buffer %u before its start: byte %ld of %ld", i, at, end);
        else
            snprintf(text, size, "buffer %u, byte %ld of %ld", i, at, end);
        return text;
    }
    for (unsigned i = 0; i < SM_BUFFERS; i++) {
        const char *bytes = (const char *)d.buffers[i];
        if (!d.owners[i] && bytes && address >= bytes && address < bytes + SM_BYTES) {
            snprintf(text, size, "the bytes of argument %u, byte %ld of %lu", i,
                     (long)(address - bytes), (unsigned long)d.lengths[i]);
            return text;
        }
    }
    for (const Fiber *fiber : worker->fibers)
        if (address >= fiber->stack - stack_guard && address < fiber->stack) {
            snprintf(text, size, "beyond the stack of a thread (%zu bytes)", stack_size);
            return text;
        }
    if (address >= worker->arena && address < worker->arena + arena_size)
        snprintf(text, size, "threadgroup memory outside its arrays");
    else
        snprintf(text, size, "address %p, outside every buffer", given);
    return text;
}

// Faults

static struct sigaction former[3];
static const int signals[3] = {SIGSEGV, SIGBUS, SIGFPE};

static const char *access_of(void *context) {
#if defined(__x86_64__)
    bool write = ((ucontext_t *)context)->uc_mcontext.gregs[REG_ERR] & 2;
    return write ? "writes" : "reads";
#else
    (void)context;
    return "touches";
#endif
}

static void on_fault(int signal, siginfo_t *info, void *context) {
    if (worker) {
        char text[200];
        if (signal == SIGFPE)
            fault("integer division by zero, which Metal leaves undefined");
        fault("%s %s", access_of(context), describe_address(info->si_addr, text, sizeof text));
    }
    for (int i = 0; i < 3; i++)
        if (signals[i] == signal) {
            if (former[i].sa_flags & SA_SIGINFO)
                former[i].sa_sigaction(signal, info, context);
            else if (former[i].sa_handler != SIG_DFL && former[i].sa_handler != SIG_IGN)
                former[i].sa_handler(signal);
            else
                sigaction(signal, &former[i], nullptr); // and it comes again
        }
}

// Ours must be the first handler; one installed since then comes after.
void install_fault_handler() {
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static thread_local char *stack;
    if (!stack) {
        constexpr size_t size = 64 * 1024;
        stack = (char *)malloc(size);
        stack_t given = {};
        given.ss_sp = stack;
        given.ss_size = size;
        sigaltstack(&given, nullptr);
    }
    pthread_mutex_lock(&lock);
    for (int i = 0; i < 3; i++) {
        struct sigaction present, ours = {};
        sigaction(signals[i], nullptr, &present);
        if ((present.sa_flags & SA_SIGINFO) && present.sa_sigaction == on_fault)
            continue;
        former[i] = present;
        ours.sa_sigaction = on_fault;
        ours.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
        sigaction(signals[i], &ours, nullptr);
    }
    pthread_mutex_unlock(&lock);
}

} // namespace softmetal
