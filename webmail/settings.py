"""All settings, read once from the environment. Every secret may also come from ``NAME_FILE``.

``docs/configuration.md`` lists them. A setting that is missing or unsafe stops the start with one
sentence that says what to do.
"""

from __future__ import annotations

import ipaddress
from pathlib import Path

import environ
from django.core.exceptions import ImproperlyConfigured

from webmail.lib.secrets import secret_bytes, secret_ring
from webmail.lib.static_headers import add_headers

env = environ.FileAwareEnv()
BASE_DIR = Path(__file__).resolve().parent.parent

# --- the folder of the embedded default: database, sockets, spool, secrets ---------------------
STATE_DIR = Path(env.str("SEALPOST_STATE", default=str(BASE_DIR / "var"))).resolve()

# --- secrets -----------------------------------------------------------------------------------
SECRET_KEY = env.str("SEALPOST_SECRET_KEY", default="")
if not SECRET_KEY:
    raise ImproperlyConfigured(
        "SEALPOST_SECRET_KEY is not set. Run 'make demo' for a ready-made system, or put a random "
        "text into a file and name it in SEALPOST_SECRET_KEY_FILE."
    )
DEPLOYMENT_SECRET = secret_bytes(env, "SEALPOST_DEPLOYMENT_SECRET")
"""32 bytes shared by web, worker and supervisor: who may speak to agents, who is a node."""
SERVER_KEY_RING = secret_ring(env, "SEALPOST_SERVER_KEYS")
"""Keys that seal IMAP/SMTP credentials at rest; the first one seals, all of them open."""

# --- addresses ---------------------------------------------------------------------------------
ORIGIN = env.str("SEALPOST_ORIGIN", default="http://localhost:8000")
ALLOWED_HOSTS = env.list("SEALPOST_ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"])
CSRF_TRUSTED_ORIGINS = [ORIGIN]
TRUSTED_PROXIES = [
    ipaddress.ip_network(network) for network in env.list("SEALPOST_TRUSTED_PROXIES", default=[])
]
"""Networks of our own reverse proxies: only they may say in X-Forwarded-For who is asking."""
DEBUG = False

# --- applications ------------------------------------------------------------------------------
INSTALLED_APPS = [
    "webmail.accounts.admin_site.SealpostAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "axes",
    "webmail.agent",
    "webmail.accounts",
    "webmail.authority",
    "webmail.certificates",
    "webmail.mailbox",
    "webmail.reading",
    "webmail.compose",
    "webmail.onboarding",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "webmail.accounts.error_pages.ErrorIdMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    # Before the CSRF check: it reads the form, and passwords must not become text there.
    "webmail.accounts.middleware.StrangersBodyMiddleware",
    "webmail.accounts.secret_body.SecretBodyMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "webmail.accounts.middleware.UnlockedSessionMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "axes.middleware.AxesMiddleware",
]

ROOT_URLCONF = "webmail.urls"
WSGI_APPLICATION = "webmail.wsgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "webmail.accounts.context.lock_state",
                "webmail.accounts.context.site",
                "webmail.mailbox.context.folders",
                "webmail.compose.context.outbox",
            ],
        },
    },
]

# --- database ----------------------------------------------------------------------------------
DATABASES = {
    "default": env.db_url("DATABASE_URL", default=f"sqlite:///{STATE_DIR / 'sealpost.sqlite3'}")
}
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    DATABASES["default"]["OPTIONS"] = {
        # One writer at a time, waiting its turn, with readers never blocked.
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
    }
    # A file in tests too: in memory, SQLite locks whole tables between threads.
    DATABASES["default"]["TEST"] = {"NAME": str(STATE_DIR / "tests.sqlite3")}
# A connection per thread and not per request: opening one costs more than all that a page reads.
DATABASES["default"]["CONN_MAX_AGE"] = 60
DATABASES["default"]["CONN_HEALTH_CHECKS"] = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# --- sign-in -----------------------------------------------------------------------------------
AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",
    "django.contrib.auth.backends.ModelBackend",
]
PASSWORD_HASHERS = ["django.contrib.auth.hashers.ScryptPasswordHasher"]  # staff only
AUTH_PASSWORD_VALIDATORS = [
    {
        "NAME": "django.contrib.auth.password_validation.MinimumLengthValidator",
        "OPTIONS": {"min_length": 12},
    },
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = "accounts:sign_in"
LOGIN_REDIRECT_URL = "reading:home"
SESSION_ENGINE = "webmail.accounts.session_store"
SESSION_COOKIE_NAME = "__Host-sealpost"
SESSION_COOKIE_SECURE = True
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_AGE = 12 * 3600
CSRF_COOKIE_NAME = "__Host-csrf"
CSRF_COOKIE_SECURE = True
CSRF_COOKIE_HTTPONLY = True  # scripts take the token from the page
CSRF_COOKIE_SAMESITE = "Strict"
CSRF_FAILURE_VIEW = "webmail.accounts.error_pages.csrf_failure"
UNLOCK_COOKIE_NAME = "__Host-unlock"
"""Carries C, the browser's half of the unlocked session; never stored, never logged."""
SESSION_IDLE_SECONDS = env.int("SEALPOST_SESSION_IDLE", default=15 * 60)
SESSION_ABSOLUTE_SECONDS = env.int("SEALPOST_SESSION_ABSOLUTE", default=10 * 3600)
AXES_ENABLED = True
AXES_FAILURE_LIMIT = 5
AXES_COOLOFF_TIME = 0.25
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_VERBOSE = False
AXES_CLIENT_IP_CALLABLE = "webmail.accounts.throttle.client_ip"
AXES_LOCKOUT_CALLABLE = "webmail.accounts.error_pages.staff_locked_out"
INVITATION_DAYS = env.int("SEALPOST_INVITATION_DAYS", default=7)

# --- browser-side defences ---------------------------------------------------------------------
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "SAMEORIGIN"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'none'"],
        "script-src": ["'self'"],
        "style-src": ["'self'"],
        "img-src": ["'self'", "data:"],
        "font-src": ["'self'"],
        "connect-src": ["'self'"],
        "frame-src": ["'self'"],
        "form-action": ["'self'"],
        "manifest-src": ["'self'"],
        "base-uri": ["'none'"],
        "frame-ancestors": ["'self'"],
    }
}
if ORIGIN.startswith("https://"):
    SECURE_HSTS_SECONDS = 31_536_000
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")

