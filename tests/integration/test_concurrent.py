"""Concurrent recording: bodies run ahead of their items, and nothing is paid for twice."""

from __future__ import annotations

import signal
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from tests.conftest import says
from tests.forks import Forks
from tests.openai_server import OpenAIServer, Reply

RECORD = (
    "--tiers=nano,mini,full",
    "--tiers-control=off",
    "--tiers-report=out.json",
    "-p",
    "no:randomly",
)

#: A conversation: each question repeats the answer before.
TALK = """
import pytest
from app import ask

@pytest.mark.tiers(concurrent=True, samples={samples})
@pytest.mark.parametrize("text", {cases})
def test_talk(text):
    said = text
    for _ in range(3):
        said = ask(f"Go on from: {{said}}")
    assert said
"""

Report = Callable[[], dict[str, Any]]


class Speaker:
    """Answers each request with another text, and knows what was asked, and how much at once.

    Each answer takes ``seconds``. ``together`` names a meeting for a case, and how many come to
    it at each turn: nobody is answered before all are there.
    """

    def __init__(
        self, together: Callable[[str], tuple[str, int]] | None = None, seconds: float = 0
    ) -> None:
        self._seconds = seconds
        self.asked: Counter[str] = Counter()
        self.most = self._under_way = self._answers = 0
        self._together = together
        self._meetings: dict[str, threading.Barrier] = {}
        self._lock = threading.Lock()

    def __call__(self, body: dict[str, Any]) -> str:
        text = body["messages"][0]["content"]
        case = text.removeprefix("Go on from: ").rpartition(" on ")[2]
        with self._lock:
            self.asked[f"{body['model']}: {text}"] += 1
            self._under_way += 1
            self.most = max(self.most, self._under_way)
            self._answers += 1
            number = self._answers
            meeting = None
            if self._together is not None:
                name, size = self._together(case)
                meeting = self._meetings.setdefault(name, threading.Barrier(size, timeout=60))
        try:
            threading.Event().wait(self._seconds)
            if meeting is not None:
                meeting.wait()
        finally:
            with self._lock:
                self._under_way -= 1
        return f"part {number} of a story of {body['model']} on {case}"


def outcomes(report: dict[str, Any]) -> Counter[str]:
    return Counter(trial["outcome"] for trial in report["trials"])


def talk(project: pytest.Pytester, samples: int = 1, cases: str = '["a"]') -> None:
    project.makepyfile(test_it=TALK.format(samples=samples, cases=cases))


def test_whole_conversations_are_recorded_at_once(
    project: pytest.Pytester, server: OpenAIServer, report: Report
) -> None:
    # Fewer than all at each turn, and the barrier breaks: a 500 for everybody.
    server.answer = Speaker(lambda _: ("all", 15))
    talk(project, samples=5)
    project.runpytest(*RECORD).assert_outcomes(passed=15)
    assert sum(server.calls.values()) == 45
    recorded = report()
    assert {len(trial["calls"]) for trial in recorded["trials"]} == {3}
    assert not any(trial["replayed"] for trial in recorded["trials"])
    server.stop()
    project.runpytest(*RECORD).assert_outcomes(passed=15)
    assert all(trial["replayed"] for trial in report()["trials"])
    assert report()["prompts"] == recorded["prompts"]
    assert report()["replayed_usd"] == recorded["spent_usd"]


def test_the_first_call_of_a_prompt_without_a_token_limit_goes_alone(
    project: pytest.Pytester, server: OpenAIServer
) -> None:
    app = (project.path / "app.py").read_text()
    project.makepyfile(app=app.replace("max_tokens=50, ", ""))
    under_way: list[int] = []
    speaker = Speaker()

    def answer(body: dict[str, Any]) -> str:
        names = [thread.name for thread in threading.enumerate()]
        under_way.append(names.count("pytest-tiers ahead"))
        return speaker(body)

    server.answer = answer
    talk(project)
    project.runpytest(*RECORD).assert_outcomes(passed=3)
    assert under_way[0] == 0
    assert max(under_way) > 0
    assert sum(server.calls.values()) == 9


def test_after_the_first_case_other_cases_run_ahead_too(
    project: pytest.Pytester, server: OpenAIServer
) -> None:
    server.answer = Speaker(lambda case: ("first", 3) if case == "a" else ("rest", 9))
    talk(project, cases='["a", "b", "c", "d"]')
    project.runpytest(*RECORD).assert_outcomes(passed=12)
    assert sum(server.calls.values()) == 36


