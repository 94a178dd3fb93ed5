"""Who may look, who may act, and what is refused."""

import re

import pytest

pytest.importorskip("fastapi")

import yaml

from lightmill.dashboard import Role, Tokens, application, new_token
from lightmill.dashboard.access import LIFE, MOST, Sessions
from lightmill.errors import ConfigurationError
from lightmill.workflow.store import create_store


@pytest.fixture
def place(root):
    """What is refused does not depend on the database."""
    create_store(root)
    return root


@pytest.fixture
def failed(fill):
    return fill.task("a_asn.json", state="FAILED")


# -- acting ----------------------------------------------------------------------------------------


def test_nobody_acts_without_a_token(browser, failed, acts):
    seal = browser.seal()

    for path in (f"/tasks/{failed}/retry", f"/api/tasks/{failed}/retry"):
        assert browser.ask(path, method="POST", form={"csrf": seal}).status == 401

    assert acts == []


def test_an_operator_presses_retry(operator, failed, acts):
    page = operator.ask(f"/tasks/{failed}").text
    seal = page.partition('name="csrf" value="')[2].partition('"')[0]

    answer = operator.ask(f"/tasks/{failed}/retry", method="POST", form={"csrf": seal})

    assert (answer.status, answer.headers["location"]) == (303, f"/tasks/{failed}?asked=retry")
    assert acts == [(failed, "retry", {}, "Ada")]


@pytest.mark.parametrize(
    ("action", "form", "told"),
    [
        ("hold", {"reason": " bad\0 guide star "}, {"reason": "bad guide star"}),
        ("cancel", {"reason": "x" * 1000}, {"reason": "x" * 500}),
        ("reprocess", {}, {"reason": ""}),
        ("priority", {"priority": "-5"}, {"priority": -5}),
        ("release", {"priority": "1"}, {}),
    ],
)
def test_an_action_is_told_what_it_needs(operator, failed, acts, action, form, told):
    form = {**form, "csrf": operator.seal(f"/tasks/{failed}")}

    assert operator.ask(f"/tasks/{failed}/{action}", method="POST", form=form).status == 303

    assert acts == [(failed, action, told, "Ada")]


@pytest.mark.parametrize(
    ("state", "action", "form", "told"),
    [
        ("CURRENT", "quarantine", {"reason": "shutter closed"}, {"reason": "shutter closed"}),
        ("CONFLICT", "accept", {}, {}),
        ("QUARANTINED", "accept", {}, {}),
    ],
)
def test_an_operator_says_what_becomes_of_a_file(operator, fill, acts, state, action, form, told):
    file = fill.dataset("a_uncal.fits", state=state)
    page = operator.ask(f"/datasets/{file}").text
    assert page.count("<form method") - operator.ask("/").text.count("<form method") == 1
    form = {**form, "csrf": operator.seal(f"/datasets/{file}")}

    answer = operator.ask(f"/datasets/{file}/{action}", method="POST", form=form)

    assert answer.headers["location"] == f"/datasets/{file}?asked={action}"
    assert acts == [(file, action, told, "Ada")]


def test_what_is_done_to_tasks_is_not_done_to_files(operator, fill, acts):
    file = fill.dataset("a_uncal.fits")
    form = {"csrf": operator.seal(f"/datasets/{file}")}

    assert operator.ask(f"/datasets/{file}/retry", method="POST", form=form).status == 404
    assert operator.ask(f"/api/datasets/{file}/retry", method="POST", form=form).status == 404
    assert acts == []


def test_nobody_accepts_a_file_without_a_token(browser, fill, acts):
    file = fill.dataset("a_uncal.fits", state="CONFLICT")
    form = {"csrf": browser.seal()}

    assert "Log in</a> to accept" in browser.ask(f"/datasets/{file}").text
    assert browser.ask(f"/datasets/{file}/accept", method="POST", form=form).status == 401
    assert acts == []


@pytest.mark.parametrize("priority", ["", "x", "1.5", "1e3", "99999999"])
def test_a_priority_that_is_none_is_refused(operator, failed, acts, priority):
    form = {"priority": priority, "csrf": operator.seal(f"/tasks/{failed}")}

    assert operator.ask(f"/tasks/{failed}/priority", method="POST", form=form).status == 400
    assert acts == []


@pytest.mark.parametrize("seal", ["", "0" * 64, "ü", "\ud800"])
def test_a_form_that_is_not_ours_is_refused(operator, failed, acts, seal):
    form = {"csrf": seal.encode("utf-8", "replace").decode()}

    assert operator.ask(f"/tasks/{failed}/retry", method="POST", form=form).status == 403
    assert acts == []


