"""Every setting, in reading order. Each PORTAL_ variable is explained in docs/settings.md."""

import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import django_stubs_ext

from portal import env

# Lets Django's generic classes be written with their parameter, as the type checker reads them.
django_stubs_ext.monkeypatch()

BASE_DIR = Path(__file__).resolve().parent.parent
DATA_DIR = Path(env.text("PORTAL_DATA_DIR", str(BASE_DIR / "var"))).expanduser().resolve()
RUNTIME = env.runtime(DATA_DIR)

# --- Who may talk to us -------------------------------------------------------------------------
DEBUG = env.boolean("PORTAL_DEBUG")
SECRET_KEY = env.kept_secret("PORTAL_SECRET_KEY", DATA_DIR)
# Newest first: the first encrypts, all decrypt.
PORTAL_ENCRYPTION_KEYS = env.words("PORTAL_ENCRYPTION_KEYS") or [env.kept_secret("PORTAL_ENCRYPTION_KEY", DATA_DIR)]
ALLOWED_HOSTS = env.words("PORTAL_ALLOWED_HOSTS", ("localhost", "127.0.0.1", "[::1]"))
CSRF_TRUSTED_ORIGINS = env.words("PORTAL_TRUSTED_ORIGINS")
PORTAL_HTTPS = env.boolean("PORTAL_HTTPS")
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = PORTAL_HTTPS
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if PORTAL_HTTPS else None
SECURE_HSTS_SECONDS = 31_536_000 if PORTAL_HTTPS else 0
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'self'"],
        "frame-ancestors": ["'none'"],
        "form-action": ["'self'"],
        "base-uri": ["'self'"],
        "object-src": ["'none'"],
        "img-src": ["'self'", "data:"],
    }
}

# --- What we are made of ------------------------------------------------------------------------
INSTALLED_APPS = [
    "portal.apps.PortalConfig",
    "rollouts.apps.RolloutsConfig",
    "monitoring.apps.MonitoringConfig",
    "feedback.apps.FeedbackConfig",
    "portal.apps.AdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "channels",
    "rest_framework",
    "django_filters",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "django_htmx",
    "csp",
    "axes",
    "django_otp",
    "django_otp.plugins.otp_totp",
]
MIDDLEWARE = [
    "portal.middleware.RequestId",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django_otp.middleware.OTPMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "axes.middleware.AxesMiddleware",
    "portal.middleware.Refusals",
    "portal.pages.demo_steps.Noticed",
]
ROOT_URLCONF = "portal.urls"
ASGI_APPLICATION = "portal.asgi.application"
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
                "portal.pages.chrome.chrome",
                "portal.pages.demo.context",
            ]
        },
    }
]
AUTH_USER_MODEL = "portal.User"
AUTHENTICATION_BACKENDS = ["axes.backends.AxesStandaloneBackend", "django.contrib.auth.backends.ModelBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("UserAttributeSimilarityValidator", "MinimumLengthValidator", "CommonPasswordValidator")
]
AXES_FAILURE_LIMIT = 10
AXES_COOLOFF_TIME = timedelta(minutes=15)
AXES_LOCKOUT_TEMPLATE = "locked.html"
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "/"
LOGOUT_REDIRECT_URL = "/"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True
USE_I18N = True
FORMAT_MODULE_PATH = ["portal.formats"]

# --- PostgreSQL: the only database --------------------------------------------------------------
# Without an address the name of the folder where `up` would keep its server makes a clear connection error.
DATABASES = {
    "default": env.database("DATABASE_URL", RUNTIME.get("database_url", "postgres://portal@127.0.0.1:1/portal"))
}
# portal.asgi turns the pool on; a forked worker must not inherit one.
PORTAL_DATABASE_POOL = env.integer("PORTAL_DATABASE_POOL", 0)
DATABASES["default"] |= {
    "CONN_MAX_AGE": 0 if PORTAL_DATABASE_POOL else None,
    "CONN_HEALTH_CHECKS": True,
    "OPTIONS": {
        "application_name": "flightdeck",
        "connect_timeout": 3,
        "options": "-c lock_timeout=8s -c idle_in_transaction_session_timeout=60s -c jit=off",
        **(
            {"pool": {"min_size": 2, "max_size": PORTAL_DATABASE_POOL, "timeout": 4, "max_idle": 300}}
            if PORTAL_DATABASE_POOL
            else {}
        ),
    },
}

