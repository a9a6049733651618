"""The control plane's program: ``python -m modelyard.web``, the control API with the pages mounted."""

import gc
import sys
import time
from typing import TYPE_CHECKING

from modelyard.core.errors import ModelyardError
from modelyard.core.settings import Settings, load_settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastapi import FastAPI


def main() -> int:
    """Run until SIGTERM; 1 when it cannot start, with a sentence."""
    try:
        settings = load_settings()
        # What is imported stays: not to look through it for garbage while it comes is an eighth of the start.
        gc.disable()
        from modelyard.control.app import create_app
        from modelyard.control.server import run
        from modelyard.host.log_lines import configure
        from modelyard.web.pages import mount

        gc.freeze()
        gc.enable()
        configure(settings.log_level)
        app = _created(settings, create_app)
        mount(app)
        run(app, settings)
    except ModelyardError as error:
        print(f"modelyard control plane: {error.message}", file=sys.stderr)
        return 1
    return 0


def _created(settings: Settings, create_app: "Callable[[Settings], FastAPI]") -> "FastAPI":
    """The app; a database that is away is waited for, as it is later on: the node serves meanwhile."""
    from modelyard.store.database import DatabaseAway

    said = ""
    while True:
        try:
            return create_app(settings)
        except DatabaseAway as error:
            if error.message != said:
                print(f"modelyard control plane: {error.message} It is asked again.", file=sys.stderr)
            said = error.message
            time.sleep(min(error.retry_after or 1.0, 5.0))


if __name__ == "__main__":
    sys.exit(main())
