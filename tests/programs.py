"""Small programs as users of MLX write them, each giving numbers: run with MLX, or with mlxc in its
place by ``python -m mlxc tests/programs.py [name ...]``. Prints one line of JSON a program.

Rules: only names of MLX; everything is drawn from seeds; no step that amplifies the last bits.
"""

import json
import math
import sys
import tempfile
from functools import partial

import mlx.core as mx
import mlx.nn as nn
import mlx.optimizers as optim
import numpy as np
from mlx.utils import tree_flatten, tree_map, tree_reduce, tree_unflatten

PROGRAMS = {}


def program(function):
    PROGRAMS[function.__name__] = function
    return function


def points(n=128, dims=20, classes=5):
    x = np.random.default_rng(0).normal(size=(n, dims)).astype(np.float32)
    w = np.random.default_rng(1).normal(size=(dims, classes))
    return mx.array(x), mx.array((x @ w).argmax(1).astype(np.int32))


def cross_entropy(model, x, y):
    return nn.losses.cross_entropy(model(x), y, reduction="mean")


# ---- networks ----


@program
def classifier_with_a_compiled_step():
    mx.random.seed(0)
    x, y = points()
    model = nn.Sequential(
        nn.Linear(20, 32), nn.ReLU(), nn.Dropout(0.1), nn.LayerNorm(32), nn.Linear(32, 5)
    )
    optimizer = optim.Adam(learning_rate=1e-2)
    state = [model.state, optimizer.state, mx.random.state]
    loss_and_grad = nn.value_and_grad(model, cross_entropy)

    @partial(mx.compile, inputs=state, outputs=state)
    def step(x, y):
        loss, gradients = loss_and_grad(model, x, y)
        optimizer.update(model, gradients)
        return loss

    losses = []
    for _ in range(20):
        losses.append(step(x, y))
        mx.eval(state)
    model.eval()
    accuracy = (model(x).argmax(axis=1) == y).mean()
    return [loss.item() for loss in losses[::5]], accuracy.item(), optimizer.step.item()


