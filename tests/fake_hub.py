"""A model hub of one process: what huggingface_hub's own client asks of it when it pushes and fetches."""

import base64
import hashlib
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread


class FakeHub(BaseHTTPRequestHandler):
    """Repositories in memory, one commit each; `asked` lists the requests."""

    repositories: dict[str, dict[str, bytes]] = {}  # noqa: RUF012
    asked: list[str] = []  # noqa: RUF012
    claimed_bytes: dict[str, int] = {}  # noqa: RUF012  a repository's files' size as the hub tells it, where it lies
    protocol_version = "HTTP/1.1"

    def answer(self, data: object, *, headers: dict[str, str] | None = None, code: int = 200) -> None:
        body = data if isinstance(data, bytes) else json.dumps(data).encode()
        self.send_response(code)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_GET(self) -> None:
        path = self.path.partition("?")[0].strip("/")
        self.asked.append(f"{self.command} {path}")
        if path.startswith("api/models/"):
            name = "/".join(path.split("/")[2:4])
            if name not in self.repositories:
                return self.answer({"error": "none"}, headers={"X-Error-Code": "RepoNotFound"}, code=404)
            files = self.repositories[name]
            if "/tree/" in path:
                blobs = {file: hashlib.sha1(data).hexdigest() for file, data in files.items()}
                return self.answer([{"type": "file", "path": f, "size": len(files[f]), "oid": blobs[f]} for f in blobs])
            sizes = [
                {"rfilename": file, "size": self.claimed_bytes.get(name, len(data))} for file, data in files.items()
            ]
            return self.answer({"id": name, "modelId": name, "sha": commit_of(files), "siblings": sizes, "tags": []})
        name, _, rest = path.partition("/resolve/")
        file = rest.partition("/")[2]
        if file not in self.repositories.get(name, {}):
            return self.answer({"error": "none"}, headers={"X-Error-Code": "EntryNotFound"}, code=404)
        files = self.repositories[name]
        etag = hashlib.sha1(files[file]).hexdigest()
        return self.answer(files[file], headers={"ETag": f'"{etag}"', "X-Repo-Commit": commit_of(files)})

    do_HEAD = do_GET

    def do_POST(self) -> None:
        self.asked.append(f"POST {self.path.strip('/')}")
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path.endswith("/repos/create"):
            asked = json.loads(body)
            name = f"{asked['organization']}/{asked['name']}" if asked.get("organization") else asked["name"]
            self.repositories.setdefault(name, {})
            return self.answer({"url": f"http://{self.headers['Host']}/{name}", "name": name})
        name = "/".join(self.path.strip("/").split("/")[2:4])
        if "/preupload/" in self.path:
            files = [
                {"path": one["path"], "uploadMode": "regular", "shouldIgnore": False}
                for one in json.loads(body)["files"]
            ]
            return self.answer({"files": files})
        if "/commit/" in self.path:
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    self.repositories[name][line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            oid = commit_of(self.repositories[name])
            return self.answer(
                {
                    "commitUrl": f"http://{self.headers['Host']}/{name}/commit/{oid}",
                    "commitOid": oid,
                    "pullRequestUrl": None,
                }
            )
        return self.answer({}, code=200)

    def log_message(self, *arguments: object) -> None:
        pass


def commit_of(files: dict[str, bytes]) -> str:
    return hashlib.sha1(
        json.dumps({name: hashlib.sha1(data).hexdigest() for name, data in files.items()}).encode()
    ).hexdigest()


def start_hub() -> ThreadingHTTPServer:
    """It answers at 127.0.0.1:`server_port` until `shutdown`."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), FakeHub)
    Thread(target=server.serve_forever, daemon=True).start()
    return server
