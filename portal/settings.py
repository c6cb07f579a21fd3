"""Settings of the portal. Every value comes from the environment through `portal.lib.env`.

`manage.py up` sets what is not set: an embedded database and queue, keys generated once into
`VAR_DIR/secrets.json`, the Stripe sandbox. An operator sets the real ones; nothing else changes.
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from portal import schedule
from portal.console_theme import CONSOLE_THEME
from portal.lib.env import env_bool, env_int, env_list, env_path, env_str

BASE_DIR = Path(__file__).resolve().parent.parent

# --- This installation ---------------------------------------------------------------------------

VAR_DIR = env_path("VAR_DIR", BASE_DIR / "var")
HOST = env_str("HOST", "127.0.0.1")
PORT = env_int("PORT", 8000)
SITE_NAME = env_str("SITE_NAME", "FastGPU")
SITE_URL = env_str("SITE_URL", f"http://localhost:{PORT}")
# The demo shows a mailbox page and hints at test cards; off as soon as real Stripe keys are set.
DEMO = env_bool(
    "DEMO", default=not env_str("STRIPE_SECRET_KEY") or bool(env_str("STRIPE_API_BASE"))
)

DEBUG = env_bool("DEBUG", default=False)
SECRET_KEY = env_str("SECRET_KEY", "for-tests-and-checks-only-" + "0" * 40)
ALLOWED_HOSTS = env_list(
    "ALLOWED_HOSTS", ["localhost", "127.0.0.1", "[::1]", urlsplit(SITE_URL).hostname or "localhost"]
)
IS_HTTPS = SITE_URL.startswith("https://")
CSRF_TRUSTED_ORIGINS = [SITE_URL]
CSRF_COOKIE_SECURE = SESSION_COOKIE_SECURE = IS_HTTPS
SECURE_HSTS_SECONDS = env_int("HSTS_SECONDS", 31_536_000 if IS_HTTPS else 0)
SECURE_REFERRER_POLICY = "same-origin"
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if IS_HTTPS else None
X_FRAME_OPTIONS = "DENY"
CSRF_FAILURE_VIEW = "portal.middleware.csrf_failure"

# --- Parts ---------------------------------------------------------------------------------------

INSTALLED_APPS = [
    "unfold",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "allauth",
    "allauth.account",
    "channels",
    "csp",
    "django_htmx",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "accounts",
    "billing",
    "clusters",
    "portal",
]

MIDDLEWARE = [
    "portal.middleware.RequestIdMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "portal.middleware.AdminPolicyMiddleware",
    "portal.middleware.OtherOriginsMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "portal.middleware.ErrorPageMiddleware",
]

ROOT_URLCONF = "portal.urls"
ASGI_APPLICATION = "portal.asgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "portal.context.frame",
            ],
            "loaders": [
                (
                    "django.template.loaders.cached.Loader",
                    [
                        "django.template.loaders.filesystem.Loader",
                        "django.template.loaders.app_directories.Loader",
                    ],
                )
            ],
            "builtins": ["portal.templatetags.portal_format"],
        },
        "APP_DIRS": False,
    }
]

# --- Database and queue --------------------------------------------------------------------------

DATABASE_URL = env_str("DATABASE_URL", "postgresql://fastgpu@127.0.0.1:5432/fastgpu")
REDIS_URL = env_str("REDIS_URL", "redis://127.0.0.1:6379/0")
PREPARES = env_bool("DATABASE_PREPARE", default=True)


def _database(url: str) -> dict[str, object]:
    parts = urlsplit(url)
    options = {key: values[-1] for key, values in parse_qs(parts.query).items()}
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": unquote(parts.path.lstrip("/")) or "fastgpu",
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": options.pop("host", parts.hostname or ""),
        "PORT": str(parts.port or options.pop("port", "")),
        "CONN_MAX_AGE": 0,
        "OPTIONS": {
            **options,
            "pool": {"min_size": 1, "max_size": env_int("DATABASE_POOL", 10), "timeout": 10},
            # The loop and the API ask the same few questions again and again: planned once a
            # connection. Off behind a pooler that hands out connections per transaction.
            "server_side_binding": PREPARES,
            "prepare_threshold": 3 if PREPARES else None,
        },
    }


def _celery_url(url: str) -> str:
    """kombu names a unix socket `redis+socket:///path`, redis-py `unix:///path`."""
    return f"redis+socket://{urlsplit(url).path}" if url.startswith("unix://") else url


DATABASES = {"default": _database(DATABASE_URL)}
# Requests answered at a time by one web process; the others wait their turn. Each may need a
# connection of DATABASE_POOL, which the event streams share.
WEB_THREADS = env_int("WEB_THREADS", 8)
CACHES = {
    "default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": REDIS_URL}
}
CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        "CONFIG": {"hosts": [REDIS_URL], "prefix": "fastgpu"},
    }
}
CELERY_BROKER_URL = _celery_url(REDIS_URL)
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = False
CELERY_TIMEZONE = "UTC"
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BROKER_TRANSPORT_OPTIONS = {"socket_keepalive": True, "socket_timeout": 5}

CELERY_BEAT_SCHEDULE = schedule.SCHEDULE

# --- People --------------------------------------------------------------------------------------

AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = ["allauth.account.auth_backends.AuthenticationBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {
        "NAME": "django.contrib.auth.password_validation.MinimumLengthValidator",
        "OPTIONS": {"min_length": 10},
    },
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "dashboard"
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*"]
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_EMAIL_VERIFICATION = "mandatory"
ACCOUNT_LOGIN_ON_EMAIL_CONFIRMATION = True
ACCOUNT_CONFIRM_EMAIL_ON_GET = False
ACCOUNT_ADAPTER = "accounts.adapter.AccountAdapter"
ACCOUNT_EMAIL_SUBJECT_PREFIX = ""
ACCOUNT_DEFAULT_HTTP_PROTOCOL = "https" if IS_HTTPS else "http"
ACCOUNT_SESSION_REMEMBER = True
ACCOUNT_LOGOUT_ON_GET = False

# In the demo mail is written to files and shown at /mailbox.
EMAIL_BACKEND = env_str(
    "EMAIL_BACKEND",
    "django.core.mail.backends.filebased.EmailBackend"
    if DEMO
    else "django.core.mail.backends.smtp.EmailBackend",
)
EMAIL_FILE_PATH = VAR_DIR / "mail"
EMAIL_HOST = env_str("EMAIL_HOST", "localhost")
EMAIL_PORT = env_int("EMAIL_PORT", 25)
EMAIL_HOST_USER = env_str("EMAIL_HOST_USER")
EMAIL_HOST_PASSWORD = env_str("EMAIL_HOST_PASSWORD")
EMAIL_USE_TLS = env_bool("EMAIL_USE_TLS", default=False)
DEFAULT_FROM_EMAIL = env_str("DEFAULT_FROM_EMAIL", f"{SITE_NAME} <no-reply@localhost>")

# --- Money ---------------------------------------------------------------------------------------

CURRENCY = "usd"
# A run is charged no further than its engine's last sign that it runs, and these seconds more.
METER_GRACE_SECONDS = env_int("METER_GRACE_SECONDS", 120)
# Work goes on so long when nothing is left to pay it with; automatic top-up is tried meanwhile.
FUNDS_GRACE_SECONDS = env_int("FUNDS_GRACE_SECONDS", 300)
FUNDS_TICK_SECONDS = schedule.FUNDS_TICK_SECONDS
# Files are kept so long when nothing is left to pay for them, then they are deleted; the last
# notice goes out STORAGE_NOTICE_DAYS before.
STORAGE_KEEP_DAYS = env_int("STORAGE_KEEP_DAYS", 14)
STORAGE_NOTICE_DAYS = env_int("STORAGE_NOTICE_DAYS", 3)
# What kept files are sold as where nothing else is said.
STORAGE_SKU = env_str("STORAGE_SKU", "storage")
# A price may rise no sooner than so many days after it was announced.
PRICE_NOTICE_DAYS = env_int("PRICE_NOTICE_DAYS", 14)
STRIPE_SECRET_KEY = env_str("STRIPE_SECRET_KEY")
STRIPE_WEBHOOK_SECRET = env_str("STRIPE_WEBHOOK_SECRET")
# Empty: api.stripe.com. `manage.py up` points it at the sandbox when no key is set.
STRIPE_API_BASE = env_str("STRIPE_API_BASE")
# Who sells: what every invoice is headed with. The address is given in lines parted by `|`.
SELLER_NAME = env_str("SELLER_NAME", SITE_NAME)
SELLER_ADDRESS = [line.strip() for line in env_str("SELLER_ADDRESS").split("|") if line.strip()]
SELLER_COUNTRY = env_str("SELLER_COUNTRY").upper()
SELLER_TAX_ID = env_str("SELLER_TAX_ID")
INVOICE_PREFIX = env_str("INVOICE_PREFIX", "FG-")
INVOICE_DUE_DAYS = env_int("INVOICE_DUE_DAYS", 14)
# When tax is due on prepaid credit: `topup` or `usage`. Which one is right depends on what is sold
# to whom and where: ask a tax adviser.
TAX_POINT = env_str("TAX_POINT", "topup")

# --- Workloads -----------------------------------------------------------------------------------

LOCAL_ROOT = env_path("LOCAL_ROOT", VAR_DIR / "local")
ENVIRONMENTS_DIR = env_path("ENVIRONMENTS_DIR", VAR_DIR / "environments")
LOCAL_VIRTUAL_GPUS = env_int("LOCAL_VIRTUAL_GPUS", 4)
# Each team's work runs as uid LOCAL_UID_BASE + team number where the portal runs as root.
LOCAL_UID_BASE = env_int("LOCAL_UID_BASE", 210_000)
# A Docker API (docker or podman) for environments that are OCI images; empty: none.
LOCAL_OCI_SOCKET = env_str("LOCAL_OCI_SOCKET")
# Engines by the name pools call them: a factory and its arguments.
BACKENDS: dict[str, dict[str, object]] = {
    "local": {"factory": "clusters.backends.registry.make_local", "label": "This machine"}
}


def _slurm(name: str) -> dict[str, object]:
    """One Slurm cluster: SLURM_* for the one named `slurm`, SLURM_<NAME>_* for others."""
    prefix = "SLURM" if name == "slurm" else f"SLURM_{name.upper()}"
    return {
        "factory": "clusters.backends.slurm.backend.make_slurm",
        "label": env_str(f"{prefix}_LABEL", "Slurm"),
        # slurm.conf, where it is not at the place the tools know.
        "conf": env_str(f"{prefix}_CONF"),
        # slurmrestd with a key to sign its tokens; without, the command line tools do it all.
        "url": env_str(f"{prefix}_REST_URL"),
        "jwt_key": env_str(f"{prefix}_JWT_KEY"),
        "api_version": env_str(f"{prefix}_API_VERSION", "v0.0.38"),
        # A folder that the portal and all nodes see under one path.
        "root": env_str(f"{prefix}_ROOT"),
        "environments": env_str(f"{prefix}_ENVIRONMENTS", str(ENVIRONMENTS_DIR)),
        # Each team's jobs run as this Unix user.
        "user_template": env_str(f"{prefix}_USER_TEMPLATE", "fg-team{number}"),
        "create_users": env_bool(f"{prefix}_CREATE_USERS", default=False),
        "uid_base": env_int(f"{prefix}_UID_BASE", LOCAL_UID_BASE),
    }


SLURM_CLUSTERS = env_list("SLURM_CLUSTERS", ["slurm"] if env_str("SLURM_ROOT") else [])
BACKENDS |= {name: _slurm(name) for name in SLURM_CLUSTERS}
# Runs workloads without any isolation. Never on a machine that holds anything of worth.
LOCAL_ALLOW_INSECURE = env_bool("LOCAL_ALLOW_INSECURE", default=False)
AGENT_TOKEN = env_str("FASTGPU_AGENT_TOKEN")
PROXY_TOKEN = env_str("FASTGPU_PROXY_TOKEN")
PROXY_PORT = env_int("PROXY_PORT", PORT + 1)

# --- What workloads serve ------------------------------------------------------------------------

# Where browsers reach what a workload serves: one origin each. The wildcard name must lead to the
# proxy, and must be no part of the portal's own name that its cookies could be meant for.
APPS_URL = env_str("APPS_URL", f"http://{{name}}.apps.localhost:{PROXY_PORT}")
# A browser signs in to a workload again after this long; a ticket is taken within seconds.
APP_SESSION_SECONDS = env_int("APP_SESSION_SECONDS", 12 * 3600)
APP_TICKET_SECONDS = env_int("APP_TICKET_SECONDS", 30)
# A server that has not answered by then has failed, and costs nothing.
SERVER_START_SECONDS = env_int("SERVER_START_SECONDS", 120)
# Servers kept started ahead, by environment, in each pool of an engine that can; and how much
# memory they may take together.
STANDBY = env_list("STANDBY", ["python-data=1"])
STANDBY_MEMORY_BYTES = env_int("STANDBY_MEMORY_BYTES", 1 << 30)
# The environment TensorBoards run in.
BOARD_ENVIRONMENT = env_str("BOARD_ENVIRONMENT", "python-data")
# A notebook is stopped when it was idle so long, if its owner chose nothing else; 0: never.
IDLE_MINUTES = env_int("IDLE_MINUTES", 60)
# The countdown before that is shown in the notebook and mailed.
IDLE_NOTICE_MINUTES = env_int("IDLE_NOTICE_MINUTES", 10)
# A schedule is paused when so many of its runs have failed in a row.
SCHEDULE_FAILURES = env_int("SCHEDULE_FAILURES", 5)
# Less than this, mean since the last look, counts as nothing done.
IDLE_GPU_PERCENT = env_int("IDLE_GPU_PERCENT", 5)
IDLE_CPU_PERCENT = env_int("IDLE_CPU_PERCENT", 10)

# --- API -----------------------------------------------------------------------------------------

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["accounts.api.authentication.BearerAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["portal.lib.rest.JsonParser"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "portal.lib.rest.handle_exception",
    "UNAUTHENTICATED_USER": None,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "FastGPU API",
    "VERSION": "1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
    "SERVE_AUTHENTICATION": [],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "ENUM_NAME_OVERRIDES": {
        "WorkloadStatus": "clusters.choices.WorkloadStatus",
        "Reason": "clusters.choices.Reason",
    },
}
DATA_UPLOAD_MAX_MEMORY_SIZE = 1_000_000

# --- What the browser may do ---------------------------------------------------------------------

CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'self'"],
        "script-src": ["'self'"],
        "style-src": ["'self'"],
        "img-src": ["'self'", "data:"],
        "connect-src": ["'self'"],
        "font-src": ["'self'"],
        "object-src": ["'none'"],
        "base-uri": ["'none'"],
        "form-action": ["'self'"],
        "frame-ancestors": ["'none'"],
    }
}

# --- Static files --------------------------------------------------------------------------------

STATIC_URL = "/static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
STATICFILES_FINDERS = [
    "django.contrib.staticfiles.finders.FileSystemFinder",
    "django.contrib.staticfiles.finders.AppDirectoriesFinder",
    "portal.staticfiles.PlotlyFinder",
]
# Served from where they lie, found once at start: no collectstatic step to forget.
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = DEBUG

# --- Language, time, logs ------------------------------------------------------------------------

LANGUAGE_CODE = "en-us"
USE_I18N = False
USE_TZ = True
TIME_ZONE = "UTC"
FORMAT_MODULE_PATH = "portal.formats"

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"plain": {"format": "%(levelname)s %(name)s: %(message)s"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "plain"}},
    "root": {"handlers": ["console"], "level": env_str("LOG_LEVEL", "INFO")},
    "loggers": {
        "celery": {"level": "WARNING"},
        "httpx": {"level": "WARNING"},
        "stripe": {"level": "WARNING"},
        "fontTools": {"level": "ERROR"},
        "weasyprint": {"level": "ERROR"},
    },
}

UNFOLD = CONSOLE_THEME
