"""Invented results of the sensitivity stages, in the form that they write: input for report tests."""

from itertools import combinations

COMPONENTS = ("unet", "vae", "text_encoder", "safety_checker")
PROBE_POINTS = {
    "embeddings": ("text_encoder",),
    "latents": ("text_encoder", "unet"),
    "image": ("text_encoder", "unet", "vae"),
    "safety": ("text_encoder", "unet", "vae", "safety_checker"),
}


def sensitivity() -> dict[str, dict]:
    """reports/sensitivity by the name of the file."""
    return {"components": _components(), "steps": _steps(), "layers": _layers()}


def _spread(*samples: float) -> dict:
    from stages.lib.project.measurement import Measurement

    return Measurement("", samples).as_json()


def _components() -> dict:
    return {
        "images": 3,
        "ids": ["landscape", "animal", "fantasy"],
        "formats": [_format("fp16", "FP16", 55.0), _format("int8", "INT8", 26.0)],
    }


def _format(name: str, label: str, psnr_db: float) -> dict:
    groups = [group for size in range(5) for group in combinations(COMPONENTS, size)]
    return {
        "format": name,
        "label": label,
        "combinations": [
            {
                "quantized": list(group),
                "psnr_db": psnr_db if group else None,
                "latent_snr_db": 12.3 if group else None,
                "embedding_cosine": 0.9998,
                "margin_shift": 0.0123,
                "flips": 0,
            }
            for group in groups
        ],
        "probe_points": {
            tap: {
                "total": 1.0,
                "wholes": [0.4, 1.6, 1.0],
                "damaged": 3,
                "tells": False,
                "leader": {"component": players[0], "certainty": 0.75},
                "components": [
                    {
                        "component": player,
                        "alone": 0.1,
                        "shapley": 1 / len(players),
                        "alone_share": 0.1,
                        "main_effect_share": 0.2,
                        "images": [share / len(players) for share in (0.4, 1.6, 1.0)],
                        "share": 1 / len(players),
                        "low": 1 / len(players) - 0.01,
                        "high": 1 / len(players) + 0.01,
                    }
                    for player in players
                ],
                "interactions": [],
            }
            for tap, players in PROBE_POINTS.items()
        },
        "components": [
            {
                "component": component,
                "effect": "significant" if component == "unet" and psnr_db < 30 else "negligible",
                "criticality": "high" if component == "unet" and psnr_db < 30 else "low",
                "effect_worst": "significant" if component == "unet" else "negligible",
                "worst": 1 if component == "unet" else None,
                "psnr_worst_db": psnr_db - 4 if component == "unet" else None,
                "psnr_db": None if component == "safety_checker" else psnr_db,
                "embedding_cosine": 1.0,
                "latent_snr_db": None,
                "flips": 0,
                "margin_shift": 0.001,
                "image_share": 1 / 3,
            }
            for component in COMPONENTS
        ],
    }


def _steps() -> dict:
    windows = [
        {
            "first": first,
            "last": first + 1,
            "timesteps": [900 - first, 899 - first],
            "latent_noise": _spread(0.01, 0.02, 0.015),
            "rms": _spread(*(rms / (first + 1) for rms in (3.0, 4.0, 3.5))),
            "psnr_db": 36.0 + first,
            "identical": 0,
        }
        for first in (0, 2, 4)
    ]
    whole = windows[0] | {"last": 5, "rms": _spread(9.0, 8.0, 8.5)}
    return {
        "calls": 6,
        "window": 2,
        "images": 3,
        "ids": ["landscape", "animal", "fantasy"],
        "formats": [{"format": "int8", "label": "INT8", "windows": windows, "whole": whole}],
    }


def _layers() -> dict:
    layers = [
        {
            "layer": name,
            "block": name.split(".")[0],
            "kind": "convolution",
            "weights": 100,
            "noise_4_bits": noise,
            "noise_8_bits": noise / 300,
        }
        for name, noise in (("conv_out", 0.02), ("up_blocks.0.resnets.0.conv1", 0.001))
    ]
    group = {"layers": 1, "weights": 100, "noise_4_bits": 0.02, "noise_8_bits": 0.0001, "noise_activations": 0.0002}
    budgets = [
        {
            "kind": kind,
            "allowed_bits": bits,
            "mean_bits": bits,
            "size_mib": bits / 8,
            "layers_8_bits": 1,
            "layers_16_bits": 0,
            "noise": 0.02 / bits,
            "expected": None if bits == 6 else 0.02 / bits,
        }
        for kind, bits in (("uniform", 4.0), ("mixed", 5.5), ("uniform", 6.0), ("uniform", 8.0))
    ]
    return {
        "examples": 2,
        "granularity": "channel",
        "layers": layers,
        "blocks": [{"name": "conv_out", **group}, {"name": "up_blocks.0", **group, "noise_activations": None}],
        "kinds": [{"name": "convolution", **group}],
        "budgets": budgets,
        "sparing": [
            {
                "kind": kind,
                "order": [row["layer"] for row in layers],
                "curve": [
                    {"spared": count, "bytes": 25 * bits + count, "noise": noise}
                    for count, noise in ((0, 0.02 / bits), (1, 0.001))
                ],
                "recommended": 1,
                "share": 0.05,
            }
            for kind, bits in (("int8", 8), ("int8_activations", 8), ("float8", 8), ("int4", 4))
        ],
    }
