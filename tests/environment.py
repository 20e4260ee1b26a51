"""Settings of the test run, set before Django reads any. Secrets here are for tests alone."""

from __future__ import annotations

import os
import sys
import tempfile

TEST_ENVIRONMENT = {
    "SEALPOST_SECRET_KEY": "only-for-tests-only-for-tests-only-for-tests-only-for-tests",
    "SEALPOST_DEPLOYMENT_SECRET": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
    "SEALPOST_SERVER_KEYS": "ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=",
}

for name, value in TEST_ENVIRONMENT.items():
    os.environ.setdefault(name, value)
os.environ.setdefault("SEALPOST_STATE", tempfile.mkdtemp(prefix="sealpost-tests-"))
os.environ.setdefault("DJANGO_ALLOW_ASYNC_UNSAFE", "1")  # Playwright's sync API runs a loop

if __name__ == "__main__":  # python -m tests.environment COMMAND: for tools that load the settings
    os.execvp(sys.argv[1], sys.argv[1:])
