"""The settings: file, environment, flags; and everything wrong told at once, with its place."""

import tomllib
from pathlib import Path

import pytest
from msgspec.structs import replace

from mirror.config.loading import Setting, load_config, render
from mirror.config.settings import Config
from mirror.errors import ConfigError, ExitCode


@pytest.fixture
def write(tmp_path):
    def write_file(text: str | bytes) -> Path:
        path = tmp_path / "mirror.toml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write_file


def from_environment(**environ: str) -> Config:
    return load_config(None, {f"BINDER_MIRROR_{name}": text for name, text in environ.items()})


def given(flags) -> list[Setting]:
    """Return the settings that flags give, by "table.key"."""
    return [Setting(*name.split("."), value, f"--{name}") for name, value in dict(flags).items()]


def problems_of(path: Path | None = None, environ=(), flags=()) -> list[str]:
    with pytest.raises(ConfigError) as error:
        load_config(path, dict(environ), given(flags))
    assert error.value.exit_code == ExitCode.USAGE
    return str(error.value).splitlines()


def test_without_anything_the_defaults_hold():
    assert load_config(None, {}) == Config()


DEFAULTS = {
    "upstream": {
        "url": "https://archive.analytics.mybinder.org/",
        "name_template": "events-{date}.jsonl",
        "disagree_after": 6 * 3600,
    },
    "storage": {"data_dir": "", "min_free": 64 * 1024**2, "history_versions": 0},
    "http": {
        "concurrency": 8,
        "connect_timeout": 10,
        "read_timeout": 30,
        "retries": 4,
        "backoff": 0.5,
        "max_backoff": 60,
        "max_file_size": 256 * 1024**2,
        "rate_limit": 0,
        "user_agent": "",
    },
    "schedule": {
        "interval": 1800,
        "cron": "",
        "jitter": 60,
        "final_after": 8 * 3600,
        "stale_after": 36 * 3600,
        "recheck": 14 * 86400,
        "verify": 30 * 86400,
    },
    "server": {"listen": "127.0.0.1:8080"},
    "dataset": {"enabled": False},
    "log": {"format": "auto", "level": "info"},
}


@pytest.mark.parametrize("table", DEFAULTS)
def test_the_defaults_are_those_of_the_design(table):
    values = getattr(Config(), table)
    assert {key: getattr(values, key) for key in DEFAULTS[table]} == DEFAULTS[table]


def test_a_file_sets_what_it_names_and_nothing_else(write):
    path = write('[http]\nconcurrency = 3\nbackoff = "250ms"\n\n[log]\nformat = "json"\n')
    expected = replace(
        Config(),
        http=replace(Config().http, concurrency=3, backoff=0.25),
        log=replace(Config().log, format="json"),
    )
    assert load_config(path, {}) == expected


def test_the_environment_wins_over_the_file_and_a_flag_over_both(write):
    path = write('[http]\nconcurrency = 3\nretries = 3\n[upstream]\nurl = "http://file/"\n')
    environ = {"BINDER_MIRROR_HTTP__CONCURRENCY": "5", "BINDER_MIRROR_UPSTREAM__URL": "http://env/"}
    config = load_config(path, environ, given({"upstream.url": "http://flag/"}))
    assert (config.http.retries, config.http.concurrency) == (3, 5)
    assert config.upstream.url == "http://flag/"


def test_an_environment_variable_is_read_as_its_keys_type():
    config = from_environment(
        HTTP__CONCURRENCY="16",
        HTTP__BACKOFF="0.05",
        HTTP__READ_TIMEOUT="2m",
        HTTP__MAX_FILE_SIZE="20MiB",
        HTTP__RATE_LIMIT="1000",
        HTTP__USER_AGENT="12",
        DATASET__ENABLED="true",
        STORAGE__FINDINGS="0",
        schedule__interval="1h",
    )
    assert (config.http.concurrency, config.http.backoff, config.http.read_timeout) == (
        16,
        0.05,
        120,
    )
    assert (config.http.max_file_size, config.http.rate_limit) == (20 * 1024**2, 1000)
    assert config.http.user_agent == "12"
    assert (config.dataset.enabled, config.storage.findings) == (True, False)
    assert config.schedule.interval == 3600


@pytest.mark.parametrize(("text", "value"), [("TRUE", True), ("1", True), ("False", False)])
def test_a_switch_may_be_written_in_words_or_digits(text, value):
    assert from_environment(DATASET__ENABLED=text).dataset.enabled is value


