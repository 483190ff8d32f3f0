"""Signals become an exception that knows its exit code; handlers are put back."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from gradflow._util.stopping import Stopped, last_words, stoppable


@pytest.fixture
def heard():
    """Have Ctrl-C heard: a shell starts what it puts into the background with that ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heard")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_is_an_exception_with_an_exit_code(number, code):
    before = signal.getsignal(number)
    with pytest.raises(Stopped) as stop, stoppable():
        os.kill(os.getpid(), number)
        time.sleep(5)
    assert stop.value.code == code and stop.value.words == "what was finished is kept."
    assert signal.getsignal(number) is before


def test_what_was_finished_is_kept_and_told():
    kept = []
    with (
        pytest.raises(Stopped) as stop,
        stoppable(),
        last_words(lambda: kept.append(1) or "one is kept."),
    ):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)
    assert kept == [1] and stop.value.words == "one is kept."


def test_without_a_signal_nothing_is_kept_or_told():
    with stoppable(), last_words(lambda: pytest.fail("nothing was stopped")):
        pass
    with pytest.raises(ValueError, match="another"), stoppable(), last_words(pytest.fail):
        raise ValueError("another error")


def test_what_is_ignored_stays_ignored():
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with stoppable():
            os.kill(os.getpid(), signal.SIGTERM)
            assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, before)


def test_another_thread_than_the_main_one_gets_no_handlers():
    def inside():
        with stoppable() as taken:
            seen.append((taken.is_set(), signal.getsignal(signal.SIGTERM)))

    seen, before = [], signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=inside)
    thread.start()
    thread.join()
    assert seen == [(False, before)]


def test_a_signal_during_an_import_ends_the_process_at_once(tmp_path):
    """What is cut short there may crash, or make another exception of it, as extensions do."""
    (tmp_path / "swallows.py").write_text(
        "import os, signal, time\n"
        "try:\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    time.sleep(20)\n"
        "except BaseException as error:\n"
        "    raise ImportError('an error while initialising') from error\n"
    )
    told = subprocess.run(
        [sys.executable, "-c", "from gradflow._util.stopping import last_words, stoppable\n"
         "with stoppable(), last_words(lambda: 'two are kept.'):\n    import swallows"],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])},
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (told.returncode, told.stderr) == (143, "gradflow: stopped; two are kept.\n")
