"""Steps of optimisers over the weights of a model of 3 million parameters: matrices and biases; of
Muon, which multiplies matrices, a quarter of a million.

Eagerly, and with the step compiled. PyTorch's steps are its fused ones where it has them, else
those over all parameters at once (foreach); compiled are the plain ones.
"""

from .bench_training import package_of
from .registry import benchmarks, case

COUNT, SIZE = 12, 512
# Name in MLX's interface, MLX's arguments, name in PyTorch, PyTorch's arguments.
OPTIMIZERS = (
    ("SGD", {"momentum": 0.9}, "SGD", {"momentum": 0.9, "fused": True}),
    ("Adam", {}, "Adam", {"fused": True}),
    ("AdamW", {}, "AdamW", {"fused": True}),
    ("Adagrad", {}, "Adagrad", {"fused": True}),
    ("RMSprop", {}, "RMSprop", {"foreach": True}),
    ("AdaDelta", {}, "Adadelta", {"foreach": True}),
    ("Adamax", {}, "Adamax", {"foreach": True}),
    ("Lion", {}, None, {}),
    ("Adafactor", {"learning_rate": None}, "Adafactor", {"foreach": True}),
    ("Muon", {}, "Muon", {}),
)
COMPILED = ("SGD", "Adam", "AdamW", "Lion")


def pairs(shapes):
    """Weights of given shapes, then their gradients."""
    return lambda rng: [rng.uniform(0.1, 1, shape).astype("float32") for shape in 2 * shapes]


def with_mlx(name, settings, compiled):
    def make(mx, *arrays):
        _, optimizers = package_of(mx)
        half = len(arrays) // 2
        weights = {str(k): x for k, x in enumerate(arrays[:half])}
        gradients = {str(k): x for k, x in enumerate(arrays[half:])}
        optimizer = getattr(optimizers, name)(**{"learning_rate": 1e-3, **settings})
        optimizer.init(weights)

        def apply():
            weights.update(optimizer.apply_gradients(gradients, weights))

        state = [weights, optimizer.state]
        apply = mx.compile(apply, inputs=state, outputs=state) if compiled else apply
        return lambda: (apply(), state)[1]

    return make


def with_torch(name, settings, compiled):
    def make(torch, *arrays):
        half = len(arrays) // 2
        weights = [x.requires_grad_() for x in arrays[:half]]
        for weight, gradient in zip(weights, arrays[half:]):
            weight.grad = gradient
        kept = {key: value for key, value in settings.items() if not (compiled and key == "fused")}
        optimizer = getattr(torch.optim, name)(weights, lr=1e-3, **kept)
        return torch.compile(optimizer.step) if compiled else optimizer.step

    return make


def adam_with_jax(decay):
    def make(np, *arrays):
        import jax

        half = len(arrays) // 2

        @jax.jit
        def apply(weights, first, second, gradients):
            first = [0.9 * m + 0.1 * g for m, g in zip(first, gradients)]
            second = [0.999 * v + 0.001 * g * g for v, g in zip(second, gradients)]
            weights = [
                w * (1 - 1e-3 * decay) - 1e-3 * m / (np.sqrt(v) + 1e-8)
                for w, m, v in zip(weights, first, second)
            ]
            return weights, first, second

        zeros = [np.zeros_like(x) for x in arrays[:half]]
        state = [list(arrays[:half]), zeros, zeros]

        def step():
            state[:] = apply(*state, arrays[half:])
            return state

        return step

    return make


JAX = {"Adam": adam_with_jax(0), "AdamW": adam_with_jax(0.01)}


def declare(name, settings, theirs, their_settings, compiled):
    muon = name == "Muon"
    case(
        f"optimizers.{name} of {'3e5' if muon else '3e6'}{', compiled' if compiled else ''}",
        pairs([(256, 256)] * 4 if muon else [(SIZE, SIZE), (SIZE,)] * COUNT),
        stateful=True,
        mlx=with_mlx(name, settings, compiled),
        torch=theirs and with_torch(theirs, their_settings, compiled),
        jax=JAX.get(name),
    )


for row in OPTIMIZERS:
    declare(*row, compiled=False)
    if row[0] in COMPILED:
        declare(*row, compiled=True)

test_speed = benchmarks(__name__)
