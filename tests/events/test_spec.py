"""Specs of every provider: what they name, one key for all spellings, and no password shown."""

import gzip
import json
import re
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mirror.errors import MirrorError, SpecError
from mirror.events.spec import MASK, PROVIDERS, Spec, mask, parse_spec, repository_key
from tests.making import ANY_TEXT

ID = "8f7c2f0341ef4180b0dbe97f59130756"


def quoted(address: str) -> str:
    return quote(address, safe="")


def git(address: str, ref: str = "HEAD") -> Spec:
    return parse_spec("Git", f"{quoted(address)}/{ref}")


@pytest.mark.parametrize(
    ("provider", "spec", "repository", "ref", "url", "key"),
    [
        (
            *("GitHub", "QISKit/qiskit-tutorial/master", "QISKit/qiskit-tutorial", "master"),
            *("https://github.com/QISKit/qiskit-tutorial", "github.com/qiskit/qiskit-tutorial"),
        ),
        (
            *("GitHub", "a/B.git/feature/new-plots", "a/B.git", "feature/new-plots"),
            *("https://github.com/a/B", "github.com/a/b"),
        ),
        (
            *("GitHub", "Microsoft/Quantum/%E2%AD%90binder", "Microsoft/Quantum", "⭐binder"),
            *("https://github.com/Microsoft/Quantum", "github.com/microsoft/quantum"),
        ),
        (
            *("GitLab", "Lab%2Fsub%2Frepo/v1.0", "Lab/sub/repo", "v1.0"),
            *("https://gitlab.com/Lab/sub/repo", "gitlab.com/lab/sub/repo"),
        ),
        (
            *("Git", "https%3A%2F%2Fgit.Example.org%2FTeam%2FCourse.git/HEAD"),
            *("https://git.Example.org/Team/Course.git", "HEAD"),
            *("https://git.example.org/Team/Course", "git.example.org/Team/Course"),
        ),
        (
            *("Git", "https:%2F%2Fbitbucket.org%2Ffsmeraldi%2Fmarking%2Fsrc%2Fmaster/main"),
            *("https://bitbucket.org/fsmeraldi/marking/src/master", "main"),
            "https://bitbucket.org/fsmeraldi/marking/src/master",
            "bitbucket.org/fsmeraldi/marking",
        ),
        (
            *("Git", "git%40example.org%3Ateam%2Fx.git/main", "git@example.org:team/x.git"),
            *("main", None, "example.org/team/x"),
        ),
        (
            *("Gist", f"Markus28/{ID}/master", f"Markus28/{ID}", "master"),
            *(f"https://gist.github.com/Markus28/{ID}", f"gist.github.com/{ID}"),
        ),
        (
            *("Gist", "Carreau/5507501", "Carreau/5507501", None),
            *("https://gist.github.com/Carreau/5507501", "gist.github.com/5507501"),
        ),
        (
            *("Zenodo", "10.5281/zenodo.4032875", "10.5281/zenodo.4032875", None),
            *("https://doi.org/10.5281/zenodo.4032875", "doi.org/10.5281/zenodo.4032875"),
        ),
        (
            *("Figshare", "10.6084/m9.figshare.9782777.v2", "10.6084/m9.figshare.9782777.v2"),
            *(None, "https://doi.org/10.6084/m9.figshare.9782777.v2"),
            "doi.org/10.6084/m9.figshare.9782777",
        ),
        (
            *("Dataverse", "10.7910/DVN/TJCLKP", "10.7910/DVN/TJCLKP", None),
            *("https://doi.org/10.7910/DVN/TJCLKP", "doi.org/10.7910/dvn/tjclkp"),
        ),
        (
            *("Hydroshare", ID, ID, None),
            *(f"https://www.hydroshare.org/resource/{ID}", f"hydroshare.org/resource/{ID}"),
        ),
        (
            *("CKAN", "https%3A%2F%2Fdemo.ckan.example%2Fdataset%2Fsample-1"),
            *("https://demo.ckan.example/dataset/sample-1", None),
            *("https://demo.ckan.example/dataset/sample-1", "demo.ckan.example/dataset/sample-1"),
        ),
    ],
)
def test_what_a_spec_names(provider, spec, repository, ref, url, key):
    parsed = parse_spec(provider, spec)
    assert parsed == Spec(provider, repository, ref, url, key)
    assert parse_spec(provider, parsed.unparse()) == parsed


