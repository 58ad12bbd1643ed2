import threading
import time
from collections.abc import Callable

import numpy as np

from service.line.answers import Reply
from service.line.tickets import Ticket, Tickets


def reply(name: str) -> Reply:
    return Reply(name.encode(), "recheck", 901, name)


def ticket_of(digest: str) -> Ticket:
    ticket = Ticket(lambda: reply("late"))
    ticket.digest = digest
    return ticket


def at_once(*actions: Callable[[], None]) -> None:
    """Run the actions on threads of their own, released together."""
    gate = threading.Barrier(len(actions))

    def released(action: Callable[[], None]) -> None:
        gate.wait()
        action()

    threads = [threading.Thread(target=released, args=(action,)) for action in actions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert not any(thread.is_alive() for thread in threads)


def test_deadline_and_decision_race_for_exactly_one_answer() -> None:
    decided, late = reply("decided"), reply("late")
    winners = set()
    for _ in range(300):
        ticket = Ticket(lambda: late)
        said: dict[str, Reply] = {}

        def judge(ticket: Ticket = ticket, said: dict[str, Reply] = said) -> None:
            said["judge"] = ticket.decide(decided) or decided

        def expire(ticket: Ticket = ticket, said: dict[str, Reply] = said) -> None:
            said["line"] = ticket.expire()

        def follow(ticket: Ticket = ticket, said: dict[str, Reply] = said) -> None:
            said["retry"] = ticket.wait() or reply("nothing")

        at_once(judge, expire, follow)
        assert len({id(answer) for answer in said.values()}) == 1
        assert ticket.reply() is said["line"]
        winners.add(said["line"].result_id)
    assert winners <= {"decided", "late"}


def test_fail_safe_answer_is_made_once() -> None:
    ticket = Ticket(lambda: reply("late"))
    first = ticket.expire()
    assert ticket.expire() is first
    assert ticket.decide(reply("decided")) is first


def test_deadline_after_the_decision_changes_nothing() -> None:
    ticket, decided = Ticket(lambda: reply("late")), reply("decided")
    assert ticket.decide(decided) is None
    assert ticket.expire() is decided
    assert ticket.late is None


def test_decision_after_the_deadline_is_late_also_when_nobody_has_looked_at_the_clock() -> None:
    """As after a pause of the whole process."""
    late = reply("late")
    ticket = Ticket(lambda: late, deadline=time.perf_counter() - 0.001)
    assert ticket.decide(reply("decided")) is late
    assert ticket.reply() is late


def test_whoever_waits_for_a_ticket_without_an_answer_is_told_to_judge() -> None:
    ticket = Ticket(lambda: reply("late"))
    ticket.finish()
    assert ticket.wait() is None


def test_one_of_many_takes_the_key() -> None:
    tickets, held = Tickets(), []
    mine = [ticket_of("same") for _ in range(16)]
    at_once(*(lambda t=t: held.append(tickets.enter("key", t)) for t in mine))
    owner = [t for t in mine if t in held]
    assert held.count(None) == 1
    assert len(owner) == 1


def test_key_is_free_after_its_holder_left_and_only_then() -> None:
    tickets, holder, other = Tickets(), ticket_of("one"), ticket_of("one")
    tickets.enter("key", holder)
    tickets.leave("key", other)
    assert tickets.enter("key", other) is holder
    tickets.leave("key", holder)
    assert tickets.enter("key", other) is None


def test_each_key_is_judged_by_one_thread_at_a_time() -> None:
    tickets, rng = Tickets(), np.random.default_rng(5)
    inside: dict[str, int] = {"a": 0, "b": 0}
    most: dict[str, int] = {"a": 0, "b": 0}
    order = [str(k) for k in rng.choice(["a", "b"], 40)]

    def judge(key: str) -> None:
        ticket = ticket_of(key)
        while (held := tickets.enter(key, ticket)) is not None:
            if held.wait() is not None:
                return
        inside[key] += 1
        most[key] = max(most[key], inside[key])
        inside[key] -= 1
        tickets.leave(key, ticket)
        ticket.finish()

    at_once(*(lambda key=key: judge(key) for key in order))
    assert most == {"a": 1, "b": 1}
