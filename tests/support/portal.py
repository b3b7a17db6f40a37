"""A browser without JavaScript: it keeps cookies, follows redirects, and sends the forms that are on the page and no others."""

import base64
import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from http.cookies import SimpleCookie
from typing import Any

import httpx

from bastide.http.door import COOKIE
from tests.support.api import ApiWorld

ORIGIN = "https://testserver.local"
_VOID = {"input", "meta", "link", "br"}


@dataclass
class Form:
    """One form of a page: where it goes, and what it says unless somebody types."""

    action: str
    method: str
    fields: dict[str, str] = field(default_factory=dict)
    buttons: list[tuple[str, str]] = field(default_factory=list)
    required: set[str] = field(default_factory=set)
    #: Boxes that nobody ticked: they are not sent.
    boxes: dict[str, str] = field(default_factory=dict)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.forms: list[Form] = []
        self.links: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self._form: Form | None = None
        self._select = self._area = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        said = dict(attrs)
        self.tags.append((tag, said))
        if tag == "a":
            self.links.append(said.get("href") or "")
        if tag == "form":
            self._form = Form(said.get("action") or "", said.get("method") or "get")
            self.forms.append(self._form)
        elif self._form is not None:
            self._control(self._form, tag, said)

    def _control(self, form: Form, tag: str, said: dict[str, str | None]) -> None:
        name = said.get("name") or ""
        if name and "required" in said:
            form.required.add(name)
        if tag == "button" and name:
            form.buttons.append((name, said.get("value") or ""))
        elif said.get("type") == "checkbox" and "checked" not in said:
            form.boxes[name] = said.get("value") or "on"
        elif tag == "input":
            form.fields[name] = said.get("value") or ""
        elif tag == "textarea":
            self._area, form.fields[name] = name, ""
        elif tag == "select":
            self._select = name
        elif tag == "option" and self._select and ("selected" in said or self._select not in form.fields):
            form.fields[self._select] = "\0" if "value" not in said else said["value"] or ""

    def handle_data(self, data: str) -> None:
        self.words.append(data)
        if self._form is None:
            return
        if self._area:
            self._form.fields[self._area] += data
        elif self._form.fields.get(self._select) == "\0":
            self._form.fields[self._select] = data

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._form = None
        elif tag == "textarea":
            self._area = ""
        elif tag == "select":
            self._select = ""


class Page:
    """An answer, read as a browser reads it."""

    def __init__(self, answer: httpx.Response) -> None:
        reader = _Reader()
        reader.feed(answer.text)
        self.answer, self.status, self.html = answer, answer.status_code, answer.text
        self.forms, self.links, self.tags = reader.forms, reader.links, reader.tags
        self.text = " ".join(" ".join(reader.words).split())

    def form(self, action: str) -> Form:
        """The form that goes there. Raises LookupError if there is none, or another beside it."""
        found = [form for form in self.forms if form.action == action]
        if len(found) != 1:
            raise LookupError(f"{len(found)} forms go to {action}: {[form.action for form in self.forms]}")
        return found[0]

    def link(self, beginning: str) -> str:
        """The first address on the page that begins so."""
        return next(link for link in self.links if link.startswith(beginning))


class Browser:
    """One person's browser. `ticket`: it is on a machine of the domain, and answers when it is asked for a ticket."""

    def __init__(self, api: ApiWorld, ticket: str = "") -> None:
        self._api = api
        self._ticket = base64.b64encode(ticket.encode()).decode() if ticket else ""
        self.cookie = ""
        self.page: Page

    def open(self, path: str, **headers: str) -> Page:
        return self._call("GET", path, None, headers)

    def send(self, form: Form, *, button: str = "", **typed: str) -> Page:
        """Send a form of the page with what was typed into its fields. `button`: name=value of the one that is pressed."""
        unknown = typed.keys() - form.fields.keys() - form.boxes.keys()
        assert not unknown, f"the form has no {unknown}"
        fields = {**form.fields, **typed}
        empty = {name for name in form.required if not fields[name]}
        assert not empty, f"a browser does not send this form without {empty}"
        return self.post(form.action, {**fields, **dict([button.split("=")] if button else [])})

    def post(self, path: str, fields: dict[str, str], **headers: str) -> Page:
        said = {
            "Origin": ORIGIN,
            "Sec-Fetch-Site": "same-origin",
            **{k.replace("_", "-"): v for k, v in headers.items()},
        }
        return self._call("POST", path, fields, said)

    def sign_in(self, account: str, password: str, code: str = "") -> Page:
        form = self.open("/signin").form("/signin")
        return self.send(form, account=account, password=password, code=code)

    def _call(self, method: str, path: str, data: dict[str, str] | None, headers: dict[str, str]) -> Page:
        answer = self._ask(method, path, data, headers)
        if answer.status_code == 401 and answer.headers["www-authenticate"] == "Negotiate" and self._ticket:
            answer = self._ask(method, path, data, {**headers, "Authorization": f"Negotiate {self._ticket}"})
        if answer.status_code == 303:
            return self._call("GET", answer.headers["location"], None, {})
        self.page = Page(answer)
        return self.page

    def _ask(
        self, method: str, path: str, data: dict[str, str] | None, headers: dict[str, str]
    ) -> httpx.Response:
        if self.cookie:
            headers = {**headers, "Cookie": f"{COOKIE}={self.cookie}"}
        self._api.client.cookies.clear()
        options: dict[str, Any] = {} if data is None else {"data": data}
        answer = self._api.client.request(method, path, headers=headers, follow_redirects=False, **options)
        self._api.client.cookies.clear()
        for said in answer.headers.get_list("set-cookie"):
            self.cookie = SimpleCookie(said)[COOKIE].value
        return answer


def signed_in(api: ApiWorld, account: str) -> Browser:
    browser = Browser(api)
    forest, _, name = account.partition("\\")
    assert browser.sign_in(account, f"{name}-{forest.lower()}-pw").status == 200
    return browser


def role_form(browser: Browser, role: str) -> Form:
    page = browser.open("/")
    ask = re.search(rf'href="(/ask/[0-9a-f-]+)">Ask for {role}<', page.html)
    assert ask is not None, page.text
    return browser.open(ask[1]).form(ask[1])


def ask(api: ApiWorld, browser: Browser, role: str = "File administrators", **typed: str) -> Page:
    form = role_form(browser, role)
    code = {"code": api.code("alice")} if "code" in form.fields else {}
    page = browser.send(form, **{"justification": "patch the server", **code, **typed})
    assert page.status == 200, page.text
    return page


def active(api: ApiWorld, browser: Browser) -> Page:
    page = ask(api, browser)
    api.work()
    return browser.open(page.answer.url.path)


def facts(page: Page) -> dict[str, str]:
    """The terms of a page's description lists."""
    pairs = re.findall(r"<dt>(.*?)</dt><dd[^>]*>(.*?)</dd>", page.html, re.DOTALL)
    return {term: " ".join(re.sub(r"<[^>]+>", " ", said).split()).replace(" ,", ",") for term, said in pairs}