class Attention(nn.Module):
    def __init__(self, dims, heads):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dims, 3 * dims, bias=False)
        self.out = nn.Linear(dims, dims, bias=False)
        self.rope = nn.RoPE(dims // heads)

    def __call__(self, x, mask=None, cache=None):
        batch, length, dims = x.shape
        q, k, v = (
            t.reshape(batch, length, self.heads, -1).transpose(0, 2, 1, 3)
            for t in mx.split(self.qkv(x), 3, axis=-1)
        )
        offset = 0 if cache is None else cache[0].shape[2]
        q, k = self.rope(q, offset=offset), self.rope(k, offset=offset)
        if cache is not None:
            k, v = (mx.concatenate(pair, axis=2) for pair in zip(cache, (k, v)))
        y = mx.fast.scaled_dot_product_attention(q, k, v, scale=q.shape[-1] ** -0.5, mask=mask)
        return self.out(y.transpose(0, 2, 1, 3).reshape(batch, length, dims)), (k, v)


class Block(nn.Module):
    def __init__(self, dims, heads):
        super().__init__()
        self.attention = Attention(dims, heads)
        self.norms = [nn.RMSNorm(dims), nn.LayerNorm(dims)]
        self.mlp = nn.Sequential(nn.Linear(dims, 4 * dims), nn.GELU(), nn.Linear(4 * dims, dims))

    def __call__(self, x, mask=None, cache=None):
        y, cache = self.attention(self.norms[0](x), mask, cache)
        x = x + y
        return x + self.mlp(self.norms[1](x)), cache


class Language(nn.Module):
    def __init__(self, words=50, dims=32, blocks=2):
        super().__init__()
        self.embedding = nn.Embedding(words, dims)
        self.blocks = [Block(dims, 4) for _ in range(blocks)]
        self.norm = nn.RMSNorm(dims)

    def __call__(self, tokens, caches=None):
        x = self.embedding(tokens)
        mask, length = None, tokens.shape[1]
        if length > 1:
            mask = nn.MultiHeadAttention.create_additive_causal_mask(length).astype(x.dtype)
        made = []
        for block, cache in zip(self.blocks, caches or [None] * len(self.blocks)):
            x, cache = block(x, mask, cache)
            made.append(cache)
        return self.embedding.as_linear(self.norm(x)), made


@program
def language_model_with_schedule_clipping_and_generation():
    mx.random.seed(1)
    model = Language()
    rate = optim.join_schedules(
        [optim.linear_schedule(0, 3e-3, 5), optim.cosine_decay(3e-3, 20)], [5]
    )
    optimizer = optim.AdamW(learning_rate=rate, weight_decay=0.1)
    tokens = mx.array(np.random.default_rng(0).integers(0, 50, (4, 17)))

    def loss_of(model, tokens):
        logits, _ = model(tokens[:, :-1])
        return nn.losses.cross_entropy(logits, tokens[:, 1:]).mean()

    loss_and_grad = nn.value_and_grad(model, loss_of)
    losses = []
    for _ in range(10):
        loss, gradients = loss_and_grad(model, tokens)
        gradients, norm = optim.clip_grad_norm(gradients, 1.0)
        optimizer.update(model, gradients)
        mx.eval(model.parameters(), optimizer.state, loss)
        losses.append(loss.item())
    logits, caches = model(tokens[:1, :5])
    said = []
    for _ in range(8):
        token = logits[:, -1].argmax(axis=-1, keepdims=True)
        mx.async_eval(token)
        said.append(token.item())
        logits, caches = model(token, caches)
    return losses[::3], norm.item(), optimizer.learning_rate.item(), said


@program
def convolutions_with_batch_norm():
    mx.random.seed(2)
    model = nn.Sequential(
        *(nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm(8), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(8, 16, 3, stride=2, padding=1), nn.GroupNorm(4, 16), nn.SiLU()),
        *(nn.AvgPool2d(2), lambda x: x.mean(axis=(1, 2)), nn.Linear(16, 3)),
    )
    x = mx.array(np.random.default_rng(1).normal(size=(16, 16, 16, 1)).astype(np.float32))
    y = mx.array(np.random.default_rng(1).integers(0, 3, 16))
    optimizer = optim.SGD(optim.step_decay(0.1, 0.9, 5), momentum=0.9, nesterov=True)
    loss_and_grad = nn.value_and_grad(model, cross_entropy)
    for _ in range(8):
        loss, gradients = loss_and_grad(model, x, y)
        optimizer.update(model, gradients)
        mx.eval(model.state, optimizer.state)
    model.eval()
    return loss.item(), model(x).tolist()[0], model.layers[1].running_var.tolist()


@program
def series_with_each_recurrent_layer():
    mx.random.seed(3)
    x = mx.sin(mx.arange(40).reshape(1, 40, 1) / 3.0)
    losses = []
    for layer in (nn.RNN(1, 8), nn.GRU(1, 8), nn.LSTM(1, 8)):
        model = nn.Sequential(layer, lambda h: h[0] if isinstance(h, tuple) else h, nn.Linear(8, 1))
        optimizer = optim.RMSprop(1e-2)
        step = nn.value_and_grad(model, lambda m: nn.losses.mse_loss(m(x[:, :-1]), x[:, 1:]))
        for _ in range(8):
            loss, gradients = step(model)
            optimizer.update(model, gradients)
            mx.eval(model, optimizer.state)
        losses.append(loss.item())
    return losses


@program
def variational_autoencoder():
    mx.random.seed(4)
    x = mx.random.uniform(shape=(32, 12))

    class Autoencoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder, self.mean, self.spread = (
                nn.Linear(12, 8),
                nn.Linear(8, 2),
                nn.Linear(8, 2),
            )
            self.decoder = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 12), mx.sigmoid)

        def __call__(self, x):
            h = nn.leaky_relu(self.encoder(x))
            mean, spread = self.mean(h), self.spread(h)
            z = mean + mx.exp(0.5 * spread) * mx.random.normal(mean.shape)
            return self.decoder(z), mean, spread

    def loss_of(model, x):
        y, mean, spread = model(x)
        fit = nn.losses.binary_cross_entropy(y, x, with_logits=False, reduction="sum") / len(x)
        return fit - 0.5 * mx.mean(mx.sum(1 + spread - mean.square() - spread.exp(), axis=-1))

    model, optimizer = Autoencoder(), optim.Adamax(1e-2)
    state = [model.state, optimizer.state, mx.random.state]

    @partial(mx.compile, inputs=state, outputs=state)
    def step(x):
        loss, gradients = nn.value_and_grad(model, loss_of)(model, x)
        optimizer.update(model, gradients)
        return loss

    return [step(x).item() for _ in range(12)][::4]


