"""Jobs: requests whose answers are kept until somebody asks for them (``Prefer: respond-async``, RFC 7240)."""
