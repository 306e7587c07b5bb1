"""The harness itself: what it executes, what it compares, and that it fails where it must."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.docs.execution import Shown, execute
from tests.docs.outputs import kept, matches
from tests.docs.pages import ROOT, PageError, check_content, read_page, unexecuted_blocks
from tests.docs.projects import copy_project, make_folder
from tests.docs.refresh import main, refreshed

EMPTY = "# A page\n\n<!-- project: empty -->\n\n"


def page_of(folder: Path, text: str, head: str = EMPTY) -> Path:
    file = folder / "page.md"
    file.write_text(head + text, "utf-8")
    return file


def steps_of(tmp_path: Path, text: str, **limits: float) -> list[Shown]:
    page = read_page(page_of(tmp_path, text))
    return execute(page, make_folder(page, tmp_path, pytest.fail), **limits)


def no_reference() -> Path:
    raise AssertionError("nothing asked for the reference project")


@pytest.mark.parametrize(
    ("expected", "got", "alike"),
    [
        ("a\nb", "a  \nb\n\n", True),
        ("a", "a\nb", False),
        ("a\nb", "a", False),
        ("run ... done", "run 7 done", True),
        ("run ... done", "run 7", False),
        ("a.b ...", "axb c", False),
        ("a\n...\nz", "a\nb\nc\nz", True),
        ("a\n...\nz", "a\nz", True),
        ("a\n...\nz", "a\nb", False),
        ("...\nb\n...", "a\nb\nc", True),
        ("...\nb\nd\n...", "a\nb\nc\nb\nd", True),
        ("...\nb\n...\nb\n...", "a\nb\nc", False),
        ("a\n...\na", "a", False),
        ("...", "", True),
        ("", "printed", False),
    ],
)
def test_an_output_is_compared_line_by_line(expected, got, alike):
    assert matches(expected, got) is alike


def test_what_stands_for_anything_is_kept_where_it_holds():
    assert kept("a 1\nid ...\n...\nend", "a 2\nid 77\nx\ny\nend") == "a 2\nid ...\n...\nend"


def test_commands_and_blocks_run_in_one_folder(tmp_path):
    text = """
<!-- file: shop/numbers.py -->
```python
ONE = 1
```

<!-- append: shop/numbers.py -->
```python
TWO = 2
```

```console
$ cd shop
$ export COLOUR=red
$ cat numbers.py <(echo "$COLOUR
> and blue")
ONE = 1
TWO = 2
red
and blue
$ exit 3
[exit 3]
```

```python
import numbers_of_python
```
```text
Traceback (most recent call last):
...
ModuleNotFoundError: No module named 'numbers_of_python'
```

```python
from pathlib import Path
from inspect import getsource

here = Path.cwd().name
def double(x): return 2 * x
```

- and in a list

  ```python
  print(here, double(2), getsource(double), end="")
  ```

  It prints

  ```text
  shop 4 def double(x): return 2 * x
  ```
