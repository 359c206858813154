"""What every store promises of writes: operations, outcomes, preconditions, sets, guards, idempotency, quotas."""

import asyncio

import pytest

from pdp.errors import (
    AlreadyExists,
    IdempotencyConflict,
    PdpError,
    PreconditionFailed,
    QuotaExceeded,
    SchemaChanged,
)
from pdp.relationships import Precondition, Revision, Update
from pdp.stores.protocol import Datastore, Guard, Judging, Store, WriteRequest
from pdp.stores.values import Quotas
from tests.notation import relationship
from tests.pdp.store_words import (
    ABSENT,
    CHANGED,
    CREATED,
    DELETED,
    FUTURE,
    NONE_STORED,
    PAST,
    UNCHANGED,
    create,
    delete,
    everything,
    exactly,
    many,
    matching,
    must,
    must_not,
    outcomes,
    read_all,
    resources_of,
    stored,
    subjects_of,
    touch,
    write,
)

ANN, BOB = "doc:1#viewer@user:ann", "doc:1#viewer@user:bob"
EXPIRED = f"{ANN}[expiration:1970-01-01T00:00:00.000001Z]"
EXPIRING = f"{ANN}[expiration:2090-01-01T00:00:00Z]"
NOT_YET = f"{ANN}[valid_from:2090-01-01T00:00:00Z]"
CAVEATED = f'{ANN}[office:{{"floor":3}}]'


class Refused(PdpError):
    """What a guard of these tests raises."""


