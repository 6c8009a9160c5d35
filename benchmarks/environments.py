"""Where a row's programs come from: each peer in an environment of its own, made once under ``.bench/``.

An environment is what its command lines find: the PATH, and where node looks for packages. What was made is kept until
its requirements change; removing the folder makes everything anew.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

FOLDER = Path(__file__).resolve().parent.parent / ".bench"
_PATIENCE_S = 600


class NotToBeHad(Exception):
    """What a row needs cannot be had here: it is left out, and says why."""


@dataclass(frozen=True, slots=True)
class Environment:
    """What is installed where, by whom."""

    name: str
    kind: Literal["python", "npm", "debian", "ours"]
    requirements: tuple[str, ...] = ()

    @property
    def folder(self) -> Path:
        """Where it lives."""
        return FOLDER / self.name


OURS = Environment("ours", "ours")
"""The one this runs in: Postroom, and the standard library."""
CELERY = Environment("celery", "python", ("celery[redis]==5.7.0",))
AIOSMTPLIB = Environment("aiosmtplib", "python", ("aiosmtplib==5.1.3",))
DJANGO_CELERY_EMAIL = Environment(
    "django-celery-email", "python", ("django==5.2.*", "django-celery-email==3.0.0", "celery[redis]==5.7.0")
)
POST_OFFICE = Environment("django-post_office", "python", ("django==5.2.*", "django-post_office==3.12.0"))
NODE = Environment("node", "npm", ("bullmq@6.7.0", "ioredis@6.0.0", "nodemailer@10.6.0"))
POSTFIX = Environment("postfix", "debian", ("postfix",))
"""smtp-sink and smtp-source, from Debian's package: unpacked, never installed."""


def made(environment: Environment) -> Mapping[str, str]:
    """Make an environment, unless it is there, and return the variables with which its programs are found.

    Raises:
        NotToBeHad: it cannot be made here.
    """
    if environment.kind == "debian" and shutil.which("smtp-sink") and shutil.which("smtp-source"):
        return _variables()
    receipt = environment.folder / "made.json"
    wanted = json.dumps([environment.requirements, sys.version])
    if environment.kind != "ours" and not (receipt.exists() and receipt.read_text() == wanted):
        print(f"making {environment.folder} (once)", file=sys.stderr)
        shutil.rmtree(environment.folder, ignore_errors=True)
        environment.folder.mkdir(parents=True)
        _make(environment)
        receipt.write_text(wanted)
    match environment.kind:
        case "ours":
            return _variables()
        case "python":
            return _variables(environment.folder / "bin")
        case "npm":
            return {**_variables(), "NODE_PATH": str(environment.folder / "node_modules")}
        case "debian":
            unpacked = environment.folder / "usr"
            return {**_variables(unpacked / "sbin"), "LD_LIBRARY_PATH": str(unpacked / "lib/postfix")}


def _variables(*first: Path) -> dict[str, str]:
    path = [*map(str, first), str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]
    return {"PATH": os.pathsep.join(path)}


def _make(environment: Environment) -> None:
    folder = environment.folder
    match environment.kind:
        case "python":
            _run(folder, sys.executable, "-m", "venv", ".")
            pip = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check")
            _run(folder, str(folder / "bin/python"), *pip, *environment.requirements)
        case "npm":
            npm = ("npm", "install", "--silent", "--no-audit", "--no-fund", "--save-exact", "--prefix", ".")
            _run(folder, *npm, *environment.requirements)
        case "debian":
            _run(folder, "apt-get", "download", "--quiet", *environment.requirements)
            for package in folder.glob("*.deb"):
                _run(folder, "dpkg", "-x", package.name, ".")


def _run(folder: Path, *command: str) -> None:
    try:
        subprocess.run(
            command,
            cwd=folder,
            check=True,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=_PATIENCE_S,
        )
    except FileNotFoundError:
        raise NotToBeHad(f"there is no {command[0]} here") from None
    except subprocess.TimeoutExpired:
        raise NotToBeHad(f"{' '.join(command[:3])} took longer than {_PATIENCE_S} s") from None
    except subprocess.CalledProcessError as error:
        said = str(error.stderr or error.stdout).strip().splitlines()
        raise NotToBeHad(f"{' '.join(command[:3])} failed: {said[-1] if said else error.returncode}") from None
