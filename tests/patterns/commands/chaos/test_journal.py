"""Journals: every line that was written is read, once, in the order of time."""

from itertools import count

from patterns.commands.chaos.journal import Journal, JournalReader, frame_of, in_order, text


def test_lines_are_read_up_to_an_instant(tmp_path):
    journal = Journal(tmp_path / "a.jsonl", clock=count(1.0).__next__)
    for name in ("one", "two", "three"):
        journal.write(name)
    reader = JournalReader(tmp_path / "a.jsonl")
    assert [line["what"] for line in reader.read_until(2.0)] == ["one", "two"]
    assert reader.read_until(2.5) == []
    assert [line["what"] for line in reader.read_until(3.0)] == ["three"]
    journal.close()


def test_a_journal_is_read_while_it_is_written(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"at":1.0,"what":"one"}\n{"at":2.0,"wh')
    reader = JournalReader(path)
    assert [line["what"] for line in reader.read_until(9.0)] == ["one"]
    with path.open("ab") as file:
        file.write(b'at":"two"}\n')
    assert [line["what"] for line in reader.read_until(9.0)] == ["two"]
    assert reader.read_until(9.0) == []


def test_every_byte_of_a_frame_comes_back(tmp_path):
    frame = bytes(range(256))
    journal = Journal(tmp_path / "a.jsonl", clock=lambda: 1.0)
    journal.write("frame", body=text(frame))
    journal.close()
    reader = JournalReader(tmp_path / "a.jsonl")
    (line,) = reader.read_until(1.0)
    assert frame_of(line["body"]) == frame


def test_the_lines_of_several_journals_are_put_in_order():
    lines = in_order([("a", [{"at": 1.0}, {"at": 3.0}]), ("b", [{"at": 2.0}])])
    assert [(name, line["at"]) for name, line in lines] == [("a", 1.0), ("b", 2.0), ("a", 3.0)]
