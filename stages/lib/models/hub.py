"""A model from the Hugging Face Hub, at a pinned revision, only what its pipeline needs, and what can go wrong."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stages.lib.models.bringing import cause_of, check_space, size_text
from stages.lib.models.kinds import AGAIN, MODEL_INDEX, check_kind, kind_of, kind_of_index
from stages.lib.models.pipelines import listed_files, needed_files
from stages.lib.project.documents import read_mapping
from stages.lib.project.errors import UserError, first_line
from stages.lib.project.files import sha256
from stages.lib.project.params import PARAMS_FILE
from stages.lib.project.sections import HubModel


def bring_from_hub(model: HubModel, key: str) -> Path:
    """Fetch what is missing of `models.<key>` into the Hugging Face cache; returns the folder of that revision.

    Whole files that are in the cache already are not fetched again; a connection that breaks is resumed where it
    broke. Sizes and digests are those that the Hub's API states. HF_ENDPOINT, HF_HOME and HF_TOKEN are honoured, and
    HF_HUB_OFFLINE where the cache has everything.
    """
    # Plain HTTP goes on in the middle of a file when the connection breaks. huggingface_hub reads this at import.
    os.environ.setdefault("HF_HUB_DISABLE_XET", "1")
    from huggingface_hub import constants, hf_hub_download, try_to_load_from_cache

    from stages.lib.models.hub_answers import Answers

    with _hub_errors(model, key, constants.ENDPOINT):
        index = try_to_load_from_cache(model.repository, MODEL_INDEX, revision=model.revision)
        if constants.HF_HUB_OFFLINE and isinstance(index, str):
            return _complete(Path(index).parent, model.variant)
        answers = Answers(constants.ENDPOINT, model.repository, model.revision)
        files = answers.files()

        def bring(path: str) -> Path:
            with answers.limited(path, files[path].size):
                return Path(hf_hub_download(model.repository, path, revision=model.revision))

        index = {}
        if MODEL_INDEX in files:
            path = bring(MODEL_INDEX)
            _verify(path, files[MODEL_INDEX].digest)
            index = read_mapping(path, AGAIN)
        where = f"repository {model.repository}, revision {model.revision}"
        kind = kind_of_index(index, {path.partition("/")[0] for path in files if "/" in path}, where)
        check_kind(kind)
        needed = list(needed_files(files, kind, model.variant).values())
        total_bytes = sum(files[path].size for path in needed)
        whole_bytes = sum(file.size for file in files.values())
        print(
            f"download: {len(needed)} files, {size_text(total_bytes)}, of the {size_text(whole_bytes)} "
            f"in {constants.ENDPOINT}/{model.repository}",
            flush=True,
        )
        cached = [try_to_load_from_cache(model.repository, path, revision=model.revision) for path in needed]
        missing = [path for path, found in zip(needed, cached, strict=True) if not isinstance(found, str)]
        remedy = "free space, or set HF_HOME to a folder on another disk"
        check_space(sum(files[path].size for path in missing), Path(constants.HF_HUB_CACHE), remedy)
        brought = {path: bring(path) for path in needed}
    for path, file in brought.items():
        _verify(file, files[path].digest)
    return brought[MODEL_INDEX].parent


def _complete(folder: Path, variant: str | None) -> Path:
    """The folder of a revision in the cache, with all that its pipeline needs; else a UserError.

    Where the system has links, the cache calls a file by the digest that the Hub stated.
    """
    try:
        for path in needed_files(listed_files(folder), kind_of(folder), variant).values():
            if (folder / path).is_symlink():
                _verify(folder / path, (folder / path).resolve().name)
    except UserError as error:
        raise UserError(f"HF_HUB_OFFLINE forbids the network, and the cache has not the whole model: {error}") from None
    return folder


def _verify(path: Path, stated: str) -> None:
    """Compare the digest with what the Hub states; a file that differs is removed, so that it is fetched again."""
    if len(stated) == 64:
        digest = sha256(path)
    else:  # a small file: the Hub states the digest that Git gives it
        content = path.read_bytes()
        digest = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
    if digest == stated:
        return
    size_bytes = path.stat().st_size
    path.resolve().unlink()  # the file itself; `path` is a link to it where the system has links
    path.unlink(missing_ok=True)
    raise UserError(
        f"{path.parent.name}/{path.name} came broken: {size_bytes} bytes with digest {digest[:12]}, the Hub states "
        f"{stated[:12]}; the broken copy was removed, run `dvc repro` to fetch it again"
    )


@contextmanager
def _hub_errors(model: HubModel, key: str, endpoint: str) -> Iterator[None]:
    """Turn what huggingface_hub raises into one message each."""
    from httpx2 import InvalidURL
    from huggingface_hub import constants, errors

    entry = f"{PARAMS_FILE}: 'models.{key}"
    again = "run `dvc repro` again; files that came whole are not fetched twice"
    try:
        yield
    except errors.RevisionNotFoundError:
        raise UserError(
            f"{entry}.revision' has the value '{model.revision}': {endpoint}/{model.repository} has no such "
            "revision: take the full commit hash from its page 'Files and versions', 'History'"
        ) from None
    except errors.GatedRepoError:
        raise UserError(
            f"{entry}.repository' has the value '{model.repository}', which is gated: accept its terms on "
            f"{endpoint}/{model.repository}, then set HF_TOKEN to a token of that account"
        ) from None
    except errors.RepositoryNotFoundError:
        raise UserError(
            f"{entry}.repository' has the value '{model.repository}', which {endpoint} does not have or does not "
            "show: check the name; for a private one set HF_TOKEN"
        ) from None
    except errors.OfflineModeIsEnabled:
        raise UserError(
            f"{entry}' comes from {endpoint}, but HF_HUB_OFFLINE forbids the network: unset it, or choose a model "
            f"whose source is a folder in {PARAMS_FILE}, key 'model'"
        ) from None
    except errors.HfHubHTTPError as error:
        raise UserError(f"{endpoint} answered {error.response.status_code} for {model.repository}: {again}") from None
    except (errors.HTTPError, errors.LocalEntryNotFoundError) as error:
        cause = error.__cause__ or error
        raise UserError(
            f"{endpoint} cannot be reached or broke off ({type(cause).__name__}: {first_line(cause)}): check network, "
            f"proxy and HF_ENDPOINT and {again}. Without a network choose a model whose source is a folder in "
            f"{PARAMS_FILE}, key 'model'"
        ) from None
    except (ValueError, InvalidURL) as error:  # of a header that is no number, or leads nowhere
        raise UserError(f"{endpoint} answered what no Hub does ({first_line(error)}): {again}") from None
    except OSError as error:
        cause = cause_of(error, Path(constants.HF_HUB_CACHE))
        raise UserError(f"the download of {model.repository} failed: {cause}; then {again}") from None
