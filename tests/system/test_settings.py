"""Wrong settings, odd arguments and odd surroundings: one line each, and what to do."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.command import COMMAND, Shell


async def test_all_that_is_wrong_is_told_at_once_each_with_its_place(shell: Shell) -> None:
    file = shell.data.root.with_name("mirror.toml")
    file.write_text(
        '[http]\nconcurency = 3\nretries = -1\n\n[nonsense]\nx = 1\n\n[log]\nlevel = "loud"\n'
    )
    shell.set(schedule__interval="soon")

    done = await shell.run("--config", file, "sync", "--upstream", "ftp://host/")

    assert (done.code, done.out) == (2, "")
    places = [line.removeprefix("binder-mirror: ").partition(": ")[0] for line in done.said]
    assert places == [
        f"{file}:2",
        f"{file}:3",
        f"{file}:5",
        f"{file}:9",
        "BINDER_MIRROR_SCHEDULE__INTERVAL",
        "--upstream",
    ]
    assert 'did you mean "concurrency"?' in done.err


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"[http\n", "not TOML"),
        (b"\xff\xfe", "not TOML"),
        (b"http = 3\n", "http is a table of settings, not a value"),
        (b'[storage]\ndata_dir = "a\\u0000b"\n', "cannot be the data directory: "),
    ],
)
async def test_a_file_of_settings_that_is_none_is_told_in_one_line(
    shell: Shell, content: bytes, complaint: str
) -> None:
    file = shell.data.root.with_name("mirror.toml")
    file.write_bytes(content)
    del shell.environ["BINDER_MIRROR_STORAGE__DATA_DIR"]

    done = await shell.run("--config", file, "config", "check")

    assert complaint in done.refused(2)


async def test_a_file_of_settings_that_is_not_there_is_told_by_name(shell: Shell) -> None:
    line = (await shell.run("--config", "/no/such/file", "status")).refused(2)

    assert (
        line
        == "cannot read the settings in /no/such/file: No such file or directory (see --config)"
    )


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("snyc",), "No such command 'snyc'."),
        (("sync", "--bogus"), "No such option '--bogus'"),
        (("sync", "--since", "yesterday"), "'yesterday' is not a date like 2024-01-31"),
        (("sync", "--since", "2024-02-02", "--until", "2024-02-01"), "is after --until"),
        (("sync", "--recheck", "-1"), "--recheck"),
        (("verify", "--sample", "0%"), "is not a part like 5%"),
        (("restore", "2024-02-30", "ab"), "is not a date"),
        (("prune", "--history", "--older-than", "soon"), "--older-than"),
        (("status", "extra\x1b[31m"), r"extra\x1b[31m"),
    ],
)
async def test_a_wrong_argument_is_one_line(
    shell: Shell, arguments: tuple[str, ...], complaint: str
) -> None:
    line = (await shell.run(*arguments)).refused(2)

    assert complaint in line
    assert "--help`)" in line


@pytest.mark.parametrize("command", ["status", "verify", "history", "prune"])
async def test_where_there_is_no_mirror_a_reader_says_how_to_make_one(
    shell: Shell, command: str
) -> None:
    options = ("--history",) if command == "prune" else ()

    line = (await shell.run(command, *options)).refused(2)

    assert line.startswith(f"there is no mirror in {shell.data.root} ")
    assert "`binder-mirror sync`" in line
    assert not shell.data.root.exists()


@pytest.mark.parametrize(
    "where", ["/", "~", "file", "file/below", "x" * 5000, "circle/x", "~nobody-we-know/x"]
)
async def test_a_place_that_cannot_be_a_data_directory_is_refused(shell: Shell, where: str) -> None:
    shell.cwd = shell.data.root.parent
    (shell.cwd / "file").touch()
    (shell.cwd / "circle").symlink_to("circle")

    line = (await shell.run("sync", "--data-dir", where)).refused(2)

    assert "--data-dir)" in line
    assert shell.server.requests == []


async def test_a_current_directory_that_is_gone_matters_only_where_it_is_meant(
    shell: Shell,
) -> None:
    await shell.synced()
    gone = shell.data.root.with_name("gone")

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        gone.mkdir()
        script = 'rmdir "$PWD" && exec "$@"'
        return subprocess.run(
            ["sh", "-c", script, "sh", *COMMAND, *arguments],
            cwd=gone,
            env=shell.environ,
            capture_output=True,
            text=True,
            check=False,
        )

    absolute, relative = run("status"), run("status", "--data-dir", "data")

    assert absolute.returncode == 0, absolute.stderr
    assert relative.returncode == 2
    assert relative.stderr.startswith("binder-mirror: data cannot be the data directory: ")
    assert relative.stderr.count("\n") == 1


async def test_without_a_home_the_data_directory_must_be_named(shell: Shell) -> None:
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("only root can become a user that the system does not know")
    del shell.environ["BINDER_MIRROR_STORAGE__DATA_DIR"], shell.environ["HOME"]
    # everything is imported while the interpreter can still be read
    script = (
        "import os, pathlib, pwd, encodings.idna, structlog\n"
        "from mirror.cli import app, common, config\n"
        "os.setuid(54321)\n"
        "app.main()"
    )

    process = _python(shell, script, "config", "check")

    assert process.returncode == 2
    assert process.stderr.startswith(
        "binder-mirror: there is no home directory to keep the mirror in"
    )


def _python(shell: Shell, script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [COMMAND[0], "-c", script, *arguments],
        env=shell.environ,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    "locale",
    [
        {"LC_ALL": "C"},
        {"LC_ALL": "POSIX", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
        {"PYTHONIOENCODING": "ascii"},
        {"LC_ALL": "xx_YY.nonsense"},
    ],
)
async def test_any_locale_will_do(shell: Shell, locale: dict[str, str]) -> None:
    await shell.synced()
    shell.environ |= locale
    elsewhere = shell.data.root.with_name("d\N{LATIN SMALL LETTER E WITH ACUTE} ☃")
    shell.data.root.rename(elsewhere)

    done = await shell.run("status", "--data-dir", os.fsencode(elsewhere))

    assert done.code == 0, done.err
    assert done.out.startswith("In step with upstream")


@pytest.mark.parametrize("options", [(), ("--json",)])
async def test_a_path_that_is_no_text_is_shown_escaped(
    shell: Shell, options: tuple[str, ...]
) -> None:
    await shell.synced()
    elsewhere = Path(os.fsdecode(os.fsencode(shell.data.root) + b"\xff\x1b[31m"))
    shell.data.root.rename(elsewhere)

    done = await shell.run("status", *options, "--data-dir", os.fsencode(elsewhere))

    assert done.code == 0, done.err
    assert "\x1b" not in done.out
    assert r"\udcff" in done.out


async def test_state_directory_of_systemd_is_the_data_directory(shell: Shell) -> None:
    del shell.environ["BINDER_MIRROR_STORAGE__DATA_DIR"]
    shell.environ["STATE_DIRECTORY"] = f"{shell.data.root}:/somewhere/else"

    done = await shell.run("config", "check")

    assert done.out == f"The settings are right. Data directory: {shell.data.root}\n"


async def test_a_service_of_our_name_in_kubernetes_disturbs_nobody(shell: Shell) -> None:
    shell.environ |= {"BINDER_MIRROR_PORT": "tcp://10.0.0.1:80", "BINDER_MIRROR_SERVICE_HOST": "x"}

    assert (await shell.run("config", "check")).code == 0


def settings_at(path: Path, concurrency: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"[http]\nconcurrency = {concurrency}\n")
    return path


async def test_the_file_in_force_is_the_one_named_else_the_users(shell: Shell) -> None:
    home = shell.data.root.parent
    shell.environ["HOME"] = str(home)
    nowhere = await shell.run("config", "path")
    assert (nowhere.code, nowhere.out) == (0, "")
    assert f"looked for {home}/.config/binder-mirror/mirror.toml, /etc/binder-mirror" in nowhere.err

    places = [
        settings_at(home / ".config" / "binder-mirror" / "mirror.toml", 2),
        settings_at(home / "xdg" / "binder-mirror" / "mirror.toml", 3),
        settings_at(home / "variable.toml", 4),
        settings_at(home / "option.toml", 5),
    ]
    for number, (path, more, options) in enumerate(
        zip(
            places,
            ({}, {"XDG_CONFIG_HOME": home / "xdg"}, {"BINDER_MIRROR_CONFIG": places[2]}, {}),
            ((), (), (), ("--config", places[3])),
            strict=True,
        )
    ):
        shell.environ |= {name: str(value) for name, value in more.items()}
        assert (await shell.run(*options, "config", "path")).out == f"{path}\n"
        shown = (await shell.run("config", "show", *options)).out
        assert shown.startswith(f"# The settings in force with {path}.\n")
        assert f"concurrency = {number + 2}\n" in shown


@pytest.mark.parametrize("before", [True, False])
async def test_options_are_taken_before_and_after_the_command(shell: Shell, before: bool) -> None:
    del shell.environ["BINDER_MIRROR_STORAGE__DATA_DIR"]
    del shell.environ["BINDER_MIRROR_UPSTREAM__URL"]
    file = settings_at(shell.data.root.with_name("mirror.toml"), 3)
    shell.set(log__level="error")
    where = ("--config", file, "--data-dir", shell.data.root, "--upstream", shell.server.url)
    options = (*where, "-v")

    done = await shell.run(*(*options, "sync") if before else ("sync", *options))

    assert done.code == 0, done.err
    assert "poll.finished" in {event["event"] for event in done.logs}
    shell.assert_complete()


async def test_of_an_option_given_twice_the_later_holds(shell: Shell) -> None:
    done = await shell.run("--data-dir", "/no/such", "config", "check", "--data-dir", "here")

    assert done.out.endswith("/here\n")


async def test_a_relative_data_directory_in_a_file_is_as_seen_from_its_folder(shell: Shell) -> None:
    del shell.environ["BINDER_MIRROR_STORAGE__DATA_DIR"]
    folder = shell.data.root.with_name("settings")
    folder.mkdir()
    (folder / "mirror.toml").write_text('[storage]\ndata_dir = "../copy"\n')
    for cwd, file in (("/", folder / "mirror.toml"), (str(folder), "mirror.toml")):
        shell.cwd = Path(cwd)
        found = await shell.run("--config", file, "config", "check")
        assert f"Data directory: {folder.parent / 'copy'}\n" in found.out
    # what is typed is seen from where it is typed
    found = await shell.run("config", "check", "--config", "mirror.toml", "--data-dir", "here")
    assert f"Data directory: {folder / 'here'}\n" in found.out
    found = await shell.run("config", "check", "--data-dir", "~/there")
    assert f"Data directory: {shell.environ['HOME']}/there\n" in found.out


async def test_an_empty_name_of_a_file_of_settings_is_refused(shell: Shell) -> None:
    line = (await shell.run("config", "check", "--config", "")).refused(2)
    assert line.startswith("Invalid value for '--config': it is empty")


async def test_an_empty_data_directory_is_refused(shell: Shell) -> None:
    line = (await shell.run("status", "--data-dir", "")).refused(2)

    assert line.startswith("Invalid value for '--data-dir': it is empty")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("BINDER_MIRROR_HTTP_RETRIES", 'did you mean "BINDER_MIRROR_HTTP__RETRIES"?'),
        ("BINDER_MIRROR_CONFG", 'did you mean "BINDER_MIRROR_CONFIG"?'),
        ("BINDER_MIRROR_XYZZY", "they are BINDER_MIRROR_<TABLE>__<KEY>"),
    ],
)
async def test_a_variable_of_ours_that_is_no_setting_is_refused(
    shell: Shell, name: str, told: str
) -> None:
    shell.environ[name] = "1"

    assert (await shell.run("config", "check")).refused(2) == f"{name}: is no setting; {told}"


async def test_what_is_mistyped_gets_a_suggestion(shell: Shell) -> None:
    assert "Did you mean 'status'?" in (await shell.run("statsu")).refused(2)
    assert "Did you mean 'build'?" in (await shell.run("dataset", "biuld")).refused(2)
    assert "Did you mean '--repair'?" in (await shell.run("verify", "--repiar")).refused(2)