@program
def adversarial_networks():
    mx.random.seed(5)
    maker = nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 2))
    judge = nn.Sequential(nn.Linear(2, 16), nn.LeakyReLU(0.2), nn.Linear(16, 1))
    optimizers = [optim.Adam(1e-3, betas=[0.5, 0.999]) for _ in range(2)]

    def verdict(x, truth):
        targets = mx.full((len(x),), truth)
        return nn.losses.binary_cross_entropy(judge(x).squeeze(-1), targets, reduction="mean")

    def both(real, made):
        return verdict(real, 1.0) + verdict(made, 0.0)

    def fool(noise):
        return verdict(maker(noise), 1.0)

    for _ in range(8):
        real, noise = mx.random.normal((32, 2)) * 0.5 + 1, mx.random.normal((32, 2))
        made = mx.stop_gradient(maker(noise))
        judged, gradients = nn.value_and_grad(judge, both)(real, made)
        optimizers[0].update(judge, gradients)
        judge.freeze()
        fooled, gradients = nn.value_and_grad(maker, fool)(noise)
        optimizers[1].update(maker, gradients)
        judge.unfreeze()
        mx.eval(maker, judge, [optimizer.state for optimizer in optimizers])
    return judged.item(), fooled.item()


@program
def normalising_flow_with_a_compiled_loss_over_parameters():
    mx.random.seed(6)

    class Coupling(nn.Module):
        def __init__(self, flip):
            super().__init__()
            self._flip = flip
            self.net = nn.Sequential(nn.Linear(1, 16), nn.Tanh(), nn.Linear(16, 2))

        def __call__(self, x):
            a, b = mx.split(x, 2, axis=-1)
            a, b = (b, a) if self._flip else (a, b)
            scale, shift = mx.split(self.net(a), 2, axis=-1)
            b = b * mx.exp(mx.tanh(scale)) + shift
            return mx.concatenate([b, a] if self._flip else [a, b], axis=-1), mx.tanh(scale)[:, 0]

    class Flow(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = [Coupling(k % 2 == 1) for k in range(4)]

        def __call__(self, x):
            total = mx.zeros(len(x))
            for layer in self.layers:
                x, change = layer(x)
                total = total + change
            return total - 0.5 * mx.sum(x**2, axis=-1) - math.log(2 * math.pi)

    model, optimizer = Flow(), optim.Lion(1e-3)
    x = mx.random.normal((64, 2)) * mx.array([2.0, 0.3]) + 1

    @mx.compile
    def loss_of(parameters, x):
        model.update(parameters)
        return -model(x).mean()

    for _ in range(6):
        loss, gradients = mx.value_and_grad(loss_of)(model.trainable_parameters(), x)
        optimizer.update(model, gradients)
        mx.eval(model.parameters())
    return loss.item()


@program
def low_rank_adaptation_of_a_quantised_model():
    mx.random.seed(7)

    class Adapted(nn.Module):
        def __init__(self, layer, rank=4):
            super().__init__()
            self.linear = layer
            wide, narrow = layer.weight.shape
            self.a = mx.random.uniform(-0.1, 0.1, (narrow, rank))
            self.b = mx.zeros((rank, wide))

        def __call__(self, x):
            return self.linear(x) + 2.0 * ((x @ self.a) @ self.b)

    model = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 5))
    nn.quantize(model, 64, 8, class_predicate=lambda path, _: path == "layers.2")
    model.freeze()
    found = [(name, m) for name, m in model.named_modules() if type(m) is nn.Linear]
    model.update_modules(tree_unflatten([(name, Adapted(m)) for name, m in found]))
    x, y = points()
    optimizer = optim.Adam(1e-2)
    step = nn.value_and_grad(model, cross_entropy)
    for _ in range(8):
        loss, gradients = step(model, x, y)
        optimizer.update(model, gradients)
        mx.eval(model.parameters(), optimizer.state)
    return loss.item(), sorted(name for name, _ in tree_flatten(model.trainable_parameters()))