def test_cases_of_one_trial_each_run_ahead_of_each_other(
    project: pytest.Pytester, server: OpenAIServer
) -> None:
    # The first two prove that the test asks the same again; then all others.
    server.answer = Speaker(lambda case: ("first", 2) if case in "01" else ("rest", 4))
    talk(project, cases="range(6)")
    project.runpytest("--tiers=nano").assert_outcomes(passed=6)
    assert sum(server.calls.values()) == 18


def test_no_more_calls_are_under_way_than_allowed(
    project: pytest.Pytester, server: OpenAIServer
) -> None:
    speaker = server.answer = Speaker(seconds=0.05)
    config = project.path / "pyproject.toml"
    config.write_text(config.read_text() + "\n[tool.pytest-tiers]\nmax_in_flight = 4\n")
    talk(project, samples=4)
    project.runpytest(*RECORD).assert_outcomes(passed=12)
    assert 2 <= speaker.most <= 4
    assert sum(server.calls.values()) == 36


def test_a_body_has_its_own_tier_parameters_and_instance_and_shares_wider_fixtures(
    project: pytest.Pytester, server: OpenAIServer, report: Report
) -> None:
    server.answer = lambda body: body["model"] + ": " + body["messages"][0]["content"]
    project.makepyfile(
        conftest="""
        import pytest

        @pytest.fixture(scope="session")
        def made():
            return []

        @pytest.fixture(scope="module", params=["x", "y"])
        def greeting(request, made):
            made.append(request.param)
            return "hello " + request.param
        """,
        test_it="""
        import pytest

        class TestTalk:
            @classmethod
            def setup_class(cls):
                cls.language = "en"

            @pytest.mark.tiers(concurrent=True, samples=2)
            @pytest.mark.parametrize("name", ["ann", "bob"])
            def test_talk(self, greeting, tier, name):
                assert not hasattr(self, "said")
                self.said = tier.name
                said = ""
                for turn in range(2):
                    reply = tier.client.chat.completions.create(
                        model=tier.model, max_tokens=50, messages=[{
                            "role": "user",
                            "content": f"{greeting} {name} {tier.name}-{tier.sample} {turn} {said}"
                        }])
                    said = reply.choices[0].message.content
                assert f"{greeting} {name}" in said
                assert said.startswith(f"{tier.name}-model")
                assert len(tier.calls) == 2
                assert self.language == "en"

        def test_fixtures_were_made_once(made):
            assert made == ["x", "y"]
        """,
    )
    result = project.runpytest(*RECORD)
    result.assert_outcomes(passed=2 * 2 * 3 * 2 + 1)
    assert sum(server.calls.values()) == 48
    assert outcomes(report()) == {"passed": 24}


def test_trials_that_have_a_recording_do_not_run_ahead(
    project: pytest.Pytester, server: OpenAIServer, report: Report
) -> None:
    speaker = server.answer = Speaker()
    talk(project, samples=2)
    project.runpytest("--tiers=nano,full").assert_outcomes(passed=4)
    project.runpytest(*RECORD).assert_outcomes(passed=6)
    assert sum(server.calls.values()) == 18
    assert set(speaker.asked.values()) == {1, 2}  # each first question is the same for all samples
    replayed = Counter(trial["tier"] for trial in report()["trials"] if trial["replayed"])
    assert replayed == {"nano": 2, "full": 2}


def test_in_replay_nothing_runs_ahead(project: pytest.Pytester, server: OpenAIServer) -> None:
    talk(project, samples=2)
    server.answer = Speaker()
    project.runpytest(*RECORD).assert_outcomes(passed=6)
    server.stop()
    test = (project.path / "test_it.py").read_text()
    project.makepyfile(
        test_it="import threading\n"
        + test.replace("    assert said\n", "    assert threading.active_count() == ONLY\n")
        + "\nONLY = threading.active_count()\n"
    )
    project.runpytest(*RECORD).assert_outcomes(passed=6)


def test_the_limit_of_calls_holds_and_the_next_run_pays_for_the_rest_only(
    project: pytest.Pytester, server: OpenAIServer, report: Report
) -> None:
    server.answer = Speaker()
    talk(project, samples=2)
    project.runpytest(*RECORD, "--tiers-max-calls=10")
    assert sum(server.calls.values()) == 10
    assert outcomes(report())["error"] > 0
    project.runpytest(*RECORD).assert_outcomes(passed=6)
    assert sum(server.calls.values()) == 18