class Writes:
    """Operations and their outcomes."""

    async def test_a_new_store_is_at_revision_zero(self, store: Store) -> None:
        assert await store.head() == 0

    async def test_a_write_takes_the_next_revision(self, store: Store) -> None:
        assert [await write(store, create(ANN)), await write(store, create(BOB))] == [1, 2]
        assert await store.head() == 2

    async def test_a_write_of_nothing_takes_one_too(self, store: Store) -> None:
        assert await write(store, []) == 1

    async def test_a_write_that_changes_nothing_takes_one_too(self, store: Store) -> None:
        await write(store, touch(ANN))
        assert await write(store, touch(ANN)) == 2

    @pytest.mark.parametrize(
        ("before", "update", "outcome"),
        [
            pytest.param([], create(ANN), CREATED, id="create"),
            pytest.param([], touch(ANN), CREATED, id="touch creates"),
            pytest.param([ANN], touch(ANN), UNCHANGED, id="touch of the same"),
            pytest.param([ANN], touch(CAVEATED), CHANGED, id="touch adds a caveat"),
            pytest.param([CAVEATED], touch(ANN), CHANGED, id="touch removes a caveat"),
            pytest.param([CAVEATED], touch(f"{ANN}[office]"), CHANGED, id="touch changes a context"),
            pytest.param([ANN], touch(EXPIRING), CHANGED, id="touch adds an expiration"),
            pytest.param([ANN], touch(NOT_YET), CHANGED, id="touch adds a beginning"),
            pytest.param([EXPIRED], touch(ANN), CREATED, id="touch over an expired one"),
            pytest.param([EXPIRED], create(ANN), CREATED, id="create over an expired one"),
            pytest.param([EXPIRED], create(EXPIRED), CREATED, id="create an expired one again"),
            pytest.param([EXPIRED], touch(EXPIRED), UNCHANGED, id="touch an expired one with itself"),
            pytest.param([ANN], delete(ANN), DELETED, id="delete"),
            pytest.param([CAVEATED], delete(ANN), DELETED, id="delete looks at no caveat"),
            pytest.param([EXPIRING], delete(ANN), DELETED, id="delete looks at no time"),
            pytest.param([EXPIRED], delete(ANN), DELETED, id="delete an expired one"),
            pytest.param([], delete(ANN), ABSENT, id="delete nothing"),
            pytest.param([BOB], delete(ANN), ABSENT, id="delete only what is named"),
        ],
    )
    async def test_outcomes(self, store: Store, before: list[str], update: list[Update], outcome: str) -> None:
        await write(store, touch(*before))
        assert await outcomes(store, update) == [outcome]
        left = {str(one) for one in many(*before)} - ({ANN} if outcome == DELETED else set())
        left |= set() if outcome in (DELETED, ABSENT) else {ANN}
        assert await stored(store) == sorted(left)

    async def test_a_touch_replaces_the_whole_row(self, store: Store) -> None:
        await write(store, touch(CAVEATED))
        await write(store, touch(EXPIRING))
        assert await everything(store) == many(EXPIRING)

    async def test_there_is_one_row_an_identity(self, store: Store) -> None:
        for text in (ANN, CAVEATED, EXPIRING, ANN, NOT_YET):
            await write(store, touch(text))
        assert await store.count() == 1
        assert await everything(store) == many(NOT_YET)

    async def test_all_fields_come_back(self, store: Store) -> None:
        one = relationship(CAVEATED)._replace(subject_relation="member", expires_at=FUTURE, valid_from=PAST)
        await write(store, [create(ANN)[0]._replace(relationship=one)])
        assert await everything(store) == [one]

    async def test_caveats_with_every_character_come_back(self, store: Store) -> None:
        odd = relationship(ANN)._replace(
            caveat_name="office", caveat_context='{"a":"\\t\\n\\\\ \U0001f511 é\\u0000"}'
        )
        await write(store, [create(ANN)[0]._replace(relationship=odd)])
        assert await everything(store) == [odd]

    @pytest.mark.parametrize(
        "other",
        [
            pytest.param("doc:1#viewer@user:Ann", id="case of the subject"),
            pytest.param("doc:1#viewer@user:ann#member", id="subject relation"),
            pytest.param("doc:1#viewer@group:ann", id="subject type"),
            pytest.param("doc:1#editor@user:ann", id="relation"),
            pytest.param("doc:1/#viewer@user:ann", id="resource id"),
            pytest.param("folder:1#viewer@user:ann", id="resource type"),
            pytest.param("doc:1#viewer@user:*", id="wildcard"),
        ],
    )
    async def test_what_differs_is_another_relationship(self, store: Store, other: str) -> None:
        await write(store, create(ANN))
        assert await outcomes(store, create(other)) == [CREATED]
        assert await outcomes(store, delete(ANN)) == [DELETED]
        assert await stored(store) == [other]

    async def test_create_of_an_existing_one_is_refused(self, store: Store) -> None:
        await write(store, create(ANN))
        with pytest.raises(AlreadyExists) as refused:
            await write(store, create(BOB, ANN))
        assert str(refused.value.relationship) == ANN
        assert await stored(store) == [ANN]
        assert await store.head() == 1

    @pytest.mark.parametrize("there", [EXPIRING, NOT_YET, CAVEATED])
    async def test_create_is_refused_whatever_its_traits(self, store: Store, there: str) -> None:
        await write(store, create(there))
        with pytest.raises(AlreadyExists):
            await write(store, create(ANN))

    async def test_a_request_commits_as_a_whole(self, store: Store) -> None:
        await write(store, create(ANN))
        assert await outcomes(store, [*delete(ANN), *create(BOB)]) == [DELETED, CREATED]
        changes = await store.changes(Revision(1), 10)
        assert len(changes) == 1

    async def test_a_thousand_updates_are_one_revision(self, store: Store) -> None:
        texts = [f"doc:{n}#viewer@user:ann" for n in range(1_000)]
        assert await write(store, create(*texts)) == 1
        assert await store.count() == 1_000

    async def test_what_was_deleted_can_be_created_again_and_again(self, store: Store) -> None:
        for _ in range(3):
            await write(store, create(ANN))
            await write(store, delete(ANN))
        assert await store.count() == 0
        assert await stored(store, Revision(5)) == [ANN]
        assert await stored(store, Revision(4)) == []

    async def test_a_write_of_an_old_schema_is_refused(self, store: Store) -> None:
        first = await store.write_schema("definition a {}", expected=None)
        await store.write_schema("definition b {}", expected=first)
        with pytest.raises(SchemaChanged):
            await store.write(WriteRequest(create(ANN), schema_seen=first))
        assert await store.count() == 0

    async def test_a_write_of_the_current_schema_is_taken(self, store: Store) -> None:
        seen = await store.write_schema("definition a {}", expected=None)
        assert (await store.write(WriteRequest(create(ANN), schema_seen=seen))).revision == seen + 1