@program
def accumulated_gradients_with_adafactor():
    mx.random.seed(8)
    x, y = points()
    model = nn.Sequential(nn.Linear(20, 16), nn.Mish(), nn.Linear(16, 5))
    optimizer = optim.Adafactor(1e-2, relative_step=False, scale_parameter=False)
    step = nn.value_and_grad(model, cross_entropy)
    for _ in range(3):
        total = tree_map(mx.zeros_like, model.trainable_parameters())
        for part in range(4):
            loss, gradients = step(model, x[part::4], y[part::4])
            total = tree_map(lambda a, b: a + b / 4, total, gradients)
        optimizer.update(model, total)
        mx.eval(model.parameters(), optimizer.state)
    norm = tree_reduce(lambda a, b: a + b.square().sum(), total, mx.array(0.0))
    return loss.item(), norm.item()


@program
def weights_and_states_saved_and_loaded():
    mx.random.seed(9)
    x = mx.random.normal((8, 4))

    def build():
        return nn.Sequential(nn.Linear(4, 8), nn.GELU(approx="fast"), nn.Linear(8, 2))

    def train(model, optimizer):
        step = nn.value_and_grad(model, lambda m: m(x).square().mean())
        for _ in range(3):
            loss, gradients = step(model)
            optimizer.update(model, gradients)
            mx.eval(model.parameters(), optimizer.state)
        return loss.item()

    model, optimizer = build(), optim.AdamW(1e-2)
    train(model, optimizer)
    with tempfile.TemporaryDirectory() as folder:
        model.save_weights(f"{folder}/w.safetensors")
        mx.save_safetensors(
            f"{folder}/o.safetensors", dict(tree_flatten(optimizer.state)), metadata={"epoch": "3"}
        )
        first = train(model, optimizer)
        resumed, other = build(), optim.AdamW(1e-2)
        resumed.load_weights(f"{folder}/w.safetensors")
        state, metadata = mx.load(f"{folder}/o.safetensors", return_metadata=True)
        other.state = tree_unflatten(list(state.items()))
        second = train(resumed, other)
    return first, first == second, metadata


@program
def denoising_diffusion_with_a_moving_average():
    mx.random.seed(11)
    model = nn.Sequential(nn.Linear(3, 32), nn.SiLU(), nn.Linear(32, 2))
    average = tree_map(lambda p: p, model.parameters())
    levels = mx.cumprod(1 - mx.linspace(1e-3, 0.2, 20))
    optimizer = optim.Adam(1e-3)

    def loss_of(model, x, noise, steps):
        kept = levels[steps][:, None]
        noisy = mx.sqrt(kept) * x + mx.sqrt(1 - kept) * noise
        guess = model(mx.concatenate([noisy, steps[:, None] / 20], axis=1))
        return nn.losses.mse_loss(guess, noise)

    step = nn.value_and_grad(model, loss_of)
    for _ in range(10):
        angles = mx.random.uniform(0, 2 * math.pi, (64,))
        x = mx.stack([mx.cos(angles), mx.sin(angles)], axis=1)
        loss, gradients = step(model, x, mx.random.normal(x.shape), mx.random.randint(0, 20, (64,)))
        optimizer.update(model, gradients)
        average = tree_map(lambda a, p: 0.9 * a + 0.1 * p, average, model.parameters())
        mx.eval(model, optimizer.state, average)
    model.update(average)
    x = mx.random.normal((4, 2))
    for level in range(19, -1, -1):
        guess = model(mx.concatenate([x, mx.full((4, 1), level / 20)], axis=1))
        x = (x - mx.sqrt(1 - levels[level]) * guess) / mx.sqrt(
            levels[level] / levels[max(level - 1, 0)]
        )
        x = mx.clip(x, -3, 3)
    return loss.item(), x.tolist()


