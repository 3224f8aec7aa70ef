"""Convolutions over images. Each framework has its images in the order that it prefers."""

from .registry import benchmarks, case, normal


def with_torch(images, weights, **options):
    """A stateful function of PyTorch, whose images have their channels last in memory."""

    def make(torch, x, w):
        layout = torch.channels_last
        x = x.permute(0, 3, 1, 2).contiguous(memory_format=layout)
        w = w.permute(0, 3, 1, 2).contiguous(memory_format=layout)
        return lambda: torch.nn.functional.conv2d(x, w, **options)

    return make


def with_jax(stride=1, padding=1, groups=1):
    def make(np, x, w):
        import jax

        w = np.transpose(w, (1, 2, 3, 0))
        apply = jax.jit(
            lambda x, w: jax.lax.conv_general_dilated(
                x,
                w,
                (stride, stride),
                [(padding, padding)] * 2,
                dimension_numbers=("NHWC", "HWIO", "NHWC"),
                feature_group_count=groups,
            )
        )
        return lambda: apply(x, w)

    return make


def declare(name, images, weights, stride=1, padding=1, groups=1, **options):
    case(
        f"conv.{name}",
        normal(images, weights),
        stateful=True,
        mlx=lambda mx, x, w: lambda: mx.conv2d(x, w, stride=stride, padding=padding, groups=groups),
        torch=with_torch(images, weights, stride=stride, padding=padding, groups=groups),
        jax=with_jax(stride, padding, groups),
        **options,
    )


declare("3x3 64 to 64, 4x56x56", (4, 56, 56, 64), (64, 3, 3, 64), quick=True)
declare("7x7 3 to 64, 4x112x112", (4, 112, 112, 3), (64, 7, 7, 3), stride=2, padding=3)
declare("1x1 256 to 64, 4x28x28", (4, 28, 28, 256), (64, 1, 1, 256), padding=0)
declare("depthwise 3x3 64, 4x56x56", (4, 56, 56, 64), (64, 3, 3, 1), groups=64)


def torch_gradient(torch, x, w):
    x = x.permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)
    w = w.permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last).requires_grad_()

    def step():
        loss = torch.nn.functional.conv2d(x, w, padding=1).square().sum()
        return torch.autograd.grad(loss, w)

    return step


case(
    "conv.gradient 3x3 16 to 32, 32x28x28",
    normal((32, 28, 28, 16), (32, 3, 3, 16)),
    stateful=True,
    mlx=lambda mx, x, w: lambda: mx.grad(lambda w: mx.conv2d(x, w, padding=1).square().sum())(w),
    torch=torch_gradient,
)

test_speed = benchmarks(__name__)
