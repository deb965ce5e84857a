"""The sandbox of a reader process: once inside, it can only compute and use what it has open.

A seccomp filter allows the system calls for memory, for clocks, and for reading and writing open files. None
of them takes a path, creates a socket, starts a process or sends a signal. Files, networks and other
processes are therefore out of reach, whatever code runs here. Every other call fails with EPERM. The filter
needs no privilege and cannot be removed.
"""

import ctypes
import errno
import os
import platform
import resource
import socket
import struct
from collections.abc import Callable
from typing import NamedTuple

from shotwatch_ingest.domain.snapshot import MAX_DECODED_BYTES

_MAX_OPEN_FILES = 16

_PR_SET_NO_NEW_PRIVS = 38
_SET_MODE_FILTER, _ALL_THREADS = 1, 1
_RETURN_ALLOW, _RETURN_ERRNO = 0x7FFF0000, 0x00050000
_LOAD, _JUMP_IF_EQUAL, _RETURN = 0x20, 0x15, 0x06
_NUMBER_AT, _ARCHITECTURE_AT = 0, 4
"""Offsets of the call's number and the machine's architecture in the filter's input (linux/seccomp.h)."""


_ALLOWED = {
    "read": (0, 63),
    "write": (1, 64),
    "close": (3, 57),
    "lseek": (8, 62),
    "pread64": (17, 67),
    "recvmsg": (47, 212),
    "mmap": (9, 222),
    "mprotect": (10, 226),
    "munmap": (11, 215),
    "brk": (12, 214),
    "mremap": (25, 216),
    "madvise": (28, 233),
    "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139),
    "sigaltstack": (131, 132),
    "setitimer": (38, 103),
    "futex": (202, 98),
    "sched_yield": (24, 124),
    "restart_syscall": (219, 128),
    "getpid": (39, 172),
    "gettimeofday": (96, 169),
    "clock_gettime": (228, 113),
    "nanosleep": (35, 101),
    "clock_nanosleep": (230, 115),
    "getrandom": (318, 278),
    "exit": (60, 93),
    "exit_group": (231, 94),
}
"""System calls, with their numbers on x86_64 and on aarch64 (asm/unistd_64.h, asm-generic/unistd.h)."""


class MachineType(NamedTuple):
    """A type of machine: its number in linux/audit.h, that of the call seccomp, its column above."""

    audit: int
    seccomp: int
    column: int


_MACHINE_TYPES = {"x86_64": MachineType(0xC000003E, 317, 0), "aarch64": MachineType(0xC00000B7, 277, 1)}


class SandboxError(Exception):
    """This process cannot be confined; the message gives the reason."""


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def enter_sandbox() -> None:
    """Confine this process and all its threads permanently, and verify the confinement.

    Raises:
        SandboxError: the kernel or the machine does not support the filter, or the filter has no effect.
    """
    resource.setrlimit(resource.RLIMIT_NOFILE, (_MAX_OPEN_FILES, _MAX_OPEN_FILES))
    resource.setrlimit(resource.RLIMIT_FSIZE, (MAX_DECODED_BYTES, MAX_DECODED_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    machine = _MACHINE_TYPES.get(platform.machine())
    if machine is None:
        raise SandboxError(f"there is no filter of system calls for a machine of type {platform.machine()}")
    _install(machine)
    _require_refused("opening a file", lambda: os.open("/", os.O_RDONLY))
    _require_refused("making a socket", lambda: socket.socket().close())
    _require_refused("signalling a process", lambda: os.kill(os.getpid(), 0))


def _install(machine: MachineType) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    instructions = _filter(machine)
    program = _Program(len(instructions) // 8, instructions)
    refused = libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.syscall(
        machine.seccomp, _SET_MODE_FILTER, _ALL_THREADS, ctypes.byref(program)
    )
    if refused:
        raise SandboxError(f"the kernel refuses a seccomp filter: {os.strerror(ctypes.get_errno())}")


def _filter(machine: MachineType) -> bytes:
    """Return instructions of 8 bytes (struct sock_filter): code, jumps if true and if false, operand."""
    numbers = [call[machine.column] for call in _ALLOWED.values()]
    refuse = _RETURN_ERRNO | errno.EPERM
    # A jump skips that many instructions: other machines go to the refusal, listed calls to the last line.
    instructions = [
        (_LOAD, 0, 0, _ARCHITECTURE_AT),
        (_JUMP_IF_EQUAL, 0, len(numbers) + 1, machine.audit),
        (_LOAD, 0, 0, _NUMBER_AT),
        *((_JUMP_IF_EQUAL, len(numbers) - n, 0, number) for n, number in enumerate(numbers)),
        (_RETURN, 0, 0, refuse),
        (_RETURN, 0, 0, _RETURN_ALLOW),
    ]
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in instructions)


def _require_refused(what: str, attempt: Callable[[], object]) -> None:
    try:
        attempt()
    except PermissionError:
        return
    raise SandboxError(f"{what} is still possible")
