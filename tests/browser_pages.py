"""The page in a real browser, as a person meets it: open, wait until it is at rest, find, click."""

import re
from pathlib import Path
from typing import Literal

from playwright.sync_api import Browser, BrowserContext, Error, Locator, Page, expect

SECONDS = 90_000
"""After so many milliseconds a wait has failed."""

PRESS = 60
"""Milliseconds for which a person holds a button of the mouse."""

LISTEN = """
window.WebSocket = class extends WebSocket {
  constructor(...of) {
    super(...of);
    this.addEventListener("message", () => { window.heard = performance.now(); });
  }
  send(message) {
    window.sent = performance.now();
    super.send(message);
  }
};
"""
"""Notes when the page last asked its server for something, and when it last heard from it."""

UNANSWERED = 10_000
"""Milliseconds after which an answer is waited for no longer: not every message has one."""

AT_REST = """(unanswered) => {
  const app = document.querySelector(".stApp");
  const working = app?.dataset.testScriptState !== "notRunning"
    || document.querySelector("[data-testid=stMain] :is(h1, [data-testid=stHeading])") === null
    || [...document.querySelectorAll("*")].some((one) => one.shadowRoot?.querySelector("[data-state=computing]"))
    || document.querySelector("[data-testid=stSpinner], [data-testid=stSkeleton]") !== null
    || [...document.querySelectorAll("button")].some((one) => one.innerText === "Stop")
    || (window.sent > (window.heard ?? 0) && performance.now() - window.sent < unanswered);
  window.since = working ? null : (window.since ?? performance.now());
  return !working && performance.now() - window.since > 300;
}"""
"""Something is drawn, nothing runs, nothing is asked or being fetched, and that for a moment."""

expect.set_options(timeout=SECONDS)


def rest(page: Page) -> Page:
    """Wait until the page shows what was asked for, and draws no more."""
    page.evaluate("window.since = null")
    page.wait_for_function(AT_REST, arg=UNANSWERED, timeout=SECONDS)
    return page


class Visitors:
    """Opens paths of an address, each as a new visitor, in one browser.

    Tabs of one context are different visitors to the page, and load its scripts but once.
    """

    def __init__(self, browser: Browser, address: str) -> None:
        self._browser = browser
        self._address = address
        self._contexts: dict[str, BrowserContext] = {}
        self._complaints: list[str] = []

    def __call__(
        self, path: str = "", settled: bool = True, scheme: Literal["light", "dark"] = "light"
    ) -> Page:
        """A tab at `path`, at rest unless it is wanted as it comes."""
        tab = self._context(scheme).new_page()
        tab.on("pageerror", lambda error: self._complaints.append(str(error)))
        tab.goto(f"{self._address}/{path}")
        return rest(tab) if settled else tab

    def _context(self, scheme: Literal["light", "dark"]) -> BrowserContext:
        if scheme not in self._contexts:
            one = self._browser.new_context(
                viewport={"width": 1280, "height": 1600}, color_scheme=scheme
            )
            one.set_default_timeout(SECONDS)
            one.add_init_script(LISTEN)
            self._contexts[scheme] = one
        return self._contexts[scheme]

    def leave(self) -> None:
        """Close all tabs; what one of them has complained of is an error."""
        for context in self._contexts.values():
            for tab in context.pages:
                tab.close()
        complaints, self._complaints = self._complaints, []
        assert complaints == []


def keyed(page: Page, key: str) -> Locator:
    """The element of a widget's own key.

    Of several alike the one that is seen first may be any: Streamlit loads each kind of element
    when it meets the first, and until then each one waits by itself.
    """
    return page.locator(f".st-key-{key}")


def field(page: Page, label: str) -> Locator:
    """The field of this label."""
    return page.get_by_label(label, exact=True)


def press(page: Page, name: str, exact: bool = False) -> None:
    """Click a button once the page is at rest.

    A button is there before all that is drawn beside it, which then moves it: pressed in one
    place and let go in another, it is not clicked. No person is so quick; a test is.
    """
    rest(page).get_by_role("button", name=name, exact=exact).click()


def type_into(page: Page, label: str, text: str) -> None:
    """Type into a field of a page at rest, and wait until it has answered.

    What is typed while the page empties the field, as after "Try your own", is emptied too.
    """
    rest(page)
    field(page, label).fill(text)
    field(page, label).press("Control+Enter")
    rest(page)
    expect(field(page, label)).to_have_value(text)


def choose(page: Page, label: str, option: str) -> None:
    """Choose an option of a select box; typed first, since of a long list only a part is drawn."""
    box = page.get_by_role("combobox", name=label).first
    box.click()
    box.fill(option)
    page.get_by_role("option", name=option).click()


def heat_map(page: Page) -> Locator:
    """The first heat map."""
    return page.get_by_role("grid").first


def cell(page: Page, place: str) -> Locator:
    """The cell of a place, in the first heat map that has it."""
    return page.locator(f'[data-place="{place}"]').first


def press_on_map(page: Page, *keys: str) -> None:
    """Press keys on the first heat map, from its first layer and token on, the last of them Enter."""
    heat_map(page).locator('[tabindex="0"]').focus()
    for key in ("Control+Home", *keys, "Enter"):
        page.keyboard.press(key)


def barriers(page: Page, axe: str) -> list[str]:
    """What axe finds that keeps somebody out."""
    page.evaluate(axe)
    found = page.evaluate("axe.run()")
    return [
        f"{one['id']}: {node['target']} {node['html'][:200]}"
        for one in found["violations"]
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"]
    ]


def in_address(page: Page, text: str) -> None:
    """Wait until the address has this in it."""
    expect(page).to_have_url(re.compile(re.escape(text)))


def place(page: Page) -> Locator:
    """Where the page names the place that it looks at closely."""
    return page.locator("h4 code").first


def what_is_seen(browser: Browser, folder: Path) -> str:
    """The text of every open tab; a picture of each goes into `folder`."""
    tabs = [tab for context in browser.contexts for tab in context.pages]
    return "\n\n".join(_seen(tab, folder / f"tab-{i}.png") for i, tab in enumerate(tabs))


def _seen(tab: Page, picture: Path) -> str:
    try:
        tab.screenshot(path=picture)
        return f"{tab.url} ({picture})\n{tab.inner_text('body')}"
    except Error as error:  # a tab that has crashed shows nothing
        return f"{tab.url}: {error}"
