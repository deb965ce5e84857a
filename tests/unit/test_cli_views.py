"""What commands make of their input: audits, findings, tables, deployments."""

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from shotwatch_cli.balance import LedgerBalance
from shotwatch_cli.checks import CheckStatus, model_findings, stage_finding
from shotwatch_cli.commands.train import step_text
from shotwatch_cli.deployment import find_deployment
from shotwatch_cli.failures import Failure, as_failure
from shotwatch_cli.output import megabytes, moment
from shotwatch_cli.processes import process_table
from shotwatch_cli.queues import StageQueues
from shotwatch_cli.training import Thresholds, summarise
from shotwatch_common.archive import TRANSIENT
from shotwatch_embedded.description import StackDescription
from shotwatch_embedded.errors import StackNotFound
from shotwatch_embedded.lock import take
from shotwatch_embedded.status import Role, State, Status
from shotwatch_shots.reconciliation.outcome import Imbalance, Outcome
from shotwatch_shots.reconciliation.sides import Tally
from shotwatch_shots.reconciliation.slices import INBOX, Equality, Reconciled, Slice
from shotwatch_shots.reconciliation.summary import summaries_of

ENVIRONMENT = {
    "SHOTWATCH_BROKER_URL": "amqp://guest:guest@broker.example:5672/",
    "SHOTWATCH_DATABASE_URL": "mongodb://database.example:27017/",
    "SHOTWATCH_STORE_URL": "http://store.example:9000",
    "SHOTWATCH_STORE_ACCESS_KEY": "access",
    "SHOTWATCH_STORE_SECRET_KEY": "secret",
    "SHOTWATCH_MODELS_URL": "http://models.example:5000",
    "SHOTWATCH_FACILITY": "facility.yaml",
}


def balance(*results: Reconciled) -> LedgerBalance:
    return LedgerBalance(Tally({}, {}, 0), summaries_of(results))


def reconciled(slice_: Slice, *imbalances: Imbalance, checked_at: int = 1) -> Reconciled:
    return Reconciled(slice_, Outcome(imbalances=imbalances), checked_at, 0, ())


def test_a_ledger_adds_up_when_every_slice_was_checked_and_nothing_is_wrong() -> None:
    assert balance(reconciled(INBOX)).adds_up
    assert not balance(reconciled(INBOX), reconciled(Slice(Equality.SHOTS, 0), checked_at=0)).adds_up


def test_an_imbalance_is_named_with_its_slice() -> None:
    wrong = Imbalance("shot LA-A2-00-1s-20220701T073300.000", "judged in batch b, and not stored")
    found = balance(reconciled(INBOX), reconciled(Slice(Equality.SHOTS, 1_656_658_800_000), wrong))
    assert not found.adds_up
    assert found.problems == [f"shots 2022-07-01T07: {wrong.subject}: {wrong.wrong}"]


@pytest.mark.parametrize(
    ("queues", "verdict"),
    [
        (StageQueues("ingest", ready=3, consumers=2), CheckStatus.OK),
        (StageQueues("ingest", consumers=2, dead_lettered=1), CheckStatus.WARN),
        (StageQueues("ingest", ready=3), CheckStatus.FAIL),
        (StageQueues("ingest", consumers=1, missing=("shotwatch.ingest.dead_letters",)), CheckStatus.FAIL),
    ],
)
def test_a_stage_is_judged_by_its_queues_and_consumers(queues: StageQueues, verdict: CheckStatus) -> None:
    finding = stage_finding(queues)
    assert finding.verdict is verdict
    assert bool(finding.advice) == (verdict is not CheckStatus.OK)


def model(*problems: tuple[str, str], **aliases: str) -> dict[str, Any]:
    """What the REST API reports; `problems`: alias and problem, of each replica."""
    loads = [{"replica": str(n), "alias": a, "problem": problem} for n, (a, problem) in enumerate(problems)]
    return {"aliases": aliases, "versions": [], "loads": loads, "promotion_differences": []}


BROKEN = "champion: version 2 cannot be loaded: bundle.json does not exist; judging with version 1"


@pytest.mark.parametrize(
    ("reported", "findings"),
    [
        (model(), [("champion model", CheckStatus.WARN, "none: only rules judge")]),
        (model(("champion", ""), champion="2"), [("champion model", CheckStatus.OK, "version 2")]),
        (
            model(("champion", BROKEN), ("champion", ""), champion="2"),
            [("champion model", CheckStatus.FAIL, f"{BROKEN} (1 of 2 replicas)")],
        ),
        (
            model(("champion", ""), ("challenger", "challenger: …"), champion="2", challenger="3"),
            [
                ("champion model", CheckStatus.OK, "version 2"),
                ("challenger model", CheckStatus.WARN, "challenger: … (1 of 1 replicas)"),
            ],
        ),
    ],
)
def test_a_model_that_inference_cannot_load_is_a_finding_with_what_to_do(
    reported: dict[str, Any], findings: list[tuple[str, CheckStatus, str]]
) -> None:
    found = list(model_findings(reported))
    assert [(each.subject, each.verdict, each.found) for each in found] == findings
    assert all(bool(each.advice) == (each.verdict is not CheckStatus.OK) for each in found)