@program
def messages_on_a_graph():
    mx.random.seed(12)
    sources, targets = (mx.array(np.random.default_rng(k).integers(0, 12, 40)) for k in (0, 1))
    x, y = mx.random.normal((12, 8)), mx.arange(12) % 3
    degree = mx.zeros(12).at[targets].add(1.0)

    class Graph(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(8, 16), nn.Linear(16, 3)

        def gather(self, x):
            sums = mx.zeros_like(x).at[targets].add(x[sources])
            return x + sums / mx.maximum(degree, 1)[:, None]

        def __call__(self, x):
            return self.second(self.gather(nn.relu(self.first(self.gather(x)))))

    model, optimizer = Graph(), optim.Adagrad(0.1)
    step = nn.value_and_grad(model, cross_entropy)
    for _ in range(8):
        loss, gradients = step(model, x, y)
        optimizer.update(model, gradients)
        mx.eval(model, optimizer.state)
    best = mx.full((12,), -1e9).at[targets].maximum(model(x)[sources].max(axis=1))
    return loss.item(), mx.where(degree > 0, best, 0).tolist()


# ---- learning by acting ----


@program
def policy_gradients_over_mapped_rollouts():
    policy = mx.random.normal((4, 2), key=mx.random.key(0)) * 0.1

    def rollout(policy, key):
        state, score, reward = mx.ones(4), mx.array(0.0), mx.array(0.0)
        for drawn in mx.random.split(key, 5):
            logits = state @ policy
            action = mx.random.categorical(mx.stop_gradient(logits), key=drawn)
            score = score + (logits - mx.logsumexp(logits))[action]
            state = 0.9 * state + 0.1 * mx.random.normal((4,), key=drawn) * (action + 0.5)
            reward = reward + state.sum()
        return score * mx.stop_gradient(reward)

    def loss_of(policy, keys):
        return -mx.vmap(rollout, in_axes=(None, 0))(policy, keys).mean()

    losses = []
    for seed in range(4):
        keys = mx.random.split(mx.random.key(seed), 16)
        loss, gradient = mx.value_and_grad(loss_of)(policy, keys)
        policy = policy - 0.05 * gradient
        losses.append(loss.item())
    return losses, policy.tolist()


@program
def values_learnt_from_a_replay_buffer():
    mx.random.seed(13)
    net, frozen = (nn.Sequential(nn.Linear(3, 16), nn.ReLU(), nn.Linear(16, 2)) for _ in range(2))
    frozen.update(net.parameters())
    optimizer = optim.AdaDelta(1.0)
    states, following = mx.zeros((64, 3)), mx.zeros((64, 3))
    actions, rewards = mx.zeros((64,), mx.int32), mx.zeros((64,))
    state = mx.zeros(3)
    for k in range(64):
        action = mx.random.randint(0, 2)
        after = 0.9 * state + 0.3 * mx.random.normal((3,)) + (2 * action - 1) * 0.2
        states[k], following[k], actions[k], rewards[k] = (
            state,
            after,
            action,
            -after.square().sum(),
        )
        state = after

    def loss_of(net, rows):
        best = frozen(following[rows]).max(axis=1)
        wanted = mx.stop_gradient(rewards[rows] + 0.9 * best)
        guess = mx.take_along_axis(net(states[rows]), actions[rows][:, None], axis=1)[:, 0]
        return nn.losses.huber_loss(guess, wanted, reduction="mean")

    for turn in range(12):
        rows = mx.random.permutation(64)[:16]
        loss, gradients = nn.value_and_grad(net, loss_of)(net, rows)
        optimizer.update(net, gradients)
        if turn % 4 == 3:
            frozen.update(net.parameters())
        mx.eval(net, frozen, optimizer.state)
    return loss.item(), net(mx.eye(3)).tolist()


# ---- mathematics and physics ----


@program
def straight_through_and_other_custom_functions():
    @mx.custom_function
    def rounded(x):
        return mx.round(x)

    @rounded.vjp
    def rounded_vjp(primals, cotangent, output):
        return cotangent

    @mx.custom_function
    def product(x, y):
        return mx.sin(x) * y

    @product.vjp
    def product_vjp(primals, cotangent, output):
        x, y = primals
        return cotangent * mx.cos(x) * y, cotangent * mx.sin(x)

    @product.jvp
    def product_jvp(primals, tangents):
        (x, y), (dx, dy) = primals, tangents
        return dx * mx.cos(x) * y + dy * mx.sin(x)

    @product.vmap
    def product_vmap(inputs, axes):
        return mx.sin(inputs[0]) * inputs[1], axes[0]

    def energy(x):
        return (rounded(x) * x).sum()

    x, y = mx.array(1.0), mx.array(2.0)
    return (
        mx.grad(energy)(mx.array([0.3, 1.7])).tolist(),
        mx.compile(mx.grad(energy))(mx.array([0.3, 1.7])).tolist(),
        [g.item() for g in mx.grad(product, argnums=(0, 1))(x, y)],
        [t.item() for t in mx.jvp(product, [x, y], [mx.array(1.0), mx.array(0.0)])[1]],
        mx.vmap(product)(mx.arange(3.0), mx.arange(3.0)).tolist(),
    )


@program
def newton_by_second_derivatives():
    def valley(x):
        return ((1 - x[:-1]) ** 2 + 10 * (x[1:] - x[:-1] ** 2) ** 2).sum()

    def hessian(x):
        return mx.vmap(lambda v: mx.jvp(mx.grad(valley), [x], [v])[1][0])(mx.eye(x.size))

    x = mx.array([0.8, 0.7, 0.4])
    for _ in range(8):
        x = x - mx.linalg.solve(hessian(x), mx.grad(valley)(x), stream=mx.cpu)
    per_point = mx.vmap(mx.grad(valley))(mx.array([[0.0, 1.0, 2.0], [1.0, 1.0, 1.0]]))
    return x.tolist(), hessian(x).tolist(), per_point.tolist()


@program
def learning_to_learn():
    def predict(w, x):
        return mx.tanh(x @ w["a"]) @ w["b"]

    def loss_of(w, x, y):
        return mx.mean((predict(w, x) - y) ** 2)

    def adapted(w, x, y):
        gradients = mx.grad(loss_of)(w, x, y)
        return tree_map(lambda p, g: p - 0.1 * g, w, gradients)

    def outer(w, x, y):
        return loss_of(adapted(w, x[:5], y[:5]), x[5:], y[5:])

    w = {
        "a": mx.random.normal((1, 8), key=mx.random.key(1)),
        "b": mx.random.normal((8, 1), key=mx.random.key(2)),
    }
    losses = []
    for task in range(5):
        x = mx.linspace(-2, 2, 10)[:, None]
        y = mx.sin(x + task)
        loss, gradients = mx.value_and_grad(outer)(w, x, y)
        w = tree_map(lambda p, g: p - 0.05 * g, w, gradients)
        losses.append(loss.item())
    return losses


@program
def planets_keep_their_energy():
    masses = mx.array([1.0, 0.01, 0.02])

    def energy(q, p):
        kinetic = (p.square().sum(axis=1) / (2 * masses)).sum()
        apart = q[:, None] - q[None]
        distance = mx.sqrt(apart.square().sum(axis=-1) + mx.eye(3))
        pairs = masses[:, None] * masses / distance * (1 - mx.eye(3))
        return kinetic - 0.5 * pairs.sum()

    @mx.compile
    def leap(q, p):
        p = p - 0.005 * mx.grad(energy)(q, p)
        q = q + 0.01 * mx.grad(energy, argnums=1)(q, p)
        return q, p - 0.005 * mx.grad(energy)(q, p)

    q = mx.array([[0.0, 0.0], [1.0, 0.0], [0.0, -1.6]])
    p = masses[:, None] * mx.array([[0.0, 0.0], [0.0, 1.0], [0.8, 0.0]])
    before = energy(q, p).item()
    for _ in range(200):
        q, p = leap(q, p)
        mx.eval(q, p)
    return before, energy(q, p).item(), q.tolist()


@program
def heat_and_what_conducts_it():
    def simulate(rate, field):
        for _ in range(40):
            around = sum(mx.roll(field, shift, axis) for shift in (1, -1) for axis in (0, 1))
            field = field + rate * (around - 4 * field)
        return field

    start = mx.zeros((16, 16))
    start[6:9, 7:10] = 1.0
    seen = mx.stop_gradient(simulate(mx.array(0.2), start))
    rate = mx.array(0.05)
    step = mx.compile(mx.value_and_grad(lambda rate: (simulate(rate, start) - seen).square().sum()))
    for _ in range(25):
        misfit, slope = step(rate)
        rate = mx.clip(rate - 0.02 * slope, 0.01, 0.24)
    return misfit.item(), rate.item(), seen[7].tolist()


@program
def trajectories_of_a_neural_equation():
    mx.random.seed(14)
    net = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 2))
    start = mx.array([[2.0, 0.0], [0.0, 1.0]])
    times = mx.linspace(0, 2, 11)
    wanted = mx.stack([mx.cos(times), mx.sin(times)], axis=-1)[:, None]
    target = mx.broadcast_to(wanted, (11, 2, 2))

    def solve(net, x):
        path, h = [x], 0.2
        for _ in range(10):
            k1 = net(x)
            k2 = net(x + h / 2 * k1)
            k3 = net(x + h / 2 * k2)
            x = x + h / 6 * (k1 + 2 * k2 + 2 * k3 + net(x + h * k3))
            path.append(x)
        return mx.stack(path)

    def loss_of(net, x):
        return nn.losses.smooth_l1_loss(mx.checkpoint(partial(solve, net))(x), target)

    optimizer = optim.Adam(5e-3)
    for _ in range(6):
        loss, gradients = nn.value_and_grad(
            net, lambda n: (solve(n, start) - wanted).square().mean()
        )(net)
        optimizer.update(net, gradients)
        mx.eval(net, optimizer.state)
    return loss.item(), mx.grad(lambda x: loss_of(net, x).sum())(start).tolist()