class Preconditions:
    """Conditions judged in the transaction of the write."""

    @pytest.mark.parametrize(
        ("before", "precondition", "holds"),
        [
            pytest.param([ANN], must(matching("doc:1", "viewer", "user:ann#")), True, id="the one there"),
            pytest.param([ANN], must(matching("doc:1", "viewer", "user:bob#")), False, id="another subject"),
            pytest.param([ANN], must(matching("doc")), True, id="type alone"),
            pytest.param([ANN], must(matching("folder")), False, id="another type"),
            pytest.param([ANN], must(matching("", "viewer")), True, id="relation alone"),
            pytest.param([ANN], must(matching("", None, "user")), True, id="subject type alone"),
            pytest.param([ANN], must(matching("doc:%")), True, id="empty prefix"),
            pytest.param([ANN], must(matching("doc:1%")), True, id="prefix"),
            pytest.param([ANN], must(matching("doc:2%")), False, id="another prefix"),
            pytest.param([ANN], must(matching("doc:3,1,2")), True, id="one of several ids"),
            pytest.param([ANN], must(matching("doc:3,4")), False, id="none of several ids"),
            pytest.param([ANN], must_not(matching("doc:1", "viewer", "user:ann#")), False, id="not the one there"),
            pytest.param([ANN], must_not(matching("doc:1", "editor")), True, id="not another relation"),
            pytest.param([EXPIRED], must(matching("doc:1")), False, id="expired counts no more"),
            pytest.param([EXPIRED], must_not(matching("doc:1")), True, id="not, with an expired one"),
            pytest.param([NOT_YET], must(matching("doc:1")), False, id="to come counts not yet"),
            pytest.param([EXPIRING], must(matching("doc:1")), True, id="expiring counts"),
            pytest.param([CAVEATED], must(matching("doc:1")), True, id="a caveat does not matter"),
            pytest.param([], must_not(NONE_STORED), True, id="nothing stored"),
            pytest.param([], must(NONE_STORED), False, id="nothing to match"),
        ],
    )
    async def test_precondition(
        self, store: Store, before: list[str], precondition: Precondition, holds: bool
    ) -> None:
        await write(store, touch(*before))
        update = touch("other:1#relation@user:x")
        if holds:
            await write(store, update, precondition)
            return
        with pytest.raises(PreconditionFailed) as refused:
            await write(store, update, precondition)
        assert refused.value.precondition == precondition
        assert await store.head() == 1

    async def test_preconditions_are_judged_before_the_updates(self, store: Store) -> None:
        await write(store, create(ANN))
        with pytest.raises(PreconditionFailed):
            await write(store, create(ANN), must_not(matching("doc:1", "viewer", "user:ann#")))
        await write(store, delete(ANN), must(matching("doc:1")))
        with pytest.raises(PreconditionFailed):
            await write(store, create(ANN), must(matching("doc:1")))

    async def test_every_precondition_must_hold(self, store: Store) -> None:
        await write(store, create(ANN))
        with pytest.raises(PreconditionFailed) as refused:
            await write(store, [], must(matching("doc:1")), must(matching("doc:2")))
        assert refused.value.precondition.filter == matching("doc:2")

    async def test_preconditions_need_no_updates(self, store: Store) -> None:
        assert await write(store, [], must_not(matching("doc"))) == 1

    async def test_neighbours_see_each_other(self, store: Store) -> None:
        """Of many that create a thing unless it is there, one does, though they share transactions."""
        absent = must_not(matching("doc:1", "owner"))
        tries = [write(store, create(f"doc:1#owner@user:u{n}"), absent) for n in range(40)]
        results = await asyncio.gather(*tries, return_exceptions=True)
        assert sum(isinstance(result, int) for result in results) == 1
        assert sum(isinstance(result, PreconditionFailed) for result in results) == 39
        assert await store.count() == 1

    async def test_neighbours_see_what_others_removed(self, store: Store) -> None:
        await write(store, create(ANN, BOB))
        there = must(matching("doc:1", "viewer"))
        results = await asyncio.gather(
            write(store, delete(ANN)), write(store, delete(BOB)), write(store, [], there), return_exceptions=True
        )
        assert isinstance(results[2], PreconditionFailed)

    async def test_a_thousand_preconditions(self, store: Store) -> None:
        await write(store, create(ANN))
        absent = [must_not(matching(f"doc:{n}", "editor")) for n in range(999)]
        await write(store, [], *absent, must(matching("doc:1")))
        with pytest.raises(PreconditionFailed):
            await write(store, [], *absent, must(matching("doc:2")))


