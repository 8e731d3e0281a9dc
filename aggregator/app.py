"""The service, put together: settings, storage, routes, lifecycle. `serve` runs it.

Rules:
1. Everything with an effect is made here and handed on in one typed `Service`, at `app.state.service`.
2. The schema is brought up to date before the first request; sums that a crash cut off are made again.
3. Logs are JSON lines without bodies, tokens or query strings; libraries that log whom they call, or with what, are
   heard from WARNING on.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
from collections.abc import AsyncIterator
from concurrent.futures import Executor

import structlog
import uvicorn
from fastapi import FastAPI

from aggregator.api import problems
from aggregator.api.constitution import NAME, VERSION
from aggregator.api.headers import SecurityHeaders
from aggregator.api.openapi import ROUTERS
from aggregator.connections import BoundedHttp, CutOff, Server, listening, most_connections
from aggregator.console import (
    account_pages,
    oidc_pages,
    oversight_pages,
    pages,
    record_pages,
    report_pages,
    sign_in,
)
from aggregator.rounds.budget_watch import BudgetWatch
from aggregator.rounds.enrolment import everyone
from aggregator.rounds.lifecycle import Lifecycle
from aggregator.rounds.sum_workers import SumWorkers
from aggregator.rounds.webhooks import Webhooks
from aggregator.settings import Settings
from aggregator.storage.blobs import LocalBlobs
from aggregator.storage.database import Database
from aggregator.storage.folder import load_keys, require_recovered, serving
from aggregator.storage.nonces import NonceStore, boot_id
from aggregator.storage.notifier import Notifier
from aggregator.storage.rates import RequestRates
from aggregator.storage.service import Service
from aggregator.storage.under_way import UnderWay
from privacy.clock import Clock, SystemClock
from privacy.randomness import RandomSource, SystemRandom

_log = structlog.get_logger("chorale.app")

GRACE_SECONDS = 5
# httpx logs whole addresses, and a webhook's may hold a secret; the others log headers, forms and rows.
QUIET = ("alembic", "httpx", "httpcore", "authlib", "sqlalchemy")


def create_app(settings: Settings, clock: Clock, source: RandomSource, pool: Executor | None = None) -> FastAPI:
    """The ASGI application over one server folder.

    pool: where shards are added, the caller's to close; `settings.sum_workers` processes of its own unless given.
    """
    keys = load_keys(settings.folder)  # before anything is made in a folder that is none
    require_recovered(settings.folder)
    notifier = Notifier()
    database = Database(settings.database, notifier.publish)
    database.migrate()
    with database.read() as session:
        first_start = not everyone(session)
    nonces = NonceStore(settings.nonces, boot_id(), clock.now(), first_start=first_start)
    service = Service(
        settings=settings,
        database=database,
        blobs=LocalBlobs(settings.blobs),
        keys=keys,
        clock=clock,
        source=source,
        notifier=notifier,
        nonces=nonces,
        rates=RequestRates(settings.rates),
        bodies=UnderWay("requests with a body", settings.bodies_at_once),
        polls=UnderWay("long polls", settings.polls_at_once),
    )

    provider = None
    if settings.oidc is not None:
        # Only then: an HTTP client is otherwise nothing that the service needs.
        from aggregator.console.provider import Provider

        provider = Provider(settings.oidc, settings, clock)

    def make_pool() -> Executor:
        return pool or SumWorkers(settings.sum_workers)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        del app
        notifier.attach(asyncio.get_running_loop())
        lifecycle = Lifecycle(service, make_pool)
        tasks = [
            asyncio.create_task(run()) for run in (lifecycle.run, BudgetWatch(service).run, Webhooks(service).run)
        ]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            for task in tasks:
                with contextlib.suppress(asyncio.CancelledError):
                    await task
            if pool is None:
                lifecycle.close()
            if provider is not None:
                provider.close()
            nonces.close()
            database.close()

    app = FastAPI(title=NAME, version=VERSION, lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    app.state.service = service
    app.state.provider = provider
    app.add_middleware(CutOff)
    app.add_middleware(SecurityHeaders)
    problems.install(app)
    for router in ROUTERS:
        app.include_router(router)
    for router in (
        sign_in.router,
        oidc_pages.router,
        account_pages.router,
        oversight_pages.router,
        report_pages.router,
        record_pages.router,
        pages.router,
    ):
        app.include_router(router)
    return app


def serve(settings: Settings) -> None:
    """Serve the folder until interrupted; waits GRACE_SECONDS for requests under way.

    Raises ConfigurationError, and FolderInUse where another process serves it.
    """
    configure_logging()
    load_keys(settings.folder)
    require_recovered(settings.folder)
    with serving(settings.folder), listening(settings.host, settings.port) as bound:
        app = create_app(settings, SystemClock(), SystemRandom())
        config = uvicorn.Config(
            app,
            loop="uvloop",
            http=BoundedHttp,
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            limit_concurrency=most_connections() + 1,
            timeout_graceful_shutdown=GRACE_SECONDS,
            timeout_keep_alive=75,
        )
        service: Service = app.state.service
        host, port = bound.getsockname()[:2]
        _log.info("listening", host=host, port=port, url=settings.url)
        # What is loaded now stays: the collector need not look through it again and again.
        gc.freeze()
        Server(config, service.notifier.stop).run(sockets=[bound])


def configure_logging() -> None:
    """JSON lines on standard error, the libraries' too."""
    shared: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processor=structlog.processors.JSONRenderer())
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.INFO)
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