@program
def hamiltonian_monte_carlo():
    def log_density(x):
        return -0.5 * (x[0] ** 2 / 4 + (x[1] - 0.25 * x[0] ** 2) ** 2)

    slope = mx.compile(mx.grad(log_density))
    x, taken, drawn = mx.array([0.5, 0.5]), 0, []
    for key in mx.random.split(mx.random.key(3), 25):
        first, second = mx.random.split(key)
        p = start = mx.random.normal((2,), key=first)
        y = x
        for _ in range(6):
            p = p + 0.15 * slope(y)
            y = y + 0.3 * p
            p = p + 0.15 * slope(y)
        gain = log_density(y) - log_density(x) + 0.5 * (start.square().sum() - p.square().sum())
        if mx.log(mx.random.uniform(key=second)).item() < gain.item():
            x, taken = y, taken + 1
        drawn.append(x)
    return taken, mx.stack(drawn).mean(axis=0).tolist()


@program
def decompositions_and_a_gaussian_process():
    x = mx.random.normal((30, 4), key=mx.random.key(4)) * mx.array([3.0, 2.0, 1.0, 0.5])
    centred = x - x.mean(axis=0)
    values, _ = mx.linalg.eigh(centred.T @ centred / 29, stream=mx.cpu)
    _, s, _ = mx.linalg.svd(centred, stream=mx.cpu)
    inputs = mx.linspace(-3, 3, 12)[:, None]
    covariance = mx.exp(-0.5 * (inputs - inputs.T) ** 2) + 0.01 * mx.eye(12)
    factor = mx.linalg.cholesky(covariance, stream=mx.cpu)
    solved = mx.linalg.cholesky_inv(factor, stream=mx.cpu) @ mx.sin(inputs)
    q, r = mx.linalg.qr(x, stream=mx.cpu)
    centres = x[:3]
    for _ in range(5):
        nearest = (x[:, None] - centres).square().sum(axis=-1).argmin(axis=1)
        members = (nearest[:, None] == mx.arange(3)).astype(mx.float32)
        centres = (members.T @ x) / members.sum(axis=0)[:, None]
    return (
        values.tolist(),
        (s**2 / 29).tolist(),
        (mx.exp(-0.5 * (mx.array([[0.5]]) - inputs.T) ** 2) @ solved).item(),
        mx.abs(mx.diag(r)).tolist(),
        mx.abs(q @ r - x).max().item() < 1e-5,
        sorted(members.sum(axis=0).tolist()),
    )


