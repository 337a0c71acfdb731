"""Ending the owner of a journal: that process, and no other. Real processes, real signals."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator

import msgspec
import pytest

from holdfast.journal import Owner
from holdfast.journal.owner import owner_of, this_process
from holdfast.model.errors import HoldfastError
from holdfast.runner.end_owner import end_owner

Process = subprocess.Popen[bytes]


@pytest.fixture
def process() -> Iterator[Process]:
    """Somebody who waits for the end of its input."""
    with subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE) as found:
        yield found
        found.kill()


@pytest.mark.parametrize("stopped", [False, True])
async def test_the_owner_is_ended_also_when_it_was_stopped(process: Process, *, stopped: bool) -> None:
    """SIGKILL works on a process that takes no signal any more."""
    owner = owner_of(process.pid)
    if stopped:
        process.send_signal(signal.SIGSTOP)

    assert await end_owner(owner)
    assert process.wait(10) == -signal.SIGKILL
    assert not await end_owner(owner), "it is gone"


async def test_another_process_with_that_number_is_left_alone(process: Process) -> None:
    """The pid is there, its birth is another."""
    owner = msgspec.structs.replace(owner_of(process.pid), birth="another life")

    assert not await end_owner(owner)
    assert process.poll() is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"host": "elsewhere"}, "the bot runs on elsewhere"),
        ({"birth": ""}, "when it began is not known"),
    ],
)
async def test_who_is_not_known_well_enough_is_not_ended(process: Process, change: dict[str, str], words: str) -> None:
    """One sentence that says what a person has to do."""
    owner = msgspec.structs.replace(owner_of(process.pid), **change)

    with pytest.raises(HoldfastError, match=words):
        await end_owner(owner)
    assert process.poll() is None


async def test_no_number_is_a_process_group() -> None:
    """A pid of zero, or below, would name many: refused."""
    with pytest.raises(HoldfastError, match="when it began is not known"):
        await end_owner(Owner(pid=0, host=this_process().host, birth="x"))