def test_a_form_given_to_another_browser_is_refused(operator, browser, failed, acts):
    seal = browser.seal()

    assert operator.ask(f"/tasks/{failed}/retry", method="POST", form={"csrf": seal}).status == 403
    assert acts == []


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:9999"},
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
    ],
)
def test_a_form_of_another_site_is_refused(operator, failed, acts, headers):
    form = {"csrf": operator.seal(f"/tasks/{failed}")}
    answer = operator.ask(f"/tasks/{failed}/retry", method="POST", form=form, **headers)

    assert answer.status == 403
    assert acts == []


def test_a_form_of_this_site_is_taken(operator, failed, acts):
    form = {"csrf": operator.seal(f"/tasks/{failed}")}
    answer = operator.ask(
        f"/tasks/{failed}/retry", method="POST", form=form, origin="http://127.0.0.1:8780",
        sec_fetch_site="same-origin",
    )  # fmt: skip

    assert answer.status == 303
    assert len(acts) == 1


def test_who_may_look_may_not_act(app, root, failed, acts, browsers):
    reader = browsers(app)
    reader.log_in(new_token(root, "read", "Bob"))
    form = {"csrf": reader.seal(f"/tasks/{failed}")}

    page = reader.ask(f"/tasks/{failed}").text
    assert "may look, not act" in page
    assert f'action="/tasks/{failed}/retry"' not in page
    form["csrf"] = page.partition('name="csrf" value="')[2].partition('"')[0]
    assert reader.ask(f"/tasks/{failed}/retry", method="POST", form=form).status == 403
    assert acts == []


def test_a_program_acts_with_its_token(browser, root, failed, acts):
    token = new_token(root, "operate", "night script")
    answer = browser.ask(
        f"/api/tasks/{failed}/hold", method="POST", body=b'{"reason": "clouds"}',
        authorization=f"Bearer {token}", content_type="application/json",
    )  # fmt: skip

    assert (answer.status, answer.json) == (202, {"task": failed, "action": "hold"})
    assert acts == [(failed, "hold", {"reason": "clouds"}, "night script")]


@pytest.mark.parametrize("body", [b"[1]", b"{", b"\xff", b'{"reason": ' + b"[" * 9000])
def test_a_body_that_cannot_be_read_is_refused(browser, root, failed, acts, body):
    token = new_token(root, "operate")
    answer = browser.ask(
        f"/api/tasks/{failed}/hold", method="POST", body=body, accept="*/*",
        authorization=f"Bearer {token}", content_type="application/json",
    )  # fmt: skip

    assert answer.status == 400
    assert acts == []


def test_a_form_that_is_too_large_is_refused(operator, failed, acts):
    form = {"csrf": "x" * 100_000}

    assert operator.ask(f"/tasks/{failed}/retry", method="POST", form=form).status == 413
    assert acts == []


def test_an_action_nobody_knows_is_not_there(operator, failed):
    form = {"csrf": operator.seal(f"/tasks/{failed}")}

    assert operator.ask(f"/tasks/{failed}/delete", method="POST", form=form).status == 404
    assert operator.ask(f"/tasks/x/retry", method="POST", form=form).status == 404  # noqa: F541


@pytest.mark.usefixtures("fill")
def test_what_the_state_does_not_allow_is_told(root, failed, browsers):
    from lightmill.workflow.machine import NotNow

    def act(*_):
        raise NotNow("a task that is DONE cannot be asked to retry", expected="FAILED")

    app = application(root, archive=root / "archive", tokens=Tokens(root), act=act)
    operator = browsers(app)
    operator.log_in(new_token(root, "operate"))
    form = {"csrf": operator.seal(f"/tasks/{failed}")}
    answer = operator.ask(f"/tasks/{failed}/retry", method="POST", form=form)

    assert answer.status == 409
    assert "cannot be asked to retry" in answer.text
    app.state.questions.close()


@pytest.mark.usefixtures("fill")
def test_without_a_writer_nothing_can_be_done(root, failed, browsers):
    app = application(root, archive=root / "archive", tokens=Tokens(root))
    operator = browsers(app)
    operator.log_in(new_token(root, "operate"))
    page = operator.ask(f"/tasks/{failed}").text
    form = {"csrf": page.partition('name="csrf" value="')[2].partition('"')[0]}

    assert "cannot change the store" in page
    assert operator.ask(f"/tasks/{failed}/retry", method="POST", form=form).status == 503
    app.state.questions.close()


