"""A process made of libc's calls: it executes, waits, reaps and tells of errors without an interpreter of its own."""

import errno
import os
import signal
import socket
import threading
from pathlib import Path

from topo.native import Call, Chain, address, signal_set, strings

ENDS = signal_set([signal.SIGTERM])
WAITING: list[Call] = [("sigwait", ENDS, bytes(8)), ("_exit", 7)]


def status_of(chain: Chain) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(chain.start(0)[0], 0)[1])


def executing(program: str, *argv: str) -> Chain:
    return Chain([("execve", program.encode(), strings(argv), strings(["A=b"])), ("_exit", 127)])


def test_calls_follow_one_another_with_their_arguments(tmp_path: Path) -> None:
    name, text = os.fsencode(tmp_path / "file"), b"written by the second call"
    calls: list[Call] = [("dup2", 1, 30), ("creat", name, 0o600), ("_exit", 3)]
    assert status_of(Chain(calls)) == 3
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o600
    with (tmp_path / "file").open("wb") as file:
        assert status_of(Chain([("write", file.fileno(), text, len(text)), ("_exit", 0)])) == 0
    assert (tmp_path / "file").read_bytes() == text


def test_a_program_is_executed_with_its_arguments_and_environment() -> None:
    chain = executing("/bin/sh", "sh", "-c", 'test "$A$1" = bc && exit 5', "sh", "c")
    assert (status_of(chain), chain.errno) == (5, 0)


def test_the_error_of_a_call_is_told_and_is_nobody_elses() -> None:
    chain = executing("/no/such/program", "x")
    assert (status_of(chain), chain.errno) == (127, errno.ENOENT)
    two = [executing("/no/such/program", "x"), executing("/etc", "x")]
    assert [status_of(one) for one in two] == [127, 127]
    assert [one.errno for one in two] == [errno.ENOENT, errno.EACCES]


def test_another_chain_does_the_same_in_a_process_of_its_own() -> None:
    first = Chain([("sigwait", ENDS, bytes(8)), ("chdir", b"/no/such/folder"), ("_exit", 7)], ENDS)
    second, third = first.another(), first.another()
    pids = [chain.start(0)[0] for chain in (second, third)]
    os.kill(pids[1], signal.SIGTERM)
    assert os.waitstatus_to_exitcode(os.waitpid(pids[1], 0)[1]) == 7
    assert [chain.errno for chain in (first, second, third)] == [0, 0, errno.ENOENT]
    os.kill(pids[0], signal.SIGTERM)
    assert os.waitstatus_to_exitcode(os.waitpid(pids[0], 0)[1]) == 7


def test_threads_of_the_starter_make_no_difference() -> None:
    thread = threading.Thread(target=lambda: None)
    thread.start()
    thread.join()
    ours, theirs = socket.socketpair()
    theirs.send(b".")
    chain = Chain([("read", ours.fileno(), bytes(8), 1), *WAITING], ENDS)
    pid, _ = chain.start(0)
    os.kill(pid, signal.SIGTERM)
    assert (os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), chain.errno) == (7, 0)


def test_it_waits_for_its_signal_through_stops_and_leaves_no_zombies() -> None:
    chain = Chain([("setsid",), ("signal", signal.SIGCHLD, 1), *WAITING], ENDS)
    pid, _ = chain.start(0)
    os.kill(pid, signal.SIGSTOP)
    os.waitid(os.P_PID, pid, os.WSTOPPED)
    os.kill(pid, signal.SIGCONT)
    os.waitid(os.P_PID, pid, os.WCONTINUED)
    os.kill(pid, signal.SIGTERM)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL, "the signals of this process are as they were"
    assert signal.SIGTERM not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


def test_a_process_whose_starter_went_away_ends_by_a_signal() -> None:
    ours, theirs = socket.socketpair()
    report = theirs.fileno()
    gate: list[Call] = [("read", report, bytes(8), 1), ("send", report, b"", 0, 0), *WAITING]
    alone: list[Call] = [("close_range", 3, report - 1, 0), ("close_range", report + 1, 1 << 20, 0)]
    chain = Chain([*alone, ("signal", signal.SIGPIPE, address("_exit")), *gate], ENDS)
    pid, _ = chain.start(0)
    for end in (ours, theirs):
        end.close()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == signal.SIGPIPE
