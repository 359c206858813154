"""The code-hosting company: its records against the definition, and services against its records."""

import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.__main__ import main
from benchmarks.codehost import (
    CHECKS_FILE,
    RELATIONSHIPS_FILE,
    RELATIONSHIPS_MIN,
    SCHEMA,
    SCHEMA_FILE,
    ask,
    found_company,
    write_files,
)
from benchmarks.load_and_check import LoadFailed, question_of, read_workload, relationship_of
from schema.compile import compile_schema
from tests import notation
from tests.end_to_end.service import ServiceProcess
from tests.oracle import HAS, LACKS, Oracle
from tests.servers import free_port

_CI_SIZE = ("--relationships", "10000", "--checks", "2000")
_FULL_SIZE = ("--relationships", "100000", "--checks", "10000")


def _load(service: ServiceProcess, *arguments: str) -> int:
    client_id, secret = service.admin_credential()
    credential = ("--client-id", client_id, "--client-secret", secret)
    return main(["load", "--url", service.url, *credential, *arguments])


def _answers_line(output: str) -> str:
    (line,) = [line for line in output.splitlines() if line.startswith("answers ")]
    return " ".join(line.split())


# The company itself


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_records_agree_with_the_definition(seed: int) -> None:
    """What the records tell is what the schema means, for every kind of question."""
    company = found_company(RELATIONSHIPS_MIN, seed)
    oracle = Oracle(compile_schema(SCHEMA), [notation.relationship(line) for line in company.relationships()])
    questions = ask(company, 340, seed)
    goals = [notation.question(f"{asked.resource}#{asked.permission}@{asked.subject}") for asked in questions]
    wrong = [
        str(question)
        for question, verdict in zip(questions, oracle.check_all(goals), strict=True)
        if verdict != (HAS if question.expected else LACKS)
    ]
    assert wrong == []
    assert Counter(question.expected for question in questions) == {True: 170, False: 170}
    assert len({question.kind for question in questions}) == 17


@pytest.mark.parametrize("size", [RELATIONSHIPS_MIN, 2_345, 10_000])
def test_company_has_exactly_its_size_and_no_relationship_twice(size: int) -> None:
    """Or a load of N relationships would be one of fewer."""
    lines = list(found_company(size).relationships())
    assert len(lines) == len(set(lines)) == size


def test_company_is_told_by_its_seed() -> None:
    """One seed, one company; another seed, another."""
    first, again, other = (
        (list(company.relationships()), ask(company, 50, seed))
        for seed, company in ((seed, found_company(RELATIONSHIPS_MIN, seed)) for seed in (5, 5, 6))
    )
    assert first == again
    assert first != other


def test_company_too_small_is_refused() -> None:
    """Not every kind of question would have a case."""
    with pytest.raises(ValueError, match="at least 2000"):
        found_company(RELATIONSHIPS_MIN - 1)


# Files


def test_files_read_back_as_written(tmp_path: Path) -> None:
    """`generate` and `load --folder` speak of the same company."""
    assert main(["generate", str(tmp_path), "--relationships", "2000", "--checks", "100", "--seed", "9"]) == 0
    company, workload = found_company(2_000, 9), read_workload(tmp_path)
    assert sorted(workload.relationships) == sorted(company.relationships())
    assert workload.questions == ask(company, 100, 9)
    assert workload.schema == SCHEMA


@pytest.mark.parametrize(
    "line",
    [
        pytest.param("", id="empty"),
        pytest.param("document:1#viewer", id="no subject"),
        pytest.param("document#viewer@user:ann", id="no id"),
        pytest.param("document:1#viewer@user:ann ", id="blank at the end"),
        pytest.param("document:1#viewer@user:ann#", id="empty relation of the subject"),
        pytest.param("document:1#Viewer@user:ann", id="upper case relation"),
    ],
)
def test_line_that_is_no_relationship_is_refused(line: str) -> None:
    """Not skipped, and not sent."""
    with pytest.raises(LoadFailed, match="is no `resource:id#relation@subject:id`"):
        relationship_of(line)


@pytest.mark.parametrize(
    "line",
    [
        pytest.param("document:1#view@user:ann", id="no answer"),
        pytest.param("document:1#view@user:ann yes direct", id="answer that is neither"),
        pytest.param("document:1#view@user:ann true", id="no kind"),
    ],
)
def test_line_that_is_no_question_is_refused(line: str) -> None:
    """A question without an answer cannot be judged."""
    with pytest.raises(LoadFailed, match=r"`resource:id#permission@subject:id true\|false kind`"):
        question_of(line)