SPELLINGS = {
    "github.com/user/repo": [
        ("GitHub", "user/repo/master"),
        ("GitHub", "User/Repo/HEAD"),
        ("GitHub", "user/repo.git/master"),
        ("Git", quoted("https://github.com/user/repo") + "/HEAD"),
        ("Git", quoted("http://www.github.com/User/repo.git/") + "/HEAD"),
        ("Git", quoted("https://GitHub.com:443/user/repo/tree/-/x") + "/HEAD"),
        ("Git", quoted("git@github.com:user/Repo.git") + "/HEAD"),
        ("Git", quoted("ssh://git@github.com/user/repo") + "/HEAD"),
        ("Git", quoted("git://github.com/user/repo.git") + "/HEAD"),
        ("Git", quoted("https://token@github.com/user/repo") + "/HEAD"),
    ],
    "gitlab.com/group/sub/repo": [
        ("GitLab", "group%2Fsub%2Frepo/main"),
        ("GitLab", "Group%2fSub%2fRepo.git/main"),
        ("Git", quoted("https://gitlab.com/group/sub/repo.git") + "/main"),
        ("Git", quoted("https://gitlab.com/group/sub/repo/-/tree/main") + "/main"),
    ],
    f"gist.github.com/{ID}": [
        ("Gist", f"user/{ID}"),
        ("Gist", f"User/{ID}/0123"),
        ("Git", quoted(f"https://gist.github.com/{ID}.git") + "/HEAD"),
        ("Git", quoted(f"https://gist.github.com/user/{ID}") + "/HEAD"),
    ],
    f"hydroshare.org/resource/{ID}": [
        ("Hydroshare", ID),
        ("Hydroshare", quoted(f"https://www.hydroshare.org/resource/{ID}/")),
        ("Hydroshare", f"10.4211/hs.{ID}"),
    ],
    "doi.org/10.7910/dvn/tjclkp": [
        ("Dataverse", "10.7910/DVN/TJCLKP"),
        ("Dataverse", "10.7910%2Fdvn%2Ftjclkp"),
        ("Dataverse", quoted("https://doi.org/10.7910/DVN/TJCLKP")),
    ],
    "doi.org/10.6084/m9.figshare.9782777": [
        ("Figshare", "10.6084/m9.figshare.9782777"),
        ("Figshare", "10.6084/m9.figshare.9782777.v1"),
        ("Figshare", "10.6084/m9.figshare.9782777.V3"),
    ],
    "data.example/portal/dataset/rain": [
        ("CKAN", quoted("https://data.example/portal/dataset/rain")),
        ("CKAN", quoted("https://Data.example/portal/dataset/rain/")),
        ("CKAN", quoted("http://data.example/portal/dataset/rain/history/0123")),
        ("CKAN", quoted("https://data.example/portal/dataset/rain?activity_id=0123")),
    ],
    # whether case matters on a host of one's own is not known, so it is not guessed
    "git.example.org/Team/Repo": [
        ("Git", quoted("https://git.example.org/Team/Repo") + "/HEAD"),
        ("Git", quoted("https://GIT.example.org/Team//Repo.git/") + "/main"),
    ],
    "git.example.org:8443/Team/Repo": [
        ("Git", quoted("https://git.example.org:8443/Team/Repo") + "/HEAD"),
    ],
}


@pytest.mark.parametrize(("key", "spellings"), SPELLINGS.items(), ids=SPELLINGS)
def test_all_spellings_of_a_repository_have_one_key(key, spellings):
    assert {parse_spec(*spelling).key for spelling in spellings} == {key}


def test_paths_that_differ_in_case_on_an_unknown_host_are_two_repositories():
    assert git("https://git.example.org/a").key != git("https://git.example.org/A").key


