"""Run a command and note the CPU seconds that it and its children took.

    python workflow/scripts/timed.py FILE COMMAND ...

Appends a line of JSON to FILE. Exits as the command does.
"""

import json
import resource
import subprocess
import sys
import time
from pathlib import Path


def main(file: str, *command: str) -> int:
    start = time.monotonic()
    with subprocess.Popen(command) as process:
        while True:
            try:
                code = process.wait()
                break
            except KeyboardInterrupt:
                pass  # the command has got it, too: let it put its things in order
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = used.ru_utime + used.ru_stime
    wall = time.monotonic() - start
    Path(file).parent.mkdir(parents=True, exist_ok=True)
    with Path(file).open("a") as log:
        log.write(json.dumps({"command": command, "cpu": cpu, "wall": wall, "code": code}) + "\n")
    print(f"{cpu:.0f} CPU-seconds, {wall:.0f} seconds", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
