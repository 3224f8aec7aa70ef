"""A transformer shaped like Llama at work: 8 layers, 1024 wide, 103 million random weights of
4 bits in groups of 64, a vocabulary of 4096. A prompt of 128 tokens is read at once, and one token
is read behind 127 others, whose keys and values lie in a cache that is written in place.

PyTorch has the same weights as bfloat16: its layers know no 4 bits on the CPU.
"""

from .bench_training import package_of
from .registry import benchmarks, case

LAYERS, WIDTH, HIDDEN, HEADS, WORDS = 8, 1024, 2816, 16, 4096
HEAD = WIDTH // HEADS
LENGTH = 128


def prompt(rng):
    return [rng.integers(0, WORDS, (1, LENGTH)).astype("int32")]


def mlx_model(mx):
    """The model in MLX's interface: a call takes tokens, caches, and how many tokens these hold."""
    nn, _ = package_of(mx)

    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            self.q, self.k, self.v, self.o = (nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(4))
            self.rope = nn.RoPE(HEAD)

        def __call__(self, x, keys, values, before):
            batch, length, _ = x.shape
            end = before + length
            q, k, v = (
                project(x).reshape(batch, length, -1, HEAD).transpose(0, 2, 1, 3)
                for project in (self.q, self.k, self.v)
            )
            keys[:, :, before:end] = self.rope(k, offset=before)
            values[:, :, before:end] = v
            mixed = mx.fast.scaled_dot_product_attention(
                self.rope(q, offset=before),
                keys[:, :, :end],
                values[:, :, :end],
                scale=HEAD**-0.5,
                mask="causal" if length > 1 else None,
            )
            return self.o(mixed.transpose(0, 2, 1, 3).reshape(batch, length, -1))

    class Layer(nn.Module):
        def __init__(self):
            super().__init__()
            self.attention = Attention()
            self.gate = nn.Linear(WIDTH, HIDDEN, bias=False)
            self.up = nn.Linear(WIDTH, HIDDEN, bias=False)
            self.down = nn.Linear(HIDDEN, WIDTH, bias=False)
            self.first, self.second = nn.RMSNorm(WIDTH), nn.RMSNorm(WIDTH)

        def __call__(self, x, *cache):
            x = x + self.attention(self.first(x), *cache)
            y = self.second(x)
            return x + self.down(nn.silu(self.gate(y)) * self.up(y))

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.Embedding(WORDS, WIDTH)
            self.layers = [Layer() for _ in range(LAYERS)]
            self.norm = nn.RMSNorm(WIDTH)

        def __call__(self, tokens, caches, before):
            x = self.embedding(tokens)
            for layer, cache in zip(self.layers, caches):
                x = layer(x, *cache, before)
            return mx.argmax(self.embedding.as_linear(self.norm(x[:, -1:])), axis=-1)

    model = Model()
    nn.quantize(model, group_size=64, bits=4)
    mx.eval(model.parameters())
    return model


def with_mlx(count):
    """Reads the last ``count`` tokens of the prompt."""

    def make(mx, tokens):
        model, before = mlx_model(mx), LENGTH - count
        shape = (1, HEADS, LENGTH, HEAD)
        caches = [[mx.zeros(shape), mx.zeros(shape)] for _ in range(LAYERS)]
        if before:
            mx.eval(model(tokens[:, :before], caches, 0), caches)
        return lambda: (model(tokens[:, before:], caches, before), caches)

    return make


def torch_model(torch):
    """The weights of the layers and the function of tokens, caches, and how many these hold."""
    functions = torch.nn.functional

    def random(*shape):
        return (torch.randn(shape) * WIDTH**-0.5).to(torch.bfloat16)

    sizes = dict.fromkeys("qkvo", (WIDTH, WIDTH))
    sizes |= {"gate": (HIDDEN, WIDTH), "up": (HIDDEN, WIDTH), "down": (WIDTH, HIDDEN)}
    layers = [{name: random(*size) for name, size in sizes.items()} for _ in range(LAYERS)]
    embedding = random(WORDS, WIDTH)
    angles = torch.outer(torch.arange(LENGTH), 1e4 ** (-torch.arange(0, HEAD, 2) / HEAD))
    cos, sin = torch.cos(angles).bfloat16(), torch.sin(angles).bfloat16()

    def turned(x, first, end):
        left, right = x.chunk(2, -1)
        c, s = cos[first:end], sin[first:end]
        return torch.cat([left * c - right * s, left * s + right * c], -1)

    def norm(x):
        return functions.rms_norm(x, (WIDTH,), eps=1e-5)

    def apply(tokens, caches, before):
        x = embedding[tokens]
        batch, length, _ = x.shape
        end = before + length
        for w, (keys, values) in zip(layers, caches):
            y = norm(x)
            q, k, v = (
                functions.linear(y, w[name]).reshape(batch, length, -1, HEAD).transpose(1, 2)
                for name in "qkv"
            )
            keys[:, :, before:end] = turned(k, before, end)
            values[:, :, before:end] = v
            mixed = functions.scaled_dot_product_attention(
                turned(q, before, end), keys[:, :, :end], values[:, :, :end], is_causal=length > 1
            )
            x = x + functions.linear(mixed.transpose(1, 2).reshape(batch, length, -1), w["o"])
            y = norm(x)
            gate = functions.silu(functions.linear(y, w["gate"]))
            x = x + functions.linear(gate * functions.linear(y, w["up"]), w["down"])
        return functions.linear(norm(x[:, -1:]), embedding).argmax(-1)

    return apply


def with_torch(count):
    def make(torch, tokens):
        apply, before, tokens = torch_model(torch), LENGTH - count, tokens.long()
        shape = (1, HEADS, LENGTH, HEAD)
        caches = [
            [torch.zeros(shape, dtype=torch.bfloat16) for _ in range(2)] for _ in range(LAYERS)
        ]

        def step():
            with torch.inference_mode():
                return apply(tokens[:, before:], caches, before)

        return step

    return make


for _name, _count in (("token behind 127", 1), ("prompt of 128", LENGTH)):
    case(
        f"inference.4 bits 8x1024, {_name}",
        prompt,
        stateful=True,
        memory=_count == 1,
        mlx=with_mlx(_count),
        torch=with_torch(_count),
    )

test_speed = benchmarks(__name__)
