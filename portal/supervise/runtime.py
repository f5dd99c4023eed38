"""runtime.json: where the servers of a running `up` are, for commands beside it."""

import json
import os
from pathlib import Path
from typing import Any


class Runtime:
    """Holds passwords: readable by its owner alone, from its first byte."""

    def __init__(self, data_dir: Path) -> None:
        self.path = data_dir / "runtime.json"

    def write(self, **content: Any) -> None:
        fresh = self.path.with_suffix(".json.new")
        fresh.unlink(missing_ok=True)
        with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            json.dump(content, file, indent=2)
        fresh.replace(self.path)

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)
