"""The control plane's program: ``python -m modelyard.web``, the control API with the pages mounted."""

import sys

from modelyard.core.errors import ModelyardError
from modelyard.core.settings import load_settings


def main() -> int:
    """Run until SIGTERM; 1 when it cannot start, with a sentence."""
    try:
        settings = load_settings()
        from modelyard.control.app import create_app
        from modelyard.control.server import run
        from modelyard.host.log_lines import configure
        from modelyard.web.pages import mount

        configure(settings.log_level)
        app = create_app(settings)
        mount(app)
        run(app, settings)
    except ModelyardError as error:
        print(f"modelyard control plane: {error.message}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