# Against a service


@pytest.fixture(scope="module")
def company_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    """A started service for tests that load into it, or try to."""
    with ServiceProcess(tmp_path_factory.mktemp("company"), {}) as service:
        service.start()
        yield service


def test_every_answer_is_right_from_the_first_check(
    stored_service: ServiceProcess, capsys: pytest.CaptureFixture[str]
) -> None:
    """10,000 relationships through the API with a token of ours, then 2,000 checks without waiting."""
    stored_service.start()
    assert _load(stored_service, *_CI_SIZE) == 0
    assert _answers_line(capsys.readouterr().out) == "answers 2,000 right, 0 wrong; 1,000 of them yes"


@pytest.mark.slow
def test_every_answer_is_right_at_full_size(
    stored_service: ServiceProcess, capsys: pytest.CaptureFixture[str]
) -> None:
    """100,000 relationships, 10,000 checks; and again over the same data after a restart."""
    stored_service.start()
    assert _load(stored_service, *_FULL_SIZE) == 0
    assert _answers_line(capsys.readouterr().out) == "answers 10,000 right, 0 wrong; 5,000 of them yes"
    stored_service.stop()
    stored_service.start()
    assert _load(stored_service, *_FULL_SIZE) == 0


def test_wrong_answers_are_found(
    company_service: ServiceProcess, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ban one person behind the records' back, and expect of another what nobody granted: both show."""
    write_files(tmp_path, 2_000, 60, 4)
    lines = (tmp_path / CHECKS_FILE).read_text().splitlines()
    yes = question_of(next(line for line in lines if " true " in line))
    no = next(line for line in lines if " false " in line)
    with (tmp_path / RELATIONSHIPS_FILE).open("a") as file:
        file.write(f"{yes.resource}#banned@{yes.subject}\n")
    (tmp_path / CHECKS_FILE).write_text("\n".join(lines).replace(no, no.replace(" false ", " true ")) + "\n")
    company_service.must("/v1/schema/write", {"schema": (tmp_path / SCHEMA_FILE).read_text()})
    assert (
        main(["load", "--url", company_service.url, "--token", company_service.token, "--folder", str(tmp_path)]) == 1
    )
    printed = capsys.readouterr()
    assert _answers_line(printed.out) == "answers 58 right, 2 wrong; 29 of them yes"
    assert f"wrong: {yes}: PERMISSIONSHIP_NO_PERMISSION" in printed.err


def test_refused_check_counts_as_wrong(
    company_service: ServiceProcess, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An error is no answer, whatever was expected."""
    write_files(tmp_path, 2_000, 10, 4)
    (tmp_path / CHECKS_FILE).write_text("repository:r#fly@user:u false no such permission\n")
    assert (
        main(["load", "--url", company_service.url, "--token", company_service.token, "--folder", str(tmp_path)]) == 1
    )
    assert "wrong: repository:r#fly@user:u false no such permission: 400 " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("credential", "says"),
    [
        pytest.param((), "give --token, or --client-id and --client-secret", id="none"),
        pytest.param(("--client-id", "x"), "give --token, or --client-id and --client-secret", id="no secret"),
        pytest.param(("--client-id", "x", "--client-secret", "y"), "no token: 401", id="unknown client"),
        pytest.param(("--token", "y"), "`/v1/schema/write` answered 401", id="unknown token"),
    ],
)
def test_without_a_good_credential_nothing_is_loaded(
    company_service: ServiceProcess, capsys: pytest.CaptureFixture[str], credential: tuple[str, ...], says: str
) -> None:
    """Exit status 2 and the reason, which is not the secret."""
    before = company_service.write_schema(SCHEMA)
    assert main(["load", "--url", company_service.url, *credential, "--relationships", "2000", "--checks", "10"]) == 2
    assert capsys.readouterr().err.startswith(f"benchmarks: {says}")
    assert company_service.must("/v1/schema/read", {})["readAt"]["token"] == before


def test_no_service_is_a_clear_error(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit status 2, no traceback."""
    url = f"http://127.0.0.1:{free_port()}"
    assert main(["load", "--url", url, "--token", "t", "--relationships", "2000", "--checks", "10"]) == 2
    assert capsys.readouterr().err.startswith("benchmarks: cannot reach `127.0.0.1:")


def test_company_of_no_size_is_refused_by_the_command() -> None:
    """As a usage error, which names the least."""
    command = [sys.executable, "-m", "benchmarks", "load", "--relationships", "10"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert ended.returncode == 2
    assert "`10` is no whole number from 2000 up" in ended.stderr