# --- Valkey and Celery --------------------------------------------------------------------------
REDIS_URL = env.redis_url("REDIS_URL", RUNTIME.get("redis_url", "redis://127.0.0.1:1/0"))
# Tests and benchmarks that share one server each take their own.
PORTAL_REDIS_PREFIX = env.text("PORTAL_REDIS_PREFIX", "flightdeck:")
CELERY: dict[str, Any] = {
    "broker_url": REDIS_URL,
    "broker_connection_retry_on_startup": True,
    "broker_connection_timeout": 2,
    "broker_transport_options": {
        "global_keyprefix": PORTAL_REDIS_PREFIX,
        # Longer than any task may run: a task is never handed out twice while it works.
        "visibility_timeout": 120,
        "unacked_restore_interval": 1,
        "socket_timeout": 5,
        "socket_connect_timeout": 2,
        "max_retries": 1,
    },
    "task_ignore_result": True,
    "task_acks_late": True,
    "task_reject_on_worker_lost": True,
    "task_time_limit": 60,
    "task_soft_time_limit": 50,
    "task_publish_retry": False,
    "worker_consumer": "portal.consumer:Consumer",
    # Celery would open a connection for each task and close it behind it: ten a second, each with its handshake and a
    # server process that knows no table yet. Kept for ever, and looked after by portal.celery.
    "CELERY_DB_REUSE_MAX": sys.maxsize,
    "worker_prefetch_multiplier": 1,
    "worker_hijack_root_logger": False,
    "worker_send_task_events": False,
    "task_default_queue": "portal",
    "timezone": "UTC",
    "enable_utc": True,
}

# --- Pages and files ----------------------------------------------------------------------------
STATIC_URL = "/static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
# Files are served from where they are: there is no collecting step, and no folder to collect into.
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = DEBUG

# --- REST ---------------------------------------------------------------------------------------
# A flag may have 200 rules, each a dozen fields of a form.
DATA_UPLOAD_MAX_NUMBER_FIELDS = 20_000
DATA_UPLOAD_MAX_MEMORY_SIZE = env.integer("PORTAL_MAX_BODY_BYTES", 4 * 1024 * 1024, at_least=1024)
# Who calls, JSON and problems are said by portal.drf's doors themselves.
REST_FRAMEWORK = {"UNAUTHENTICATED_USER": None, "DEFAULT_SCHEMA_CLASS": "portal.drf.Schema"}
SPECTACULAR_SETTINGS = {
    "TITLE": "Flightdeck",
    "DESCRIPTION": "Feature flags, staged deployments, live metrics and incidents.",
    "VERSION": "1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
    "COMPONENT_SPLIT_REQUEST": True,
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "OAS_VERSION": "3.1.0",
    # Fields of one name and different choices: each set of choices by its own name in the document.
    "ENUM_NAME_OVERRIDES": {
        "AlertStatus": "monitoring.models.Alert.Status",
        "AlertLevel": "monitoring.models.Alert.Level",
        "IncidentStatus": "monitoring.models.Incident.Status",
        "IncidentSeverity": "monitoring.models.Severity",
        "ErrorSeverity": "monitoring.models.ErrorSeverity",
        "ErrorStatus": "monitoring.models.ErrorGroup.Status",
        "WhenTold": "monitoring.models.NotificationPreference.When",
        "ResponseStatus": "monitoring.models.ResponseRun.Status",
        "PostMortemStatus": "monitoring.models.PostMortem.Status",
        "ActionItemStatus": "monitoring.models.ActionItem.Status",
        "DeploymentStatus": "rollouts.models.Deployment.Status",
        "ChangeRequestStatus": "rollouts.models.ChangeRequest.Status",
        "ChangeRequestKind": "rollouts.models.ChangeRequest.Kind",
        "FlagType": "rollouts.models.Flag.Type",
        "ReleaseType": "rollouts.models.Release.Type",
        "MetricType": "monitoring.models.Metric.Type",
        "MetricSignal": "monitoring.models.Metric.SIGNALS",
        "Signal": "monitoring.coverage.SIGNALS",
        "OpeningLevel": "monitoring.models.IncidentDefinition.MinLevel",
        "MetricDirection": "monitoring.models.Metric.Direction",
        "TrendDirection": "monitoring.trends.Direction",
        "WithoutData": "monitoring.models.Threshold.WithoutData",
        "StatusComponentStatus": "monitoring.models.StatusComponent.Status",
        "StatusIncidentStatus": "monitoring.models.StatusIncident.Status",
        "StatusIncidentKind": "monitoring.models.StatusIncident.Kind",
        "SloKind": "monitoring.models.Slo.Kind",
        "CapacityKind": "monitoring.models.Capacity.Kind",
        "CapacityState": "monitoring.models.Capacity.State",
        "ScalingMode": "monitoring.models.ScalingPolicy.Mode",
        "ScalingStatus": "monitoring.models.ScalingDecision.Status",
        "ScalingWay": "monitoring.models.ScalingDecision.Way",
        "ScalingUrgency": "monitoring.models.ScalingDecision.Urgency",
        "ReportedSeverity": "monitoring.actions.error_reports.SAID_SEVERITIES",
        "ReportPeriod": "monitoring.models.reports.Period",
        "RecommendationRule": "monitoring.models.Recommendation.Rule",
        "RecommendationStatus": "monitoring.models.Recommendation.Status",
        "FeedbackKind": "feedback.models.Entry.Kind",
    },
}