def test_variables_of_others_are_left_alone():
    others = {
        # as Kubernetes makes for the services of our name and of a name that begins so
        "BINDER_MIRROR_SERVICE_HOST": "10.0.0.1",
        "BINDER_MIRROR_SERVICE_PORT_HTTP": "8080",
        "BINDER_MIRROR_PORT": "tcp://10.0.0.1:8080",
        "BINDER_MIRROR_PORT_8080_TCP_ADDR": "10.0.0.1",
        "BINDER_MIRROR_GRAFANA_SERVICE_PORT": "3000",
        "BINDER_MIRRORX__Y": "x",
        "X_BINDER_MIRROR_HTTP__RETRIES": "x",
        "HTTP__RETRIES": "x",
    }
    assert load_config(None, others) == Config()


def test_a_setting_written_with_one_underscore_too_few_is_told():
    with pytest.raises(ConfigError) as caught:
        from_environment(HTTP_MAX_FILE_SIZE="20MiB")

    assert str(caught.value) == (
        "BINDER_MIRROR_HTTP_MAX_FILE_SIZE: is no setting; did you mean "
        '"BINDER_MIRROR_HTTP__MAX_FILE_SIZE"?'
    )


NO_DURATION = 'must be a duration like "30s", "5m", "2h", "14d" or a number of seconds'


def test_all_that_is_wrong_is_told_at_once_with_its_place(write):
    path = write(
        "# settings\n"
        "[http]\n"
        "concurrency = 0\n"
        '"retries" = "many"\n'
        "\n"
        "[ schedule ]\n"
        'interval = "soon"\n'
        'intervall = "5m"\n'
        "[htpp]\n"
        "retries = 1\n"
    )
    environ = {"BINDER_MIRROR_LOG__LEVEL": "all", "BINDER_MIRROR_HTTP__RETRIES": "-1"}
    problems = problems_of(path, environ, {"upstream.url": "nowhere"})
    assert problems == [
        f"{path}:3: http.concurrency must be a whole number from 1 to 64, not 0",
        f'{path}:4: http.retries must be a whole number from 0 to 100, not "many"',
        f'{path}:7: schedule.interval {NO_DURATION}, not "soon"',
        f'{path}:8: schedule.intervall is no setting; did you mean "interval"?',
        f'{path}:9: htpp is no table of settings; did you mean "http"?',
        'BINDER_MIRROR_HTTP__RETRIES: http.retries must be a whole number from 0 to 100, not "-1"',
        'BINDER_MIRROR_LOG__LEVEL: log.level must be one of debug, info, warning, error, not "all"',
        '--upstream.url: upstream.url must be a base URL like "https://host/path/", not "nowhere"',
    ]


WRONG = {
    "http.concurrency": ["0", "65", "1.5", "many", "", "1e3", "9" * 30],
    "http.retries": ["-1", "101"],
    "http.connect_timeout": ["0", "-1", "never"],
    "http.read_timeout": ["0"],
    "http.max_file_size": ["0", "-1", "big", "1h"],
    "http.backoff": ["-1", "nan", "inf"],
    "storage.min_free": ["-1", "1h"],
    "storage.history_versions": ["-1", "all"],
    "schedule.interval": ["0.5", "500ms", ""],
    "schedule.recheck": ["59m"],
    "schedule.verify": ["0"],
    "schedule.cron": ["now", "* * * *", "99 * * * *", "0 0 30 2 *"],
    "dataset.enabled": ["maybe", "2", ""],
    "log.format": ["xml", ""],
    "log.level": ["INFO", "trace"],
    "server.listen": ["8080", ":8080", "host:", "host:port", "a b:80", "::1:80", "host:123456"],
    "upstream.url": [
        "",
        "archive.example",
        "ftp://archive.example/",
        "file:///etc",
        "https://",
        "https://host:port/",
        "https://host:99999/",
        "http://[::1/",
        "https://host/?a=b",
        "https://host/#top",
    ],
    "upstream.name_template": [
        "",
        "events.jsonl",
        "{date}",
        "{date}{date}",
        "../{date}",
        "a/{date}",
        "events {date}",
        ".{date}",
        "-{date}",
        "{date:%Y}",
        "{0}",
        "{date}\n",
        "\uff45{date}",
    ],
}


@pytest.mark.parametrize(
    ("name", "text"), [(name, text) for name, texts in WRONG.items() for text in texts]
)
def test_a_bad_value_is_refused_wherever_it_stands(name, text):
    table, key = name.upper().split(".")
    (problem,) = problems_of(environ={f"BINDER_MIRROR_{table}__{key}": text})
    assert problem.startswith(f"BINDER_MIRROR_{table}__{key}: {name} ")
    (problem,) = problems_of(flags={name: text})
    assert problem.startswith("--")
    assert f": {name} " in problem


