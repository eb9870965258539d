"""What people launch: repositories of every provider, as upstream's `spec` writes them.

A few are real and popular, the long tail is made up from a seeded source.
"""

import random
from typing import NamedTuple

# Share of each provider in the launches of 2021-11-01, rounded, in parts of 1,000.
_SHARES = {
    "GitHub": 932,
    "Git": 29,
    "Gist": 15,
    "GitLab": 15,
    "Zenodo": 4,
    "Figshare": 1,
    "Dataverse": 1,
    "Hydroshare": 1,
    "CKAN": 2,
}
_POPULAR = {
    "ipython/ipython-in-depth/master": 300,
    "jupyterlab/jupyterlab-demo/master": 60,
    "ines/spacy-io-binder/live": 40,
    "Qiskit/qiskit-tutorial/master": 20,
    "QISKit/qiskit-tutorial/master": 15,
    "binder-examples/r/master": 20,
    "binder-examples/julia-python/master": 10,
    "matplotlib/mpl-brochure-binder/main": 10,
}
_OTHERS = {
    "GitLab": [
        "pyspc%2Fpyspc/master",
        "demo-school%2Fnumerics%2Fexercises/main",
        "demo-lab%2Fspectra/feature/new-plots",
    ],
    "Git": [
        "https:%2F%2Fbitbucket.org%2Fdemo-team%2Fmarking/master",
        "https%3A%2F%2Fcodeberg.org%2Fdemo-team%2Fcourse/HEAD",
        # A token in an address is the user's secret: the real archive holds some.
        "https%3A%2F%2Fdemo-user%3Anot-a-real-password%40git.example.org%2Fteam%2Fcourse/HEAD",
    ],
    "Gist": [
        "demo-user/438a1d6603d95f9e16aa121c6d0c56a8/master",
        "demo-user/5507501",
    ],
    "Zenodo": ["10.5281/zenodo.4032875", "10.5281/zenodo.4783007"],
    "Figshare": ["10.6084/m9.figshare.9782777.v1"],
    "Dataverse": ["10.7910/DVN/TJCLKP"],
    "Hydroshare": [
        "8f7c2f0341ef4180b0dbe97f59130756",
        "https%3A%2F%2Fwww.hydroshare.org%2Fresource%2F8f7c2f0341ef4180b0dbe97f59130756",
    ],
    "CKAN": ["https%3A%2F%2Fdemo.ckan.example%2Fdataset%2Fsample-dataset-1"],
}
_TAIL_SIZE = 240
_WORDS = ["python", "physics", "intro", "data", "julia", "course", "Notebooks", "ML-2e", "stats"]
_REFS = ["master", "main", "HEAD", "feature/new-plots"]
_POST_2018 = {
    "Zenodo": "4049787",
    "Figshare": "9782777.v1",
    "Dataverse": "3323458",
    "Hydroshare": "8f7c2f0341ef4180b0dbe97f59130756.v1587139888",
    "CKAN": "sample-dataset-1.v1719792000",
}


class Repository(NamedTuple):
    """Something to launch.

    Attributes:
        provider: Where it lives.
        spec: Its path in the launch's address, still percent-encoded.
        ref: What the reference resolved to.
        weight: How often it is launched, relative to the others.
    """

    provider: str
    spec: str
    ref: str
    weight: float


def draw_repositories(rng: random.Random, providers: frozenset[str]) -> list[Repository]:
    """Draw all there is to launch in an era.

    Args:
        rng: Makes up the long tail and the references.
        providers: The providers that exist in the era.

    Returns:
        The repositories; the weights of all providers keep their real shares.
    """
    drawn = _draw_provider(rng, "GitHub", _POPULAR | _draw_tail(rng))
    for provider, specs in _OTHERS.items():
        if provider in providers:
            drawn += _draw_provider(rng, provider, dict.fromkeys(specs, 1))
    return drawn


def _draw_provider(rng: random.Random, provider: str, specs: dict[str, int]) -> list[Repository]:
    unit = _SHARES[provider] / sum(specs.values())
    return [
        Repository(provider, spec, _POST_2018.get(provider) or _draw_commit(rng), weight * unit)
        for spec, weight in specs.items()
    ]


def _draw_tail(rng: random.Random) -> dict[str, int]:
    """Draw made-up GitHub repositories, each launched less than the one before."""
    tail = {}
    for rank in range(_TAIL_SIZE):
        first, second = rng.choices(_WORDS, k=2)
        ref = rng.choice([*_REFS, _draw_commit(rng)]) if rank % 10 == 0 else rng.choice(_REFS)
        tail[f"demo-user-{rank}/{first}-{second}/{ref}"] = 1 + 30 // (rank + 1)
    return tail


def _draw_commit(rng: random.Random) -> str:
    return f"{rng.getrandbits(160):040x}"
