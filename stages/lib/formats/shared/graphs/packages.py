"""The optional packages of a back end."""

from importlib.util import find_spec

from stages.lib.project.errors import UserError


def require_packages(backend: str, names: tuple[str, ...], install: str) -> None:
    """Raise a UserError with the command `install` unless the packages that `backend` needs are installed."""
    missing = [name for name in names if find_spec(name) is None]
    if missing:
        raise UserError(
            f"back end '{backend}' needs {' and '.join(missing)}, not installed here: run `{install}`, "
            "or remove its variants from params.yaml"
        )