# -- looking ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8780", "127.0.0.1.evil.example", "localhost.evil:8780", "",
     "[::2]:8780", "127.0.0.1@evil.example"],
)  # fmt: skip
def test_a_name_that_is_not_ours_is_refused(app, fill, host, browsers):
    fill.dataset("secret_rate.fits")
    for path in ("/", "/api/datasets", "/login", "/static/style.css", "/metrics"):
        answer = browsers(app, host=host).ask(path)
        assert answer.status == 421
        assert "secret" not in answer.text


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:9000", "[::1]:8780", "LOCALHOST:1"])
def test_this_machine_has_several_names(app, host, browsers):
    assert browsers(app, host=host).ask("/").status == 200


@pytest.mark.usefixtures("fill")
def test_others_log_in_to_look(root, browsers):
    app = application(
        root, archive=root / "archive", tokens=Tokens(root), hosts=["obs.example"]
    )  # fmt: skip
    far = browsers(app, client="192.0.2.7", host="obs.example:8780")

    answer = far.ask("/tasks?program=p1&state=FAILED")
    assert answer.status == 303
    assert answer.headers["location"] == "/login?next=%2Ftasks%3Fprogram%3Dp1%26state%3DFAILED"
    assert far.ask("/api/status", accept="*/*").status == 401
    assert far.ask("/static/style.css").status == 200
    assert far.ask("/metrics", accept="*/*").headers["www-authenticate"] == "Bearer"
    token = new_token(root, "read")
    assert far.ask("/metrics", authorization=f"Bearer {token}").status == 200
    assert far.ask("/", authorization="Bearer wrong", accept="*/*").status == 401
    assert far.log_in(token).status == 303
    assert far.ask("/tasks").status == 200
    app.state.questions.close()


@pytest.mark.parametrize("header", ["x_forwarded_for", "forwarded", "x_real_ip", "via"])
def test_what_comes_through_a_proxy_is_not_of_this_machine(app, header, browsers):
    assert browsers(app).ask("/api/status", accept="*/*", **{header: "1.2.3.4"}).status == 401


@pytest.mark.usefixtures("fill")
def test_a_name_that_others_use_is_not_this_machine_even_from_here(root, browsers):
    app = application(root, archive=root / "archive", tokens=None, hosts=["obs.example"])
    near = browsers(app, host="obs.example")

    assert near.ask("/api/status", accept="*/*").status == 401
    assert "Nobody can log in" in near.ask("/login").text
    assert browsers(app).ask("/").status == 200
    app.state.questions.close()


@pytest.mark.usefixtures("fill")
def test_a_private_dashboard_asks_everybody(root, browsers):
    app = application(root, archive=root / "archive", tokens=Tokens(root), is_private=True)

    assert browsers(app).ask("/api/status", accept="*/*").status == 401
    app.state.questions.close()


# -- logging in ------------------------------------------------------------------------------------


def test_the_cookie_is_for_this_site_alone(app, root, browsers):
    answer = browsers(app).log_in(new_token(root, "read"))

    cookie = answer.headers["set-cookie"].lower()
    assert cookie.startswith("lightmill_8780=")
    assert "httponly" in cookie
    assert "samesite=strict" in cookie


def test_a_wrong_token_is_refused(app, root, browsers):
    new_token(root, "read")
    browser = browsers(app)

    for token in ("", "lm-wrong", "ü" * 10, "0" * 64):
        assert browser.log_in(token).status == 403
    assert "Log out" not in browser.ask("/").text


def test_a_login_without_its_form_is_refused(app, root, browsers):
    token = new_token(root, "operate")
    browser = browsers(app)
    browser.ask("/login")

    assert browser.ask("/login", method="POST", form={"token": token}).status == 403
    form = {"token": token, "csrf": "0" * 64}
    assert browsers(app).ask("/login", method="POST", form=form).status == 403


def test_logging_in_gives_another_session(app, root, browsers):
    # or whoever placed a cookie before would be logged in, too
    browser = browsers(app)
    browser.ask("/login")
    before = dict(browser.cookies)
    browser.log_in(new_token(root, "operate"))

    assert browser.cookies != before
    stolen = browsers(app)
    stolen.cookies = before
    assert "Log out" not in stolen.ask("/").text


