"""Why a variant cannot run here, and what would help: words for the codes that the formats room writes."""

from collections.abc import Mapping
from typing import Any

from stages.lib.reporting.languages import N_, Translate, list_of

# By code, the reason and the remedy; the values are those of the obstacle's record.
WORDS = {
    "not_in_set": (N_("not in the default set of formats"), "make report SET=all"),
    "not_installed": (N_("%(packages)s: not installed"), "pip install %(names)s"),
    "no_cuda": (
        N_("PyTorch finds no CUDA device"),
        N_("set `device` to auto or cpu, or install a PyTorch build and a driver for your GPU"),
    ),
    "needs_capability": (
        N_("%(dtype)s needs a GPU of compute capability %(capability)s or more"),
        N_("run it on such a machine"),
    ),
    "needs_instruction_set": (
        N_("%(key)s %(value)s needs a processor with %(sets)s"),
        N_("use float32 in `%(key)s`"),
    ),
    "integers_overflow": (
        N_("a processor without %(sets)s adds products of INT8 in 16 bits, which overflow"),
        N_("set `activations: none`"),
    ),
    "not_exportable": (
        N_("cannot be made of this model: the runtime has no %(operation)s, which %(network)s needs"),
        N_("leave that network out of `components`"),
    ),
    "graph_refused": (
        N_("cannot be made of this model: %(runtime)s refuses the graph of %(network)s (%(message)s)"),
        N_("leave that network out of `components`"),
    ),
    "calls_differ": (
        N_("cannot be made of this model: calls of %(network)s differ in more than tensors, and a graph is fixed"),
        N_("leave that network out of `components`"),
    ),
    "layers_called": (
        N_("cannot be made of this model: a graph is a whole network, and the pipeline calls layers of %(network)s"),
        N_("leave that network out of `components`"),
    ),
    "never_called": (
        N_("cannot be made of this model: it is made from examples of calls, and no prompt made it call %(network)s"),
        N_("add such a prompt to those of `calibration`, or leave that network out of `components`"),
    ),
    "tuned_for_another": (
        N_("cannot be made of this model: its tuning changes %(parameter)s, which this model has not, or not so"),
        N_("use it with the model that it was learned for"),
    ),
    "nothing_recommended": (
        N_("which layers to spare is not measured: this model's images mean nothing"),
        N_("name layers in `spare`"),
    ),
    "failed": (N_("it was not measured"), "%(message)s"),  # on another machine
}


def obstacle_words(obstacle: Mapping[str, Any], _: Translate) -> str:
    """Reason and remedy of an obstacle in the language of `_`."""
    reason, remedy = WORDS[obstacle["reason"]]
    shown = dict(obstacle)
    if "packages" in obstacle:
        shown |= {"packages": list_of(obstacle["packages"]), "names": " ".join(obstacle["packages"])}
    if "sets" in obstacle:
        shown["sets"] = list_of([name.upper() for name in obstacle["sets"]], "or")
    return f"{_(reason) % shown}: {_(remedy) % shown}"
