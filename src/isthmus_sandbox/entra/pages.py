"""The sandbox's own HTML: sign-in, consent, errors. Plain, readable in light and dark, without scripts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape

_STYLE = """
:root { color-scheme: light dark; --ink: #1b1b1f; --paper: #f5f5f7; --card: #fff; --line: #c9c9d1; --accent: #0b5cad; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #ececf1; --paper: #17181c; --card: #222329; --line: #4a4c57; --accent: #8ec1ff; }
}
* { box-sizing: border-box; }
body { margin: 0; font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); }
main { max-width: 30rem; margin: 3rem auto; padding: 1.5rem 2rem; background: var(--card);
  border: 1px solid var(--line); border-radius: 10px; overflow-wrap: anywhere; }
main.wide { max-width: 72rem; }
.mark { display: inline-block; font-size: .8rem; padding: .1rem .6rem; border: 1px dashed var(--line);
  border-radius: 99px; }
h1 { font-size: 1.4rem; margin: .6rem 0; } h2 { font-size: 1.1rem; margin: 1.6rem 0 .4rem; }
label { display: block; margin-top: .8rem; font-weight: 600; }
input { width: 100%; padding: .55rem; font: inherit; color: inherit; background: var(--paper);
  border: 1px solid var(--line); border-radius: 6px; }
button { font: inherit; padding: .55rem 1.1rem; margin: .8rem .5rem 0 0; border-radius: 6px; cursor: pointer;
  border: 1px solid var(--accent); background: transparent; color: var(--accent); }
button.main { background: var(--accent); color: var(--card); }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
.problem { border-left: 4px solid #c62828; padding: .3rem .8rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .92rem; }
th, td { text-align: left; vertical-align: top; padding: .35rem .6rem; border-bottom: 1px solid var(--line); }
.wide td:first-child { min-width: 21rem; }
h3 { font-size: 1rem; margin: 1.2rem 0 .3rem; }
code, pre { font-size: .92em; }
pre { white-space: pre-wrap; }
"""


def page(title: str, body: str, *, wide: bool = False) -> str:
    """A whole page; `body` is HTML whose values are escaped already."""
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>"
        f'<main{" class=wide" if wide else ""}><span class="mark">Isthmus sandbox, not Microsoft</span>'
        f"<h1>{escape(title)}</h1>{body}</main></body></html>"
    )


def hidden(fields: Mapping[str, str]) -> str:
    """Hidden form fields."""
    return "".join(
        f'<input type="hidden" name="{escape(name)}" value="{escape(value)}">' for name, value in fields.items()
    )


def login_page(
    action: str, request_id: str, app_name: str, users: Iterable[tuple[str, str]], hint: str, problem: str
) -> str:
    """Sign in: pick one of the demo people with one button, or type a name and password."""
    told = f'<p class="problem" role="alert">{escape(problem)}</p>' if problem else ""
    picks = "".join(
        f'<form method="post" action="{escape(action)}">{hidden({"request": request_id, "pick": name})}'
        f'<button type="submit">Continue as {escape(display)} ({escape(name)})</button></form>'
        for name, display in users
    )
    return page(
        "Sign in",
        f"<p>to continue to <b>{escape(app_name)}</b></p>{told}{picks}"
        f'<form method="post" action="{escape(action)}">{hidden({"request": request_id})}'
        f'<label for="user_name">User name</label>'
        f'<input id="user_name" name="user_name" autocomplete="username" value="{escape(hint)}">'
        '<label for="password">Password</label>'
        '<input id="password" name="password" type="password" autocomplete="current-password">'
        '<button class="main" type="submit">Sign in</button></form>',
    )


def consent_page(
    action: str, request_id: str, app_name: str, user_name: str, permissions: Iterable[str], *, for_everybody: bool
) -> str:
    """Permissions requested: accept or cancel."""
    whom = "for everybody in your organisation" if for_everybody else f"for {escape(user_name)}"
    listed = "".join(f"<li>{escape(permission)}</li>" for permission in permissions)
    return page(
        "Permissions requested",
        f"<p><b>{escape(app_name)}</b> asks, {whom}, to:</p><ul>{listed}</ul>"
        f'<form method="post" action="{escape(action)}">{hidden({"request": request_id})}'
        '<button class="main" type="submit" name="answer" value="accept">Accept</button>'
        '<button type="submit" name="answer" value="deny">Cancel</button></form>',
    )


def stuck_page(description: str) -> str:
    """An error that stays here: the user is never sent back to the app (OA-26)."""
    return page(
        "Sorry, but we're having trouble signing you in",
        f'<p class="problem" role="alert">{escape(description)}</p><p>Nothing was sent back to the app that asked. '
        "Close this page and start again there.</p>",
    )


def form_post_page(action: str, fields: Mapping[str, str]) -> str:
    """`response_mode=form_post`: the answer as a form; the script only saves the click."""
    return page(
        "Going back",
        f'<form method="post" action="{escape(action)}" id="back">{hidden(fields)}'
        '<button class="main" type="submit">Continue</button></form>'
        '<script>document.getElementById("back").submit()</script>',
    )


def signed_out_page() -> str:
    """After logout without an address to return to."""
    return page("Signed out", "<p>You signed out of your account.</p>")