# --- static files ------------------------------------------------------------------------------
STATIC_URL = "/static/"
STATICFILES_DIRS = [BASE_DIR / "webmail" / "static"]
STATIC_ROOT = STATE_DIR / "staticfiles"
WHITENOISE_ADD_HEADERS_FUNCTION = add_headers
WHITENOISE_ALLOW_ALL_ORIGINS = False
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}

# --- broker ------------------------------------------------------------------------------------
BROKER_URL = env.str("SEALPOST_BROKER", default=f"redis+socket://{STATE_DIR / 'redis.sock'}")
RESULT_BACKEND = env.str(
    "SEALPOST_RESULTS", default=BROKER_URL if BROKER_URL.startswith("redis") else "rpc://"
)
SPOOL_DIR = Path(env.str("SEALPOST_SPOOL", default=str(STATE_DIR / "spool")))

# --- mail --------------------------------------------------------------------------------------
DATA_UPLOAD_MAX_MEMORY_SIZE = 40 * 1024 * 1024
FILE_UPLOAD_HANDLERS = ["django.core.files.uploadhandler.MemoryFileUploadHandler"]
"""Attachments never touch the disk in clear: held in memory, sealed, then stored."""
FILE_UPLOAD_MAX_MEMORY_SIZE = 40 * 1024 * 1024
FETCH_ALLOWED_HOSTS = env.list("SEALPOST_FETCH_ALLOWED_HOSTS", default=[])
"""host:port pairs which the guarded fetcher may reach although they are private addresses."""
ORGANISATION_NAME = env.str("SEALPOST_ORGANISATION", default="Example Organisation")
ORGANISATION_COUNTRY = env.str("SEALPOST_COUNTRY", default="DE")
IMAP_DEFAULT = env.str("SEALPOST_IMAP_DEFAULT", default="")
SMTP_DEFAULT = env.str("SEALPOST_SMTP_DEFAULT", default="")
"""The organisation's own servers as ``implicit://host:993``, ``starttls://…`` or ``none://…``;
new people get them without discovery."""
AUTOCONFIG_DATABASE = env.str(
    "SEALPOST_AUTOCONFIG_DATABASE", default="https://autoconfig.thunderbird.net/v1.1/"
)
"""Where discovery looks up the servers of known providers by domain; empty: nowhere."""
IMAP_MASTER_USER = env.str("SEALPOST_IMAP_MASTER_USER", default="")
IMAP_MASTER_PASSWORD = env.str("SEALPOST_IMAP_MASTER_PASSWORD", default="")
IMAP_MASTER_SEPARATOR = env.str("SEALPOST_IMAP_MASTER_SEPARATOR", default="*")
"""With a master user no mailbox password need be kept; see ``accounts.MailAccount.login``."""
KEY_ALGORITHM = env.str("SEALPOST_KEY_ALGORITHM", default="rsa-3072")
UNDO_SEND_SECONDS = env.int("SEALPOST_UNDO_SEND", default=10)
SYNC_INTERVAL_SECONDS = env.int("SEALPOST_SYNC_INTERVAL", default=20)

# --- language and time -------------------------------------------------------------------------
LANGUAGE_CODE = "en"
LANGUAGES = [("en", "English")]
LOCALE_PATHS = [BASE_DIR / "webmail" / "locale"]
FORMAT_MODULE_PATH = ["webmail.formats"]
USE_I18N = True
USE_TZ = True
TIME_ZONE = "UTC"

# --- logging: never content, addresses or subjects ---------------------------------------------
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {
            "()": "webmail.lib.quiet_log.QuietFormatter",
            "format": "{asctime} {levelname} {name} {message}",
            "style": "{",
        }
    },
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": env.str("SEALPOST_LOG_LEVEL", default="INFO")},
    "loggers": {
        # Writes the names that were tried, at WARNING.
        "axes": {"level": "CRITICAL"},
        # Django's own handlers would print a record a second time.
        "django": {"handlers": [], "level": "INFO"},
        "django.server": {"handlers": [], "propagate": True},
    },
}
