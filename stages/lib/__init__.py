"""The nouns, in rooms. A room imports only itself and those before it in this order; its __init__ says what it is."""

ROOMS = (
    "project",
    "models",
    "formats",
    "generation",
    "timing",
    "quality",
    "sensitivity",
    "results",
    "reporting",
    "study",
)
