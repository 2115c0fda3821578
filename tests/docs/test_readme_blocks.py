"""The runner of README examples."""

from __future__ import annotations

import os
from textwrap import dedent

import pytest
from tests.docs.readme_blocks import examples_of, run_page, same_output

PAGE = dedent(
    """\
    # Title

    <!-- before the example:
    number = given + 1
    -->

    ```python
    print(number)
    ```

    ```text
    42
    ```

    Words.

    ```console
    not python
    ```

    ```python
    import asyncio

    await asyncio.sleep(0)
    print("later", number)
    ```
    """
)


def test_every_python_block_is_an_example_with_its_line() -> None:
    assert [(example.line, example.prints) for example in examples_of(PAGE)] == [(8, "42\n"), (22, None)]


async def test_examples_share_what_came_before_and_may_await() -> None:
    assert await run_page(PAGE, "PAGE.md", {"given": 41}) == ["42\n", "later 42\n"]


async def test_an_example_that_runs_its_own_loop_works() -> None:
    page = "```python\nimport asyncio\n\nasync def main():\n    print(1)\n\nasyncio.run(main())\n```\n"
    assert await run_page(page, "PAGE.md", {}) == ["1\n"]


async def test_the_environment_of_an_example_is_its_own() -> None:
    page = '<!-- before the example:\nos.environ["ISTHMUS_README"] = "1"\n-->\n\n```python\nprint(1)\n```\n'
    await run_page(page, "PAGE.md", {})
    assert "ISTHMUS_README" not in os.environ


async def test_a_broken_example_fails_with_its_own_error() -> None:
    with pytest.raises(NameError, match="nothing_like_it"):
        await run_page("```python\nnothing_like_it\n```\n", "PAGE.md", {})


@pytest.mark.parametrize(
    ("promised", "printed", "same"),
    [
        ("42\n", "42\n", True),
        ("42", "43", False),
        ("a … z", "a b c z", True),
        ("first\n…\nlast", "first\nx\ny\nlast\n", True),
        ("first\n…", "second\nfirst\n", False),
    ],
)
def test_a_promise_is_kept_word_for_word_except_for_dots(promised: str, printed: str, same: bool) -> None:
    assert same_output(promised, printed) is same
