// Switching between stacks: what a call must preserve is pushed, and popped on the other side.
//
// Rules: x86-64 (System V) and aarch64 (AAPCS64) only. `sm_prepare` lays out a fresh stack so that
// switching to it calls the function.
#pragma once

#include <cstdint>
#include <cstring>

extern "C" void sm_switch(void **save, void *to);

#if defined(__x86_64__)
asm(R"(
.text
.globl sm_switch
.hidden sm_switch
.type sm_switch, @function
sm_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
.size sm_switch, . - sm_switch
)");

// Six registers, the address to return to, and an empty return address for the function itself.
static inline void *sm_prepare(char *top, void (*function)()) {
    void **stack = (void **)((uintptr_t)top & ~(uintptr_t)15) - 8;
    memset(stack, 0, 8 * sizeof *stack);
    stack[6] = (void *)function;
    return stack;
}
#elif defined(__aarch64__)
asm(R"(
.text
.globl sm_switch
.hidden sm_switch
.type sm_switch, %function
sm_switch:
    stp x19, x20, [sp, #-160]!
    stp x21, x22, [sp, #16]
    stp x23, x24, [sp, #32]
    stp x25, x26, [sp, #48]
    stp x27, x28, [sp, #64]
    stp x29, x30, [sp, #80]
    stp d8, d9, [sp, #96]
    stp d10, d11, [sp, #112]
    stp d12, d13, [sp, #128]
    stp d14, d15, [sp, #144]
    mov x2, sp
    str x2, [x0]
    mov sp, x1
    ldp x21, x22, [sp, #16]
    ldp x23, x24, [sp, #32]
    ldp x25, x26, [sp, #48]
    ldp x27, x28, [sp, #64]
    ldp x29, x30, [sp, #80]
    ldp d8, d9, [sp, #96]
    ldp d10, d11, [sp, #112]
    ldp d12, d13, [sp, #128]
    ldp d14, d15, [sp, #144]
    ldp x19, x20, [sp], #160
    ret
.size sm_switch, . - sm_switch
)");

// x30, the twelfth register saved, is where the switch returns to.
static inline void *sm_prepare(char *top, void (*function)()) {
    void **stack = (void **)((uintptr_t)top & ~(uintptr_t)15) - 20;
    memset(stack, 0, 20 * sizeof *stack);
    stack[11] = (void *)function;
    return stack;
}
#else
#error "The software Metal knows x86-64 and aarch64."
#endif