def test_who_interrupts_pays_for_nothing_twice(
    project: pytest.Pytester, server: OpenAIServer
) -> None:
    server.answer = Speaker()
    talk(project, samples=2)
    test = (project.path / "test_it.py").read_text()
    project.makepyfile(test_it=test + "\n    raise KeyboardInterrupt\n")
    assert project.runpytest_subprocess(*RECORD).ret == pytest.ExitCode.INTERRUPTED
    assert 3 <= sum(server.calls.values()) <= 18
    project.makepyfile(test_it=test)
    project.runpytest(*RECORD).assert_outcomes(passed=6)
    assert sum(server.calls.values()) == 18


def test_a_body_that_fails_ahead_shows_in_its_item_only(
    project: pytest.Pytester, server: OpenAIServer, report: Report
) -> None:
    server.answer = lambda body: "OK" if body["model"] == "full-model" else "no"
    project.makepyfile(
        test_it="""
        import pytest
        from app import ask

        @pytest.mark.tiers(concurrent=True)
        def test_ask():
            assert ask("Well?") == "OK"
        """
    )
    project.runpytest(*RECORD).assert_outcomes(passed=1)
    assert outcomes(report()) == {"missed": 2, "passed": 1}
    assert server.calls == {"nano-model": 1, "mini-model": 1, "full-model": 1}


def test_a_body_that_is_asked_to_wait_asks_again_itself(
    project: pytest.Pytester, server: OpenAIServer, report: Report
) -> None:
    refused: set[str] = set()
    speaker = Speaker()

    def answer(body: dict[str, Any]) -> Reply | str:
        if body["model"] not in refused:
            refused.add(body["model"])
            return Reply(status=429, retry_after=0.1)
        return speaker(body)

    server.answer = answer
    talk(project)
    project.runpytest(*RECORD).assert_outcomes(passed=3)
    assert outcomes(report()) == {"passed": 3}
    assert sum(speaker.asked.values()) == 9


def test_a_test_that_asks_something_new_each_time_is_paid_in_vain_for_one_case_only(
    project: pytest.Pytester, server: OpenAIServer
) -> None:
    project.makepyfile(
        test_it="""
        import uuid
        import pytest
        from app import ask

        @pytest.mark.tiers(concurrent=True)
        @pytest.mark.parametrize("text", ["a", "b", "c"])
        def test_ask(text):
            assert ask(f"{text} {uuid.uuid4()}") == "OK"
        """
    )
    result = project.runpytest(*RECORD)
    result.assert_outcomes(passed=9)
    assert server.calls == {"nano-model": 3, "mini-model": 4, "full-model": 4}
    assert says(result.stdout.str(), "so that 2 answers were paid in vain")


def test_workers_run_ahead_what_they_will_run(
    project: pytest.Pytester, server: OpenAIServer, report: Report
) -> None:
    server.answer = Speaker()
    talk(project, samples=2, cases='["a", "b", "c"]')
    project.runpytest_subprocess(*RECORD, "-n2").assert_outcomes(passed=18)
    assert sum(server.calls.values()) == 54
    assert outcomes(report()) == {"passed": 18}


