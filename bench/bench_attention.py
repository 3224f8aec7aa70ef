"""Attention: a prompt, a causal prompt, and one token against a long cache."""

from .registry import HALVES, benchmarks, case, normal


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
            q, k, v, scale=scale, is_causal=causal, enable_gqa=queries[1] != keys[1]
        ),
        jax=with_jax,
        **options,
    )


LONG = (1, 8, 512, 64)
declare("8 heads 512x64", LONG, LONG, quick=True, also=HALVES)
declare("8 heads 512x64 causal", LONG, LONG, causal=True)
declare("8 heads 64x64 batch 8", (8, 8, 64, 64), (8, 8, 64, 64))
declare("one of 8 heads 2048x64", (1, 8, 1, 64), (1, 8, 2048, 64), also=HALVES)
declare("16 over 4 heads 512x64 causal", (1, 16, 512, 64), (1, 4, 512, 64), causal=True)
declare("one of 16 over 4 heads 2048x64", (1, 16, 1, 64), (1, 4, 2048, 64))

test_speed = benchmarks(__name__)
