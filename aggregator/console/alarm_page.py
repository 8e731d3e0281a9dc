"""What the page of alarms shows: those of the viewer's scope, and what concerns everyone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from aggregator.rounds import charter as charters
from aggregator.storage import alarms
from aggregator.storage.alarms import Alarm
from aggregator.storage.service import Service, stored
from aggregator.storage.sessions import Viewer
from privacy.protocol.messages import Charter

PAGE = 50


@dataclass(frozen=True)
class AlarmPage:
    """names: partner id -> display name. page counts from 1."""

    alarms: tuple[Alarm, ...]
    names: Mapping[str, str]
    page: int
    pages: int
    waiting: int


def alarm_page(service: Service, viewer: Viewer, page: int) -> AlarmPage:
    """page: any number; the nearest page there is, is shown."""
    scope = None if viewer.whole_consortium else viewer.scope
    with service.database.read() as session:
        newest = charters.latest(session)
        names = {one.partner: one.name for one in stored(Charter, newest.message).body.roster} if newest else {}
        pages = max(1, -(-alarms.count_alarms(session, scope) // PAGE))
        page = min(max(1, page), pages)
        shown = alarms.alarms(session, scope, PAGE, PAGE * (page - 1))
        waiting = alarms.count_alarms(session, scope, waiting=True)
    return AlarmPage(tuple(shown), names, page, pages, waiting)
