"""Procedural pictures with captions: what the small latent diffusion model is trained on.

A scene is a few named attributes (drawing/content.py). It is drawn with Pillow at twice the size, then
reduced. Shapes are large, edges soft and areas smooth on purpose: the autoencoder keeps one latent of four
channels for each 8 x 8 pixels, so fine grain would be lost and would cost the rest its sharpness.
"""

import random

import numpy as np
from PIL import ImageFilter

from training.captions import caption
from training.drawing.canvas import OVERSAMPLING, SIZE, Canvas
from training.drawing.content import FUR, PAINT, PLACES, STYLES, SUBJECTS, TIMES, Scene, sample_scene
from training.drawing.places import draw_place
from training.drawing.staging import place_subject
from training.drawing.styles import apply_style

__all__ = [
    "FUR",
    "PAINT",
    "PLACES",
    "SIZE",
    "STYLES",
    "SUBJECTS",
    "TIMES",
    "Scene",
    "draw",
    "example",
    "sample_scene",
]

_SOFTNESS_PIXELS = 0.65  # blur of all edges: hard ones cost the autoencoder more than they show


def draw(scene: Scene, rng: random.Random) -> np.ndarray:
    """Picture of a scene: uint8 array (SIZE, SIZE, 3), RGB; rng decides positions and small variations."""
    canvas = Canvas.blank()
    centred_sun = scene.subject == "none"
    ground = draw_place(canvas, scene.place, scene.time, centred_sun, rng)
    place_subject(canvas, scene, ground, rng)
    small = canvas.image.reduce(OVERSAMPLING).filter(ImageFilter.GaussianBlur(_SOFTNESS_PIXELS))
    return np.asarray(apply_style(small, scene.style))


def example(seed: int) -> tuple[np.ndarray, str, Scene]:
    """Picture (see draw), caption and scene number `seed`; the same in every process with the same Pillow."""
    scene = sample_scene(random.Random(f"{seed} scene"))
    picture = draw(scene, random.Random(f"{seed} picture"))
    return picture, caption(scene, random.Random(f"{seed} caption")), scene
