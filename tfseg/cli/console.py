"""Commands on the console: exit codes, error messages, quiet start-up."""

import errno
import functools
import gc
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import click

from tfseg.cli.arguments import hint
from tfseg.errors import TfsegError, printable
from tfseg.redirection import STDERR, redirected

INTERRUPTED, TERMINATED = 130, 143
"""Exit codes after Ctrl-C (SIGINT) and after SIGTERM."""


class Terminated(KeyboardInterrupt):
    """Raised on SIGTERM, so that a command ends as on Ctrl-C."""


@dataclass
class Console:
    """Output options of a command."""

    debug: bool = False
    quiet: bool = False

    def echo(self, text: str) -> None:
        """Prints unless quiet. Undecodable bytes of file names are printed in hexadecimal."""
        if not self.quiet:
            click.echo(printable(text))


def run(group: click.Group, arguments: Sequence[str] | None) -> int:
    """Runs a command and returns its exit code: 0, 1 for a failure at run time, 2 for a bad file or command."""
    console = Console()
    try:
        with _terminable():
            return group.main(args=arguments, prog_name=group.name, standalone_mode=False, obj=console) or 0
    except click.ClickException as error:
        error.show()
        if more := hint(error):
            click.echo(more, err=True)
        return error.exit_code
    except (click.Abort, KeyboardInterrupt) as error:
        if isinstance(error.__cause__, EOFError):  # which click takes for Ctrl-D at a prompt; there is none
            return _failed(error.__cause__, console)
        errors = (error, error.__cause__)  # click raises its own error from the original one
        notes = (note for each in errors for note in getattr(each, "__notes__", ()))
        click.echo("\n".join(["Stopped.", *notes]), err=True)
        return TERMINATED if Terminated in map(type, errors) else INTERRUPTED
    except BrokenPipeError:  # the reader, such as `head`, has closed the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:  # noqa: BLE001  # outermost frame: the message goes to the user
        return _failed(error, console)


def _failed(error: Exception, console: Console) -> int:
    """Prints the message of an error, or its traceback, and returns the exit code."""
    text = "".join(traceback.format_exception(error)) if console.debug else _message(error)
    click.echo(text, err=True)
    return getattr(error, "exit_code", 1)


@contextmanager
def _terminable() -> Iterator[None]:
    """Makes SIGTERM raise `Terminated`, if this is the main thread: others cannot set signal handlers."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def terminate(number: int, frame: object) -> None:
        raise Terminated

    earlier = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, earlier)


def _message(error: Exception) -> str:
    """Returns the message of an error for users, without a traceback."""
    if isinstance(error, TfsegError):
        return str(error)
    if isinstance(error, FileNotFoundError) and not error.filename:
        return "The working directory no longer exists. Change to another one."
    if isinstance(error, OSError) and error.strerror:
        advice = ". Free disk space and rerun the command" if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
        return (f"{error.filename}: {error.strerror}" if error.filename else error.strerror) + advice
    return f"{type(error).__name__}: {error}\nUnexpected error; rerun with --debug to see where."


@contextmanager
def _start_up_hidden() -> Iterator[None]:
    """Hides the C++ log messages of TensorFlow while it is imported, unless the import fails.

    TensorFlow writes to file descriptor 2, in part before it reads any logging level, so the descriptor itself is
    redirected. Nothing is hidden if TF_CPP_MIN_LOG_LEVEL is set to 0 or 1.
    """
    if os.environ.get("TF_CPP_MIN_LOG_LEVEL", "3") in ("0", "1"):
        yield
        return
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"  # level 2 logs a missing GPU as an error; actual errors raise
    failed = b""
    try:
        with redirected((STDERR,)) as log:
            try:
                yield
            except Exception:
                log.seek(0)
                failed = log.read()
                raise
    finally:
        os.write(STDERR, failed)


@contextmanager
def _garbage_collection_paused() -> Iterator[None]:
    """Pauses garbage collection during imports, which saves half a second, and freezes the imported objects."""
    if "keras" in sys.modules or not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def _flag(name: str) -> Callable[[click.Context, click.Parameter, bool], None]:
    def remember(context: click.Context, _: click.Parameter, value: bool) -> None:
        if value:
            setattr(context.find_object(Console), name, True)

    return remember


def flags(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options `--debug` and `-q`, which are allowed before and after the name of the command."""
    debug = click.option(
        "--debug", is_flag=True, expose_value=False, callback=_flag("debug"), help="Show the traceback of errors."
    )
    quiet = click.option(
        "-q", "--quiet", is_flag=True, expose_value=False, callback=_flag("quiet"), help="Print errors only."
    )
    return debug(quiet(command))


def verb(
    group: click.Group, name: str, *, frameworks: bool = True
) -> Callable[[Callable[..., int | None]], click.Command]:
    """Returns a decorator that makes a function a command of `group`.

    The first argument of the function is the `Console`. With `frameworks`, Keras is imported before the call.
    """

    def make(function: Callable[..., int | None]) -> click.Command:
        @flags
        @click.pass_obj
        @functools.wraps(function)
        def command(console: Console, **arguments: Any) -> int | None:
            if frameworks:
                with _start_up_hidden(), _garbage_collection_paused():
                    import keras  # noqa: F401
            return function(console, **arguments)

        return group.command(name)(command)

    return make
