"""Convolutions over images. Each framework has its images in the order that it prefers."""

from .registry import HALVES, benchmarks, case, normal


def with_torch(**options):
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
        torch=with_torch(stride=stride, padding=padding, groups=groups),
        jax=with_jax(stride, padding, groups),
        **options,
    )


declare("3x3 64 to 64, 4x56x56", (4, 56, 56, 64), (64, 3, 3, 64), quick=True, also=HALVES)
declare("7x7 3 to 64, 4x112x112", (4, 112, 112, 3), (64, 7, 7, 3), stride=2, padding=3)
declare("1x1 256 to 64, 4x28x28", (4, 28, 28, 256), (64, 1, 1, 256), padding=0, also=HALVES[1:])
declare("grouped 3x3 128, 32 groups, 4x28x28", (4, 28, 28, 128), (128, 3, 3, 4), groups=32)
declare("3x3 512 to 512, 1x7x7", (1, 7, 7, 512), (512, 3, 3, 512))
declare("depthwise 3x3 64, 4x56x56", (4, 56, 56, 64), (64, 3, 3, 1), groups=64)


def torch_gradient(of, **settings):
    """The gradient of the images (0) or of the weights (1)."""

    def make(torch, x, w):
        layout = torch.channels_last
        x = x.permute(0, 3, 1, 2).contiguous(memory_format=layout)
        w = w.permute(0, 3, 1, 2).contiguous(memory_format=layout)
        which = (x, w)[of].requires_grad_()

        def step():
            loss = torch.nn.functional.conv2d(x, w, **settings).square().sum()
            return torch.autograd.grad(loss, which)

        return step

    return make


def mlx_gradient(of, **settings):
    def make(mx, x, w):
        gradient = mx.grad(lambda x, w: mx.conv2d(x, w, **settings).square().sum(), argnums=of)
        return lambda: gradient(x, w)

    return make


def declare_gradient(name, of, images, weights, **settings):
    case(
        f"conv.gradient {name}",
        normal(images, weights),
        stateful=True,
        mlx=mlx_gradient(of, **settings),
        torch=torch_gradient(of, **settings),
    )


SMALL = (32, 28, 28, 16), (32, 3, 3, 16)
declare_gradient("3x3 16 to 32, 32x28x28", 1, *SMALL, padding=1)
declare_gradient("of images, 3x3 16 to 32, 32x28x28", 0, *SMALL, padding=1)
STRIDED = (4, 56, 56, 64), (128, 3, 3, 64)
declare_gradient("of images, 3x3 64 to 128, stride 2", 0, *STRIDED, stride=2, padding=1)

test_speed = benchmarks(__name__)
