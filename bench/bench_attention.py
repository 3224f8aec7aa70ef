"""Attention: a prompt, a causal prompt, and one token against a long cache."""

from .registry import benchmarks, case, normal


def declare(name, queries, keys, causal=False, **options):
    scale = queries[-1] ** -0.5

    def with_jax(np, q, k, v):
        import jax

        q, k, v = (np.transpose(x, (0, 2, 1, 3)) for x in (q, k, v))
        return jax.nn.dot_product_attention(q, k, v, scale=scale, is_causal=causal)

    case(
        f"attention.{name}",
        normal(queries, keys, keys),
        mlx=lambda mx, q, k, v: mx.fast.scaled_dot_product_attention(
            q, k, v, scale=scale, mask="causal" if causal else None
        ),
        torch=lambda torch, q, k, v: torch.nn.functional.scaled_dot_product_attention(
            q, k, v, scale=scale, is_causal=causal
        ),
        jax=with_jax,
        **options,
    )


declare("8 heads 512x64", (1, 8, 512, 64), (1, 8, 512, 64), quick=True)
declare("8 heads 512x64 causal", (1, 8, 512, 64), (1, 8, 512, 64), causal=True)
declare("one of 8 heads 2048x64", (1, 8, 1, 64), (1, 8, 2048, 64))

test_speed = benchmarks(__name__)
