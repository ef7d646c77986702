"""Logging in to the site, as browsers do it: cookies, where a request comes from, how often one may try."""

import asyncio
import html
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from tests.integration.test_web_api import PASSWORD, make_app, ok, problem
from tests.integration.web_harness import serving, site_of
from windlass.web import mounted, site
from windlass.web.access import cookies
from windlass.web.access.attempts import MOST, MOST_ALIKE, SPAN, Attempts
from windlass.web.access.roles import Role
from windlass.web.access.vault import Vault
from windlass.web.pages.login import local_path
from windlass.web.serving import Server


@pytest.fixture
def vault_and_site(tmp_path: Path) -> Iterator[tuple[Vault, str]]:
    """A site with one user, ada, who is an operator."""
    url = f"sqlite:///{tmp_path / 'jobs.db'}"
    other = make_app(url)
    vault = Vault(other.store)

    async def add() -> None:
        async with other:
            await vault.add_user("ada", PASSWORD, Role.OPERATOR)

    asyncio.run(add())
    with site_of(make_app(url)) as where:
        yield vault, where


@pytest.fixture
def site_url(vault_and_site: tuple[Vault, str]) -> str:
    return vault_and_site[1]


@pytest.fixture
def browser(site_url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=site_url, headers={"origin": site_url, "sec-fetch-site": "same-origin"}) as client:
        yield client


def log_in(browser: httpx.Client, password: str = PASSWORD, name: str = "ada", to: str = "/") -> httpx.Response:
    """Send the form."""
    return browser.post("/login", data={"name": name, "password": password, "next": to})


def csrf(browser: httpx.Client) -> str:
    """What a page of the site has in it."""
    word: str = ok(browser.get("/api/v1/me"))["csrf"]
    return word


def cookie_of(browser: httpx.Client) -> str:
    """What it keeps, as it sends it."""
    [(name, value)] = browser.cookies.items()
    return f"{name}={value}"


def test_a_session_from_login_to_logout(browser: httpx.Client) -> None:
    assert problem(browser.get("/api/v1/me"), 401)
    answer = log_in(browser, to="/jobs?state=dead")
    assert (answer.status_code, answer.headers["location"]) == (303, "/jobs?state=dead")
    assert ok(browser.get("/api/v1/me")).items() >= {"name": "ada", "role": "operator", "how": "session"}.items()
    assert "X-CSRF-Token" in problem(browser.post("/logout"), 403)
    token = csrf(browser)
    answer = browser.post("/logout", headers={"x-csrf-token": token})
    assert (answer.status_code, answer.headers["hx-redirect"]) == (204, "/login")
    assert not browser.cookies
    assert problem(browser.get("/api/v1/me"), 401)


@pytest.mark.parametrize("other", ['prefs={"a": 1}', "a[0]=1", "user@x=1", "flag", "version=1", "path=/", '="'])
def test_cookies_of_other_applications_keep_nobody_out(browser: httpx.Client, other: str) -> None:
    log_in(browser)
    mine = cookie_of(browser)
    for sent in (f"{other}; {mine}", f"{mine}; {other}"):
        answer = httpx.get(browser.base_url.join("/api/v1/me"), headers={"cookie": sent})
        assert answer.status_code == 200, sent


def test_a_session_that_is_over_is_over_for_whoever_kept_its_cookie(browser: httpx.Client) -> None:
    log_in(browser)
    stolen = {"cookie": cookie_of(browser)}
    token = csrf(browser)
    browser.post("/logout", headers={"x-csrf-token": token})
    assert problem(httpx.get(browser.base_url.join("/api/v1/me"), headers=stolen), 401)


def test_scripts_and_other_sites_do_not_see_the_cookie(browser: httpx.Client) -> None:
    answer = browser.post("/login", data={"name": "ada", "password": PASSWORD})
    flags = answer.headers["set-cookie"].lower()
    assert {"httponly", "samesite=strict", "path=/", "max-age=604800"} <= set(flags.split("; "))
    assert "secure" not in flags
    forwarded = browser.post(
        "/login", data={"name": "ada", "password": PASSWORD}, headers={"x-forwarded-proto": "https"}
    )
    assert "secure" in forwarded.headers["set-cookie"].lower(), "behind a proxy that speaks TLS"


