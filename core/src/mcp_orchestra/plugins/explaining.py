"""What a plug-in did wrong, in plain words: names and places, never the text of the exception.

That text is another library's, and may quote a secret. Who needs it finds it as the cause of the error in strict mode.
"""

import sys
from pathlib import PurePath
from types import TracebackType

__all__ = ["Unusable", "explain"]


class Unusable(Exception):  # noqa: N818 - a verdict on a plug-in; it never leaves this package
    """A plug-in cannot be used; its text is the reason, as it is shown to people."""


def explain(error: BaseException, doing: str, module: str) -> str:
    """Return why a plug-in failed.

    Args:
        error: What it raised.
        doing: What core was doing, such as ``"while it is imported"``.
        module: Where the plug-in lives: a module, or ``module:object``.
    """
    home = module.partition(":")[0]
    match error:
        case Unusable():
            return str(error)
        case SystemExit():
            return f"it tries to exit the interpreter {doing}"
        case SyntaxError():
            file = PurePath(error.filename or "").name or home
            line = f"line {error.lineno} of " if error.lineno else ""
            return f"{line}{file} is not valid Python {sys.version_info.major}.{sys.version_info.minor}"
        case ModuleNotFoundError(name=str(missing)):
            return _missing(missing, home)
        case ImportError(name=str(origin)):
            return (
                f"something that it imports from {origin!r} is not there or cannot be loaded: "
                "the installed versions may not fit together"
            )
        case _:
            return f"it raises {type(error).__name__} {doing}{_place(error.__traceback__, home)}"


def _missing(missing: str, home: str) -> str:
    if home == missing or home.startswith(f"{missing}."):
        return f"its module {missing!r} is not there: reinstall it"
    if missing.startswith("mcp_orchestra."):
        return f"it needs {missing!r}, which this version of mcp-orchestra does not have"
    return f"it needs the module {missing!r}, which is not installed"


def _place(traceback: TracebackType | None, home: str) -> str:
    """Return the last line of the plug-in's own code that the error went through."""
    package = home.partition(".")[0]
    place = ""
    while traceback is not None:
        where = str(traceback.tb_frame.f_globals.get("__name__"))
        if where.partition(".")[0] == package:
            place = f" ({where}, line {traceback.tb_lineno})"
        traceback = traceback.tb_next
    return place