"""
    steps = steps_of(tmp_path, text)
    assert [str(step) for step in steps if not step.is_right] == []
    assert [step.command.splitlines()[0] for step in steps[:2]] == [
        "$ cd shop",
        "$ export COLOUR=red",
    ]
    assert len(steps) == 7


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("```console\n$ echo one\ntwo\n```", "-two\n+one"),
        ("```console\n$ echo one\n```", "+one"),
        ("```console\n$ false\n```", "+[exit 1]"),
        ("```console\n$ false\n...\n```", "+[exit 1]"),
        ("```console\n$ true\n[exit 1]\n```", "-[exit 1]"),
        ("```console\n$ false\n[exit 2]\n```", "-[exit 2]\n+[exit 1]"),
        ("```console\n$ slh tables\n```", "+Error: No lakehouse.yml in"),
        ("```python\nprint(1)\n```\n```text\n2\n```", "-2\n+1"),
        ("```python\nprint(1)\n```", "+1"),
        ("```python\n1 / 0\n```", "+ZeroDivisionError: division by zero"),
        ("```python\n1 / 0\n```\n```text\n...\n```", "must begin what fails with 'Traceback"),
        ("```python\nimport os; os._exit(0)\n```", "must begin what fails with 'Traceback"),
        ("```python\nraise SystemExit\n```", "+SystemExit"),
        ("```sql\nSELECT 1\n```\n```text\n1\n```", "+[exit 2]"),
    ],
)
def test_what_a_page_shows_wrongly_is_told(tmp_path, text, told):
    (step,) = steps_of(tmp_path, text)
    assert not step.is_right
    assert told in str(step)
    assert str(step).startswith(f"{tmp_path}/page.md:{6 if 'console' in text else 5}\n")


def test_a_traceback_names_the_line_of_the_page(tmp_path):
    (step,) = steps_of(tmp_path, "```python\nx = 1\n1 / 0\n```")
    assert f'File "{tmp_path}/page.md", line 7, in <module>' in step.got
    assert "python_session" not in step.got


def test_what_does_not_end_is_stopped(tmp_path):
    with pytest.raises(TimeoutError, match="'sleep 60' did not end"):
        steps_of(tmp_path, "```console\n$ sleep 60\n```", longest=0.5)
    (tmp_path / "work").rmdir()
    with pytest.raises(TimeoutError, match=r"page.md:5: the block did not end"):
        steps_of(tmp_path, "```python\nimport time; time.sleep(60)\n```", longest=0.5)


def test_what_runs_on_is_stopped_at_the_end_of_the_page(tmp_path):
    text = "```console\n$ (while true; do date +%s%N > beat; sleep 0.05; done) &\n$ sleep 0.3\n```"
    assert all(step.is_right for step in steps_of(tmp_path, text))
    beat = tmp_path / "work" / "beat"
    last = beat.read_text()
    time.sleep(0.3)
    assert beat.read_text() == last


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("```bash\nls\n```", r"page.md:5: a block of 'bash' is not executed"),
        ("```\nls\n```", "a block of 'no language' is not executed"),
        ("```yaml\na: 1\n```", "a block of 'yaml' is not executed"),
        ("<!-- file: a.yml -->\n```yaml\na: [1\n```", "this is no yaml"),
        ("<!-- not run: no cluster -->\n```python\nif\n```", "this is no python"),
        ("<!-- not run: no cluster -->\n```toml\na = \n```", "this is no toml"),
        ("<!-- not run: -->\n```toml\na = 1\n```", "'not run:' says nothing"),
        ("<!-- file: /etc/a -->\n```yaml\na: 1\n```", "is not inside of the project"),
        ("<!-- file: ../a -->\n```yaml\na: 1\n```", "is not inside of the project"),
        ("<!-- run: a -->\n```yaml\na: 1\n```", "no marker 'run'. Markers: project, file"),
        ("<!-- file: a -->\n\nText\n\n```console\n$ ls\n```", "'file' must stand right before"),
        ("```console\nls\n```", "a console block begins with a command"),
        ("```text\nout\n```", "a text block is the output of the python or sql block before it"),
        ("```python\n1\n```\n```text\n1\n```\n```text\n1\n```", "the second output of one block"),
        ("```{code-block} python\n1\n```", r"{code-block} python hides code from the tests"),
        ("    indented\n", "indented code"),
        ("Text\n\n<!-- project: empty -->\n", "the project is said once"),
    ],
)
def test_a_page_that_does_not_keep_to_the_format_is_refused(tmp_path, text, said):
    with pytest.raises(PageError, match=said):
        read_page(page_of(tmp_path, text))


def test_a_page_with_blocks_names_its_project(tmp_path):
    with pytest.raises(PageError, match=r"no '<!-- project: ... -->'"):
        read_page(page_of(tmp_path, "```console\n$ ls\n```", head="# A page\n\n"))
    assert read_page(page_of(tmp_path, "Only text.", head="# A page\n\n")).blocks == ()
    unknown = read_page(page_of(tmp_path, "", head="<!-- project: shop -->\n"))
    with pytest.raises(PageError, match=r"no project 'shop'. Projects: empty, nyc_flights"):
        make_folder(unknown, tmp_path, no_reference)


def test_a_block_of_the_manual_must_be_readable(tmp_path):
    file = page_of(tmp_path, "```yaml\na: [\n```\n\n```python\nif\n```", head="")
    blocks = unexecuted_blocks(file)[1]
    assert [block.language for block in blocks] == ["yaml", "python"]
    for block in blocks:
        with pytest.raises(PageError, match=f"this is no {block.language}"):
            check_content(file, block)


def test_refreshing_writes_what_differs_and_nothing_else(tmp_path, capsys):
    text = """\
```console
$ echo run 17; echo 2 rows
run ...
3 rows
$ seq 9
1
...
9
$ false
```

- in a list

  ```python
  print("new")
  ```

```python
print("right")
```
```text
r...t
```
"""
    file = page_of(tmp_path, text)
    assert main([str(file), "--check"]) == 1
    assert file.read_text() == EMPTY + text
    assert main([str(file)]) == 0
    right = text.replace("3 rows", "2 rows").replace("$ false\n", "$ false\n[exit 1]\n")
    right = right.replace('print("new")\n  ```\n', 'print("new")\n  ```\n  ```text\n  new\n  ```\n')
    assert file.read_text() == EMPTY + right
    assert "IT FAILED, and the page did not say that it would." in capsys.readouterr().out
    assert main([str(file), "--check"]) == 0
    page = read_page(file)
    assert (
        refreshed(page, execute(page, make_folder(page, tmp_path, no_reference)))
        == file.read_text()
    )


def test_a_copy_of_a_project_has_files_of_its_own(demo, tmp_path):
    copy = copy_project(demo.folder, tmp_path / "copy")
    asked = [sys.executable, "-c", READ_MODEL]
    done = subprocess.run(asked, cwd=copy, capture_output=True, text=True, check=True)
    paths = done.stdout.split()
    assert len(paths) > 1
    assert all(path.startswith((f"file://{copy}/", str(copy))) for path in paths)
    (copy / "landing" / "airlines" / "airlines.csv").write_text("")
    assert (demo.folder / "landing" / "airlines" / "airlines.csv").read_text()
    assert (ROOT / "examples" / "nyc_flights" / "lakehouse.yml").exists()


READ_MODEL = """
import sqlite3
store = sqlite3.connect("mlflow.db")
print(*(uri for (uri,) in store.execute("SELECT artifact_uri FROM runs")))
print(*(uri for (uri,) in store.execute("SELECT storage_location FROM model_versions")))
"""