@pytest.mark.parametrize(
    ("asked", "to"),
    [
        ("/tasks?state=FAILED", "/tasks?state=FAILED"),
        ("//evil.example", "/"),
        ("/\\evil.example", "/"),
        ("https://evil.example", "/"),
        ("javascript:alert(1)", "/"),
        ("/\r\nset-cookie: a=b", "/"),
        ("/tasks/ü", "/"),
        ("", "/"),
    ],
)
def test_logging_in_leads_to_a_page_of_ours(app, root, asked, to, browsers):
    browser = browsers(app)
    token = new_token(root, "read")
    form = {"token": token, "csrf": browser.seal(), "next": asked}

    assert browser.ask("/login", method="POST", form=form).headers["location"] == to


def test_who_logged_out_is_nobody(operator, failed, acts):
    seal = operator.seal(f"/tasks/{failed}")
    kept = dict(operator.cookies)

    assert operator.ask("/logout", method="POST", form={}).status == 403
    assert operator.ask("/logout", method="POST", form={"csrf": seal}).status == 303
    operator.cookies = kept
    assert "Log out" not in operator.ask("/").text
    assert operator.ask(f"/tasks/{failed}/retry", method="POST", form={"csrf": seal}).status == 401
    assert acts == []


# -- tokens ----------------------------------------------------------------------------------------


def test_the_file_of_tokens_tells_no_token(root):
    token = new_token(root, "operate", "Ada")
    path = root / "tokens.yaml"

    assert token not in path.read_text()
    assert token[3:] not in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600
    assert Tokens(root).holder(token) == ("Ada", Role.OPERATE)
    assert Tokens(root).holder(yaml.safe_load(path.read_text())["tokens"][0]["sha256"]) is None
    assert [one.name for one in root.glob(".tokens*")] == []


def test_a_token_that_is_taken_away_is_void_at_once(operator, root, failed, acts):
    seal = operator.seal(f"/tasks/{failed}")
    (root / "tokens.yaml").write_text("tokens: []\n")

    assert operator.ask(f"/tasks/{failed}/retry", method="POST", form={"csrf": seal}).status == 401
    assert acts == []


def test_several_tokens_live_side_by_side(root):
    made = {new_token(root, role, name): (name, Role(role))
            for role, name in (("read", "a"), ("operate", "b"), ("read", "c d@e.f"))}  # fmt: skip

    tokens = Tokens(root)
    assert {token: tokens.holder(token) for token in made} == made
    assert new_token(root, "read") not in made


@pytest.mark.parametrize(
    "text",
    ["tokens: [x]", "tokens: [{name: a, role: root, sha256: b}]", "a: [", "[]", "tokens: 3",
     "tokens: [{name: a, role: [read], sha256: b}]",
     "!!python/object/apply:os.system [id]", "\xff"],
)  # fmt: skip
def test_a_broken_file_of_tokens_lets_nobody_in(root, app, text, browsers):
    (root / "tokens.yaml").write_bytes(text.encode("latin-1"))

    with pytest.raises(ConfigurationError) as told:
        Tokens(root).holder("x")
    assert told.value.place
    assert told.value.remedy
    with pytest.raises(ConfigurationError):
        new_token(root, "read")
    answer = browsers(app).ask("/", authorization="Bearer x")
    assert answer.status == 500


@pytest.mark.parametrize("given", [("root", "a"), ("", "a"), ("read", "a\nb"), ("read", "<b>")])
def test_a_token_has_a_role_and_a_name(root, given):
    with pytest.raises(ConfigurationError):
        new_token(root, *given)
    assert not (root / "tokens.yaml").exists()


def test_sessions_end_by_themselves(root):
    now = [0.0]
    sessions, tokens = Sessions(lambda: now[0]), Tokens(root)
    session = sessions.begin(new_token(root, "read", "Bob"))

    assert sessions.visitor(session, tokens).name == "Bob"
    now[0] = LIFE
    assert sessions.visitor(session, tokens) is None
    now[0] = 0.0
    assert sessions.visitor(session, tokens) is None


def test_there_are_only_so_many_sessions(root):
    sessions, token = Sessions(), new_token(root, "read")
    made = [sessions.begin(token) for _ in range(MOST + 1)]

    tokens = Tokens(root)
    assert sessions.visitor(made[0], tokens) is None
    assert sessions.visitor(made[1], tokens) is not None


def test_no_answer_is_kept_by_what_lies_between(browser):
    answer = browser.ask("/")

    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    assert re.fullmatch(r"text/html; charset=utf-8", answer.headers["content-type"])
