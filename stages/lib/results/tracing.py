"""The chain from a figure of the report down to the hashes in dvc.lock.

A figure in a file is named by a dotted path: 'averages.ms_ssim.mean', 'components.unet.disk_mib', 'images.owl.ssim'.
"""

import difflib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.lib.project.errors import UserError
from stages.lib.project.files import git, read_json
from stages.lib.project.lineage import OF_VARIANTS, SINGLE, SOURCES, Source
from stages.lib.project.lock_file import LockedStage, digest, makers_of, stale_inputs, upstream
from stages.lib.project.params import Params
from stages.lib.quality.metrics import METRIC_SOURCES

LOCK = Path("dvc.lock")
# What rows of a list are called by, where it tells them apart.
NAMES = ("id", "name", "variant", "component", "format", "layer", "kind")
SUGGESTED = 5


@dataclass(frozen=True)
class Figure:
    """One figure: its value, its path in the file of `source`, and the formats that it is about."""

    source: Source
    path: str
    value: Any
    variants: tuple[str, ...]


def locate(words: list[str], params: Params) -> Figure:
    """The figure that two words name, or three of which the first is a table. A UserError lists what is there."""
    *table, subject, key = words
    if len(table) > 1:
        raise UserError(f"'{' '.join(words)}' is more than a table, a format and a figure: see --help")
    allowed = SOURCES[_item(table[0])] if table else (*OF_VARIANTS, *SINGLE)
    files = {Path(source.file).stem: source for source in SINGLE}
    if subject in files:
        sources, about = [files[subject]], tuple(params.variants)
    elif subject in params.variants:
        sources, about = [source for source in OF_VARIANTS if source in allowed], (subject, params.baseline)
        source, path = METRIC_SOURCES.get(key, (None, ""))
        if source in allowed:
            sources, key = [source], path.replace(".V.", f".{subject}.")
    else:
        raise UserError(
            f"'{subject}' is no format and no file of reports/{suggestion(subject, [*params.variants, *files])}"
        )
    if not set(sources) & set(allowed):
        raise UserError(f"'{table[0]}' shows nothing of '{subject}': it is made of {_files(allowed)}")
    return _search([source.of(params.model, subject) for source in sources], key, about)


def _search(sources: list[Source], key: str, about: tuple[str, ...]) -> Figure:
    """The figure `key` of the first of the files that has it."""
    contents = {source: read_json(Path(source.file)) for source in sources}
    for source, content in contents.items():
        if any(path == key or path.endswith(f".{key}") for path, _value in figures(content)):
            return Figure(source, *find(content, key, source.file), about)
    known = [*METRIC_SOURCES, *(path for content in contents.values() for path, _value in figures(content))]
    raise UserError(f"no figure '{key}' in {_files(tuple(sources))}{suggestion(key, known)}")


def _item(word: str) -> str:
    """The key of the table, figure or chart that a word names, with or without its kind."""
    for key in (word, *(f"{kind}-{word}" for kind in ("table", "chart", "figure"))):
        if key in SOURCES:
            return key
    raise UserError(f"'{word}' is no table, figure or chart{suggestion(word, SOURCES)}")


def _files(sources: tuple[Source, ...]) -> str:
    return ", ".join(source.file for source in sources)


def overview(word: str, params: Params) -> Iterator[str]:
    """What a format has, or what a table, figure or chart is made of."""
    if word in params.variants:
        for key, (source, path) in METRIC_SOURCES.items():
            yield f"{key:24} {source.of(params.model, word).file}, {path.replace('.V.', f'.{word}.')}"
        return
    for source in SOURCES[_item(word)]:
        names = params.variants if "/V" in source.file else ["V"]
        for item in [source.of(params.model, name) for name in names]:
            yield f"{item.stage or 'written by hand':32} {item.file}"


def measured_by(figure: Figure, lock: dict[str, LockedStage]) -> list[LockedStage]:
    """The stage that wrote the figure and all before it."""
    stage = lock.get(figure.source.stage)
    return [] if stage is None else [stage, *upstream(stage, lock, figure.variants)]


def holds(source: Source, lock: dict[str, LockedStage]) -> bool:
    """Whether the file on disk is the one that dvc.lock describes."""
    stage = lock.get(source.stage)
    path = stage and stage.output(source.file)
    return path is not None and stage.outs[path] == digest(Path(path))