def test_a_promotion_that_the_audit_does_not_show_is_a_fault_with_what_to_do() -> None:
    reported = {**model(("champion", ""), champion="2"), "promotion_differences": ["champion: version 1 …"]}
    *_, finding = model_findings(reported)
    assert (finding.verdict, finding.found) == (CheckStatus.FAIL, "champion: version 1 …")
    assert "shotwatch audit" in finding.advice


def test_where_an_alias_may_have_been_moved_the_advice_begins_with_who_did_it() -> None:
    (finding,) = model_findings(model(("champion", BROKEN), champion="2"))
    assert finding.advice.index("find out first who did it") < finding.advice.index("models promote")


def test_thresholds_are_summed_up_over_devices() -> None:
    baselines = {
        "camera-1": {"energy": {"tail": {"reach": 8.0}}, "hot_spot": {"tail": {"reach": 9.0}}},
        "camera-2": {"energy": {"tail": {"reach": 12.5}}},
    }
    assert summarise(baselines) == [Thresholds("energy", 2, 8.0, 12.5), Thresholds("hot_spot", 1, 9.0, 9.0)]


def test_a_step_of_training_is_reported_with_its_figures() -> None:
    assert step_text({"step": "epoch", "number": 3, "loss": 0.0012345}) == "epoch: number 3, loss 0.00123"
    assert step_text({"step": "reading"}) == "reading"


def test_a_process_table_shows_state_pid_restarts_address_and_log() -> None:
    process = Status(
        "ingest-1", Role.SERVICE, State.RESTARTING, None, 2, -9, Path("/tmp/[a].log"), 20_001, {}
    )
    page = io.StringIO()
    Console(file=page, width=120).print(process_table("processes", [process]))
    for reported_in in ("ingest-1", "restarting", "2", "127.0.0.1:20001", "/tmp/[a].log"):
        assert reported_in in page.getvalue()


def test_bytes_and_times_are_spelt_as_people_read_them() -> None:
    assert megabytes(4_980_000) == "4.98 MB"
    assert moment(1656660780100) == "2022-07-01 07:33:00.100"


def test_what_the_databases_driver_states_of_an_absent_server_is_cut_to_its_first_part() -> None:
    error = TRANSIENT[0]("127.0.0.1:1: Connection refused, Timeout: 5s, Topology Description: <…>")
    failure = as_failure(error)
    assert str(failure) == "127.0.0.1:1: Connection refused"
    assert "shotwatch doctor" in failure.advice


def test_an_environment_that_names_every_server_is_the_deployment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for variable, value in ENVIRONMENT.items():
        monkeypatch.setenv(variable, value)
    deployment = find_deployment(tmp_path, None)
    assert deployment.settings.store_url == "http://store.example:9000"
    assert deployment.processes == ()
    with pytest.raises(Failure, match="REST API is not known"):
        _ = deployment.api_url
    monkeypatch.setenv("SHOTWATCH_QUERY_URL", "http://query.example:8000")
    assert find_deployment(tmp_path, None).api_url == "http://query.example:8000"


def test_a_stack_that_is_named_goes_before_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for variable, value in ENVIRONMENT.items():
        monkeypatch.setenv(variable, value)
    with pytest.raises(StackNotFound):
        find_deployment(tmp_path, "mine")


@pytest.mark.parametrize("variable", ["SHOTWATCH_API_KEY", "SHOTWATCH_API_KEY_FILE"])
def test_a_stack_is_shown_its_own_token_and_not_a_key_for_another_deployment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variable: str
) -> None:
    (tmp_path / "mine").mkdir()
    query = Status("query-1", Role.SERVICE, State.READY, 1, 0, None, tmp_path, 1, {"SHOTWATCH_QUERY_PORT": 2})
    StackDescription(
        name="mine", folder=tmp_path / "mine", pid=1, environment=ENVIRONMENT, processes=(query,), token="own"
    ).write()
    monkeypatch.setenv(variable, "of another")
    with take(tmp_path / "mine") or pytest.fail("not locked"):
        deployment = find_deployment(tmp_path, "mine")
    assert deployment.api()._client.headers["Authorization"] == "Bearer own"
    assert deployment.page_urls == ("http://127.0.0.1:2/#token=own",)


def test_an_environment_that_names_some_servers_only_is_no_deployment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SHOTWATCH_BROKER_URL", ENVIRONMENT["SHOTWATCH_BROKER_URL"])
    with pytest.raises(StackNotFound):
        find_deployment(tmp_path, None)
