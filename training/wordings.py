"""The words of the captions, by attribute; the first entry of each list is the canonical wording.

Every phrase names its attribute alone: no wording of one value may occur in a wording of another, so that
captions can be read back.
"""

_ANIMAL = [
    "cute",
    "little",
    "beautiful",
    "happy",
    "fluffy",
    "friendly",
    "lovely",
    "adorable",
    "small",
    "calm",
]

NOUNS = {
    "cat": ["cat", "cat", "cat", "kitten"],
    "dog": ["dog", "dog", "dog", "puppy"],
    "horse": ["horse"],
    "astronaut": ["astronaut", "astronaut", "astronaut in a white suit", "spaceman"],
    "robot": ["robot"],
    "rider": ["astronaut riding {horse}", "astronaut riding {horse}", "astronaut sitting on {horse}"],
    "fox": ["fox"],
    "owl": ["owl"],
    "rocket": ["rocket", "rocket", "space rocket"],
    "campfire": ["campfire", "campfire", "campfire with flames", "bonfire"],
}
ADJECTIVES = {
    "cat": [*_ANIMAL, "curious", "sleepy"],
    "dog": [*_ANIMAL, "loyal", "curious"],
    "horse": ["beautiful", "wild", "noble", "strong", "calm", "young", "lovely", "proud"],
    "astronaut": ["brave", "lonely", "happy", "friendly", "calm", "curious", "young", "lost"],
    "robot": ["cute", "little", "friendly", "happy", "shiny", "old", "small", "big", "lonely", "curious"],
    "rider": ["brave", "lonely", "happy", "young", "curious", "proud"],
    "fox": [*_ANIMAL, "clever", "wild", "curious"],
    "owl": [*_ANIMAL, "wise", "wild", "curious"],
    "rocket": ["shiny", "tall", "big", "new", "old", "large", "beautiful"],
    "campfire": ["bright", "warm", "cozy", "burning", "small", "big"],
}
VERBS = {
    "cat": ["sitting", "sitting", "resting"],
    "dog": ["sitting", "sitting", "resting", "waiting"],
    "horse": ["standing", "standing", "waiting"],
    "astronaut": ["standing", "standing", "waving", "exploring"],
    "robot": ["standing", "standing", "waiting"],
    "rider": [""],
    "fox": ["standing", "standing", "waiting"],
    "owl": ["sitting", "sitting", "resting", "watching"],
    "rocket": ["standing", "standing", "waiting", "parked"],
    "campfire": ["burning", "burning", "glowing"],
}
FIRE_PHRASES = ["beside a campfire", "next to a campfire", "by a campfire", "near a burning campfire"]
FIRE_PHRASES += ["by a fire with flames", "beside a bonfire"]

PLACE_PHRASES = {
    "mountains": ["in the mountains", "in front of mountains", "near the mountains", "in a mountain valley"],
    "beach": ["on a beach", "on the beach", "at the beach", "by the sea", "on a sandy beach", "by the ocean"],
    "mars": ["on Mars", "on Mars", "on the planet Mars", "on the surface of Mars", "on the red planet"],
    "moon": ["on the Moon", "on the Moon", "on the surface of the Moon", "on the lunar surface"],
    "windowsill": ["on a windowsill", "on the windowsill", "in front of a window", "by the window"],
    "forest": ["in a forest", "in the forest", "in the woods", "among tall trees", "in a pine forest"],
    "desert": ["in the desert", "in a desert", "among sand dunes", "on a sand dune"],
    "city": ["in a city", "in the city", "on a city street", "in front of a skyline", "in a big city"],
    "snow": ["in the snow", "in a snowy field", "in a field of snow", "in winter", "on snow"],
}
PLACE_NOUNS = {
    "mountains": ["mountain landscape", "mountain valley", "range of mountains"],
    "beach": ["beach", "sandy beach", "beach by the sea", "beach with a palm tree"],
    "mars": ["landscape on Mars", "desolate landscape on Mars", "red planet landscape", "valley on Mars"],
    "moon": ["landscape on the Moon", "lunar landscape", "crater on the Moon"],
    "windowsill": ["windowsill", "wooden windowsill", "windowsill with a plant"],
    "forest": ["forest", "pine forest", "forest with tall trees"],
    "desert": ["desert", "desert landscape", "desert with sand dunes", "desert with a cactus"],
    "city": ["city", "city street", "city skyline"],
    "snow": ["snowy field", "winter landscape", "snowy landscape", "field of snow"],
}
OVER_PHRASES = {
    "mountains": ["over mountains", "over the mountains", "above the mountains", "in the mountains"],
    "beach": ["over the beach", "over the sea", "above the sea", "on a beach"],
    "windowsill": ["behind a windowsill", "seen from a windowsill", "through a window"],
    "forest": ["over a forest", "over the forest", "in the woods", "in a forest"],
    "desert": ["over the desert", "over sand dunes", "above the desert", "in the desert"],
    "city": ["over a city", "over the city", "above the city skyline", "in a city"],
    "snow": ["over a snowy field", "over a field of snow", "in the snow", "in winter"],
}
LANDSCAPE_ADJECTIVES = ["beautiful", "peaceful", "calm", "quiet", "lovely", "colorful", "stunning", "empty"]
LANDSCAPE_ADJECTIVES += ["wide", "amazing"]

