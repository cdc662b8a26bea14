"""What a Hub may answer: a description of a known form, files of the stated size, and all of it within a time.

A server, or who sits between, may send anything: a page instead of JSON, names that lead elsewhere, a body without an
end, a byte a second.
"""

import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import httpx2
from huggingface_hub import set_client_factory
from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status
from huggingface_hub.utils._http import default_client_factory  # what set_client_factory's takes the place of
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from stages.lib.project.documents import parse_json
from stages.lib.project.errors import UserError

DESCRIPTION_BYTES = 2**25  # of a repository with many thousand files
PATIENCE_S = 120
LEAST_BYTES_PER_S = 50_000  # a slower line than any that such a model is fetched by
REMEDY = "check network, proxy and HF_ENDPOINT"


def _inside(path: str) -> str:
    if not re.fullmatch(r"[^\0-\x1f\x7f\\]+", path) or {"", ".", ".."} & set(path.split("/")):
        raise ValueError("is no path inside a repository")
    return path


class _Lfs(BaseModel):
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class StatedFile(BaseModel):
    """A file of a repository: its size in bytes, and the digest of its content, SHA-256 or Git's own SHA-1."""

    model_config = ConfigDict(strict=True)

    path: Annotated[str, Field(alias="rfilename", max_length=1000), AfterValidator(_inside)]
    size: Annotated[int, Field(ge=0, le=2**44)]
    blob: Annotated[str, Field(alias="blobId", pattern=r"^[0-9a-f]{40}$")]
    lfs: _Lfs | None = None

    @property
    def digest(self) -> str:
        """That of SHA-256 where the file is kept in LFS."""
        return self.lfs.sha256 if self.lfs else self.blob


class Description(BaseModel):
    """What the Hub's API says of a repository at a revision."""

    sha: str
    siblings: Annotated[list[StatedFile], Field(min_length=1, max_length=100_000)]


class Answers:
    """Everything that huggingface_hub fetches in this process passes through here."""

    def __init__(self, endpoint: str, repository: str, revision: str):
        self.endpoint, self.repository, self.revision = endpoint, repository, revision
        self.most_bytes, self.what = DESCRIPTION_BYTES, ""
        set_client_factory(self._client)

    def files(self) -> dict[str, StatedFile]:
        """Every file of the repository by its path."""
        url = f"{self.endpoint}/api/models/{self.repository}/revision/{self.revision}"
        with self.limited("its description", DESCRIPTION_BYTES):
            answer = get_session().get(url, params={"blobs": True}, headers=build_hf_headers(), timeout=PATIENCE_S)
            hf_raise_for_status(answer)
        return self.read(answer.content)

    def read(self, content: bytes) -> dict[str, StatedFile]:
        """The files of a description. One of another form, or of another commit, is a UserError."""
        try:
            found = Description.model_validate(parse_json(content))
        except ValidationError as error:
            first = error.errors()[0]
            reason = first["msg"].removeprefix("Value error, ")
            raise self._refuse(
                f"with a description whose '{'.'.join(map(str, first['loc']))}' is wrong ({reason})"
            ) from None
        except ValueError as error:
            raise self._refuse(f"with what is no description ({error})") from None
        if found.sha != self.revision:
            raise self._refuse(f"with commit {found.sha[:40]!r} instead of {self.revision}")
        return {file.path: file for file in found.siblings}

    @contextmanager
    def limited(self, what: str, most_bytes: int) -> Iterator[None]:
        """The block ends in the time that `most_bytes` may take; no answer in it has more."""
        self.what, self.most_bytes = what, most_bytes
        most_s = PATIENCE_S + most_bytes / LEAST_BYTES_PER_S

        def end(*_: object) -> None:
            raise UserError(f"{self.endpoint} has not sent {what} within {most_s:.0f} s: {REMEDY}")

        before = signal.signal(signal.SIGALRM, end)
        signal.setitimer(signal.ITIMER_REAL, most_s)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            # An alarm that arrives late must not end the process, which is what it does where nobody heeds it.
            signal.signal(signal.SIGALRM, before if callable(before) else signal.SIG_IGN)

    def _client(self) -> httpx2.Client:
        client = default_client_factory()
        client.event_hooks = {
            "request": [*client.event_hooks["request"], self._ask],
            "response": [*client.event_hooks["response"], self._check],
        }
        return client

    def _ask(self, request: httpx2.Request) -> None:
        request.headers["Accept-Encoding"] = "identity"  # what is packed may be of any size

    def _check(self, answer: httpx2.Response) -> None:
        """Look at the headers before huggingface_hub makes paths of them, and count the bytes of the body."""
        if answer.headers.get("Content-Encoding", "identity") != "identity":
            raise self._refuse("with something compressed")
        if answer.headers.get("X-Repo-Commit", self.revision) != self.revision:
            raise self._refuse(f"with commit {answer.headers['X-Repo-Commit'][:40]!r} instead of {self.revision}")
        for name in ("ETag", "X-Linked-Etag"):
            if not re.fullmatch(r'(W/)?"?[^/\\\0-\x1f]{0,200}', answer.headers.get(name, "")):
                raise self._refuse(f"with a header {name} that is no digest")
        # What tells of an error, or where else to look, has another size than the file that was asked for.
        answer.stream = _Counted(answer.stream, self, self.most_bytes if answer.is_success else DESCRIPTION_BYTES)

    def _refuse(self, found: str) -> UserError:
        return UserError(f"{self.endpoint} answered {found}, asked for {self.what} of {self.repository}: {REMEDY}")


class _Counted(httpx2.SyncByteStream):
    """The body of an answer, as long as it keeps the limit."""

    def __init__(self, stream: Any, answers: Answers, most_bytes: int):
        self.stream, self.answers, self.most_bytes = stream, answers, most_bytes

    def __iter__(self) -> Iterator[bytes]:
        count = 0
        for part in self.stream:
            count += len(part)
            if count > self.most_bytes:
                raise self.answers._refuse(f"with more than {self.most_bytes} bytes")
            yield part

    def close(self) -> None:
        self.stream.close()
