"""The launcher of users' own Metal kernels: on the processor they cannot run."""

from mlxc._graph.kernel import register_python_launcher


def launch_metal_kernel(outs, ins, params):
    (call,) = params
    raise RuntimeError(
        f"[metal_kernel] {call.name!r} came to the processor, with a threadgroup of "
        f"{call.threadgroup}; a stream of the GPU, and no more threads than the kernel's registers "
        "allow, would be right"
    )


register_python_launcher("metal_kernel", launch_metal_kernel)
