"""A client of the studio, for scripts: the standard library alone."""

import json
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

KINDS = {
    ".json": "application/json",
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".webp": "image/webp",
}


class Client:
    """Asks a studio at `address`, such as http://127.0.0.1:7860, with its token."""

    def __init__(self, address: str, token: str):
        self.address, self.token = address.rstrip("/"), token

    def ask(self, method: str, path: str, value: Any = None, *, kind: str = "application/json") -> bytes:
        """One call's answer; bytes are sent as they are. ValueError: the studio refused, in its own words.

        OSError: nobody answers.
        """
        body = value if value is None or isinstance(value, bytes) else json.dumps(value).encode()
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": kind}
        request = urllib.request.Request(self.address + path, body, headers, method=method)
        try:
            with urllib.request.urlopen(request) as answer:
                return answer.read()
        except urllib.error.HTTPError as error:
            raise ValueError(json.load(error)["detail"]) from error

    def send(self, path: Path) -> str:
        """The id of a picture, of a motion or of pictures' cameras (docs/studio.md), once it is sent."""
        kind = KINDS.get(path.suffix.lower(), "application/octet-stream")
        return json.loads(self.ask("POST", "/v1/uploads", path.read_bytes(), kind=kind))["id"]

    def make(self, **request: Any) -> list[str]:
        """The ids of the objects of a request (docs/studio.md), once they are made. ValueError: why they are not."""
        job = json.loads(self.ask("POST", "/v1/jobs", request))
        while job["state"] in ("queued", "running"):
            time.sleep(0.2)
            job = json.loads(self.ask("GET", f"/v1/jobs/{job['id']}"))
        if job["state"] != "done":
            raise ValueError(f"job: wanted done; got {job['state']}: {job['reason']}")
        return [asset["id"] for asset in job["assets"] if asset["state"] == "ready"]

    def save(self, asset: str, path: Path) -> None:
        """Write an object's file, of the format that the name's end says; what several files make up comes as a zip."""
        path.write_bytes(self.ask("GET", f"/v1/assets/{asset}.{path.name.partition('.')[2]}"))
