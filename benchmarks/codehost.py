"""A made-up code-hosting company: relationships to load, and questions whose answers its records already tell.

Organizations with a tree of teams each, people in them, and repositories that teams, people, whole organizations or
everybody may use, and that some people and teams are banned from. The company is drawn from a seed and kept as plain
records (who sits in which team, which team got what); the relationships are written down from those records, and
so is what a question must answer. No rule of an engine takes part in that, and two runs with one seed are equal.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple

RELATIONSHIPS_MIN = 2_000
SCHEMA_FILE = "schema.zed"
RELATIONSHIPS_FILE = "relationships.txt"
CHECKS_FILE = "checks.txt"
_SHARE = 2_000
"""Relationships an organization has, about."""
_REPOSITORY_MAX = 14
"""Relationships a repository has at most: what must be left to draw one more."""
_DRAWS_MAX = 100_000
"""Draws for one question before giving up: a company without a banned person has no question about one."""

SCHEMA = """\
/** A person with an account. */
definition user {}

/** People of an organization. A team holds the members of its sub-teams too. */
definition team {
	relation member: user | team#member
}

definition organization {
	relation owner: user
	relation member: team#member
	relation suspended: user
}

definition repository {
	relation organization: organization
	relation admin: user | team#member
	relation writer: user | team#member
	relation reader: user | user:* | team#member | organization#member
	relation banned: user | team#member

	permission barred = banned + organization->suspended
	permission administer = (admin + organization->owner) - barred
	permission push = (writer + administer) - barred
	permission read = (reader + push) - barred
}
"""


class Level(IntEnum):
    """What somebody may do with a repository; each includes those before it."""

    NOTHING = 0
    READ = 1
    PUSH = 2
    ADMINISTER = 3


_RELATION = {Level.READ: "reader", Level.PUSH: "writer", Level.ADMINISTER: "admin"}
_PERMISSION = {Level.READ: "read", Level.PUSH: "push", Level.ADMINISTER: "administer"}


class Question(NamedTuple):
    """A check and its answer, with the kind of case that it is."""

    resource: str
    permission: str
    subject: str
    expected: bool
    kind: str

    def __str__(self) -> str:
        """Render as ``repository:r#read@user:u true public repository``."""
        return f"{self.resource}#{self.permission}@{self.subject} {str(self.expected).lower()} {self.kind}"


@dataclass(slots=True, eq=False)
class Team:
    """A team, in the tree of its organization."""

    id: str
    parent: "Team | None"
    people: list["Person"] = field(default_factory=list)

    def above(self) -> Iterator["Team"]:
        """The team itself and those that hold it, upward."""
        team: Team | None = self
        while team is not None:
            yield team
            team = team.parent


@dataclass(slots=True, eq=False)
class Person:
    """Somebody with an account, employed by one organization."""

    id: str
    organization: "Organization"
    teams: list[Team] = field(default_factory=list)

    def all_teams(self) -> set[str]:
        """Ids of the teams that the person is in, through sub-teams too."""
        return {team.id for own in self.teams for team in own.above()}


@dataclass(slots=True, eq=False)
class Organization:
    """An organization and its people."""

    id: str
    teams: list[Team] = field(default_factory=list)
    people: list[Person] = field(default_factory=list)
    owners: list[Person] = field(default_factory=list)
    suspended: set[str] = field(default_factory=set)


@dataclass(slots=True, eq=False)
class Repository:
    """A repository, and what was granted on it."""

    id: str
    organization: Organization
    is_public: bool
    is_internal: bool
    team_levels: dict[str, tuple[Team, Level]] = field(default_factory=dict)
    person_levels: dict[str, tuple[Person, Level]] = field(default_factory=dict)
    banned: dict[str, Person] = field(default_factory=dict)
    banned_teams: dict[str, Team] = field(default_factory=dict)

    def level_of(self, person: Person) -> Level:
        """What the person may do, by the records."""
        teams = person.all_teams()
        if person.id in self.banned or person.id in self.organization.suspended or teams & self.banned_teams.keys():
            return Level.NOTHING
        if any(owner.id == person.id for owner in self.organization.owners):
            return Level.ADMINISTER
        levels = [level for id_, (_, level) in self.team_levels.items() if id_ in teams]
        if person.id in self.person_levels:
            levels.append(self.person_levels[person.id][1])
        if self.is_public or (self.is_internal and person.organization is self.organization):
            levels.append(Level.READ)
        return max(levels, default=Level.NOTHING)


