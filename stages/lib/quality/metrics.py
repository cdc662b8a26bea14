"""The table of figures that reports show, and the functions that compare two images.

PSNR and SSIM give scikit-image's numbers. SSIM uses the settings of its paper (Gaussian window of sigma 1.5, population
covariance), which are not scikit-image's defaults.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy as np

MAXIMUM = 255  # the largest value of an 8-bit channel

# The bands of the study, from the best down: an image belongs to the first band whose bound it reaches.
PSNR_BANDS = (("excellent", 40.0), ("good", 30.0), ("fair", 20.0))


@dataclass(frozen=True)
class Metric:
    """One kind of figure. `format` is a format specification for `format(value, metric.format)`."""

    key: str
    name: str
    unit: str
    direction: Literal["higher", "lower", "none"]
    format: str
    sentence: str
    reference: str = ""


def psnr_db(reference: "np.ndarray", image: "np.ndarray") -> float | None:
    """Peak signal-to-noise ratio in dB of two uint8 images (H, W, 3); None if they are identical.

    10 log10(255^2 / MSE) over all pixels and channels. Raises ValueError if the images are not of that kind.
    """
    _check_images(reference, image)
    import numpy as np

    difference = np.subtract(reference, image, dtype=np.float64).ravel()
    squares = float(difference @ difference)  # whole numbers, so exact
    return 10 * math.log10(MAXIMUM**2 * difference.size / squares) if squares else None


def ssim(reference: "np.ndarray", image: "np.ndarray") -> float:
    """Mean structural similarity, -1 to 1, of two uint8 images (H, W, 3) of at least 11 x 11 pixels.

    Computed per colour channel and averaged, with the settings of Wang, Bovik, Sheikh and Simoncelli, "Image quality
    assessment: from error visibility to structural similarity", IEEE TIP 13(4), 2004.
    """
    _check_images(reference, image)
    from skimage.metrics import structural_similarity

    return float(
        structural_similarity(
            reference,
            image,
            data_range=MAXIMUM,
            channel_axis=2,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
    )


def rate_psnr(value_db: float | None) -> str:
    """The study's word for a PSNR in dB: identical (None), excellent (> 40), good (30 to 40), fair (20 to 30), poor."""
    if value_db is None:
        return "identical"
    if value_db == PSNR_BANDS[0][1]:  # the best band begins above its bound, the others at theirs
        return PSNR_BANDS[1][0]
    return next((name for name, bound_db in PSNR_BANDS if value_db >= bound_db), "poor")


def _check_images(reference: "np.ndarray", image: "np.ndarray") -> None:
    for array in (reference, image):
        if array.dtype != "uint8" or array.ndim != 3 or array.shape[2] != 3:
            raise ValueError(f"expected uint8 (H, W, 3), got {array.dtype} {array.shape}")
    if reference.shape != image.shape:
        raise ValueError(f"images of different sizes: {reference.shape} and {image.shape}")


_WANG = "Wang et al., IEEE TIP 13(4), 2004, doi:10.1109/TIP.2003.819861"
_PSNR = "ITU-T J.340; scikit-image peak_signal_noise_ratio"