RIGHT = {
    "server.listen": [
        "",
        "0.0.0.0:80",
        "[::1]:8080",
        "[FE80::a]:1",
        "localhost:0",
        "mirror.example:65535",
    ],
    "upstream.url": ["http://localhost:8000", "https://host/a/b/", "http://[::1]:80/"],
    "upstream.name_template": ["{date}.jsonl", "Launches_{date}_Z9", "events-{date}.jsonl.x"],
    "schedule.cron": ["", "5 */2 * * *", "0 6 * * mon-fri"],
    "schedule.interval": [1, 86400.5],
    "http.concurrency": [1, 64],
    "http.retries": [0, 100],
    "http.backoff": [0, 0.001],
    "http.max_file_size": [1],
}


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in RIGHT.items() for value in values]
)
def test_a_value_within_its_bounds_is_taken(name, value):
    table, key = name.split(".")
    assert getattr(getattr(load_config(None, {}, given({name: value})), table), key) == value


@pytest.mark.parametrize("value", ["true", '"8"', "[8]", "8.5", "2021-08-03", "{a=1}", "nan"])
def test_a_number_in_a_file_is_a_number(write, value):
    (problem,) = problems_of(write(f"[http]\nconcurrency = {value}\n"))
    assert ":2: http.concurrency must be a whole number from 1 to 64, not " in problem


def test_the_guess_may_fail_and_then_all_names_are_told():
    (problem,) = problems_of(flags={"log.zzz": 1})
    assert problem == "--log.zzz: log.zzz is no setting; there are: format, level"
    (problem,) = problems_of(flags={"zzz.x": 1})
    assert problem == (
        "--zzz.x: zzz is no table of settings; there are: upstream, storage, http, sync, "
        "schedule, server, dataset, log"
    )


def test_a_place_that_cannot_be_told_is_the_first_line(write):
    path = write("\n\nhttp.retries = -1\n")
    assert problems_of(path) == [
        f"{path}:1: http.retries must be a whole number from 0 to 100, not -1"
    ]


def test_a_table_that_is_none_is_told_once_even_if_it_is_empty(write):
    path = write("[bogus]\na = 1\nb = 2\n[empty]\n[bogus.below]\nc = 3\n")
    known = "there are: upstream, storage, http, sync, schedule, server, dataset, log"
    assert problems_of(path) == [
        f"{path}:1: bogus is no table of settings; {known}",
        f"{path}:4: empty is no table of settings; {known}",
    ]


def test_what_is_wrong_with_a_crontab_line_is_told_to_its_end(write):
    line = "0 0 * * 1,2,3,4,5,6,7,0,1,2,3,4,5,6,7,0,1,2,3,4,5,6,7,some-very-wrong-day-of-the-week"
    (problem,) = problems_of(write(f'[schedule]\ncron = "{line}"\n'))
    assert problem.endswith('"some-very-wrong-day-of-the-week" is no choice of weekdays')
    (problem,) = problems_of(write('[schedule]\ncron = "99 * * * *"\n'))
    assert problem.endswith("is higher than the maximum value (59)")


def test_a_key_outside_any_table_is_told_with_its_line(write):
    path = write("\ninterval = 5\n")
    assert problems_of(path)[0].startswith(f"{path}:2: interval is no table of settings; there")
    path = write("http = 5\n")
    assert problems_of(path) == [f"{path}:1: http is a table of settings, not a value"]


def test_a_stray_key_does_not_hide_what_follows(write):
    path = write("zzz = 5\n[http]\nretries = -1\n")
    first, second = problems_of(path)
    assert first.startswith(f"{path}:1: zzz is no table of settings; ")
    assert second == f"{path}:3: http.retries must be a whole number from 0 to 100, not -1"


MESSAGES = {
    "upstream.name_template": {
        "{date}{date}": "must hold {date} once, and else only letters, digits, '.', '_', '-'",
        ".{date}": "must be a plain file name that begins with a letter or digit",
    },
    "storage.since": {"2024": 'must be a date like "2024-01-31" or "", not "2024"'},
    "server.listen": {"nowhere": 'must be "HOST:PORT" or ""'},
    "schedule.cron": {"now": "is no crontab line: has 1 field, not 5"},
    "dataset.enabled": {"maybe": 'must be one of true, false, not "maybe"'},
    "http.connect_timeout": {"0": 'must be a duration of at least 0.001s, not "0"'},
    "http.max_file_size": {"0": 'must be a size of at least 1, not "0"'},
    "schedule.recheck": {"59m": 'must be a duration of at least 1h, not "59m"'},
    "server.max_connections": {"0": 'must be a whole number from 1 to 1,000,000, not "0"'},
    "upstream.url": {"x": 'must be a base URL like "https://host/path/", not "x"'},
}


