"""Every question but the plain check, asked of one store: what a door calls.

Each takes a `pdp.service.StoreService` and a request value, answers at one revision and one instant, and tells both.
Contextual relationships count in all of them as if they had been written.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pdp.bulk import BulkCheck, BulkItem, Outcome
from pdp.consistency import MINIMIZE_LATENCY, Consistency
from pdp.errors import PdpError
from pdp.expand import Expansion, Tree
from pdp.follow import SchemaVersion
from pdp.judge import judge_with
from pdp.list_permissions import Held, ListPermissions, names
from pdp.lookup import Ending, Findings, Listing, Row, Undecided
from pdp.lookup_resources import FoundResource, LookupResources
from pdp.lookup_subjects import FoundSubject, LookupSubjects
from pdp.program import Program, SubjectType
from pdp.relationships import Instant, ObjectRef, Relationship, Revision, SubjectRef
from pdp.service import StoreService
from pdp.validate import check_contextual

_ROWS_A_TURN = 5_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """What every question is asked under. ``instant`` ``None`` is now; ``contextual`` counts as if written."""

    consistency: Consistency = MINIMIZE_LATENCY
    instant: Instant | None = None
    context: Mapping[str, Any] = field(default_factory=dict)
    contextual: Sequence[Relationship] = ()


@dataclass(frozen=True, slots=True)
class BulkChecked:
    """Outcomes in the order of the items."""

    revision: Revision
    instant: Instant
    outcomes: Sequence[Outcome]


@dataclass(frozen=True, slots=True)
class PermissionsListed:
    """What a subject may do, one entry a permission, in written order."""

    revision: Revision
    instant: Instant
    held: Sequence[Held]


@dataclass(frozen=True, slots=True)
class Expanded:
    """A tree and the revision and instant it was drawn at."""

    revision: Revision
    instant: Instant
    tree: Tree


@dataclass(frozen=True, slots=True)
class ResourcesRequest:
    """On which resources of ``type`` has ``subject`` the ``permission``? From behind ``after``, at most ``limit``."""

    type: str
    permission: str
    subject: SubjectRef
    under: Circumstances = Circumstances()
    after: str | None = None
    limit: int | None = None


@dataclass(frozen=True, slots=True)
class SubjectsRequest:
    """Which subjects of ``type`` (with ``relation``: usersets) have the ``permission`` on ``resource``?

    From behind ``after``, at most ``limit`` rows. Without ``wildcards`` no row ``*`` is given.
    """

    resource: ObjectRef
    permission: str
    type: str
    relation: str = ""
    under: Circumstances = Circumstances()
    after: str | None = None
    limit: int | None = None
    wildcards: bool = True


@dataclass(frozen=True, slots=True)
class _Moment:
    """Where and when a question is answered."""

    revision: Revision
    instant: Instant
    version: SchemaVersion

    @property
    def program(self) -> Program:
        """The schema of that revision, prepared."""
        return self.version.program


async def _moment(store: StoreService, under: Circumstances) -> _Moment:
    revision = await store.revision(under.consistency)
    version = await store.follower.schema(revision)
    check_contextual(version.program.schema, under.contextual)
    return _Moment(revision, store.now() if under.instant is None else under.instant, version)


async def check_bulk(
    store: StoreService, items: Sequence[BulkItem], under: Circumstances = Circumstances()
) -> BulkChecked:
    """Answer many questions at one revision. Each item has a context of its own; ``under.context`` is not looked at.

    Raises:
        DeadlineExceeded: the time ran out; any other error is the outcome of its item.
    """
    at = await _moment(store, under)
    outcomes: list[Outcome | None] = [None] * len(items)
    if not under.contextual:
        outcomes = [store.at_once(at.version, at.revision, i.resource, i.permission, i.subject) for i in items]
    left = [position for position, outcome in enumerate(outcomes) if outcome is None]
    check = BulkCheck(
        at.program, [items[position] for position in left], instant=at.instant, goals_max=store.settings.goals_max
    )
    await store.driver(at.revision, under.contextual).finish(check)
    found = dict(zip(left, check.outcomes, strict=True))
    told = [found[position] if outcome is None else outcome for position, outcome in enumerate(outcomes)]
    return BulkChecked(at.revision, at.instant, told)


async def list_permissions(
    store: StoreService,
    resource: ObjectRef,
    subject: SubjectRef,
    under: Circumstances = Circumstances(),
    *,
    permissions: Sequence[str] | None = None,
    relations: bool = False,
) -> PermissionsListed:
    """What a subject may do with a resource: the named ``permissions``, or all, with ``relations`` relations too.

    Raises:
        UnknownDefinition, UnknownRelation, WildcardNotAllowed: the question names what is not there.
        WorkExceeded: it took more than the settings allow.
    """
    at = await _moment(store, under)
    asked = names(at.program, resource.type, relations=relations) if permissions is None else permissions
    walk = ListPermissions(
        at.program,
        resource,
        asked,
        subject,
        instant=at.instant,
        judge=judge_with(at.program.schema, under.context),
        goals_max=store.settings.goals_max,
    )
    await store.driver(at.revision, under.contextual).finish(walk)
    return PermissionsListed(at.revision, at.instant, list(walk.held()))


async def lookup_resources(store: StoreService, request: ResourcesRequest) -> Listing[FoundResource]:
    """Resources on which a subject has a permission.

    Raises:
        UnknownDefinition, UnknownRelation, WildcardNotAllowed: the question names what is not there.
        WorkExceeded: it took more than the settings allow.
    """
    at = await _moment(store, request.under)
    walk = LookupResources(
        at.program,
        request.type,
        request.permission,
        request.subject,
        instant=at.instant,
        judge=judge_with(at.program.schema, request.under.context),
        goals_max=store.settings.goals_max,
        reads_max=store.settings.reads_max,
    )
    await store.driver(at.revision, request.under.contextual).finish(walk)
    rows, ending = await _page(walk.findings, request.after, request.limit)
    return Listing(at.revision, at.instant, rows, ending)


async def lookup_subjects(store: StoreService, request: SubjectsRequest) -> Listing[FoundSubject]:
    """Subjects that have a permission on a resource.

    Raises:
        UnknownDefinition, UnknownRelation: the question names what is not there.
        WorkExceeded: it took more than the settings allow.
    """
    at = await _moment(store, request.under)
    walk = LookupSubjects(
        at.program,
        request.resource,
        request.permission,
        SubjectType(request.type, request.relation),
        instant=at.instant,
        judge=judge_with(at.program.schema, request.under.context),
        goals_max=store.settings.goals_max,
        reads_max=store.settings.reads_max,
        wildcards=request.wildcards,
    )
    await store.driver(at.revision, request.under.contextual).finish(walk)
    rows, ending = await _page(walk.findings, request.after, request.limit)
    return Listing(at.revision, at.instant, rows, ending)


async def _page(findings: Findings[Row], after: str | None, limit: int | None) -> tuple[Sequence[Row], Ending]:
    """Rows from behind an id, and how they end; others have their turn in between."""
    rows: list[Row] = []
    last = ""
    undecided: dict[str, PdpError] = {}
    for position, (id_, row) in enumerate(findings.after(after)):
        if isinstance(row, Undecided):
            undecided[id_] = row.error
        elif limit is not None and len(rows) >= limit:
            # what is undecided behind the last row is the next page's to tell
            return rows, _ending({id_: error for id_, error in undecided.items() if id_ < last}, more=True)
        else:
            rows.append(row)
            last = id_
        if position % _ROWS_A_TURN == _ROWS_A_TURN - 1:
            await asyncio.sleep(0)
    return rows, _ending(undecided, more=False)


def _ending(undecided: Mapping[str, PdpError], *, more: bool) -> Ending:
    return Ending(more, tuple(undecided), next(iter(undecided.values()), None))


async def expand(
    store: StoreService, resource: ObjectRef, permission: str, under: Circumstances = Circumstances()
) -> Expanded:
    """The tree of a permission on a resource. Caveats are not judged: ``under.context`` is not looked at.

    Raises:
        UnknownDefinition, UnknownRelation: the question names what is not there.
        NegationCycle: the permission is made of its own negation, so that no tree shows it.
        WorkExceeded: the tree is larger than the settings allow.
    """
    at = await _moment(store, under)
    walk = Expansion(
        at.program.schema,
        resource,
        permission,
        instant=at.instant,
        nodes_max=store.settings.goals_max,
        reads_max=store.settings.reads_max,
    )
    await store.driver(at.revision, under.contextual).finish(walk)
    return Expanded(at.revision, at.instant, walk.tree)
