"""Terraform for tests: its AWS provider is looked for and loaded once per session, however many configurations follow.

Starting the provider and checking its hundreds of megabytes is most of what a run of Terraform costs here.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.docker.house import House, package, unique

PROVIDER = "registry.terraform.io/hashicorp/aws"
"""Where a mirror keeps the provider: the address that every configuration uses."""
MIRRORS = ("/opt/*", "/usr/local/share/*", "/usr/share/*", "/usr/lib/*", "~/.terraform.d/*")
"""Where distributions of Terraform put provider mirrors besides the places that it searches by itself."""
LIMIT_S = 300
PARALLEL = 20
"""Resources at a time. The provider itself waits half a minute after each queue, so all should wait together."""

REQUIRED = """
terraform {
  required_providers {
    aws = { source = "hashicorp/aws" }
  }
}
"""
"""What each configuration begins with."""

HANDLER = "import of_the_layer\ndef handler(event, context):\n    return [of_the_layer.VALUE, {answer}, event]\n"


@dataclass(frozen=True, slots=True)
class Provider:
    """What `init` left: settings for the environment, and the lock that belongs into each configuration's folder."""

    settings: Mapping[str, str]
    lock: Path


def provider(folder: Path) -> Provider:
    """Initialise Terraform in that folder; without it, or without its provider, the test is skipped."""
    if shutil.which("terraform") is None:
        pytest.skip("terraform is not installed")
    settings = {
        "TF_IN_AUTOMATION": "1",
        "CHECKPOINT_DISABLE": "1",
        "TF_DATA_DIR": str(folder / "data"),
        **_mirror_settings(folder),
    }
    (folder / "main.tf").write_text(REQUIRED)
    try:
        started = _ran(folder, settings, "init", "-input=false", "-no-color")
    except subprocess.TimeoutExpired:
        pytest.skip("the provider hashicorp/aws cannot be had here: its registry says nothing")
    if started.returncode:
        pytest.skip(f"the provider hashicorp/aws cannot be had here: {started.stderr[-500:]}")
    return Provider(settings, folder / ".terraform.lock.hcl")


def _ran(folder: Path, variables: Mapping[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["terraform", *arguments],
        cwd=folder,
        env=os.environ | variables,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )


def _mirror_settings(folder: Path) -> dict[str, str]:
    """Settings that let `init` find the provider on this machine, where it is not configured already."""
    configured = os.environ.get("TF_CLI_CONFIG_FILE")
    if configured and Path(configured).exists():
        return {}
    places = [place for pattern in MIRRORS for place in Path("/").glob(str(Path(pattern).expanduser())[1:])]
    mirror = next((place for place in places if (place / PROVIDER).is_dir()), None)
    settings = folder / "settings.tfrc"
    mirrored = "" if mirror is None else f'provider_installation {{ filesystem_mirror {{ path = "{mirror}" }} }}\n'
    settings.write_text(mirrored)
    return {"TF_CLI_CONFIG_FILE": str(settings)}


class Terraform:
    """A configuration in a folder of its own."""

    def __init__(self, folder: Path, hearth: House, settings: Mapping[str, str]) -> None:
        self.folder = folder
        self._environment = {**hearth.variables, **settings}
        self.variables: dict[str, str] = {}

    def run(self, *arguments: str, accepted: tuple[int, ...] = (0,)) -> subprocess.CompletedProcess[str]:
        given = {f"TF_VAR_{name}": value for name, value in self.variables.items()}
        done = _ran(self.folder, self._environment | given, *arguments)
        assert done.returncode in accepted, (
            f"terraform {' '.join(arguments)}\n{done.stdout[-6000:]}\n{done.stderr[-4000:]}"
        )
        return done

    def apply(self) -> Mapping[str, Any]:
        """Nothing is refreshed: who wants to know whether what is there is what was asked for asks `changes`."""
        self._act("apply")
        outputs = json.loads(self.run("output", "-json").stdout)
        return {name: output["value"] for name, output in outputs.items()}

    def destroy(self) -> None:
        self._act("destroy")

    def _act(self, what: str) -> None:
        self.run(what, "-auto-approve", "-input=false", "-no-color", "-refresh=false", f"-parallelism={PARALLEL}")

    def changes(self) -> str:
        """What a plan would change, from everything read again; empty if nothing."""
        done = self.run(
            "plan", "-detailed-exitcode", "-input=false", "-no-color", f"-parallelism={PARALLEL}", accepted=(0, 2)
        )
        return "" if done.returncode == 0 else done.stdout


@contextmanager
def configured(folder: Path, hearth: House, ready: Provider, configuration: str) -> Iterator[Terraform]:
    """A configuration that is ready to be applied; what it made is destroyed in the end."""
    found = Terraform(folder, hearth, ready.settings)
    (folder / "main.tf").write_text(REQUIRED + configuration)
    shutil.copy(ready.lock, folder)
    found.variables = {
        "name": unique("terraform"),
        "endpoint": hearth.variables["AWS_ENDPOINT_URL"],
        "archive": str(folder / "function.zip"),
        "layer_archive": str(folder / "layer.zip"),
    }
    (folder / "function.zip").write_bytes(package({"app.py": HANDLER.format(answer=1)}))
    (folder / "layer.zip").write_bytes(package({"python/of_the_layer.py": "VALUE = 'layer'\n"}))
    yield found
    if found.run("state", "list", accepted=(0, 1)).stdout.strip():
        found.destroy()