NO_SPECS = [
    ("GitHub", ""),
    ("GitHub", "user"),
    ("GitHub", "user/repo"),
    ("GitHub", "user/repo/"),
    ("GitHub", "/repo/main"),
    ("GitHub", "user//main"),
    ("GitHub", "user/../main"),
    ("GitHub", "us er/repo/main"),
    ("GitHub", "user/repo/%00"),
    ("GitHub", "user/repo/%FF"),
    ("GitHub", "user/repo/\x1b[31m"),
    ("GitHub", "user/repo/\ud800"),
    ("GitHub", "user%2Frepo/main"),
    # launches of gists under GitHub's name, as on 2018-11-25, 2019-01-28 and 2019-02-22
    ("GitHub", f"user/{ID}/master"),
    ("GitHub", f"user/{ID}"),
    ("GitHub", "user/438a1d6603d95f9e16aa/master"),
    ("GitLab", "repo/main"),
    ("GitLab", "group%2Frepo"),
    ("GitLab", "group%2F/main"),
    ("GitLab", "group/repo/main"),
    ("Git", "https%3A%2F%2Fexample.org%2Fx"),
    ("Git", "https://example.org/x/main"),
    ("Git", "file%3A%2F%2F%2Fetc%2Fpasswd/main"),
    ("Git", "ext%3A%3Ash/main"),
    ("Git", "https%3A%2F%2F%2Fx/main"),
    ("Git", "https%3A%2F%2Fexample.org%2F/main"),
    ("Git", "https%3A%2F%2Fexample.org%2F%252F/main"),
    ("Git", "https%3A%2F%2Fexample.org%3A99999%2Fx/main"),
    ("Git", "https%3A%2F%2F%5B%3A%3A1%2Fx/main"),
    ("Git", "https%3A%2F%2Fexample.org%2Fx%250A/main"),
    ("Gist", "user"),
    ("Gist", "user/not-an-id/master"),
    ("Gist", f"user/{ID}/"),
    ("Zenodo", "4032875"),
    ("Zenodo", "https%3A%2F%2Fzenodo.org%2Frecord%2F4032875"),
    ("Zenodo", "10.5281/"),
    ("Zenodo", "doi.org/10.5281/zenodo.4032875"),
    ("Hydroshare", "abc"),
    ("Hydroshare", f"{ID}{ID[::-1]}"),
    ("CKAN", "sample-dataset-1"),
    ("CKAN", "https%3A%2F%2Fdemo.ckan.example%2Fgroup%2Fx"),
    ("CKAN", "https%3A%2F%2Fdemo.ckan.example%2Fdataset%2F"),
    ("Forge", "user/repo/main"),
    ("github", "user/repo/main"),
]


@pytest.mark.parametrize(("provider", "spec"), NO_SPECS)
def test_what_is_no_spec_is_reported_and_not_guessed(provider, spec):
    with pytest.raises(SpecError) as caught:
        parse_spec(provider, spec)
    assert isinstance(caught.value, (MirrorError, ValueError))
    message = str(caught.value)
    assert provider in message
    assert message.isprintable()
    assert len(message) < 250


# secrets

SECRET = "s3cr3t-t0ken"
ADDRESSES = [
    f"https://user:{SECRET}@example.org/team/course.git",
    f"https://{SECRET}@example.org/team/course.git",
    f"https://user:{SECRET}@example.org:8443/team/course",
    f"ssh://user:{SECRET}@example.org/team/course",
    f"{SECRET}@example.org:team/course",
    f"https://example.org/team/course?private_token={SECRET}",
    f"https://example.org/team/course#{SECRET}",
    f"https://user:{quoted(SECRET + '@/?#')}@example.org/team/course",
    # these are no addresses, and their errors must not tell it either
    f"https://user:{SECRET}/rest@example.org/team/course",
    f"https://user:1/{SECRET}@example.org/team/course",
    f"https://user:{SECRET}?x@example.org/team/course",
    f"https://user:{SECRET}@example.org:port/team/course",
    f"htps://user:{SECRET}@example.org/team/course",
    f"https://user:{SECRET}@/team/course",
    f"htps://example.org/team/course?private_token={SECRET}",
]


def everything_told(provider: str, spec: str) -> str:
    try:
        parsed = parse_spec(provider, spec)
    except SpecError as error:
        return f"{error}{error.__cause__}{error.__context__}"
    return f"{parsed!r}{parsed}{parsed.unparse()}"


@pytest.mark.parametrize("times", [1, 2, 3])
@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("address", ADDRESSES)
def test_no_secret_is_ever_shown(provider, address, times):
    for _ in range(times):
        address = quoted(address)
    for spec in (f"{address}/main", address):
        assert SECRET not in everything_told(provider, spec)
        assert SECRET not in mask(spec)