def test_two_sites_on_one_host_keep_their_sessions_apart(tmp_path: Path) -> None:
    """Browsers send a host's cookies to all of its ports."""
    apps = [make_app(f"sqlite:///{tmp_path / name}.db") for name in ("shop", "mail")]
    for app in apps:
        asyncio.run(_let_in(app.url))
    with site_of(apps[0]) as shop, site_of(apps[1]) as mail, httpx.Client() as browser:
        for where in (shop, mail):
            answer = browser.post(f"{where}/login", data={"name": "ada", "password": PASSWORD, "next": "/"})
            assert answer.status_code == 303
        words = [ok(browser.get(f"{where}/api/v1/me"))["csrf"] for where in (shop, mail)]
        assert browser.post(f"{mail}/logout", headers={"x-csrf-token": words[1]}).status_code == 204
        assert problem(browser.get(f"{mail}/api/v1/me"), 401)
        assert ok(browser.get(f"{shop}/api/v1/me"))["csrf"] == words[0]
        assert len(browser.cookies) == 1


@pytest.mark.parametrize(
    ("scheme", "host", "root", "name"),
    [
        ("http", "jobs.example", "", "windlass_session"),
        ("http", "localhost:8381", "", "windlass_session_8381"),
        ("http", "[::1]:8381", "/ops/", "windlass_session_8381"),
        ("https", "jobs.example", "", "__Host-windlass_session"),
        ("https", "jobs.example:8443", "", "__Host-windlass_session_8443"),
        ("https", "jobs.example:8443", "/ops", "__Secure-windlass_session_8443"),
        ("http", "localhost:99999", "", "windlass_session"),
        ("http", "localhost:;a=b", "", "windlass_session"),
        ("http", "[::1", "", "windlass_session"),
        ("http", "", "", "windlass_session"),
    ],
)
def test_the_name_of_the_cookie(scheme: str, host: str, root: str, name: str) -> None:
    scope = {"type": "http", "scheme": scheme, "root_path": root}
    assert cookies.name_of(scope, {"host": host}) == name
    assert cookies.path_of(scope) == (root.rstrip("/") or "/")
    assert cookies.kept(scope, {"host": host, "cookie": f"a=b; {name}x=1; x{name}=2; {name}=3"}) == "3"


@pytest.mark.parametrize("root", ["", "/ops"])
def test_by_tls_a_session_is_kept_as_browsers_want_it(root: str, tmp_path: Path) -> None:
    """`__Host-` with `Path=/`, `__Secure-` below a path, both `Secure`, also when they are deleted."""
    app = make_app(f"sqlite:///{tmp_path / 'jobs.db'}")
    asyncio.run(_let_in(app.url))
    inner = site(app)
    application = mounted(inner, root, inner) if root else inner
    with serving(uvicorn.Server(uvicorn.Config(application, log_config=None))) as where:
        tls = {"x-forwarded-proto": "https"}
        answer = httpx.post(f"{where}{root}/login", data={"name": "ada", "password": PASSWORD}, headers=tls)
        kept, *flags = answer.headers["set-cookie"].split("; ")
        assert kept.startswith("__Secure-" if root else "__Host-")
        assert {"Secure", f"Path={root or '/'}"} <= set(flags)
        assert not any(flag.startswith("Domain") for flag in flags)
        here = tls | {"cookie": kept}
        me = ok(httpx.get(f"{where}{root}/api/v1/me", headers=here))
        unprefixed = {"cookie": kept.removeprefix("__Secure-").removeprefix("__Host-")}
        assert problem(httpx.get(f"{where}{root}/api/v1/me", headers=tls | unprefixed), 401)
        answer = httpx.post(f"{where}{root}/logout", headers=here | {"x-csrf-token": me["csrf"]})
        gone, *flags = answer.headers["set-cookie"].split("; ")
        assert gone.partition("=")[0] == kept.partition("=")[0]
        assert {"Secure", f"Path={root or '/'}", "Max-Age=0"} <= set(flags)
    app.close_sync()


def test_a_wrong_password_and_a_name_that_nobody_has_look_alike(browser: httpx.Client) -> None:
    for name, password in (("ada", "wrong"), ("eve", PASSWORD), ("a\0b", PASSWORD), ("", ""), ("ada", "x" * 5000)):
        answer = log_in(browser, password, name)
        assert (answer.status_code, "no such user with this password" in answer.text) == (401, True)
    assert not browser.cookies


