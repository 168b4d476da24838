"""Work is found by its name, also from another process, or it is an error that says why."""

import sys

import pytest

from patterns.black_box import NoSuchWork, Work
from patterns.black_box.work import load, make_work, path_of


def handle(frames):
    """Work at the level of a module, as a process needs it."""


class Handle(Work):
    """The same as a class."""


NOT_WORK = 5


class Other:
    """A class of another kind."""


@pytest.mark.parametrize("work", [handle, Handle])
def test_a_path_leads_to_what_it_was_made_of(work):
    assert load(path_of(work)) is work


def test_a_path_can_be_given_as_it_is():
    assert path_of("module:function") == "module:function"


@pytest.mark.parametrize("path", ["module", ":function", "module:", ""])
def test_a_path_of_another_shape_is_refused(path):
    with pytest.raises(NoSuchWork):
        path_of(path)
    with pytest.raises(NoSuchWork):
        load(path)


def test_work_without_a_name_is_refused_where_a_process_needs_one():
    def inner(frames):
        pass

    for work in (inner, lambda frames: None):
        with pytest.raises(NoSuchWork, match="no name in a module"):
            path_of(work)


def test_work_of_the_main_program_is_found_by_its_file(tmp_path, monkeypatch):
    program = tmp_path / "program.py"
    program.write_text("def handle(frames):\n    return frames\n")
    main = type(sys)("__main__")
    main.__file__ = str(program)
    monkeypatch.setitem(sys.modules, "__main__", main)
    monkeypatch.delitem(sys.modules, "__box_main__", raising=False)
    exec(program.read_text(), main.__dict__)
    path = path_of(main.handle)
    assert path == f"{program}:handle"
    assert load(path)([b"x"]) == [b"x"]
    monkeypatch.delitem(sys.modules, "__box_main__")


@pytest.mark.parametrize(
    "path", ["no_such_module:x", f"{__name__}:no_such_name", "/no/such/file.py:x"]
)
def test_what_is_not_there_is_no_work(path):
    with pytest.raises(NoSuchWork, match="cannot find"):
        load(path)


def test_a_module_that_fails_is_no_work(tmp_path):
    broken = tmp_path / "broken.py"
    broken.write_text("1 / 0\n")
    with pytest.raises(NoSuchWork, match="ZeroDivisionError"):
        load(f"{broken}:x")


def test_a_function_becomes_work():
    frames = []
    make_work(frames.append).on_message([b"x"])
    assert frames == [[b"x"]]


def test_each_worker_has_work_of_its_own():
    assert isinstance(make_work(Handle), Handle)
    assert make_work(Handle) is not make_work(Handle)


@pytest.mark.parametrize("work", [Other, f"{__name__}:NOT_WORK"])
def test_what_takes_no_messages_is_no_work(work):
    with pytest.raises(NoSuchWork):
        make_work(work)
