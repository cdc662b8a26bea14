"""Tables 1 to 3 of the study beside this measurement: machine, formats, prompts."""

from stages.lib.project.variant import DTYPE_BITS
from stages.lib.reporting.denoising import arguments_of, guidance_words
from stages.lib.reporting.languages import NO_BREAK_SPACE, number, numbers, unit
from stages.lib.reporting.numbers import dtype_name
from stages.lib.reporting.words.names import translated
from stages.lib.study.limits import exact_parameters
from stages.lib.study.sources import FORMATS, Line, Sources, same_ratio


def machine(sources: Sources) -> list[Line]:
    """What was measured on what: agrees where the printed value is this machine's, too."""
    _, printed = sources._, sources.printed["table_1"]
    hardware, software = sources.results.environment["machine"], sources.results.environment["software"]
    own = sources.results.baseline.size["parameters"]
    exact = exact_parameters(sources.exact)
    model = _("%(own)s million parameters against %(exact)s") % numbers(",.2f", own=own / 1e6, exact=exact / 1e6)

    def line(what: str, said: str, here: str, same: bool, why: str = "") -> Line:
        return Line(what, said, here, "agrees" if same else "differs", "" if same else why)

    cores, none = _("%(name)s, cores: %(cores)s"), _("none")
    card = _("%(name)s, %(memory)s GB") % {"name": printed["gpu"], "memory": printed["gpu_memory_gb"]}
    processor = cores % {"name": printed["cpu"], "cores": printed["cores"]}
    own = cores % {"name": hardware["cpu"], "cores": hardware["physical_cores"]}
    memory, system = printed["memory_gb"], printed["operating_system"]
    memory_here = f"{number(hardware['memory_gib'], 'g')}{NO_BREAK_SPACE}{unit('GiB')}"
    same_card = printed["gpu"] in f"NVIDIA {hardware['gpu']}"
    return [
        line(_("Model"), printed["model"], sources.model_label, sources.same_model, model),
        line("PyTorch", printed["torch"], software["torch"], printed["torch"] == software["torch"]),
        line("CUDA", printed["cuda"], software["cuda"] or none, printed["cuda"] == software["cuda"]),
        line(_("Graphics processor"), card, hardware["gpu"] or none, same_card),
        line(_("Processor"), processor, own, printed["cpu"] in hardware["cpu"]),
        line(_("Memory"), _("%(memory)s GB") % {"memory": memory}, memory_here, memory == hardware["memory_gib"]),
        line(_("Operating system"), system, hardware["operating_system"], system in hardware["operating_system"]),
    ]


def formats(sources: Sources) -> list[Line]:
    """Bits a weight are compared as stored; the measured compression says what they come to."""
    _ = sources._
    lines = []
    for name in FORMATS:
        said, result = sources.printed["table_2"][name], sources.counterparts[name]
        values = {"bits": said["bits"], "ratio": said["compression"], "device": said["device"]}
        text = _("%(bits)s bits, %(ratio)s×, %(device)s; %(use)s") % {**values, "use": sources.said(said["use"])}
        if result is None:
            lines.append(sources.unmeasured(name, text))
            continue
        bits = DTYPE_BITS[result.variant.stored_dtype]
        here = _("%(bits)s bits (%(dtype)s) stored, %(ratio)s×, %(device)s") % {
            "bits": bits,
            "dtype": dtype_name(result.variant.stored_dtype),
            "ratio": number(DTYPE_BITS["float32"] / bits, "g"),
            "device": result.generated["device"].upper(),
        }
        ratios = {"own": number(result.compression, ".2f"), "ratio": said["compression"]}
        why = _("its files are %(own)s× smaller, where the bits promise %(ratio)s×") % ratios
        fits = bits == said["bits"] and same_ratio(said["compression"], result.compression)
        lines.append(Line(name, text, here, "agrees" if fits else "differs", "" if fits else why))
    return lines


def prompts(sources: Sources) -> list[Line]:
    """Each prompt with kind, complexity and seed, and how it is generated."""
    _ = sources._
    own = {prompt.prompt: prompt for prompt in sources.prompts}
    lines = []
    for said in sources.printed["table_3"]:
        prompt = own.get(said["prompt"])
        quoted = _("“%(prompt)s”") % {"prompt": said["prompt"]}
        text = ", ".join([translated(said["kind"], _), translated(said["complexity"], _), str(said["seed"])])
        if prompt is None:
            lines.append(Line(quoted, text, "", "unmeasured", _("this prompt is not generated here")))
            continue
        same = (prompt.kind, prompt.complexity, prompt.seed) == (said["kind"], said["complexity"], said["seed"])
        here = ", ".join([translated(prompt.kind, _), translated(prompt.complexity, _), str(prompt.seed)])
        lines.append(Line(quoted, text, here, "agrees" if same else "differs"))
    return [*lines, _generation(sources)]


def _generation(sources: Sources) -> Line:
    _, said, params = sources._, sources.printed["generation"], sources.params
    listing = sources.results.baseline.generated
    guidance = guidance_words(arguments_of(params, listing), listing.get("denoising"), _)
    generated = sources.results.baseline.timing
    text, here = (
        _("steps: %(steps)s, %(guidance)s, %(width)s × %(height)s pixels")
        % {"steps": steps, "guidance": guided, "width": size["width"], "height": size["height"]}
        for steps, guided, size in (
            (said["steps"], guidance_words(said, None, _), said),
            (params.steps, guidance, generated),
        )
    )
    return Line(_("Generation (section 3.6)"), text, here, "agrees" if text == here else "differs")
