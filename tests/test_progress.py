"""Long work says how far it is in a log, and short work leaves no line there."""

from attending.commands.progress import Lines, share_of, stages
from attending.commands.showing import err
from attending.training.units import Progress


def test_a_log_has_a_line_after_ten_seconds_and_then_one_a_minute() -> None:
    said: list[str] = []
    now = [100.0]
    lines = Lines(said.append, clock=lambda: now[0])
    for second in range(0, 200, 5):
        now[0] = 100.0 + second
        lines.told(f"{second} of 200")
    assert said == ["0:10 10 of 200", "1:10 70 of 200", "2:10 130 of 200", "3:10 190 of 200"]


def test_short_work_leaves_no_line() -> None:
    with err.capture() as seen:
        with stages() as told:
            told("training", Progress(done=1, of=2, last="fold 1", seconds=0.1))
        with share_of("comparing") as heard:
            heard("mha", 0.5)
    assert not err.is_terminal
    assert seen.get() == ""
