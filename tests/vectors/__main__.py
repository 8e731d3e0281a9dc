"""`make vectors`: write every vector file anew. What changes is a change of the protocol."""

from __future__ import annotations

import importlib
import pkgutil

import tests.vectors


def main() -> None:
    for module in sorted(pkgutil.iter_modules(tests.vectors.__path__), key=lambda info: info.name):
        if module.name.startswith("make_"):
            print(f"writing the vectors of {module.name.removeprefix('make_')}")
            importlib.import_module(f"tests.vectors.{module.name}").main()


if __name__ == "__main__":
    main()
