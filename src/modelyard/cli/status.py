"""What ``modelyard status`` knows: from the locks and the system first, so that it answers when nothing else does."""

import time
from typing import Any

from modelyard.cli import programs
from modelyard.cli.output import print_facts, print_table
from modelyard.core.errors import ModelyardError
from modelyard.core.routes import DeviceStatus
from modelyard.core.units import format_bytes, format_seconds
from modelyard.host.files import read_json
from modelyard.host.lock import holder
from modelyard.host.process import describe


def gather() -> dict[str, Any]:
    """The state of everything, as ``--json`` prints it. Memory in bytes, times in seconds."""
    import os

    from modelyard.client.location import find_home, read_address
    from modelyard.client.synchronous import Client

    found: dict[str, Any] = {
        "home": None,
        "running": False,
        "programs": {},
        "endpoints": [],
        "problem": None,
    }
    if os.environ.get("MODELYARD_URL"):
        with Client() as client:
            info = client.status()
            found |= {"home": info.home, "running": True, "memory_bytes": info.memory_bytes}
            found["budget"] = info.node.budget
            found |= _shared(info)
            found["endpoints"] = [_endpoint(endpoint) for endpoint in client.endpoints()]
        return found
    home = find_home()
    found["home"] = str(home.root)
    watched = read_json(home.run / "supervisor.json").get("programs", {})
    for name in (programs.SUPERVISOR, "control", "node"):
        pid = holder(home.run, name)
        running = describe(pid) if pid is not None else None
        entry: dict[str, Any] = {"state": "running" if running is not None else "stopped"}
        if running is not None:
            entry |= {"pid": running.pid, "uptime": time.time() - running.started, "memory": running.memory}
            found["running"] = True
            if name in programs.MODULES:
                entry["url"] = read_address(home, name)
            if name == "node":
                entry["grpc"] = (read_address(home, "grpc") or "").removeprefix("http://") or None
        seen = watched.get(name, {})
        if found["programs"].get(programs.SUPERVISOR, {}).get("state") == "running" and seen:
            entry |= {"restarts": seen.get("restarts", 0), "failure": seen.get("failure")}
            if running is None:
                entry["state"] = seen.get("state", "stopped")
        found["programs"][name] = entry
    if found["programs"]["control"]["state"] == "running":
        try:
            with Client() as client:
                info = client.status()
                found["memory_bytes"], found["budget"] = info.memory_bytes, info.node.budget
                found |= _shared(info)
                found["endpoints"] = [_endpoint(endpoint) for endpoint in client.endpoints()]
        except ModelyardError as error:
            found["problem"] = error.message
    elif found["running"]:
        found["problem"] = (
            "The control plane is not running: endpoints go on serving, but nothing can be changed."
        )
    if found["running"] and found["programs"][programs.SUPERVISOR]["state"] != "running":
        found["problem"] = "No supervisor watches over the platform; `modelyard up` starts one."
    return found


def _shared(info: Any) -> dict[str, Any]:
    return {"database": info.database, "id": info.id, "homes": info.homes}


def _endpoint(info: Any) -> dict[str, Any]:
    return {
        "name": info.name,
        "state": info.state,
        "model": info.current.model,
        "version": info.current.version,
        "ready": sum(replica.state == "ready" for replica in info.replicas),
        "replicas": info.current.settings.replicas,
        "url": info.predict_url,
        "unconfined": info.confinement.lacks if info.confinement is not None else None,
    }


def print_status(found: dict[str, Any]) -> None:
    """The same for people."""
    if not found["running"]:
        print(f"No platform runs in {found['home']}. Start it with `modelyard up`.")
        return
    rows: list[list[str]] = []
    for name, entry in found["programs"].items():
        if "pid" not in entry:
            rows.append(
                [
                    name,
                    entry["state"],
                    "",
                    "",
                    "",
                    str(entry.get("restarts", "")),
                    entry.get("failure") or "",
                ]
            )
            continue
        uptime, memory = format_seconds(entry["uptime"]), format_bytes(entry["memory"])
        restarts = str(entry.get("restarts", ""))
        rows.append(
            [name, entry["state"], str(entry["pid"]), uptime, memory, restarts, entry.get("url") or ""]
        )
    if rows:
        print_table(["PROGRAM", "STATE", "PID", "UPTIME", "MEMORY", "RESTARTS", ""], rows, right=(2, 4, 5))
    facts = [("home", str(found["home"]))]
    if found.get("homes"):
        facts.append(("database", found["database"]))
        others = [each for each in found["homes"] if each.id != found["id"]]
        facts += [("shared with", "\n".join(map(_home, others)))] if others else []
    if grpc := found["programs"].get("node", {}).get("grpc"):
        facts.append(("gRPC", grpc))
    if found.get("memory_bytes"):
        facts.append(("memory in all", format_bytes(found["memory_bytes"])))
    if (budget := found.get("budget")) is not None:
        limit = "" if budget.budget is None else f" of {format_bytes(budget.budget)}"
        facts.append(
            (
                "node and models",
                f"{format_bytes(budget.used)}{limit}; {budget.awake} awake, {budget.asleep} asleep",
            )
        )
        facts += [_device(each) for each in budget.devices]
    print()
    print_facts(facts)
    if found["endpoints"]:
        print()
        print_table(
            ["ENDPOINT", "STATE", "MODEL", "REPLICAS", "URL"],
            [
                [
                    endpoint["name"], endpoint["state"], f"{endpoint['model']} v{endpoint['version']}",
                    f"{endpoint['ready']}/{endpoint['replicas']}", endpoint["url"],
                ]
                for endpoint in found["endpoints"]
            ],
        )  # fmt: skip
    if loose := [endpoint["name"] for endpoint in found["endpoints"] if endpoint["unconfined"]]:
        print()
        print(
            f"note: not all that should hold the code of {', '.join(loose)} does; see `modelyard doctor`."
        )
    if found["problem"]:
        print()
        print(f"note: {found['problem']}")


def _home(home: Any) -> str:
    ago = format_seconds(max(0.0, time.time() - home.seen))
    return f"{home.url or home.id} on {home.host}" + (f", gone (seen {ago} ago)" if home.gone else "")


def _device(device: DeviceStatus) -> tuple[str, str]:
    others = f"; others hold {format_bytes(device.others)}" if device.others else ""
    how = {
        "process": "",
        "difference": "; what a model takes is measured by the difference before and after its load, one at a time",
        "framework": "; what a model takes is what its framework says",
    }[device.measured]
    used = f"models take {format_bytes(device.used)} of {format_bytes(device.budget)}"
    return f"{device.name} ({device.model})", used + others + how
