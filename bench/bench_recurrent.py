"""Recurrent layers over whole sequences."""

from .registry import benchmarks, case, normal


def declare(name, batch, steps, inputs, size, **options):
    def ours(mx, x):
        nn = __import__(mx.__name__.split(".")[0] + ".nn", fromlist=["nn"])
        layer = getattr(nn, name)(inputs, size)
        mx.eval(layer.parameters())
        return lambda: layer(x)

    def theirs(torch, x):
        layer = getattr(torch.nn, name)(inputs, size, batch_first=True)

        def step():
            with torch.no_grad():
                return layer(x)

        return step

    case(
        f"recurrent.{name} {inputs}-{size}, batch {batch}x{steps}",
        normal((batch, steps, inputs)),
        mlx=ours,
        torch=theirs,
        stateful=True,
        **options,
    )


declare("LSTM", 32, 50, 32, 128, quick=True)
declare("LSTM", 1, 50, 32, 128)
declare("LSTM", 8, 20, 512, 512)
declare("GRU", 32, 50, 32, 128)
declare("RNN", 32, 50, 32, 128)

test_speed = benchmarks(__name__)