def test_another_site_logs_nobody_in(site_url: str) -> None:
    for headers in ({"origin": "https://evil.example"}, {"sec-fetch-site": "cross-site"}):
        answer = httpx.post(f"{site_url}/login", data={"name": "ada", "password": PASSWORD}, headers=headers)
        assert problem(answer, 403)
        assert "set-cookie" not in answer.headers


def test_a_session_writes_only_what_a_page_of_ours_sends(browser: httpx.Client) -> None:
    log_in(browser)
    body = {"task": "add", "arguments": [1, 2]}
    token = csrf(browser)
    assert problem(browser.post("/api/v1/jobs", json=body), 403)
    assert problem(browser.post("/api/v1/jobs", json=body, headers={"x-csrf-token": token + "x"}), 403)
    evil = {"origin": "https://evil.example", "x-csrf-token": token}
    assert problem(browser.post("/api/v1/jobs", json=body, headers=evil), 403)
    assert ok(browser.post("/api/v1/jobs", json=body, headers={"x-csrf-token": token}), 201)


def test_who_tries_too_often_has_to_wait(browser: httpx.Client) -> None:
    for _ in range(MOST):
        assert log_in(browser, "wrong").status_code == 401
    assert log_in(browser).status_code == 429, "the right password comes too late"
    assert "5 minutes" in log_in(browser).text


def test_who_mistypes_names_does_not_shut_out_those_who_share_an_address(browser: httpx.Client) -> None:
    for n in range(MOST):
        assert log_in(browser, "wrong", name=f"name{n}").status_code == 401
    assert log_in(browser).status_code == 303


def test_a_proxy_is_believed_if_it_is_named(tmp_path: Path) -> None:
    def log_in_behind(where: str, password: str, client: str) -> httpx.Response:
        headers = {"x-forwarded-for": client, "x-forwarded-proto": "https"}
        return httpx.post(f"{where}/login", data={"name": "ada", "password": password}, headers=headers)

    app = make_app(f"sqlite:///{tmp_path / 'jobs.db'}")
    asyncio.run(_let_in(app.url))
    for proxies, is_believed in ((["10.0.0.0/8", "127.0.0.1"], True), (["10.1.1.1"], False)):
        with serving(Server(site(app), proxies)) as where:
            tries = [log_in_behind(where, "wrong", f"198.51.100.{n % 2}").status_code for n in range(MOST)]
            assert tries == [401] * MOST
            answer = log_in_behind(where, PASSWORD, "198.51.100.7")
            assert answer.status_code == (303 if is_believed else 429)
            assert ("secure" in answer.headers.get("set-cookie", "").lower()) == is_believed
    app.close_sync()


@pytest.mark.parametrize(
    ("proxy", "client", "is_believed"),
    [
        ("10.0.0.5", "10.0.0.5", True),
        ("10.0.0.5", "::ffff:10.0.0.5", True),
        ("10.0.0.0/8", "::ffff:10.9.9.9", True),
        ("10.0.0.0/8", "::ffff:11.0.0.5", False),
        ("fd00::/8", "fd00::5", True),
        ("10.0.0.5", "10.0.0.6", False),
    ],
)
async def test_which_proxy_is_believed(proxy: str, client: str, is_believed: bool) -> None:
    seen = []

    async def inner(scope: Any, _receive: Any, _send: Any) -> None:
        seen.append(scope["client"][0])

    config = Server(inner, [proxy]).config  # type: ignore[arg-type]
    config.load()
    headers = [(b"x-forwarded-for", b"198.51.100.7")]
    await config.loaded_app({"type": "http", "client": (client, 1), "headers": headers}, None, None)  # type: ignore[arg-type]
    assert seen == ["198.51.100.7" if is_believed else client]


async def _let_in(url: str) -> None:
    async with make_app(url) as app:
        await Vault(app.store).add_user("ada", PASSWORD, Role.OPERATOR)


def test_another_password_ends_sessions(vault_and_site: tuple[Vault, str], browser: httpx.Client) -> None:
    log_in(browser)
    asyncio.run(vault_and_site[0].change_user("ada", password="another password"))
    assert problem(browser.get("/api/v1/me"), 401)


