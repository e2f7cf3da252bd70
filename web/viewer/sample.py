"""Make public/sample.deathtensors, the small file that the viewer shows at a first visit.

Nothing in it is learnt; it is made from formulas, so that every run gives the same bytes. It
shows what the viewer can do: several dtypes, numbered blocks, an outlier channel, values that
are not finite, a convolution of rank 4, metadata that is JSON, compression, and digests.

    python web/viewer/sample.py
"""

import json
from pathlib import Path

import torch

import deathtensors

HERE = Path(__file__).parent


def tensors() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(4)

    def noise(*shape: int, scale: float = 0.05) -> torch.Tensor:
        return torch.randn(*shape, generator=generator) * scale

    made: dict[str, torch.Tensor] = {}
    places = torch.arange(64).float()[:, None]
    waves = torch.exp(torch.arange(0, 32, 2).float() * (-4 / 32))
    made["embed.positions"] = torch.cat([torch.sin(places * waves), torch.cos(places * waves)], 1)
    made["embed.tokens"] = noise(96, 32).half()
    for block in range(4):
        name = f"blocks.{block}"
        made[f"{name}.attention.weight"] = noise(32, 32).bfloat16()
        made[f"{name}.attention.bias"] = torch.zeros(32, dtype=torch.bfloat16)
        feed = noise(32, 64)
        feed[:, 11] *= 8  # One channel stands out, as some do in real models.
        made[f"{name}.feed.weight"] = feed.bfloat16()
        made[f"{name}.norm.weight"] = 1 + noise(32, scale=0.01)
    across = torch.linspace(-1, 1, 7)
    made["vision.filters"] = torch.stack(
        [
            torch.stack(
                [
                    torch.cos(6 * (across[:, None] * torch.cos(a) + across[None, :] * torch.sin(a)))
                    * torch.exp(-2 * (across[:, None] ** 2 + across[None, :] ** 2))
                    for a in torch.tensor([0.2, 1.0, 1.8]) + i * 0.4
                ]
            )
            for i in range(8)
        ]
    )
    made["head.quantised"] = (noise(96, 32, scale=30).round().clamp(-127, 127)).to(torch.int8)
    made["head.scale"] = noise(96).abs().to(torch.float8_e4m3fn)
    made["head.counts"] = torch.arange(96, dtype=torch.int64) ** 3
    made["head.mask"] = torch.arange(96) % 3 == 0
    odd = noise(8, 8)
    odd[1, 2], odd[3, 4], odd[5, 6] = float("nan"), float("inf"), float("-inf")
    made["trouble.not_finite"] = odd
    return made


def main() -> None:
    metadata = {
        "about": "A sample made from formulas. Open your own file above.",
        "config": json.dumps({"hidden": 32, "blocks": 4, "activation": "gelu", "tied": False}),
        "license": "MIT",
    }
    target = HERE / "public" / "sample.deathtensors"
    target.parent.mkdir(exist_ok=True)
    deathtensors.save(
        target,
        tensors(),
        global_metadata=metadata,
        compress=True,
        checksum=True,
        digests=True,
    )
    print(f"{target.name}: {target.stat().st_size} bytes")


if __name__ == "__main__":
    main()
