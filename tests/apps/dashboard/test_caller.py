"""Who may do what on the pages."""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.apps.dashboard.caller import Scope, Visitor


@dataclass(frozen=True)
class Quotas:
    top_priority: int | None = None


@dataclass(frozen=True)
class Key:
    user: str = "ada"
    scopes: tuple[str, ...] = ()
    quotas: Quotas = Quotas()

    def can(self, scope: str) -> bool:
        return scope in self.scopes


def test_where_nobody_is_asked_for_a_key_everything_is_allowed():
    visitor = Visitor()
    assert all(visitor.can(scope) for scope in Scope)
    assert visitor.only is None
    assert visitor.top_priority is None


def test_a_key_sees_its_own_jobs_and_an_admin_those_of_all():
    assert Visitor(Key(scopes=("dashboard",))).only == "ada"
    assert Visitor(Key(scopes=("admin",))).only is None


def test_an_admin_may_everything_and_others_what_their_scopes_say():
    assert all(Visitor(Key(scopes=("admin",))).can(scope) for scope in Scope)
    visitor = Visitor(Key(scopes=("dashboard", "cancel")))
    assert [scope for scope in Scope if visitor.can(scope)] == [Scope.READ, Scope.SUBMIT]
    assert visitor.why_not(Scope.SUBMIT) == ""
    assert "admin" in visitor.why_not(Scope.ADMIN)


def test_a_key_is_asked_for_anew_each_time():
    keys = {"ada": Key(scopes=("admin",))}
    visitor = Visitor(keys["ada"], lambda key: keys.get(key.user))
    assert visitor.can(Scope.ADMIN)
    keys["ada"] = Key(scopes=("dashboard",))
    assert not visitor.can(Scope.ADMIN)
    assert visitor.only == "ada"
    del keys["ada"]
    assert not visitor.can(Scope.READ)


def test_no_rank_above_what_the_key_allows():
    assert Visitor(Key(quotas=Quotas(5))).top_priority == 5
    assert Visitor(Key()).top_priority is None
