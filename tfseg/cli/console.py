"""How a verb meets the shell: exit codes, errors as text, a quiet start."""

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
from tfseg.errors import TfsegError
from tfseg.redirection import STDERR, redirected

INTERRUPTED, TERMINATED = 130, 143
"""What a shell expects of a program that Ctrl-C ended, and of one that SIGTERM did."""


class Terminated(KeyboardInterrupt):
    """SIGTERM has arrived: everything ends as at Ctrl-C."""


@dataclass
class Console:
    """How a verb talks."""

    debug: bool = False
    quiet: bool = False

    def say(self, text: str) -> None:
        """Prints unless quiet; of file names that are no text, the bytes in hexadecimal."""
        if not self.quiet:
            click.echo(os.fsencode(text).decode(errors="backslashreplace"))


def run(group: click.Group, arguments: Sequence[str] | None) -> int:
    """Runs one verb and gives the exit code: 0, 1 for a failure while running, 2 for a bad file or command."""
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
        errors = (error, error.__cause__)  # click raises its own from the one that arrived
        notes = (note for each in errors for note in getattr(each, "__notes__", ()))
        click.echo("\n".join(["Stopped.", *notes]), err=True)
        return TERMINATED if Terminated in map(type, errors) else INTERRUPTED
    except BrokenPipeError:  # the reader, `head` for one, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:  # noqa: BLE001  # the last frame: from here on there is only the user
        click.echo(traceback.format_exc() if console.debug else _words(error), err=True)
        return getattr(error, "exit_code", 1)


@contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM raises `Terminated` in the main thread, the only one that may ask for it."""
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


def _words(error: Exception) -> str:
    """An error as the user should read it; what tfseg did not foresee says how to learn more."""
    if isinstance(error, TfsegError):
        return str(error)
    if isinstance(error, FileNotFoundError) and not error.filename:
        return "The working directory is gone. Change to one that exists."
    if isinstance(error, OSError) and error.strerror:
        room = ". Make room, and run it again" if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
        return (f"{error.filename}: {error.strerror}" if error.filename else error.strerror) + room
    return f"{type(error).__name__}: {error}\nThis was not foreseen. `tfseg --debug …` shows where it happened."


@contextmanager
def _start_up_hidden() -> Iterator[None]:
    """Nothing that TensorFlow's C++ parts say while they load reaches the user, unless loading fails.

    They write to descriptor 2, part of it before they read any logging level, so the descriptor itself is turned
    away. Who has set TF_CPP_MIN_LOG_LEVEL to 0 or 1 wants to see what it lets through.
    """
    if os.environ.get("TF_CPP_MIN_LOG_LEVEL", "3") in ("0", "1"):
        yield
        return
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"  # at 2, a machine without a GPU is told so as an error; real ones raise
    failed = b""
    try:
        with redirected((STDERR,)) as said:
            try:
                yield
            except Exception:
                said.seek(0)
                failed = said.read()
                raise
    finally:
        os.write(STDERR, failed)


@contextmanager
def _garbage_kept() -> Iterator[None]:
    """Does without the search for cycles while modules are loaded, of half a second, and later among what they hold."""
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
    """`--debug` and `-q`, which may stand before the verb or after it."""
    debug = click.option(
        "--debug", is_flag=True, expose_value=False, callback=_flag("debug"), help="Show the traceback of an error."
    )
    quiet = click.option(
        "-q", "--quiet", is_flag=True, expose_value=False, callback=_flag("quiet"), help="Print nothing but errors."
    )
    return debug(quiet(command))


def verb(
    group: click.Group, name: str, *, frameworks: bool = True
) -> Callable[[Callable[..., int | None]], click.Command]:
    """A command of `group` that gets its `Console` first and, with `frameworks`, finds Keras loaded, quietly."""

    def make(function: Callable[..., int | None]) -> click.Command:
        @flags
        @click.pass_obj
        @functools.wraps(function)
        def command(console: Console, **arguments: Any) -> int | None:
            if frameworks:
                with _start_up_hidden(), _garbage_kept():
                    import keras  # noqa: F401
            return function(console, **arguments)

        return group.command(name)(command)

    return make
