"""map, notebook: the lab as a picture, and JupyterLab on the walkthroughs."""

import argparse
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

from labs import pictures, topology
from labs.errors import LabError

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
OWN_COPIES = Path("~/minipod-notebooks")
LOCAL = "127.0.0.1"


def map_(args: argparse.Namespace) -> int:
    """Print the topology of a running lab: a tree, SVG or JSON."""
    from labs.lab import Lab

    found = topology.read(Lab.attach(args.name))
    if args.output == "json":
        print(json.dumps(asdict(found)))
    else:
        print(pictures.svg(found) if args.output == "svg" else pictures.text(found), end="")
    return 0


def notebook(args: argparse.Namespace) -> int:
    """Run JupyterLab on the walkthroughs until Ctrl-C. Only who has the token that is printed gets in."""
    listen = args.ip or os.environ.get("MINIPOD_NOTEBOOK_IP") or LOCAL
    _require_free(listen, args.port)
    folder = _folder(Path(args.folder) if args.folder else None)
    token = secrets.token_hex(24)
    command = [
        *(sys.executable, "-m", "jupyterlab", "--no-browser", f"--ServerApp.ip={listen}"),
        *(f"--ServerApp.port={args.port}", "--ServerApp.port_retries=0", f"--ServerApp.root_dir={folder}"),
        *("--ServerApp.open_browser=False", "--Application.log_level=WARN"),
        *(["--allow-root"] if os.geteuid() == 0 else []),
    ]
    checkout = str(NOTEBOOKS.parent)
    path = os.pathsep.join([checkout, *filter(None, [os.environ.get("PYTHONPATH")])])
    # Not on the command line, which every user of the machine can read.
    environment = {**os.environ, "JUPYTER_TOKEN": token, "PYTHONPATH": path}
    print(
        f"notebooks  {folder}",
        f"address    http://{LOCAL}:{args.port}/lab?token={token}",
        sep="\n",
        flush=True,
    )
    try:
        return 0 if subprocess.run(command, env=environment, check=False).returncode == 0 else 2
    except KeyboardInterrupt:
        return 0


def _require_free(address: str, port: int) -> None:
    """Raise LabError when nobody could listen there."""
    try:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((address, port))
    except (OSError, OverflowError) as error:
        fact = getattr(error, "strerror", None) or "want 1-65535"
        raise LabError(f"port {port} of {address}: {fact}: choose another with --port") from None


def _folder(wanted: Path | None) -> Path:
    """The folder to open: the one wanted, or the walkthroughs, or the user's own copies where those cannot be
    written. A copy that is there already is the user's work and is left alone.
    """
    if wanted is not None:
        if not wanted.is_dir():
            raise LabError(f"{wanted}: no such folder: make it, or leave --folder out")
        return wanted.resolve()
    if os.access(NOTEBOOKS, os.W_OK):
        return NOTEBOOKS
    own = OWN_COPIES.expanduser()
    own.mkdir(exist_ok=True)
    for notebook_file in sorted(NOTEBOOKS.glob("*.ipynb")):
        if not (own / notebook_file.name).exists():
            shutil.copyfile(notebook_file, own / notebook_file.name)
    return own
