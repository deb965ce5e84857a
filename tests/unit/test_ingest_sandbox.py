"""The sandbox of a reader: whatever code runs in it, it reaches no file, no network and no other process."""

import errno
import json
import subprocess
import sys
from pathlib import Path

ATTEMPTS = {
    "open a file": "os.open('/etc/passwd', os.O_RDONLY)",
    "open the file of another workspace": "os.open({other!r}, os.O_RDONLY)",
    "write a file": "os.open({new!r}, os.O_WRONLY | os.O_CREAT)",
    "list a folder": "os.listdir('/')",
    "see whether a file exists": "os.stat('/etc/passwd')",
    "remove a file": "os.unlink({other!r})",
    "change the folder": "os.chdir('/')",
    "read the memory of the service": "os.open('/proc/1/mem', os.O_RDONLY)",
    "make a socket": "socket.socket()",
    "make a local socket": "socket.socket(socket.AF_UNIX)",
    "connect through what is open": "pair.connect('/run/x')",
    "fork": "os.fork()",
    "run a program": "os.execv('/bin/true', ['true'])",
    "start a program": "os.posix_spawn('/bin/true', ['true'], {{}})",
    "start a thread": "_thread.start_new_thread(print, ())",
    "signal the service": "os.kill(os.getppid(), 0)",
    "make a file without a name": "os.memfd_create('x')",
    "raise a limit": "resource.setrlimit(resource.RLIMIT_NOFILE, (4, 4))",
    "limit the service": "resource.prlimit(os.getppid(), resource.RLIMIT_CPU, (1, 1))",
    "trace the service": "check(libc.ptrace(16, os.getppid(), 0, 0))",
    "read another process": "check(libc.process_vm_readv(os.getppid(), 0, 0, 0, 0, 0))",
    "open a file from a thread of before": "opened.result()",
}
CONFINED = """
import _thread, ctypes, json, os, resource, socket, sys, threading
from concurrent.futures import ThreadPoolExecutor
from shotwatch_ingest.readers.sandbox import enter_sandbox

libc = ctypes.CDLL(None, use_errno=True)
pair, _ = socket.socketpair()
confined = threading.Event()

def check(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), "")

opened = ThreadPoolExecutor(1).submit(lambda: (confined.wait(), os.open("/etc/passwd", os.O_RDONLY)))
attempts = {attempts}
compiled = {{what: compile(how, what, "eval") for what, how in attempts.items()}}
{enter}
confined.set()
outcomes = {{}}
for what, attempt in compiled.items():
    try:
        eval(attempt)
        outcomes[what] = "possible"
    except (OSError, RuntimeError, ValueError) as error:
        outcomes[what] = str(getattr(error, "errno", None) or error)
os.write(1, json.dumps(outcomes).encode())
os._exit(0)
"""


def outcomes(tmp_path: Path, enter: str, attempts: dict[str, str]) -> dict[str, str]:
    other = tmp_path / "other"
    other.write_text("")
    named = {what: how.format(other=str(other), new=str(tmp_path / "new")) for what, how in attempts.items()}
    code = CONFINED.format(attempts=named, enter=enter)
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    found: dict[str, str] = json.loads(ended.stdout)
    return found


def test_nothing_but_computing_is_possible_in_the_sandbox(tmp_path: Path):
    found = outcomes(tmp_path, "enter_sandbox()", ATTEMPTS)

    assert found.pop("start a thread") == "can't start new thread"
    assert found.pop("raise a limit") == "not allowed to raise maximum limit"
    assert found == dict.fromkeys(found, str(errno.EPERM))


def test_outside_of_it_the_same_attempts_succeed(tmp_path: Path):
    harmless = ("open a file", "open the file of another workspace", "list a folder", "make a socket")
    attempts = {what: ATTEMPTS[what] for what in (*harmless, "signal the service", "raise a limit")}

    assert set(outcomes(tmp_path, "", attempts).values()) == {"possible"}
