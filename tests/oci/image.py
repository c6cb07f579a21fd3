"""An image made of this machine's own files: bash, coreutils, python3. No registry is asked."""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import tarfile
from pathlib import Path

COREUTILS = (
    "cat", "chmod", "cut", "dd", "env", "head", "id", "kill", "ln", "ls", "mkdir", "mkfifo",
    "mknod", "mv", "printf", "readlink", "rm", "sleep", "sort", "tail", "touch", "tr", "true", "wc",
)  # fmt: skip
PROGRAMS = ("bash", "dash", "grep", "find", "mount", "unshare", "setpriv", *COREUTILS)
PYTHON = "/usr/bin/python3"
LEFT_OUT = re.compile(r"/(test|tests|__pycache__|idlelib|lib2to3|config-[^/]*|ensurepip)(/|$)")
LIBRARY = re.compile(rb"(/\S+) \(0x")
# sudo's place in an image: a program with the set-user-id bit, which must give nothing.
SETUID = "/usr/bin/setuid-id"


def build(target: Path, environment: Path | None = None) -> None:
    """Write the image's file system to the tar file `target`.

    `environment` is a prepared one of Debian's own Python; it lies in the image where it lies here.
    """
    with tarfile.open(target, "w") as tar:
        _folders(tar)
        programs = [found for name in PROGRAMS if (found := shutil.which(name))]
        python = Path(PYTHON).resolve()
        for program in programs:
            _add(tar, Path(program), f"/usr/bin/{Path(program).name}")
        _link(tar, "usr/bin/sh", "dash")
        _add(tar, python, str(python))
        _link(tar, "usr/bin/python3", python.name)
        standard = Path("/usr/lib") / python.name
        tar.add(standard, str(standard)[1:], filter=_wanted)
        modules = [*(standard / "lib-dynload").glob("*.so")]
        if environment:
            tar.add(environment.resolve(), str(environment)[1:], filter=_root)
            modules += environment.resolve().rglob("*.so")
        for library in _libraries([*map(Path, programs), python, *modules]):
            if environment is None or not library.is_relative_to(environment.resolve()):
                _add(tar, library, str(library))
        _setuid(tar)


def _folders(tar: tarfile.TarFile) -> None:
    for name in ("usr", "usr/bin", "usr/lib", "usr/lib64", "etc", "tmp", "home", "proc", "sys",
                 "dev", "run", "var"):  # fmt: skip
        info = tarfile.TarInfo(name)
        info.type, info.mode = tarfile.DIRTYPE, 0o755
        tar.addfile(info)
    for name in ("bin", "lib", "lib64"):
        _link(tar, name, f"usr/{name}")


def _link(tar: tarfile.TarFile, name: str, target: str) -> None:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = tarfile.SYMTYPE, target
    tar.addfile(info)


def _add(tar: tarfile.TarFile, path: Path, name: str) -> None:
    """The file that `path` leads to, under `name`; the merged folders are links in the image."""
    for merged in ("/lib/", "/lib64/", "/bin/"):
        if name.startswith(merged):
            name = f"/usr{name}"
    tar.add(path.resolve(), name[1:], filter=_root)


def _root(info: tarfile.TarInfo) -> tarfile.TarInfo:
    info.uid = info.gid = 0
    return info


def _wanted(info: tarfile.TarInfo) -> tarfile.TarInfo | None:
    return None if LEFT_OUT.search(f"/{info.name}") else _root(info)


def _libraries(binaries: list[Path]) -> list[Path]:
    """Every shared library these need, by ldd."""
    done = subprocess.run(
        ["ldd", *map(str, binaries)], check=False, capture_output=True, timeout=60
    )
    return sorted({Path(match.decode()) for match in LIBRARY.findall(done.stdout)})


def _setuid(tar: tarfile.TarFile) -> None:
    data = Path(shutil.which("id") or "/usr/bin/id").read_bytes()
    info = tarfile.TarInfo(SETUID[1:])
    info.size, info.mode = len(data), 0o4755
    tar.addfile(info, io.BytesIO(data))