def test_what_a_body_does_in_further_threads_is_its_own(
    project: pytest.Pytester,
    server: OpenAIServer,
    report: Report,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-application")
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    server.answer = lambda body: body["model"] + ": " + body["messages"][0]["content"]
    project.makepyfile(
        test_it="""
        import asyncio, threading
        from concurrent.futures import ThreadPoolExecutor
        import pytest
        import pytest_tiers
        from app import ask

        pool = ThreadPoolExecutor(2)  # its threads work for whoever comes

        def judge(said):
            with pytest_tiers.as_is():
                return ask("Is this good: " + said)

        @pytest.mark.tiers(concurrent=True, samples=4)
        def test_ask(tier):
            said = list(pool.map(ask, ["a", "b"]))
            thread = threading.Thread(target=lambda: said.append(ask("c")))
            thread.start()
            thread.join()
            async def main():
                return await asyncio.to_thread(ask, "d")
            said.append(asyncio.run(main()))
            assert {one.split("-")[0] for one in said} == {tier.name}
            assert "gpt-5.4" in judge("".join(said))
        """
    )
    project.runpytest(*RECORD).assert_outcomes(passed=12)
    assert server.calls == {"nano-model": 16, "mini-model": 16, "full-model": 16, "gpt-5.4": 12}
    for trial in report()["trials"]:
        models = [call["model"] for call in trial["calls"]]
        assert sorted(models) == sorted(["gpt-5.4", *[trial["tier"] + "-model"] * 4])
    server.stop()
    project.runpytest(*RECORD).assert_outcomes(passed=12)


def test_nobody_hears_a_body_that_runs_ahead(
    project: pytest.Pytester, server: OpenAIServer
) -> None:
    server.answer = lambda body: body["model"]
    project.makepyfile(
        test_it="""
        import logging, sys
        import pytest
        from app import ask

        @pytest.mark.tiers(concurrent=True)
        def test_ask():
            said = ask("Well?")
            print(f"heard {said}")
            sys.stderr.writelines([f"seen {said}"])
            logging.getLogger("app").warning(f"noted {said}")
            raise OSError
        """
    )
    result = project.runpytest(*RECORD, "-s", "-o", "log_cli=true")
    said = result.stdout.str() + result.stderr.str()
    for word in ("heard", "seen", "noted"):
        for model in ("nano-model", "mini-model", "full-model"):
            assert said.count(f"{word} {model}") == 1


def test_a_debugger_sees_one_body_at_a_time(project: pytest.Pytester, server: OpenAIServer) -> None:
    speaker = server.answer = Speaker()
    talk(project, samples=2)
    project.runpytest(*RECORD, "--pdb").assert_outcomes(passed=6)
    assert speaker.most == 1
    assert sum(server.calls.values()) == 18


NEEDS = """
import pytest
from unittest import mock

@pytest.fixture
def assistant(tier):
    return tier.client

@pytest.fixture(autouse={autouse})
def clean(): ...

{test}
"""


@pytest.mark.parametrize(
    ("test", "said"),
    [
        ("def test_it(assistant): ...", '"assistant"*give it a wider scope, or remove'),
        ("def test_it(tmp_path, tier): ...", '"tmp_path"*Do its work in the test'),
        ("def test_it(request): ...", '"request"*Do its work in the test, or remove'),
        ("@pytest.mark.usefixtures('clean')\ndef test_it(): ...", '"clean"*wider scope'),
        ("async def test_it(): ...", "it is async. Remove `concurrent`"),
        ("@mock.patch('os.sep')\ndef test_it(sep): ...", "@mock.patch changes*fixture of wider"),
    ],
)
def test_what_cannot_run_in_threads_is_a_usage_error(
    project: pytest.Pytester, test: str, said: str
) -> None:
    test = f"@pytest.mark.tiers(concurrent=True)\n{test}"
    project.makepyfile(test_it=NEEDS.format(test=test, autouse=False))
    result = project.runpytest("--tiers=nano,full")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*test_it.py::test_it: `concurrent` runs*{said}*"])


@pytest.mark.parametrize(
    ("test", "name"),
    [
        ("def test_it(): ...", "clean"),
        (
            "class TestIt:\n    def setup_method(self): ...\n    def test_it(self): ...",
            "setup_method",
        ),
    ],
)
def test_fixtures_that_come_unasked_are_named_too(
    project: pytest.Pytester, test: str, name: str
) -> None:
    project.makepyfile(
        test_it="import pytest\npytestmark = pytest.mark.tiers(concurrent=True)\n"
        + NEEDS.format(test=test, autouse=name == "clean")
    )
    result = project.runpytest("--tiers=nano,full")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f'*it needs "{name}"*'])


@pytest.mark.parametrize("name", ["pytest_recording.plugin", "cassetter.pytest_plugin.fixtures"])
def test_fixtures_of_other_recorders_are_no_obstacle(
    project: pytest.Pytester, server: OpenAIServer, name: str
) -> None:
    *packages, module = name.split(".")
    folder = project.path.joinpath(*packages)
    folder.mkdir(parents=True)
    (folder / f"{module}.py").write_text(
        "import pytest\n\n@pytest.fixture(autouse=True)\ndef cassette(request): ...\n"
    )
    speaker = server.answer = Speaker(lambda _: ("all", 3))
    talk(project)
    project.runpytest(*RECORD, "-p", name).assert_outcomes(passed=3)
    assert speaker.most == 3


