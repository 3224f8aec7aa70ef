"""Pooling over images, forward and backward."""

from .bench_training import package_of
from .registry import benchmarks, case, normal


def pooled(kind, kernel, stride, padding, gradient):
    """mlxc and MLX."""

    def make(mx, x):
        nn, _ = package_of(mx)
        layer = {"max": nn.MaxPool2d, "mean": nn.AvgPool2d}[kind](kernel, stride, padding)
        return (lambda: mx.grad(lambda x: layer(x).sum())(x)) if gradient else lambda: layer(x)

    return make


def pooled_by_torch(kind, kernel, stride, padding, gradient):
    def make(torch, x):
        functions = torch.nn.functional
        function = {"max": functions.max_pool2d, "mean": functions.avg_pool2d}[kind]
        x = x.permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)
        if not gradient:
            return lambda: function(x, kernel, stride, padding)
        x.requires_grad_()
        return lambda: torch.autograd.grad(function(x, kernel, stride, padding).sum(), x)

    return make


def declare(name, images, kind, kernel, stride, padding, gradient=False, **options):
    settings = (kind, kernel, stride, padding, gradient)
    case(
        f"pool.{name}",
        normal(images),
        stateful=True,
        mlx=pooled(*settings),
        torch=pooled_by_torch(*settings),
        **options,
    )


declare("max 2x2, 64x28x28x16", (64, 28, 28, 16), "max", 2, 2, 0, quick=True)
declare("max 2x2 gradient, 64x28x28x16", (64, 28, 28, 16), "max", 2, 2, 0, gradient=True)
declare("max 3x3 stride 2, 4x112x112x64", (4, 112, 112, 64), "max", 3, 2, 1)
declare("max 3x3 stride 2 gradient, 4x112x112x64", (4, 112, 112, 64), "max", 3, 2, 1, gradient=True)
declare("mean 7x7, 16x7x7x512", (16, 7, 7, 512), "mean", 7, 7, 0)

test_speed = benchmarks(__name__)
