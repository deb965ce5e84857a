"""RabbitMQ on this machine: find it, or install it from the system's packages."""

import os
import shutil
import subprocess

from shotwatch_embedded.errors import RabbitMQMissing
from shotwatch_embedded.servers.broker import SCRIPT

_PACKAGE = "rabbitmq-server"
_BY_HAND = (
    f"install it with `sudo apt-get install {_PACKAGE}`, "
    "or set SHOTWATCH_BROKER_URL to a broker that you have (amqp://user:password@host:port/)"
)


def ensure_rabbitmq(*, install: bool = True) -> None:
    """Ensure that RabbitMQ is installed.

    If it is missing, install it if `install` is set and root rights are available.

    Raises:
        RabbitMQMissing: it is missing and was not installed; the message explains what to do.
    """
    if is_installed():
        return
    if not install:
        raise RabbitMQMissing(f"RabbitMQ is not installed: {_BY_HAND}")
    _install()


def is_installed() -> bool:
    """Return whether the server's script is where Debian installs it."""
    return SCRIPT.exists()


def _install() -> None:
    apt = (*_privileges(), "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-q")
    for arguments in (("update",), ("install", "-y", "--no-install-recommends", _PACKAGE)):
        done = subprocess.run([*apt, *arguments], stdin=subprocess.DEVNULL)  # noqa: S603
    # Ignore the exit code and check what is installed: the package also starts the system's broker, which may
    # fail and is not needed.
    if not is_installed():
        raise RabbitMQMissing(
            f"apt-get could not install RabbitMQ (it ended with {done.returncode}): {_BY_HAND}"
        )


def _privileges() -> tuple[str, ...]:
    """Return the prefix that runs a command as root without a password prompt."""
    if shutil.which("apt-get") is None:
        raise RabbitMQMissing(f"RabbitMQ is not installed, and this is no Debian: {_BY_HAND}")
    if os.geteuid() == 0:
        return ()
    sudo = shutil.which("sudo")
    if sudo and subprocess.run([sudo, "-n", "true"], capture_output=True).returncode == 0:  # noqa: S603
        return (sudo, "-n")
    raise RabbitMQMissing(f"RabbitMQ is not installed, and installing it takes root: {_BY_HAND}")