class Neighbours:
    """Requests that share transactions and nothing else."""

    async def test_each_has_a_revision_of_its_own(self, store: Store) -> None:
        writes = [write(store, create(f"doc:{n}#viewer@user:ann")) for n in range(200)]
        assert sorted(await asyncio.gather(*writes)) == list(range(1, 201))

    async def test_one_that_fails_fails_alone(self, store: Store) -> None:
        await write(store, create(ANN))
        results = await asyncio.gather(
            *(write(store, create(f"doc:{n}#editor@user:ann" if n % 3 else ANN)) for n in range(60)),
            return_exceptions=True,
        )
        assert sum(isinstance(result, AlreadyExists) for result in results) == 20
        assert sorted(result for result in results if isinstance(result, int)) == list(range(2, 42))

    async def test_they_are_judged_in_order_of_arrival(self, store: Store) -> None:
        results = await asyncio.gather(
            *(outcomes(store, update) for update in (create(ANN), delete(ANN), create(ANN), touch(CAVEATED)))
        )
        assert results == [[CREATED], [DELETED], [CREATED], [CHANGED]]
        assert [await stored(store, Revision(at)) for at in range(1, 5)] == [[ANN], [], [ANN], [ANN]]
        assert (await everything(store, Revision(3))) == many(ANN)
        assert (await everything(store, Revision(4))) == many(CAVEATED)

    async def test_a_failed_one_leaves_nothing_for_the_next(self, store: Store) -> None:
        await write(store, create(ANN))
        results = await asyncio.gather(
            write(store, create(BOB, ANN)), outcomes(store, create(BOB)), return_exceptions=True
        )
        assert isinstance(results[0], AlreadyExists)
        assert results[1] == [CREATED]

    async def test_a_caller_that_goes_away_takes_nothing_back(self, store: Store) -> None:
        writing = asyncio.create_task(write(store, create(ANN)))
        after = asyncio.create_task(write(store, create(BOB)))
        await asyncio.sleep(0)
        writing.cancel()
        assert await after == 2
        assert await stored(store) == [ANN, BOB]

    async def test_two_processes_conflict_as_one_does(self, store: Store, beside: Store) -> None:
        results = await asyncio.gather(
            *(write(one, create(ANN)) for one in (store, beside) for _ in range(10)), return_exceptions=True
        )
        assert sum(isinstance(result, int) for result in results) == 1
        assert await store.head() == 1

    async def test_two_processes_share_one_order(self, store: Store, beside: Store) -> None:
        writes = [
            write(one, touch(f"doc:{n}#viewer@user:u{process}"))
            for n in range(50)
            for process, one in enumerate((store, beside))
        ]
        assert sorted(await asyncio.gather(*writes)) == list(range(1, 101))


class Sets:
    """Making a relation exactly some subjects."""

    async def test_a_set_adds_keeps_and_removes(self, store: Store) -> None:
        await write(store, create(ANN, BOB, "doc:1#editor@user:bob", "doc:2#viewer@user:bob"))
        wanted = exactly("doc:1", "viewer", "user:ann", "user:cyd")
        result = await store.write(WriteRequest(sets=[wanted]))
        assert {(str(one), outcome.value) for one, outcome in result.set_outcomes[0]} == {
            (ANN, UNCHANGED),
            ("doc:1#viewer@user:cyd", CREATED),
            (BOB, DELETED),
        }
        assert await read_all(store, matching("doc:1", "viewer")) == [ANN, "doc:1#viewer@user:cyd"]
        assert await store.count() == 4

    async def test_a_set_of_nothing_empties_the_relation(self, store: Store) -> None:
        await write(store, create(ANN, BOB, "doc:1#viewer@group:g#member", "doc:1#viewer@user:*"))
        await store.write(WriteRequest(sets=[exactly("doc:1", "viewer")]))
        assert await store.count() == 0

    async def test_a_set_changes_traits(self, store: Store) -> None:
        await write(store, create(CAVEATED))
        result = await store.write(WriteRequest(sets=[exactly("doc:1", "viewer", "user:ann")]))
        assert [outcome.value for _, outcome in result.set_outcomes[0]] == [CHANGED]

    async def test_sets_of_neighbours_follow_each_other(self, store: Store) -> None:
        sets = [exactly("doc:1", "viewer", f"user:u{n}") for n in range(20)]
        await asyncio.gather(*(store.write(WriteRequest(sets=[one])) for one in sets))
        assert await stored(store) == ["doc:1#viewer@user:u19"]

    async def test_a_set_sees_what_its_neighbour_created(self, store: Store) -> None:
        await asyncio.gather(
            write(store, create(BOB)), store.write(WriteRequest(sets=[exactly("doc:1", "viewer", "user:ann")]))
        )
        assert await stored(store) == [ANN]

    async def test_a_precondition_sees_what_a_set_removed(self, store: Store) -> None:
        await write(store, create(*(f"doc:1#viewer@user:u{n}" for n in range(30))))
        results = await asyncio.gather(
            store.write(WriteRequest(sets=[exactly("doc:1", "viewer")])),
            write(store, [], must(matching("doc:1", "viewer"))),
            return_exceptions=True,
        )
        assert isinstance(results[1], PreconditionFailed)

    async def test_a_set_of_another_relation_is_refused(self, store: Store) -> None:
        wrong = exactly("doc:1", "viewer")
        stray = type(wrong)(wrong.resource, wrong.relation, tuple(many("doc:2#viewer@user:ann")))
        with pytest.raises(ValueError, match="another resource or relation"):
            await store.write(WriteRequest(sets=[stray]))


