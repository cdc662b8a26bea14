"""Figures 1 and 3, the same in every language: whole images, the detail that differs most, maps of the difference."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stages.lib.project.prompts import Prompt
from stages.lib.reporting.images.screen_images import ScreenImages, images_of, screen_figures
from stages.lib.reporting.images.thumbnails import (
    amplification,
    detail,
    difference_map,
    differences,
    photograph,
    screen_detail,
    screen_map,
    window_of_largest_difference,
)
from stages.lib.results.records import Results, VariantResult

ILLUSTRATED = 3  # prompts in figures 1 and 3
MOST_COLUMNS = {"grid": 9, "visual": 6}  # of figures 1 and 3
DETAIL_SHARE = 3  # the enlarged detail is a third of the image wide


def page_images(results: Results, prompts: Sequence[Prompt], folder: Path) -> dict[str, Any]:
    """What templates show as images of `folder`; where nothing was generated, no figure and no viewer."""
    if not results.illustrated:
        timing = results.baseline.timing
        return {"comparisons": {}, "image_width": timing["width"], "image_height": timing["height"], "viewer": None}
    illustrated = illustrated_prompts(prompts)
    images = images_of(folder, [result.name for result in results.variants])
    return image_figures(results, images, illustrated) | screen_figures(results, images, prompts, illustrated)


def illustrated_prompts(prompts: Sequence[Prompt]) -> list[Prompt]:
    """The prompts of figures 1 and 3: the study's, or else the first ones."""
    return ([prompt for prompt in prompts if prompt.set == "study"] or list(prompts))[:ILLUSTRATED]


def image_figures(results: Results, every: ScreenImages, prompts: Sequence[Prompt]) -> dict[str, Any]:
    """Whole images, details, and maps with one factor for all: for paper and, in `screen_...`, for the screen."""
    shown = {prompt.id: {name: images[prompt.id] for name, images in every.items()} for prompt in prompts}
    maps = {
        prompt.id: {
            result.name: differences(shown[prompt.id][results.baseline.name], shown[prompt.id][result.name])
            for result in results.others
        }
        for prompt in prompts
    }
    factor = amplification([item for found in maps.values() for item in found.values()])
    grid, visual, window = [], [], (0, 0, 0)
    printed = printed_variants(results, MOST_COLUMNS["visual"])
    grid_columns = len(even_rows(results.variants, MOST_COLUMNS["grid"])[0])
    screen: dict[str, dict[str, dict[str, str]]] = {"screen_details": {}, "screen_maps": {}}
    for prompt in prompts:
        images = shown[prompt.id]
        height, width, _channels = images[results.baseline.name].shape
        side = min(height, width) // DETAIL_SHARE
        window = window_of_largest_difference(list(maps[prompt.id].values()), side) if results.others else (0, 0, side)
        grid.append((prompt, {name: photograph(image, grid_columns) for name, image in images.items()}))
        details = {result.name: detail(images[result.name], window) for result in printed}
        paper_maps = {
            result.name: difference_map(maps[prompt.id][result.name], factor, len(printed)) for result in printed[1:]
        }
        visual.append((prompt, details, paper_maps))
        screen["screen_details"][prompt.id] = {name: screen_detail(item, window) for name, item in images.items()}
        screen["screen_maps"][prompt.id] = {name: screen_map(item, factor) for name, item in maps[prompt.id].items()}
    first = shown[prompts[0].id][results.baseline.name]
    return {
        "grid": grid,
        "visual": visual,
        **screen,
        "most_columns": MOST_COLUMNS,
        "printed": printed,
        "factor": factor,
        "detail_side": window[2],
        "comparisons": {
            (result.name, image["id"]): image for result in results.others for image in result.quality["per_image"]
        },
        "image_width": first.shape[1],
        "image_height": first.shape[0],
    }


def printed_variants(results: Results, most: int) -> list[VariantResult]:
    """The baseline and, from the most to the least SSIM in even steps, so many others that there are `most`."""
    others = sorted(results.others, key=lambda result: -result.quality["ssim"])
    count = min(most - 1, len(others))
    steps = {round(number * (len(others) - 1) / max(1, count - 1)) for number in range(count)}
    return [results.baseline, *(others[step] for step in sorted(steps))]


def even_rows(items: Sequence[Any], most: int) -> list[list[Any]]:
    """Items in as few rows of at most `most` as possible, equally long; the last is filled up with None."""
    count = -(-len(items) // most)
    length = -(-len(items) // count)
    filled = [*items, *[None] * (count * length - len(items))]
    return [filled[start : start + length] for start in range(0, len(filled), length)]
