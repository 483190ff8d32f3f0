"""Where bars are drawn."""

import pytest

from gradflow._util import progress


@pytest.mark.parametrize("widgets", [True, False])
def test_a_notebook_without_widgets_has_bars_of_text(widgets, monkeypatch, capsys):
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    monkeypatch.setattr(progress, "find_spec", lambda name: object() if widgets else None)
    if widgets:
        assert progress.console() is None
        return
    with progress.DescentProgress(True, 10) as told:
        told(10, 0.5)
    seen = capsys.readouterr()
    assert "descent" in seen.err and "10/10" in seen.err and not seen.out


def test_elsewhere_rich_decides():
    assert progress.console() is None