@pytest.mark.parametrize("name", MESSAGES)
def test_a_bad_value_is_told_with_what_is_right(name):
    variable = f"BINDER_MIRROR_{name.upper().replace('.', '__')}"
    for text, message in MESSAGES[name].items():
        assert problems_of(environ={variable: text}) == [f"{variable}: {name} {message}"]


def test_a_variable_of_three_parts_is_no_setting():
    (problem,) = problems_of(environ={"BINDER_MIRROR_HTTP__RETRIES__X": "1"})
    assert "http.retries__x is no setting" in problem


def test_a_value_is_shown_harmless():
    (problem,) = problems_of(flags={"upstream.url": "ftp://\x1b[2J"})
    assert problem.isprintable()


@pytest.mark.parametrize(
    "text",
    [b"[http\n", b"a = \n", b"\xff\xfe", b"[http]\nx = 1\nx = 2\n", b"a = " + b"[" * 100_000],
    ids=["table", "value", "text", "twice", "deep"],
)
def test_a_file_that_is_not_toml_is_told_by_its_name(write, text):
    path = write(text)
    assert problems_of(path)[0].startswith(f"{path}: not TOML: ")


def test_a_file_that_cannot_be_read_is_told_with_the_reason(tmp_path):
    with pytest.raises(ConfigError) as error:
        load_config(tmp_path / "none.toml", {})
    assert str(error.value) == (
        f"cannot read the settings in {tmp_path / 'none.toml'}: No such file or directory"
    )
    assert error.value.hint == "see --config"
    assert problems_of(tmp_path)[0].endswith(": Is a directory")


def test_the_settings_written_are_read_as_they_were(write):
    assert load_config(write(render(Config())), {}) == Config()
    other = load_config(
        None,
        {},
        given(
            {
                "http.backoff": 0.05,
                "http.max_backoff": "1234567.5s",
                "http.user_agent": 'a "quoted" \\ one é',
                "http.rate_limit": 12345,
                "schedule.jitter": 0,
                "dataset.enabled": True,
                "log.format": "json",
            }
        ),
    )
    assert load_config(write(render(other)), {}) == other


def test_every_key_is_written_with_its_meaning_and_unit():
    text = render(Config())
    document = tomllib.loads(text)
    assert list(document) == list(Config().__struct_fields__)
    for table, keys in document.items():
        assert list(keys) == list(getattr(Config(), table).__struct_fields__)
    lines = text.splitlines()
    for number, line in enumerate(lines):
        if line and not line.startswith("#"):
            assert lines[number - 1].startswith("# ")
            assert len(lines[number - 1]) > 10
    assert 'min_free = "64MiB"' in lines
    assert 'disagree_after = "6h"' in lines
    assert 'backoff = "0.5s"' in lines
    assert "concurrency = 8" in lines
    assert "enabled = false" in lines


def test_the_file_that_shows_all_settings_is_what_is_rendered():
    shown = (Path(__file__).parents[2] / "config" / "mirror.toml").read_text()
    head, _, rest = shown.partition("\n\n")
    assert all(line.startswith("# ") for line in head.splitlines())
    assert rest == render(Config())


@pytest.mark.parametrize(
    "url",
    [
        "ftp://me:hunter2@host/",
        "https://me:hunter2/@host/",
        "https://me:1/hunter2@host/",
        "https://me:hunter2@host/?x",
        "https://me:hunter2@host:port/",
        "me:hunter2@host",
    ],
)
def test_a_wrong_url_is_told_without_its_password(url):
    (problem,) = problems_of(flags={"upstream.url": url})
    assert "hunter2" not in problem
    assert "must be a base URL" in problem


def test_a_password_is_not_among_the_settings_shown():
    config = load_config(None, {}, given({"upstream.url": "https://me:hunter2@host/a/"}))
    assert 'url = "https://***@host/a/"' in render(config)
    assert "hunter2" not in render(config)


def test_a_date_may_be_one_of_toml(write):
    assert load_config(write("[storage]\nsince = 2024-01-31\n"), {}).storage.since == "2024-01-31"
