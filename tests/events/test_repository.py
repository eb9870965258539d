"""What people call a repository: each way finds the key that its launches have, or is refused."""

import pytest

from mirror.errors import SpecError
from mirror.events.spec import parse_spec, repository_key

HEX = "8f7c2f0341ef4180b0dbe97f59130756"
SPELLINGS = {
    ("GitHub", "jupyterlab/jupyterlab-demo/HEAD"): (
        "jupyterlab/jupyterlab-demo",
        "JupyterLab/jupyterlab-demo.git",
        "jupyterlab/jupyterlab-demo/",
        "jupyterlab/jupyterlab-demo.git/",
        "github.com/jupyterlab/jupyterlab-demo",
        "https://github.com/jupyterlab/jupyterlab-demo/tree/main/notebooks",
        "git@github.com:jupyterlab/jupyterlab-demo.git",
        "https://mybinder.org/v2/gh/jupyterlab/jupyterlab-demo/HEAD?urlpath=lab",
        "https://hub.example/prefix/v2/gh/jupyterlab/jupyterlab-demo/HEAD",
    ),
    ("GitHub", "user_company/course/HEAD"): ("user_company/course",),
    ("Git", "https%3A%2F%2Fexample.org%2Fv2%2Fa%2Fb/HEAD"): ("https://example.org/v2/a/b",),
    ("GitLab", "group%2Fteam%2Fcourse/master"): (
        "gitlab.com/group/team/course",
        "https://gitlab.com/Group/team/course/-/tree/main",
        "https://mybinder.org/v2/gl/group%2Fteam%2Fcourse/master",
    ),
    ("Git", "https%3A%2F%2Fgit.example.org%3A8443%2Fcourse.git/HEAD"): (
        "https://user:pw@git.example.org:8443/course",
        "git.example.org:8443/course",
        "https://mybinder.org/v2/git/https%3A%2F%2Fgit.example.org%3A8443%2Fcourse/HEAD",
    ),
    ("Gist", "user/aeee31b91c49ef5f2e32a4eb1f1d5b50"): (
        "https://gist.github.com/user/aeee31b91c49ef5f2e32a4eb1f1d5b50",
        "gist.github.com/aeee31b91c49ef5f2e32a4eb1f1d5b50",
        "https://mybinder.org/v2/gist/user/aeee31b91c49ef5f2e32a4eb1f1d5b50/HEAD",
    ),
    ("Zenodo", "10.5281/zenodo.4783007"): (
        "10.5281/Zenodo.4783007",
        "doi:10.5281/zenodo.4783007",
        "doi.org/10.5281/zenodo.4783007",
        "https://doi.org/10.5281/zenodo.4783007",
        "https://zenodo.org/record/4783007",
        "https://zenodo.org/records/4783007/files/x.zip?download=1",
    ),
    ("Figshare", "10.6084/m9.figshare.9782777.v1"): (
        "10.6084/m9.figshare.9782777.v1",
        "10.6084/m9.figshare.9782777",
        "https://doi.org/10.6084/m9.figshare.9782777.v3",
    ),
    ("Hydroshare", HEX): (
        f"10.4211/hs.{HEX}",
        f"https://doi.org/10.4211/HS.{HEX}",
        f"https://www.hydroshare.org/resource/{HEX}/",
    ),
    ("Dataverse", "10.7910/DVN/TJCLKP"): (
        "10.7910/dvn/tjclkp",
        "https://dataverse.harvard.edu/dataset.xhtml?persistentId=doi:10.7910/DVN/TJCLKP",
        "https://dataverse.harvard.edu/dataset.xhtml?version=2&persistentId=doi:10.7910/DVN/TJCLKP&x=1",
    ),
    ("CKAN", "https%3A%2F%2Fdata.example.org%2Fdataset%2Fwaves"): (
        "https://data.example.org/dataset/waves",
        "data.example.org/dataset/waves",
    ),
}


@pytest.mark.parametrize(
    ("spec", "name"), [(spec, name) for spec, names in SPELLINGS.items() for name in names]
)
def test_a_repository_is_found_however_it_is_called(spec, name):
    assert repository_key(name) == parse_spec(*spec).key


def test_a_key_names_its_own_repository():
    keys = {parse_spec(*spec).key for spec in SPELLINGS}
    assert {repository_key(key) for key in keys} == keys


def test_the_short_form_is_of_the_forge_that_is_meant():
    key = parse_spec("GitLab", "pyspc%2Fpyspc/HEAD").key
    assert repository_key("pyspc/pyspc", forge="gitlab.com") == key
    assert repository_key("https://github.com/a/b", forge="gitlab.com") == "github.com/a/b"


@pytest.mark.parametrize(
    "name",
    [
        *("", "name", "user/repository/HEAD", "gh/user/repository", "10.5281", "x y/z"),
        *("https://", "https://mybinder.org", "zenodo.org", "://x/y"),
        *("https://mybinder.org/v2/gh/user", "https://mybinder.org/v2/gh"),
    ],
)
def test_what_names_no_repository_is_refused(name):
    with pytest.raises(SpecError, match="no repository") as caught:
        repository_key(name)
    assert caught.value.hint == "user/repository, an address or a DOI"


@pytest.mark.parametrize("name", ["10.5281/zeno\x1b[31m", "10.5281/\udce4", "a/b\n", "", "x y/z"])
def test_an_error_is_fit_to_show(name):
    with pytest.raises(SpecError) as caught:
        repository_key(name)
    assert str(caught.value).isprintable()