_ALL = (
    Metric("parameters", "Parameters", "", "none", ",d", "Numbers that the base model learned."),
    Metric(
        "theoretical_mib",
        "Theoretical size",
        "MiB",
        "lower",
        ",.2f",
        "Parameters times the bits of the weights' format, as if every parameter of a converted component had it.",
    ),
    Metric(
        "disk_mib",
        "Size on disk",
        "MiB",
        "lower",
        ",.2f",
        "Bytes of the files with weights: safetensors, and graphs, whose text is compressed.",
    ),
    Metric(
        "runtime_mib",
        "Size as loaded",
        "MiB",
        "lower",
        ",.2f",
        "Bytes of the same files as a runtime loads them, compressed graphs unpacked.",
    ),
    Metric(
        "memory_mib",
        "Size in memory",
        "MiB",
        "lower",
        ",.2f",
        "Bytes that the loaded weights and buffers occupy, packed and wrapped tensors included.",
    ),
    Metric(
        "load_growth_mib",
        "USS increase on loading",
        "MiB",
        "lower",
        ",.2f",
        "How much larger a process is with the model loaded and every weight read than without: what tensors occupy, "
        "and what a runtime keeps besides.",
    ),
    Metric(
        "overhead_percent",
        "Overhead",
        "%",
        "lower",
        "+.1f",
        "How much larger the weight files are than the theoretical size.",
    ),
    Metric(
        "quantize_s",
        "Quantization time",
        "s",
        "lower",
        ",.0f",
        "From the base model on disk to the variant on disk, on the machine that made it.",
    ),
    Metric(
        "quantize_peak_mib",
        "Peak memory in quantization",
        "MiB",
        "lower",
        ",.0f",
        "Highest resident memory of the process that makes the variant, one network at a time.",
    ),
    Metric(
        "compression",
        "Compression",
        "x",
        "higher",
        ".2f",
        "Size on disk of the baseline divided by that of the variant. What a variant leaves out, because generation "
        "does not need it (the encoder of a VAE), is left out of the baseline's size too, in proportion.",
    ),
    Metric(
        "load_time_s",
        "Load time",
        "s",
        "lower",
        ".2f",
        "Until the model is ready to generate, in a fresh process that has imported its libraries.",
    ),
    Metric(
        "first_call_s",
        "Cold-start latency",
        "s",
        "lower",
        ".3f",
        "Time of the first image after loading, with everything that is done only once.",
    ),
    Metric(
        "latency_s",
        "Latency",
        "s",
        "lower",
        ".3f",
        "Median over the timed calls, from prompt to image: text encoding, denoising, decoding, safety check.",
    ),
    Metric(
        "speedup",
        "Speed-up",
        "x",
        "higher",
        ".2f",
        "Median of the ratios baseline time / variant time of calls taken in alternation.",
    ),
    Metric("load_peak_mib", "Peak memory on loading", "MiB", "lower", ",.0f", "Highest memory use while loading."),
    Metric(
        "run_peak_mib",
        "Peak memory in inference",
        "MiB",
        "lower",
        ",.0f",
        "Highest memory use while generation, counted anew after loading.",
    ),
    Metric(
        "psnr_db",
        "PSNR",
        "dB",
        "higher",
        ".1f",
        "Peak signal-to-noise ratio against the reference image, 8 bits, peak 255, over all three channels; "
        "the mean of the images' values, identical images apart.",
        _PSNR,
    ),
    Metric(
        "psnr_db_std",
        "PSNR spread",
        "dB",
        "none",
        ".1f",
        "Sample standard deviation of the images' PSNR.",
        _PSNR,
    ),
    Metric(
        "ssim",
        "SSIM",
        "",
        "higher",
        ".3f",
        "Structural similarity to the reference image: Gaussian window of sigma 1.5, K1 = 0.01, K2 = 0.03, "
        "population covariance, mean of the three channels; the mean of the images' values.",
        _WANG,
    ),
    Metric(
        "ssim_std",
        "SSIM spread",
        "",
        "none",
        ".3f",
        "Sample standard deviation of the images' SSIM.",
        _WANG,
    ),
    Metric("ssim_minimum", "Lowest SSIM", "", "higher", ".3f", "SSIM of the image that changed most.", _WANG),
    Metric(
        "ms_ssim",
        "MS-SSIM",
        "",
        "higher",
        ".3f",
        "Structural similarity over five scales, each half of the one before; mean of the three channels.",
        "Wang, Simoncelli and Bovik, Asilomar 2003",
    ),
    Metric(
        "ciede2000",
        "CIEDE2000",
        "",
        "lower",
        ".2f",
        "Colour difference, averaged over pixels; about 1 is just noticeable side by side.",
        "Sharma et al., Color Res. Appl. 30, 2005; scikit-image deltaE_ciede2000",
    ),
    Metric(
        "ciede2000_p95",
        "CIEDE2000, 95th percentile",
        "",
        "lower",
        ".2f",
        "Colour difference that one pixel in twenty exceeds.",
        "Sharma et al., Color Res. Appl. 30, 2005; scikit-image deltaE_ciede2000",
    ),
    Metric(
        "gmsd",
        "GMSD",
        "",
        "lower",
        ".4f",
        "Gradient magnitude similarity deviation of the luminance at half size: edges lost, moved or added.",
        "Xue et al., IEEE TIP 23(2), 2014",
    ),
    Metric(
        "st_lpips",
        "ST-LPIPS",
        "",
        "lower",
        ".3f",
        "Distance of two images to a network that learned it from people's judgements and forgives shifts of a pixel; "
        "0 for identical images. Over a sample of the prompts.",
        "Ghildyal and Liu, ECCV 2022, arXiv:2207.13686; weights of stlpips-pytorch 0.0.2",
    ),
    Metric(
        "flip",
        "FLIP",
        "",
        "lower",
        ".3f",
        "Difference that an observer sees when two images are exchanged in place, mean over pixels: 0 none, 1 the "
        "largest. Over a sample of the prompts.",
        "Andersson et al., Proc. ACM Comput. Graph. Interact. Tech. 3(2), 2020; flip-evaluator 1.7",
    ),
    Metric(
        "feature_cosine",
        "Feature cosine",
        "",
        "higher",
        ".4f",
        "Cosine of the CLIP features of an image and of its reference: how alike they are in content.",
    ),
    Metric(
        "clip_score",
        "CLIP score",
        "",
        "higher",
        ".2f",
        "100 times the cosine of the CLIP features of an image and its prompt; comparable only with the same CLIP.",
        "Hessel et al., EMNLP 2021, arXiv:2104.08718, without its factor 2.5",
    ),
    Metric(
        "clip_score_change",
        "CLIP score change",
        "",
        "higher",
        "+.2f",
        "CLIP score of an image minus that of its reference: below zero, it shows its prompt less.",
    ),
    Metric(
        "attributes_right",
        "Attributes right",
        "%",
        "higher",
        ".1f",
        "Share of what a prompt names (subject, place, time, colour, style) that a CLIP sees in its image; the mean "
        "of the images' shares.",
    ),
    Metric(
        "attributes_right_change",
        "Attributes right, change",
        "%",
        "higher",
        "+.1f",
        "The share of an image minus that of its reference, in percentage points: below zero, it became worse.",
    ),
    Metric(
        "kid",
        "KID",
        "",
        "lower",
        ".1e",
        "Kernel distance between two sets of features, unbiased for paired images; near zero, it may be negative.",
        "Bińkowski et al., arXiv:1801.01401; Gretton et al., JMLR 13, 2012",
    ),
    Metric(
        "cmmd",
        "CMMD",
        "",
        "lower",
        ".1e",
        "1000 times the Gaussian kernel distance between two sets of CLIP features, unbiased for paired images.",
        "Jayasumana et al., arXiv:2401.09603",
    ),
    Metric(
        "fid",
        "FID",
        "",
        "lower",
        ".2f",
        "Distance of the Gaussians fitted to two sets of features; biased upwards, the more the fewer images.",
        "Heusel et al., arXiv:1706.08500",
    ),
    Metric(
        "latent_snr_db",
        "Latent SNR",
        "dB",
        "higher",
        ".1f",
        "Power of the baseline's latents over that of the difference from them, after one denoising step.",
    ),
    Metric("images", "Images", "", "none", "d", "Images that were compared."),
    Metric(
        "identical",
        "Identical images",
        "",
        "none",
        "d",
        "Images equal to the reference in every pixel; their PSNR is infinite and left out of the mean.",
    ),
    Metric(
        "flagged",
        "Flagged images",
        "",
        "none",
        "d",
        "Images that the safety checker would block; it is asked apart and changes none of them.",
    ),
)

METRICS = {metric.key: metric for metric in _ALL}