@program
def signals_and_spectra():
    t = mx.arange(256) / 256
    x = mx.sin(2 * math.pi * 12 * t) + 0.5 * mx.sin(2 * math.pi * 40 * t)
    spectrum = mx.fft.rfft(x)
    power = mx.abs(spectrum) ** 2
    spectrum = mx.where(mx.arange(spectrum.size) < 20, spectrum, 0)
    smooth = mx.fft.irfft(spectrum)
    window = 0.5 - 0.5 * mx.cos(2 * math.pi * mx.arange(64) / 64)
    frames = mx.as_strided(x, (7, 64), (32, 1)) * window
    filtered = mx.conv1d(x.reshape(1, -1, 1), mx.ones((1, 8, 1)) / 8, padding=4)
    return (
        mx.argsort(-power)[:2].tolist(),
        smooth[:8].tolist(),
        mx.abs(mx.fft.rfft(frames)).sum(axis=0)[8:14].tolist(),
        filtered[0, 10:14, 0].tolist(),
        mx.convolve(x[:5], mx.array([1.0, -1.0]), mode="full").tolist(),
    )


@program
def sampling_words():
    logits = mx.random.normal((2, 40), key=mx.random.key(5)) * 2

    def nucleus(logits, p):
        order = mx.argsort(-logits, axis=-1)
        probabilities = mx.softmax(mx.take_along_axis(logits, order, axis=-1), axis=-1)
        kept = mx.cumsum(probabilities, axis=-1) - probabilities < p
        masked = mx.where(kept, mx.take_along_axis(logits, order, axis=-1), -mx.inf)
        return mx.put_along_axis(mx.full(logits.shape, -mx.inf), order, masked, axis=-1)

    drawn = [
        mx.random.categorical(nucleus(logits, 0.8), key=mx.random.key(k)).tolist() for k in range(8)
    ]
    top = mx.argpartition(-logits, kth=5, axis=-1)[:, :5]
    beams = [([], 0.0)]
    for row in nn.log_softmax(logits, axis=-1).tolist():
        grown = [(w + [k], s + row[k]) for w, s in beams for k in range(40)]
        beams = sorted(grown, key=lambda beam: -beam[1])[:3]
    return drawn, mx.sort(top, axis=-1).tolist(), beams


