"""Counting what the capture has lost, by the proxy's own figures."""

from patterns.espresso.account import Account, Totals


def capturing_account() -> Account:
    account = Account()
    account.begin_capture()
    return account


def answer(account: Account, frames: int, waiting=False, capturing=True, last=False) -> None:
    account.expect(capturing, last)
    account.receive(Totals(frames_down=frames), waiting)


def test_losses_are_told_when_the_traffic_rests():
    account = capturing_account()
    account.captured = 60
    answer(account, 100)
    assert account.lost == 0  # 40 may be on the way
    account.captured = 70
    answer(account, 100)
    assert account.lost == 0  # they are coming
    answer(account, 100)
    assert account.lost == 30


def test_a_queue_that_is_not_read_is_no_loss():
    account = capturing_account()
    for _ in range(5):
        answer(account, 100, waiting=True)
    assert account.lost == 0


def test_what_passes_without_capture_is_not_lost():
    account = Account()
    answer(account, 1000, capturing=False)
    answer(account, 1000, capturing=False, last=True)
    account.begin_capture()
    account.captured = 7
    answer(account, 10)
    answer(account, 10)
    assert (account.lost, account.totals.frames_down) == (3, 1010)


def test_totals_go_on_over_runs_of_the_proxy():
    account = capturing_account()
    account.expect(True, last=True)
    account.receive(Totals(1, 2, 3, 4), False)
    account.expect(True, last=False)
    account.receive(Totals(10, 20, 30, 40), False)
    assert account.totals == Totals(11, 22, 33, 44)
    account.captured = 44
    account.add_by_hand(Totals(5, 50), capturing=True)
    assert account.totals == Totals(16, 72, 33, 44)


def test_what_waited_when_nobody_wanted_it_any_more_is_not_lost():
    account = capturing_account()
    account.captured = 60
    answer(account, 100)
    answer(account, 100)
    assert account.lost == 40
    answer(account, 300, waiting=True, last=True)
    account.begin_capture()  # the 200 that waited were thrown away
    account.captured += 9
    answer(account, 10)
    answer(account, 10)
    assert account.lost == 41


def test_a_late_answer_of_an_earlier_capture_changes_no_loss():
    account = capturing_account()
    account.expect(True, last=True)
    account.begin_capture()
    account.receive(Totals(500), waiting=False)
    account.captured = 10
    answer(account, 10)
    answer(account, 10)
    assert (account.lost, account.totals.frames_down) == (0, 510)


def test_what_came_before_the_mark_is_of_an_earlier_run():
    account = capturing_account()
    account.captured = 3  # of a burst that is in no figure
    account.receive_mark()
    account.captured += 10
    answer(account, 15)
    answer(account, 15)
    assert account.lost == 5