# --- What the portal does by itself -------------------------------------------------------------
PORTAL_KEY_RATE = env.integer("PORTAL_KEY_RATE", 6000, at_least=1)  # requests a second and key, in each process
PORTAL_STREAM_EPOCH = env.integer("PORTAL_STREAM_EPOCH", 3600, at_least=1)  # seconds until a stream's address changes
PORTAL_MAX_STREAMS = env.integer("PORTAL_MAX_STREAMS", 4000, at_least=0)  # open event streams in each web process
PORTAL_MAX_STREAMS_PER_KEY = env.integer("PORTAL_MAX_STREAMS_PER_KEY", 2000, at_least=0)
PORTAL_JOIN_RATE = env.integer("PORTAL_JOIN_RATE", 10, at_least=1)  # looks at join links a second and address
# The site whose applications may read who has joined what; by default the portal's own host alone.
PORTAL_AUDIENCE_COOKIE_DOMAIN = env.text("PORTAL_AUDIENCE_COOKIE_DOMAIN")
PORTAL_BROWSER_RATE = env.integer("PORTAL_BROWSER_RATE", 20, at_least=1)  # browsers' reports a second and address
PORTAL_BROWSER_KEY_RATE = env.integer("PORTAL_BROWSER_KEY_RATE", 500, at_least=1)  # and those with one key
PORTAL_BROWSER_PAGES = env.integer("PORTAL_BROWSER_PAGES", 100, at_least=1)  # pages told apart of one service
PORTAL_BROWSER_SERIES = env.integer("PORTAL_BROWSER_SERIES", 2000, at_least=1)  # sets of labels of one service
PORTAL_BROWSER_ERROR_GROUPS = env.integer("PORTAL_BROWSER_ERROR_GROUPS", 200, at_least=1)  # new ones a day
PORTAL_BROWSER_ERRORS = env.integer("PORTAL_BROWSER_ERRORS", 100, at_least=1)  # of one group, kept an hour
PORTAL_BROWSER_FIGURES = env.integer("PORTAL_BROWSER_FIGURES", 200, at_least=1)  # of one metric, kept of 10 s
PORTAL_BROWSER_IN_FLIGHT = env.integer("PORTAL_BROWSER_IN_FLIGHT", 8, at_least=1)  # reports in each web process
PORTAL_MAX_IN_FLIGHT = env.integer("PORTAL_MAX_IN_FLIGHT", 64, at_least=1)  # Django requests in each web process
PORTAL_REQUEST_TIMEOUT = env.integer("PORTAL_REQUEST_TIMEOUT", 10, at_least=1)  # seconds until 503
PORTAL_FUNNELS = env.funnels("PORTAL_FUNNELS")  # events by the funnel's name, in their order
PORTAL_RAW_RETENTION_HOURS = env.integer("PORTAL_RAW_RETENTION_HOURS", 48, at_least=1)
PORTAL_MINUTE_RETENTION_DAYS = env.integer("PORTAL_MINUTE_RETENTION_DAYS", 30, at_least=1)  # rollups of a minute
PORTAL_HOUR_RETENTION_DAYS = env.integer("PORTAL_HOUR_RETENTION_DAYS", 397, at_least=1)  # of an hour: 13 months
PORTAL_MAX_METRICS = env.integer("PORTAL_MAX_METRICS", 10_000, at_least=1)  # more names than this are refused
PORTAL_MAX_SERIES = env.integer("PORTAL_MAX_SERIES", 20_000, at_least=1)  # of one metric
# Contexts that flags are evaluated for: how many are looked at, what of them is never kept, how long and how many.
PORTAL_CONTEXT_PERCENT = env.percentage("PORTAL_CONTEXT_PERCENT", 100)
PORTAL_CONTEXTS_PER_SECOND = env.integer("PORTAL_CONTEXTS_PER_SECOND", 50)  # in each web process
PORTAL_CONTEXT_MASK = env.words(
    "PORTAL_CONTEXT_MASK", ("email", "phone", "password", "secret", "token", "authorization", "cookie")
)
PORTAL_CONTEXT_RETENTION_DAYS = env.integer("PORTAL_CONTEXT_RETENTION_DAYS", 30, at_least=1)
PORTAL_MAX_CONTEXTS = env.integer("PORTAL_MAX_CONTEXTS", 20_000, at_least=1)  # of one environment
# A unit that is shown a variant again within the window counts once.
PORTAL_EXPOSURE_WINDOW_MINUTES = env.integer("PORTAL_EXPOSURE_WINDOW_MINUTES", 60, at_least=1)
PORTAL_EXPOSURE_RETENTION_DAYS = env.integer("PORTAL_EXPOSURE_RETENTION_DAYS", 90, at_least=2)
PORTAL_ERROR_RETENTION_DAYS = env.integer("PORTAL_ERROR_RETENTION_DAYS", 30, at_least=1)  # of single occurrences
# Stale: not evaluated for so long, or one variant for everyone for so long.
PORTAL_STALE_UNUSED_DAYS = env.integer("PORTAL_STALE_UNUSED_DAYS", 30, at_least=1)
PORTAL_STALE_SETTLED_DAYS = env.integer("PORTAL_STALE_SETTLED_DAYS", 60, at_least=1)
# Networks that outgoing requests may reach although they are private (comma-separated CIDR).
PORTAL_OUTGOING_ALLOW = env.words("PORTAL_OUTGOING_ALLOW")
# Told after each look at the sweeps that finds them all well: when the calls stop, somebody outside says so.
PORTAL_ALIVE_URL = env.text("PORTAL_ALIVE_URL")
# Alerts that are signs of life: they always fire, and make a watchdog when they come for the first time.
PORTAL_WATCHDOGS = env.words("PORTAL_WATCHDOGS", ("Watchdog",))
PORTAL_BASE_URL = env.text("PORTAL_BASE_URL", RUNTIME.get("web_url", "http://127.0.0.1:8000")).rstrip("/")