@dataclass(slots=True, eq=False)
class Company:
    """All the records."""

    organizations: list[Organization]
    repositories: list[Repository]

    def relationships(self) -> Iterator[str]:
        """Every record as a relationship, ``resource:id#relation@subject:id[#relation]``."""
        for organization in self.organizations:
            name = f"organization:{organization.id}"
            yield f"{name}#member@team:{organization.teams[0].id}#member"
            yield from (f"{name}#owner@user:{owner.id}" for owner in organization.owners)
            yield from (f"{name}#suspended@user:{id_}" for id_ in sorted(organization.suspended))
            for team in organization.teams:
                if team.parent is not None:
                    yield f"team:{team.parent.id}#member@team:{team.id}#member"
                yield from (f"team:{team.id}#member@user:{person.id}" for person in team.people)
        for repository in self.repositories:
            name = f"repository:{repository.id}"
            yield f"{name}#organization@organization:{repository.organization.id}"
            if repository.is_public:
                yield f"{name}#reader@user:*"
            if repository.is_internal:
                yield f"{name}#reader@organization:{repository.organization.id}#member"
            for team, level in repository.team_levels.values():
                yield f"{name}#{_RELATION[level]}@team:{team.id}#member"
            for person, level in repository.person_levels.values():
                yield f"{name}#{_RELATION[level]}@user:{person.id}"
            yield from (f"{name}#banned@user:{id_}" for id_ in repository.banned)
            yield from (f"{name}#banned@team:{id_}#member" for id_ in repository.banned_teams)