@pytest.mark.parametrize(
    "text",
    [
        "https://evil.example",
        "//evil.example",
        "/\\evil.example",
        "javascript:alert(1)",
        "",
        "/a\r\nb",
        "/\t/evil.example",
        "evil",
    ],
)
def test_login_leads_nowhere_else(text: str) -> None:
    assert local_path(text) == "/"


def test_a_link_puts_nothing_into_the_headers(site_url: str) -> None:
    answer = httpx.get(f"{site_url}/x%0d%0aset-cookie:%20a=b/\u00e9", headers={"accept": "text/html"})
    assert answer.status_code == 303
    assert answer.headers["location"] == "/login?next=/x%0D%0Aset-cookie%3A%20a%3Db/%C3%A9"
    assert "set-cookie" not in answer.headers


def test_login_leads_back_to_what_was_chosen(browser: httpx.Client) -> None:
    chosen = "/jobs?state=dead&task=a%26b&text=%C3%A9"
    asked = browser.get(chosen, headers={"accept": "text/html"})
    form = browser.get(asked.headers["location"]).text
    to = html.unescape(form.split('name="next" value="')[1].split('"')[0])
    assert (asked.status_code, to) == (303, chosen)
    assert log_in(browser, to=to).headers["location"] == chosen


def test_an_open_page_is_led_back_to_what_was_chosen(browser: httpx.Client, site_url: str) -> None:
    headers = {"hx-request": "true", "hx-current-url": f"{site_url}/jobs?state=dead&queue=a%26b"}
    asked = browser.get("/jobs?state=dead", headers=headers)
    assert asked.headers["hx-redirect"] == "/login?next=/jobs%3Fstate%3Ddead%26queue%3Da%2526b"


@pytest.mark.parametrize(
    ("asked", "to"), [("/jobs?text=" + "x" * 600, "/login?next=/jobs"), ("/" + "x" * 600, "/login")]
)
def test_what_is_too_long_to_be_led_back_to_is_left_out(browser: httpx.Client, asked: str, to: str) -> None:
    answer = browser.get(asked, headers={"accept": "text/html"})
    assert (answer.status_code, answer.headers["location"]) == (303, to)
    assert browser.get(to).status_code == 200


def test_what_is_nowhere_is_said_to_programs_as_to_them(browser: httpx.Client) -> None:
    log_in(browser)
    assert problem(browser.get("/nothing"), 404)
    for path in ("/api/v1/nothing", "/static/nothing.js"):
        assert problem(browser.get(path, headers={"accept": "text/html"}), 404)
    assert problem(browser.post("/nothing", headers={"accept": "text/html", "x-csrf-token": csrf(browser)}), 404)


def test_attempts_count_from_their_beginning_and_are_forgotten() -> None:
    now = 0.0
    attempts = Attempts(lambda: now)
    for _ in range(MOST):
        assert attempts.begin("ada", "a") == 0
    now = 1.0
    assert attempts.begin("ada", "a") == SPAN - 1
    assert attempts.begin("ada", "b") == 0
    assert attempts.begin("eve", "a") == 0
    attempts.succeeded("ada", "a")
    assert attempts.begin("ada", "a") == 0
    for _ in range(MOST - 1):
        attempts.begin("ada", "a")
    assert attempts.begin("ada", "a") > 0
    now += SPAN
    assert attempts.begin("ada", "a") == 0


@pytest.mark.parametrize("how", ["one name from many addresses", "many names from one address"])
def test_guesses_spread_over_names_or_addresses_are_slowed_too(how: str) -> None:
    attempts = Attempts(lambda: 0.0)
    for n in range(MOST_ALIKE):
        name, address = ("ada", f"a{n}") if how.startswith("one") else (f"n{n}", "a")
        assert attempts.begin(name, address) == 0
        if n % 10 == 0:  # somebody else, who knows a password
            attempts.begin("eve", address)
            attempts.succeeded("eve", address)
    assert attempts.begin("ada", "a") == SPAN
    assert attempts.begin("bob", "b") == 0


def test_attempts_by_many_names_take_no_more_memory() -> None:
    attempts = Attempts(lambda: 0.0)
    for n in range(20_000):
        attempts.begin(f"name {n}", f"address {n}")
    assert len(attempts._tried) == 10_000