@pytest.mark.parametrize("address", [one for one in ADDRESSES if "//" in one and "@" in one])
def test_no_secret_is_shown_of_an_address_in_place_of_a_reference(address):
    for provider, start in (
        ("GitHub", "a/b"),
        ("GitLab", "a%2Fb"),
        ("Git", "https%3A%2F%2Fexample.org%2Fx"),
        ("Gist", f"a/{'0' * 32}"),
    ):
        for ref in (address, quoted(address)):
            assert SECRET not in everything_told(provider, f"{start}/{ref}")


def test_the_masked_address_says_that_something_was_there():
    parsed = git("https://user:pw@example.org/x.git?a=b")
    assert parsed.repository == "https://***@example.org/x.git?***"
    assert parsed.url == "https://example.org/x"
    assert git("ssh://git@example.org/x").repository == "ssh://git@example.org/x"
    assert str(parsed) == "Git https://***@example.org/x.git?***@HEAD"


def test_a_spec_too_long_to_be_masked_is_not_shown():
    assert mask("%25" * 400_000) == "one of 1,200,000 characters"


# any input

PARTS = st.text(alphabet="abcXYZ019.-_", min_size=1, max_size=8)
ALPHABET = "ab19/@:%?#.-[]~ \x00é" + chr(0x202E) + chr(0xD800)


@given(st.sampled_from(PROVIDERS), ANY_TEXT | st.text(alphabet=ALPHABET))
def test_any_text_parses_or_is_an_error_that_is_fit_to_show(provider, text):
    for spec in (text, quote(text, safe="", errors="replace") + "/main"):
        try:
            parsed = parse_spec(provider, spec)
        except SpecError as error:
            told: tuple[str | None, ...] = (str(error),)
        else:
            told = (parsed.repository, parsed.ref, parsed.url, parsed.key)
            assert parse_spec(provider, parsed.unparse()) == parsed
        assert all(text is None or text.isprintable() for text in told)


@given(PARTS, PARTS, st.text(min_size=1).filter(str.isprintable))
@example("0", "0", "//@")
def test_round_trip_of_github(user, name, ref):
    spec = f"{user}/{name}/{quote(ref)}"
    try:
        parsed = parse_spec("GitHub", spec)
    except SpecError:
        assert {user, name} & {".", ".."}
        return
    # a reference is an address to whoever pastes one there: what stands for a user in it is masked
    shown = re.sub(r"(?<=//).*@", f"{MASK}@", ref)
    assert parsed.unparse() == f"{user}/{name}/{quote(shown)}"
    assert parsed.ref == shown


@given(
    st.sampled_from(["https://", "http://", "ssh://", "git://"]),
    st.lists(PARTS, min_size=1, max_size=4),
    PARTS,
)
def test_round_trip_of_git(scheme, names, ref):
    address = f"{scheme}example.org/{'/'.join(names)}"
    parsed = git(address, ref)
    assert parsed.unparse() == f"{quoted(address)}/{ref}"
    assert parsed.repository == address


# real specs


def _real_specs(folder: Path) -> list[tuple[str, str]]:
    rows: list[dict[str, str]] = []
    for path in sorted(folder.glob("launches-*.counts.jsonl.gz")):
        with gzip.open(path) as lines:
            rows += map(json.loads, lines)
    rows += map(json.loads, (folder / "rows-2023-08-21.jsonl").read_text().splitlines())
    for line in (folder / "lines.jsonl").read_text().splitlines():
        rows.append(json.loads(json.loads(line)["line"]))
    return [(row["provider"], row["spec"]) for row in rows]


def test_all_real_specs_parse_and_make_the_round_trip(real_data):
    specs = _real_specs(real_data)
    assert len(specs) > 3000
    parsed = [parse_spec(*spec) for spec in specs]
    assert [parse_spec(one.provider, one.unparse()) for one in parsed] == parsed
    # all but those that hold a user, or are quoted in another way, are as they were
    changed = {spec for one, (_, spec) in zip(parsed, specs, strict=True) if one.unparse() != spec}
    assert all("%40" in spec or ":" in spec or "+" in spec for spec in changed)
    assert "PASSWORD" not in repr(parsed)
    keys = {one.key for one in parsed}
    assert {repository_key(key) for key in keys} == keys


def test_a_real_repository_of_three_spellings_is_one(real_data):
    keys = {parse_spec(*spec).key for spec in _real_specs(real_data) if "iskit-tut" in spec[1]}
    assert keys == {"github.com/qiskit/qiskit-tutorial"}