def test_the_file_can_make_a_test_concurrent(
    project: pytest.Pytester, server: OpenAIServer
) -> None:
    speaker = server.answer = Speaker(lambda _: ("all", 3))
    config = project.path / "pyproject.toml"
    table = '\n[tool.pytest-tiers.prompts."test_it.py::test_talk"]\nconcurrent = true\n'
    config.write_text(config.read_text() + table)
    test = TALK.format(samples=1, cases=["a"]).replace("concurrent=True, ", "")
    project.makepyfile(test_it=test)
    project.runpytest(*RECORD).assert_outcomes(passed=3)
    assert speaker.most == 3


def test_what_changed_is_recorded_anew_all_at_once(
    project: pytest.Pytester, server: OpenAIServer
) -> None:
    server.answer = Speaker()
    talk(project, samples=2)
    project.runpytest(*RECORD).assert_outcomes(passed=6)
    test = (project.path / "test_it.py").read_text()
    project.makepyfile(test_it=test.replace("Go on from", "Continue"))
    speaker = server.answer = Speaker(lambda _: ("all", 6))
    project.runpytest(*RECORD, "--tiers-record=new_episodes").assert_outcomes(passed=6)
    assert sum(speaker.asked.values()) == 18
    server.stop()
    project.runpytest(*RECORD).assert_outcomes(passed=6)


def paid_and_used(server: OpenAIServer, report: dict[str, Any]) -> tuple[int, int]:
    return sum(server.calls.values()), sum(len(trial["calls"]) for trial in report["trials"])


def test_with_adaptive_sampling_nothing_is_paid_in_vain(
    project: pytest.Pytester, server: OpenAIServer, report: Report
) -> None:
    speaker = Speaker()
    server.answer = lambda body: "no" if body["model"] == "nano-model" else speaker(body)
    project.makepyfile(
        test_it=TALK.format(samples='"auto"', cases="range(12)").replace(
            "    assert said\n", '    assert said != "no"\n'
        )
    )
    result = project.runpytest(*RECORD, "--tiers-max-samples=4")
    assert "paid in vain" not in result.stdout.str()
    found = report()
    samples = Counter((trial["tier"], trial["sample"]) for trial in found["trials"])
    assert samples["mini", 2] == 12
    assert samples["nano", 1] < 12  # stopped within its first round
    paid, used = paid_and_used(server, found)
    assert paid == used
    server.stop()
    project.runpytest(*RECORD, "--tiers-max-samples=4")
    assert report()["prompts"] == found["prompts"]


@pytest.mark.parametrize("samples", ["1", "2"])
def test_a_lazy_flagship_is_not_run_ahead(
    project: pytest.Pytester, server: OpenAIServer, report: Report, samples: str
) -> None:
    server.answer = Speaker()
    talk(project, samples=int(samples), cases="range(32)")
    result = project.runpytest(*RECORD, "--tiers-flagship-calls=lazy")
    assert "paid in vain" not in result.stdout.str()
    assert server.calls["full-model"] == 0
    assert paid_and_used(server, report()) == (2 * 32 * 3 * int(samples),) * 2


def test_workers_keep_the_limit_of_calls_under_way_together(
    project: pytest.Pytester, server: OpenAIServer
) -> None:
    speaker = server.answer = Speaker(seconds=0.02)
    config = project.path / "pyproject.toml"
    config.write_text(config.read_text() + "\n[tool.pytest-tiers]\nmax_in_flight = 4\n")
    talk(project, samples=4, cases='["a", "b"]')
    project.runpytest_subprocess(*RECORD, "-n2").assert_outcomes(passed=24)
    assert speaker.most <= 4
    assert sum(server.calls.values()) == 72


def test_a_signal_ends_the_run_and_keeps_what_is_under_way(
    project: pytest.Pytester, server: OpenAIServer
) -> None:
    speaker, held, go_on = Speaker(), threading.Semaphore(0), threading.Event()

    def answer(body: dict[str, Any]) -> str:
        said = speaker(body)
        if body["model"] != "nano-model" and "part" in body["messages"][0]["content"]:
            held.release()
            assert go_on.wait(30)
        return said

    server.answer = answer
    talk(project)
    with Forks(project.path) as forks:
        run = forks.start("--tiers=nano,mini,full")
        for _ in range(2):  # the second questions of the two that run ahead
            assert held.acquire(timeout=30)
        run.kill(signal.SIGINT)
        go_on.set()
        assert run.ended() == pytest.ExitCode.INTERRUPTED
    assert "paid in vain" not in run.output
    project.runpytest(*RECORD).assert_outcomes(passed=3)
    assert server.calls["mini-model"] == server.calls["full-model"] == 3
    assert server.calls["nano-model"] <= 4  # it may have had a call of its own cut off