class Guards:
    """Conditions that callers bring, such as a permission."""

    @staticmethod
    def holder(subject: str) -> Guard:
        """A guard: the subject is a viewer of ``doc:1``."""

        async def hold(judging: Judging) -> None:
            direct, reverse = await judging.fetch(
                [subjects_of("doc:1", "viewer", ids=subject), resources_of(f"user:{subject}", "doc", "viewer")]
            )
            assert bool(direct) == ("1" in {found.id for found in reverse})
            if not direct:
                raise Refused(subject)

        return Guard(subject, hold)

    async def test_a_guard_that_holds_lets_the_write_pass(self, store: Store) -> None:
        await write(store, create(ANN))
        assert (await store.write(WriteRequest(create(BOB), guards=[self.holder("ann")]))).revision == 2

    async def test_a_guard_that_does_not_refuses_the_write(self, store: Store) -> None:
        with pytest.raises(Refused):
            await store.write(WriteRequest(create(BOB), guards=[self.holder("ann")]))
        assert await store.count() == 0

    async def test_a_guard_sees_the_writes_before_it(self, store: Store) -> None:
        """The permission goes in the same transaction, just before: the write must not pass."""
        await write(store, create(ANN))
        results = await asyncio.gather(
            write(store, delete(ANN)),
            store.write(WriteRequest(create(BOB), guards=[self.holder("ann")])),
            return_exceptions=True,
        )
        assert isinstance(results[1], Refused)

    async def test_a_guard_sees_what_was_granted_before_it(self, store: Store) -> None:
        results = await asyncio.gather(
            write(store, create(ANN)), store.write(WriteRequest(create(BOB), guards=[self.holder("ann")]))
        )
        assert getattr(results[1], "revision", 0) == 2

    async def test_a_guard_does_not_see_its_own_write(self, store: Store) -> None:
        with pytest.raises(Refused):
            await store.write(WriteRequest(create(ANN), guards=[self.holder("ann")]))

    async def test_a_guard_that_breaks_fails_its_request_alone(self, store: Store) -> None:
        async def broken(_: Judging) -> None:
            raise ZeroDivisionError

        results = await asyncio.gather(
            store.write(WriteRequest(create(ANN), guards=[Guard("broken", broken)])),
            write(store, create(BOB)),
            return_exceptions=True,
        )
        assert isinstance(results[0], ZeroDivisionError)
        assert results[1] == 1

    async def test_a_guard_knows_where_it_stands(self, store: Store) -> None:
        seen: list[tuple[int, int]] = []

        async def note(judging: Judging) -> None:
            assert abs(judging.instant - await_now) < 60_000_000
            seen.append((judging.revision, judging.schema_revision))

        await_now = await store.now()
        schema = await store.write_schema("definition a {}", expected=None)
        await asyncio.gather(
            write(store, create(ANN)), store.write(WriteRequest(create(BOB), guards=[Guard("note", note)]))
        )
        assert seen == [(2, schema)]


