"""up, down, ls, status: labs as a whole."""

import argparse
import json
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from labs.errors import LabError
from labs.state import StateFolder, all_folders


def up(args: argparse.Namespace) -> int:
    """Start a lab; returns when all is Ready."""
    from labs import cluster_file, launch
    from labs.commands.netfn import pairs

    folder = StateFolder.of(args.name)
    if args.resume:
        config = _config_of(folder)
    else:
        config = cluster_file.load(Path(args.file)) if args.file else cluster_file.ClusterConfig()
    config = cluster_file.with_options(config, workers=args.workers, cni=args.cni, proxy_mode=args.proxy_mode)
    started = time.monotonic()
    info = launch.up(
        folder,
        config,
        privileged=args.privileged,
        resume=args.resume,
        netfns={seat: path for seat, path in pairs(args.netfn).items() if path is not None},
        progress=progress_since(started),
    )
    info["name"], info["seconds"] = folder.name, round(time.monotonic() - started, 2)
    if args.output == "json":
        print(json.dumps(info))
    else:
        print(f"lab {folder.name} is Ready after {info['seconds']} s")
        print(f"  try: minipod check --name {folder.name}")
    return 0


def _config_of(folder: StateFolder) -> Any:
    """The make-up of the lab that is gone on with. Raises LabError."""
    from labs import cluster_file, objects

    objects.check(folder.path)
    try:
        info = json.loads((folder.path / "lab.json").read_text())
        return cluster_file.ClusterConfig.from_json(info["config"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LabError(f"--resume: {folder.path}/lab.json: {error}: start a lab without --resume") from None


def progress_since(started: float) -> Any:
    """A function that prints a line with the seconds since `started`."""

    def show(text: str) -> None:
        print(f"  {time.monotonic() - started:5.1f} s  {text}", file=sys.stderr, flush=True)

    return show


def down(args: argparse.Namespace) -> int:
    """End a lab, or all labs; with --purge, their folders go as well, also of labs that have ended already."""
    from labs.lab import Lab

    running = [folder for folder in all_folders() if folder.is_running()]
    folders = running if args.all else [StateFolder.of(args.name)]
    errors = []
    for folder in folders:
        try:
            if folder.is_running() or not (args.purge and folder.path.is_dir()):
                Lab.attach(folder.name).down()
                print(f"lab {folder.name} ended")
            if args.purge:
                shutil.rmtree(folder.path)
                print(f"{folder.path} removed")
        except (LabError, OSError) as error:
            errors.append(str(error))
    for message in errors:
        print(f"minipod: {message}", file=sys.stderr)
    return 2 if errors else 0


def ls(args: argparse.Namespace) -> int:
    """List the labs of this user."""
    rows = [_row(folder) for folder in all_folders()]
    if args.output == "json":
        print(json.dumps(rows))
        return 0
    print(f"{'NAME':<20} {'STATE':<9} {'WORKERS':<8} {'ISOLATION':<15} FOLDER")
    for row in rows:
        print(
            f"{row['name']:<20} {row['state']:<9} {row['workers']:<8} {row['isolation']:<15} {row['folder']}"
        )
    return 0


def _row(folder: StateFolder) -> dict[str, Any]:
    info: dict[str, Any] = {}
    state = "stopped"
    if folder.is_running():
        state = "running"
        try:
            info = folder.read()
        except LabError:
            state = "starting"
    return {
        "name": folder.name,
        "state": state,
        "workers": (info.get("config") or {}).get("workers", "-"),
        "isolation": info.get("isolation", "-"),
        "checkout": info.get("checkout", ""),
        "folder": str(folder.path),
    }


def status(args: argparse.Namespace) -> int:
    """Show a lab's machines, nodes and pods; exit 1 when something is not Ready."""
    from labs.lab import Lab

    lab = Lab.attach(args.name)
    found = lab.status() | {"name": lab.name, "isolation": lab.info["isolation"], "pid": lab.info["pid"]}
    if args.output == "json":
        print(json.dumps(found))
    else:
        print(f"lab        {lab.name} ({lab.info['isolation']}, process {lab.info['pid']})")
        print(f"machines   {' '.join(found['machines'])}")
        for name, ready in found["nodes"].items():
            print(f"node       {name:<16} {'Ready' if ready else 'NotReady'}")
        print(f"pods       {found['pods']['ready']} of {found['pods']['total']} Ready")
        print(f"log        {lab.folder.path}/lab.log")
    return 0 if all(found["nodes"].values()) else 1