@program
def arrays_changed_in_place():
    a = mx.arange(24).reshape(2, 3, 4)
    b = mx.array(a)
    b[0] = 7
    b[..., -1] += 1
    b[:, mx.array([0, 2])] = 0
    b[1, 1:3, 2] = mx.array([9, 8])
    counts = mx.zeros((4,), mx.int32).at[mx.array([0, 0, 1])].add(1)
    diagonal = mx.zeros((3, 3))
    diagonal[mx.arange(3), mx.arange(3)] = 1
    picked = mx.take_along_axis(a[0], mx.array([[2, 0, 1, 0]]), axis=0)
    put = mx.put_along_axis(mx.zeros((2, 3)), mx.array([[1], [2]]), mx.array(5.0), axis=1)
    first, *others = mx.split(a, [1, 2], axis=2)
    return (
        *(x.tolist() for x in (b, counts, diagonal, picked, put, first, a[::-1, :, -2:])),
        a[mx.newaxis, :, 1:, ::2].shape,
        len(others),
        str(a.dtype).rpartition(".")[2],
        [(x * 2).item() for x in mx.array([1, 2])],
        repr(mx.array([1.5, 2.5], mx.bfloat16)),
    )


def main(names):
    for name in names or PROGRAMS:
        print(json.dumps({name: PROGRAMS[name]()}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