class Idempotency:
    """A request with a key is applied once."""

    async def test_the_same_request_gets_the_first_result(self, store: Store) -> None:
        request = WriteRequest([*create(ANN), *touch(BOB)], idempotency_key="k")
        first = await store.write(request)
        await write(store, delete(ANN))
        again = await store.write(request)
        assert (again.revision, again.outcomes, again.repeated) == (first.revision, first.outcomes, True)
        assert not first.repeated
        assert await stored(store) == [BOB]
        assert await store.head() == 2

    async def test_at_the_same_time_too(self, store: Store) -> None:
        request = WriteRequest(create(ANN), idempotency_key="k")
        results = await asyncio.gather(*(store.write(request) for _ in range(10)))
        assert {result.revision for result in results} == {1}
        assert sum(not result.repeated for result in results) == 1

    async def test_in_another_process_too(self, store: Store, beside: Store) -> None:
        request = WriteRequest(create(ANN), idempotency_key="k")
        results = await asyncio.gather(*(one.write(request) for one in (store, beside, store, beside)))
        assert {result.revision for result in results} == {1}

    @pytest.mark.parametrize(
        "other",
        [
            pytest.param(WriteRequest(create(BOB), idempotency_key="k"), id="updates"),
            pytest.param(WriteRequest(touch(ANN), idempotency_key="k"), id="operation"),
            pytest.param(WriteRequest(create(CAVEATED), idempotency_key="k"), id="traits"),
            pytest.param(WriteRequest(create(ANN), [must_not(NONE_STORED)], idempotency_key="k"), id="precondition"),
            pytest.param(WriteRequest(create(ANN), metadata={"a": 1}, idempotency_key="k"), id="metadata"),
            pytest.param(WriteRequest(create(ANN), sets=[exactly("doc:2", "viewer")], idempotency_key="k"), id="set"),
        ],
    )
    async def test_another_request_with_the_key_conflicts(self, store: Store, other: WriteRequest) -> None:
        await store.write(WriteRequest(create(ANN), idempotency_key="k"))
        with pytest.raises(IdempotencyConflict, match="`k`"):
            await store.write(other)

    async def test_another_key_is_another_request(self, store: Store) -> None:
        await store.write(WriteRequest(create(ANN), idempotency_key="k"))
        with pytest.raises(AlreadyExists):
            await store.write(WriteRequest(create(ANN), idempotency_key="l"))

    async def test_what_was_refused_may_be_tried_again(self, store: Store) -> None:
        request = WriteRequest(create(ANN), [must(matching("doc:2"))], idempotency_key="k")
        with pytest.raises(PreconditionFailed):
            await store.write(request)
        await write(store, create("doc:2#viewer@user:ann"))
        assert not (await store.write(request)).repeated

    async def test_sets_have_their_outcomes_again(self, store: Store) -> None:
        request = WriteRequest(sets=[exactly("doc:1", "viewer", "user:ann")], idempotency_key="k")
        assert (await store.write(request)).set_outcomes == (await store.write(request)).set_outcomes


class QuotasKept:
    """What a store may hold and take."""

    async def test_relationships_beyond_the_quota_are_refused(self, datastore: Datastore, store: Store) -> None:
        await datastore.set_quotas(store.name, Quotas(relationships_max=2))
        await write(store, create(ANN, BOB))
        with pytest.raises(QuotaExceeded) as refused:
            await write(store, create("doc:1#viewer@user:cyd"))
        assert (refused.value.quota, refused.value.maximum) == ("relationships_max", 2)

    async def test_at_the_quota_other_writes_pass(self, datastore: Datastore, store: Store) -> None:
        await datastore.set_quotas(store.name, Quotas(relationships_max=1))
        await write(store, create(ANN))
        await write(store, touch(CAVEATED))
        await write(store, [*delete(ANN), *create(BOB)])
        assert await stored(store) == [BOB]

    async def test_the_quota_is_of_all_processes(self, datastore: Datastore, store: Store, beside: Store) -> None:
        await datastore.set_quotas(store.name, Quotas(relationships_max=10))
        results = await asyncio.gather(
            *(
                write(one, create(f"doc:{n}#viewer@user:u{process}"))
                for n in range(10)
                for process, one in enumerate((store, beside))
            ),
            return_exceptions=True,
        )
        assert sum(isinstance(result, int) for result in results) == 10
        assert await store.count() == 10

    async def test_writes_beyond_the_rate_are_refused(self, datastore: Datastore, store: Store) -> None:
        await datastore.set_quotas(store.name, Quotas(writes_per_second_max=5))
        results = await asyncio.gather(
            *(write(store, create(f"doc:{n}#viewer@user:ann")) for n in range(50)), return_exceptions=True
        )
        refused = [result for result in results if isinstance(result, QuotaExceeded)]
        assert len(refused) + sum(isinstance(result, int) for result in results) == 50
        assert len(refused) >= 30
        assert refused[0].quota == "writes_per_second_max"

    async def test_without_quotas_nothing_is_refused(self, datastore: Datastore, store: Store) -> None:
        await datastore.set_quotas(store.name, Quotas(1, 1))
        await datastore.set_quotas(store.name, Quotas())
        await asyncio.gather(*(write(store, create(f"doc:{n}#viewer@user:ann")) for n in range(50)))
        assert await store.count() == 50