def chain(figure: Figure, lock: dict[str, LockedStage]) -> Iterator[str]:
    """The lines from the figure down to what no stage made."""
    source = figure.source
    yield f"figure    {figure.path} = {json.dumps(figure.value, ensure_ascii=False)}"
    yield f"file      {source.file}"
    stage, remedy = lock.get(source.stage), f"run `dvc repro {source.stage}`"
    path = stage and stage.output(source.file)
    found = digest(Path(path or source.file))
    where = f" of {path}" if path and path != source.file else ""
    if path is None:
        yield f"hash      {found}; dvc.lock has no stage {source.stage} that writes it: {remedy}"
    elif stage.outs[path] == found:
        yield f"hash      {found}{where}, as in dvc.lock"
    else:
        locked = stage.outs[path]
        yield f"hash      {found}{where}, but dvc.lock has {locked}: it was changed after it was measured; {remedy}"
    yield from machine_lines(read_json(Path(source.file)))
    yield from commit_lines()
    for item in measured_by(figure, lock):
        yield from stage_lines(item, lock)


def stage_lines(stage: LockedStage, lock: dict[str, LockedStage]) -> Iterator[str]:
    """One stage: command, parameters, what it read with hashes."""
    yield ""
    yield f"stage     {stage.name}"
    yield f"command   {stage.command}"
    for file, values in stage.params.items():
        for key, value in values.items():
            yield f"param     {file}: {key} = {json.dumps(value, ensure_ascii=False)}"
    stale = stale_inputs(stage, lock)
    for path, md5 in stage.deps.items():
        makers = dict.fromkeys(maker.name.partition("@")[0] for maker in makers_of(path, lock))
        if any(path in maker.outs for maker in makers_of(path, lock)):
            makers = [maker.name for maker in makers_of(path, lock)]
        made = f"made by {', '.join(makers)}" if makers else "made by no stage"
        since = f", which has made {stale[path]} since: run `dvc repro {stage.name}`" if path in stale else ""
        if not makers and digest(Path(path)) != md5:
            since = f", now another: run `dvc repro {stage.name}`"
        yield f"input     {md5}  {path} ({made}{since})"
    for path, md5 in stage.outs.items():
        yield f"output    {md5}  {path}"


def machine_lines(content: Any) -> Iterator[str]:
    """The machine: that which a timing names, or the present one."""
    path = Path("reports/environment.json")
    if not path.is_file():
        return
    here = read_json(path)
    timed_on = content.get("fingerprint") if isinstance(content, dict) else None
    name = here.get("machine", {}).get("cpu", "")
    if timed_on in (None, here["fingerprint"]):
        yield f"machine   {here['fingerprint']} {name}".rstrip()
    else:
        yield f"machine   {timed_on}, another one than that of {path}, {here['fingerprint']}"


def commit_lines() -> Iterator[str]:
    """The last commit that changed dvc.lock, where this is a Git checkout."""
    last = git("log", "-1", "--format=%H of %cs", "--", str(LOCK))
    if last:
        changed = "; dvc.lock differs from it now" if git("status", "--porcelain", "--", str(LOCK)) else ""
        yield f"commit    {last}, the last that changed dvc.lock{changed}"


def figures(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every leaf of `value` with its path. A list of plain values is one leaf."""
    if isinstance(value, dict):
        parts = value.items()
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        parts = zip(_row_names(value), value, strict=True)
    else:
        yield path, value
        return
    for name, item in parts:
        yield from figures(item, f"{path}.{name}" if path else str(name))


def _row_names(rows: list[dict]) -> list[str]:
    """What the rows are called by: a key that all have and that differs in all, or else their places from 0."""
    for key in NAMES:
        names = [str(row.get(key, "")) for row in rows]
        if all(names) and len(set(names)) == len(rows):
            return names
    return [str(number) for number in range(len(rows))]


def find(content: Any, key: str, where: str) -> tuple[str, Any]:
    """Path and value of the figure that `key` names: its whole path, or an end of it that no other has.

    A UserError lists the closest paths if there is none, and all if there are several.
    """
    found = dict(figures(content))
    if key in found:
        return key, found[key]
    ending = [path for path in found if path.endswith(f".{key}")]
    if len(ending) == 1:
        return ending[0], found[ending[0]]
    if ending:
        more = f" and {len(ending) - SUGGESTED} more" if len(ending) > SUGGESTED else ""
        raise UserError(f"{where} has several figures '{key}': use one of {', '.join(ending[:SUGGESTED])}{more}")
    raise UserError(f"{where} has no figure '{key}'{suggestion(key, found)}")


def suggestion(word: str, known: Any) -> str:
    """': did you mean ...?' with the closest of `known`, each of which may also be meant by its last part."""
    by_end = {path.rpartition(".")[2]: path for path in known}
    close = difflib.get_close_matches(word, [*known, *by_end], n=SUGGESTED, cutoff=0.5)
    names = list(dict.fromkeys(by_end.get(name, name) if name not in known else name for name in close))
    return f": did you mean {', '.join(names)}?" if names else f": it has {', '.join(list(known)[:20])}"
