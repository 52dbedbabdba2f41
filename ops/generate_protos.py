"""Generates the Python code of the contract: `python -m ops.generate_protos [--out DIR]`.

Messages and their types come from every proto; gRPC code and its types from `*_service.proto`
alone, so that a proto without services leaves no empty `_pb2_grpc.py` behind. The types are those
of mypy-protobuf: a servicer that lacks an RPC, or answers with the wrong message, is a type error.
"""

import argparse
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Sequence
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
PROTOS = REPOSITORY / "protos"
GENERATED = REPOSITORY / "generated"
# The packages generated here. Others that protos import (google.protobuf) come installed.
ROOT_PACKAGES = ("buf", "shopkeeper")


class GenerationFailed(Exception):
    """protoc refused the contract."""


def generate(out: Path, *, protos: Path = PROTOS) -> None:
    """Replaces `out`/buf and `out`/shopkeeper by code generated from `protos`.

    Equal protos give equal files. On a failure `out` is left as it was. Raises GenerationFailed.
    """
    out.mkdir(parents=True, exist_ok=True)
    # Generated beside its destination: nobody imports a half-written tree, and a proto that was
    # removed leaves no code behind.
    with tempfile.TemporaryDirectory(dir=out, prefix=".generating-") as scratch:
        _compile(protos, Path(scratch))
        _make_packages(Path(scratch))
        for package in ROOT_PACKAGES:
            _replace(out / package, by=Path(scratch) / package)


def _compile(protos: Path, out: Path) -> None:
    sources = _sources(protos)
    services = [source for source in sources if source.endswith("_service.proto")]
    _protoc(protos, sources, f"--python_out={out}", f"--mypy_out=quiet:{out}")
    if services:
        _protoc(protos, services, f"--grpc_python_out={out}", f"--mypy_grpc_out=quiet,only_async:{out}")


def _sources(protos: Path) -> list[str]:
    """The protos of our packages as protoc names them, sorted: equal trees, equal commands."""
    return sorted(
        path.relative_to(protos).as_posix()
        for package in ROOT_PACKAGES
        for path in (protos / package).rglob("*.proto")
    )


def _protoc(protos: Path, sources: Sequence[str], *outputs: str) -> None:
    command = [
        *(sys.executable, "-m", "grpc_tools.protoc"),
        f"--proto_path={protos}",
        *(f"--plugin={plugin}={_script(plugin)}" for plugin in _PLUGINS),
        *outputs,
        *sources,
    ]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        raise GenerationFailed(result.stderr.strip())


_PLUGINS = ("protoc-gen-mypy", "protoc-gen-mypy_grpc")


def _script(name: str) -> Path:
    """A console script of this very environment: the virtualenv need not be activated."""
    return Path(sysconfig.get_path("scripts")) / name


def _make_packages(out: Path) -> None:
    """Turns folders into typed packages; mypy and wheels overlook namespace packages."""
    for package in ROOT_PACKAGES:
        root = out / package
        root.mkdir(exist_ok=True)
        (root / "py.typed").touch()
        for folder in (root, *(path for path in root.rglob("*") if path.is_dir())):
            (folder / "__init__.py").touch()


def _replace(destination: Path, *, by: Path) -> None:
    if destination.exists():
        shutil.rmtree(destination)
    by.rename(destination)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(description="Generate the Python code of the contract.")
    parser.add_argument("--out", type=Path, default=GENERATED, help="default: generated/")
    options = parser.parse_args(arguments)
    try:
        generate(options.out)
    except GenerationFailed as failure:
        sys.exit(str(failure))


if __name__ == "__main__":
    main()