class _Founder:
    """Draws a company with a given number of relationships."""

    def __init__(self, relationships: int, seed: int) -> None:
        self._random = random.Random(seed)
        self._left = relationships
        self._people = 0
        self._company = Company([], [])

    def found(self) -> Company:
        organizations = max(2, self._left // _SHARE)
        share = self._left // organizations
        for number in range(organizations):
            self._company.organizations.append(self._organization(f"org-{number}", share))
        number = 0
        while self._left >= _REPOSITORY_MAX:
            organization = self._company.organizations[number % organizations]
            self._company.repositories.append(self._repository(f"{organization.id}/repo-{number}", organization))
            number += 1
        while self._left:
            organization = self._company.organizations[self._left % organizations]
            self._hire(organization, teams=1)
        return self._company

    def _organization(self, id_: str, share: int) -> Organization:
        organization = Organization(id_)
        for number in range(max(8, share // 80)):
            # One of the last four as parent: a tree that is some ten levels deep, and bushy.
            parent = self._random.choice(organization.teams[-4:]) if organization.teams else None
            organization.teams.append(Team(f"{id_}/team-{number}", parent))
        self._left -= len(organization.teams)  # a line to its parent each, and the first team's to the organization
        for _ in range(max(40, share // 8)):
            self._hire(organization, teams=self._random.choice((1, 1, 2, 3)))
        drawn = self._random.sample(organization.people, 3 + max(3, share // 400))
        organization.owners = drawn[:3]
        organization.suspended = {person.id for person in drawn[2:]}  # one of the owners among them
        self._left -= len(organization.owners) + len(organization.suspended)
        return organization

    def _hire(self, organization: Organization, teams: int) -> None:
        person = Person(f"u{self._people}", organization, self._random.sample(organization.teams, teams))
        self._people += 1
        self._left -= teams
        organization.people.append(person)
        for team in person.teams:
            team.people.append(person)

    def _repository(self, id_: str, organization: Organization) -> Repository:
        draw = self._random
        kind = draw.random()
        repository = Repository(id_, organization, is_public=kind < 0.2, is_internal=0.2 <= kind < 0.4)
        levels = (Level.READ, Level.READ, Level.PUSH, Level.ADMINISTER)
        for team in draw.sample(organization.teams, draw.randint(1, 3)):
            repository.team_levels[team.id] = (team, draw.choice(levels))
        for _ in range(draw.randint(0, 4)):
            person = draw.choice(draw.choice(self._company.organizations).people)
            repository.person_levels[person.id] = (person, draw.choice(levels))
        for _ in range(draw.randint(0, 3)):
            # Of its own people and of others, so that a ban meets a grant as often as not.
            person = draw.choice(draw.choice([organization, draw.choice(self._company.organizations)]).people)
            repository.banned[person.id] = person
        if draw.random() < 0.2:
            team = draw.choice(organization.teams[len(organization.teams) // 2 :])
            repository.banned_teams[team.id] = team
        self._left -= (
            1
            + (repository.is_public or repository.is_internal)
            + len(repository.team_levels)
            + len(repository.person_levels)
            + len(repository.banned)
            + len(repository.banned_teams)
        )
        return repository


def found_company(relationships: int = 100_000, seed: int = 1) -> Company:
    """A company of exactly that many relationships.

    Raises:
        ValueError: fewer than ``RELATIONSHIPS_MIN``, too few for every kind of case.
    """
    if relationships < RELATIONSHIPS_MIN:
        raise ValueError(f"a company has at least {RELATIONSHIPS_MIN} relationships, not {relationships}")
    return _Founder(relationships, seed).found()


Draw = tuple[Repository, Person, Level]


class _Examiner:
    """Draws questions of each kind from a company's records."""

    def __init__(self, company: Company, seed: int) -> None:
        self._company = company
        self._random = random.Random(f"questions {seed}")
        self.yes: dict[str, Callable[[], Draw | None]] = {
            "person": self._person,
            "team": self._team,
            "sub-team": self._sub_team,
            "lesser permission": self._lesser,
            "owner": self._owner,
            "public repository": self._public,
            "internal repository": self._internal,
        }
        self.no: dict[str, Callable[[], Draw | None]] = {
            "stranger": self._stranger,
            "greater permission": self._greater,
            "team above": self._team_above,
            "outsider on internal repository": self._outsider,
            "push to public repository": self._push_public,
            "banned from public repository": self._banned_public,
            "banned with a grant": self._banned_granted,
            "banned with the team": self._banned_team,
            "suspended": self._suspended,
            "suspended owner": self._suspended_owner,
        }

    def question(self, kind: str, *, expected: bool) -> Question:
        """Draw until the records give the answer that the kind is about."""
        draw = (self.yes if expected else self.no)[kind]
        for _ in range(_DRAWS_MAX):
            drawn = draw()
            if drawn is None:
                continue
            repository, person, asked = drawn
            if (repository.level_of(person) >= asked) is expected:
                return Question(
                    f"repository:{repository.id}", _PERMISSION[asked], f"user:{person.id}", expected, kind
                )
        raise ValueError(f"the company has no case of `{kind}`")

    def _any_repository(self) -> Repository:
        return self._random.choice(self._company.repositories)

    def _anybody(self) -> Person:
        return self._random.choice(self._random.choice(self._company.organizations).people)

    def _granted_person(self) -> Draw | None:
        repository = self._any_repository()
        if not repository.person_levels:
            return None
        person, level = self._random.choice(list(repository.person_levels.values()))
        return repository, person, level

    def _granted_team(self) -> tuple[Repository, Team, Level]:
        repository = self._any_repository()
        team, level = self._random.choice(list(repository.team_levels.values()))
        return repository, team, level

    def _person(self) -> Draw | None:
        return self._granted_person()

    def _team(self) -> Draw | None:
        repository, team, level = self._granted_team()
        return (repository, self._random.choice(team.people), level) if team.people else None

    def _sub_team(self) -> Draw | None:
        repository, team, level = self._granted_team()
        person = self._random.choice(repository.organization.people)
        ways = [list(own.above()).index(team) for own in person.teams if team in own.above()]
        return (repository, person, level) if ways and min(ways) >= 2 else None

    def _lesser(self) -> Draw | None:
        repository, team, level = self._granted_team()
        if level is Level.READ or not team.people or repository.is_public or repository.is_internal:
            return None
        return repository, self._random.choice(team.people), Level(level - 1)

    def _owner(self) -> Draw | None:
        repository = self._any_repository()
        return repository, self._random.choice(repository.organization.owners), Level.ADMINISTER

    def _public(self) -> Draw | None:
        repository, person = self._any_repository(), self._anybody()
        is_stranger = person.organization is not repository.organization
        return (repository, person, Level.READ) if repository.is_public and is_stranger else None

    def _internal(self) -> Draw | None:
        repository = self._any_repository()
        person = self._random.choice(repository.organization.people)
        return (repository, person, Level.READ) if repository.is_internal else None

    def _stranger(self) -> Draw | None:
        repository, person = self._any_repository(), self._anybody()
        return (repository, person, Level.READ) if not repository.is_public else None

    def _greater(self) -> Draw | None:
        drawn = self._granted_person()
        if drawn is None or drawn[2] is Level.ADMINISTER:
            return None
        return drawn[0], drawn[1], Level(drawn[2] + 1)

    def _team_above(self) -> Draw | None:
        repository, team, level = self._granted_team()
        if team.parent is None or not team.parent.people:
            return None
        return repository, self._random.choice(team.parent.people), level

    def _outsider(self) -> Draw | None:
        repository, person = self._any_repository(), self._anybody()
        is_outsider = person.organization is not repository.organization
        return (repository, person, Level.READ) if repository.is_internal and is_outsider else None

    def _push_public(self) -> Draw | None:
        drawn = self._public()
        return drawn and (drawn[0], drawn[1], Level.PUSH)

    def _banned(self) -> tuple[Repository, Person] | None:
        repository = self._any_repository()
        if not repository.banned:
            return None
        return repository, self._random.choice(list(repository.banned.values()))

    def _banned_public(self) -> Draw | None:
        drawn = self._banned()
        return (drawn[0], drawn[1], Level.READ) if drawn and drawn[0].is_public else None

    def _banned_granted(self) -> Draw | None:
        drawn = self._banned()
        if drawn is None:
            return None
        repository, person = drawn
        is_granted = person.id in repository.person_levels or person.all_teams() & repository.team_levels.keys()
        return (repository, person, Level.READ) if is_granted else None

    def _banned_team(self) -> Draw | None:
        repository = self._any_repository()
        people = [person for team in repository.banned_teams.values() for person in team.people]
        return (repository, self._random.choice(people), Level.READ) if people else None

    def _suspended(self) -> Draw | None:
        repository, team, level = self._granted_team()
        people = [person for person in team.people if person.id in repository.organization.suspended]
        return (repository, self._random.choice(people), level) if people else None

    def _suspended_owner(self) -> Draw | None:
        repository = self._any_repository()
        return repository, repository.organization.owners[2], self._random.choice((Level.READ, Level.ADMINISTER))


def ask(company: Company, questions: int = 10_000, seed: int = 1) -> list[Question]:
    """That many questions, every other one with the answer yes, the kinds in turn."""
    examiner = _Examiner(company, seed)
    yes, no = list(examiner.yes), list(examiner.no)
    return [
        examiner.question(no[number // 2 % len(no)], expected=False)
        if number % 2
        else examiner.question(yes[number // 2 % len(yes)], expected=True)
        for number in range(questions)
    ]


def write_files(folder: Path, relationships: int, questions: int, seed: int) -> None:
    """Write the schema, the relationships (in random order) and the questions, a line each."""
    company = found_company(relationships, seed)
    lines = list(company.relationships())
    random.Random(f"order {seed}").shuffle(lines)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / SCHEMA_FILE).write_text(SCHEMA)
    (folder / RELATIONSHIPS_FILE).write_text("".join(f"{line}\n" for line in lines))
    (folder / CHECKS_FILE).write_text("".join(f"{question}\n" for question in ask(company, questions, seed)))