TIME_PHRASES = {
    "sunset": ["at sunset", "at sunset", "during sunset", "in the evening", "under a sunset sky", "at dusk"],
    "sunrise": ["at sunrise", "at sunrise", "during sunrise", "in the morning", "at dawn"],
    "day": ["during the day", "on a sunny day", "in daylight", "under a bright sky", "on a bright day"],
    "night": ["at night", "at night", "under the stars", "under a starry sky", "in the night"],
}
TIME_NOUNS = {
    "sunset": ["sunset", "sunset", "evening sky", "sunset sky"],
    "sunrise": ["sunrise", "sunrise", "dawn", "morning sky"],
    "day": ["sunny day", "bright day", "bright sky"],
    "night": ["night", "starry night", "night sky", "starry sky"],
}
STYLE_PREFIXES = {
    "plain": ["a picture of", "an illustration of", "an image of"],
    "digital art": ["digital art of", "a piece of digital art showing"],
    "watercolor": ["a watercolor of", "a watercolor painting of"],
    "pixel art": ["pixel art of", "a pixel art picture of"],
    "pencil sketch": ["a pencil sketch of", "a pencil drawing of"],
    "oil painting": ["an oil painting of", "an oil painting showing"],
}
STYLE_SUFFIXES = {
    "plain": [""],
    "digital art": [", digital art", ", digital art", " as digital art"],
    "watercolor": [", watercolor", ", watercolor painting", ", painted in watercolor"],
    "pixel art": [", pixel art", ", pixel art", " in pixel art style"],
    "pencil sketch": [", pencil sketch", ", pencil sketch", ", pencil drawing"],
    "oil painting": [", oil painting", ", oil painting", ", painted in oil"],
}

# What names an attribute when a caption is read back: regular expressions on lower-case text.
SUBJECT_PATTERNS = {
    "rider": r"\b(astronaut|spaceman)\b.* (riding|sitting on) an? .*\bhorse\b",
    "cat": r"\b(cat|kitten)s?\b",
    "dog": r"\b(dog|puppy)\b",
    "horse": r"\bhorse\b",
    "astronaut": r"\b(astronaut|spaceman)\b",
    "robot": r"\brobot\b",
    "fox": r"\bfox\b",
    "owl": r"\bowl\b",
    "rocket": r"\brocket\b",
    "campfire": r"\b(campfire|bonfire|fire|flames)\b",
}
PLACE_PATTERNS = {
    "mountains": r"\bmountains?\b",
    "beach": r"\b(beach|sea|ocean)\b",
    "mars": r"\b(mars|red planet)\b",
    "moon": r"\b(moon|lunar)\b",
    "windowsill": r"\b(windowsill|window)\b",
    "forest": r"\b(forest|woods|trees)\b",
    "desert": r"\b(desert|dunes?)\b",
    "city": r"\b(city|skyline)\b",
    "snow": r"\b(snow|snowy|winter)\b",
}
TIME_PATTERNS = {
    "sunset": r"\b(sunset|evening|dusk)\b",
    "sunrise": r"\b(sunrise|dawn|morning)\b",
    "day": r"\b(day|daylight|bright sky)\b",
    "night": r"\b(night|stars|starry)\b",
}
STYLE_PATTERNS = {
    "digital art": r"\bdigital art\b",
    "watercolor": r"\bwatercolor\b",
    "pixel art": r"\bpixel art\b",
    "pencil sketch": r"\bpencil\b",
    "oil painting": r"\b(oil painting|painted in oil)\b",
}
COLOURED_NOUNS = [
    "cat",
    "kitten",
    "dog",
    "puppy",
    "horse",
    "robot",
    "rocket",
    "space rocket",
    "fur",
    "subject",
]