# Where others' services are; tests and regions name other places.
PORTAL_SLACK_API_URL = env.text("PORTAL_SLACK_API_URL", "https://slack.com/api")
PORTAL_SLACK_SIGNING_SECRET = env.text("PORTAL_SLACK_SIGNING_SECRET")
PORTAL_PAGERDUTY_URL = env.text("PORTAL_PAGERDUTY_URL", "https://events.pagerduty.com")

# The wall clock by which people are told things: the digest of the day, unless its recipient names another.
PORTAL_ZONE = env.zone("PORTAL_ZONE", "UTC")

# --- E-mail -------------------------------------------------------------------------------------
_MAIL = env.email_server("PORTAL_EMAIL_URL")
# Without a server, messages are caught: a line in the log, and a file to look at.
EMAIL_BACKEND = f"monitoring.channels.{'smtp' if _MAIL else 'catcher'}.Backend"
MAIL_FOLDER = DATA_DIR / "mail"
EMAIL_HOST = _MAIL.get("EMAIL_HOST", "")
EMAIL_PORT = _MAIL.get("EMAIL_PORT") or (465 if _MAIL.get("EMAIL_USE_SSL") else 25)
EMAIL_HOST_USER = _MAIL.get("EMAIL_HOST_USER") or ""
EMAIL_HOST_PASSWORD = _MAIL.get("EMAIL_HOST_PASSWORD") or ""
EMAIL_USE_TLS = _MAIL.get("EMAIL_USE_TLS", False)
EMAIL_USE_SSL = _MAIL.get("EMAIL_USE_SSL", False)
EMAIL_TIMEOUT = 12  # seconds for a whole message: shorter than the outbox's lease
DEFAULT_FROM_EMAIL = env.text("PORTAL_EMAIL_FROM", "Flightdeck <flightdeck@localhost>")

# --- Logs: one JSON line each, to standard error ------------------------------------------------
PORTAL_LOG_LEVEL = env.text("PORTAL_LOG_LEVEL", "INFO").upper()
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"plain": {"()": "portal.logs.formatter"}},
    "filters": {"outage": {"()": "portal.logs.Outage"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "plain"}},
    "root": {"handlers": ["stderr"], "level": PORTAL_LOG_LEVEL},
    "loggers": {
        "axes": {"level": "WARNING"},
        # A line for each poke of each sweep tells nobody anything; a failed one is an error.
        "celery.app.trace": {"level": "WARNING"},
        "celery.beat": {"level": "WARNING", "filters": ["outage"]},
        "celery.worker.strategy": {"level": "WARNING"},
        "uvicorn.access": {"level": "WARNING"},
        "httpx": {"level": "WARNING"},
    },
}
