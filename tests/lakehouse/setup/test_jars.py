import hashlib
import shutil
from pathlib import Path

import pytest

from lakehouse.errors import ComplaintsError
from lakehouse.setup import jars
from lakehouse.setup.jar_sets import BROKER, OPTIONAL, SENTIMENT, SETS, SPARK


@pytest.fixture
def fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A jars folder with small files instead of jars, a lock file that lists them, and no way to fetch."""
    folder = tmp_path / "jars"
    lines = []
    for name in ("spark/delta.jar", "spark/kafka.jar", "broker/broker.jar", "tools/tools.jar"):
        jar = folder / name
        jar.parent.mkdir(parents=True, exist_ok=True)
        jar.write_bytes(name.encode())
        lines.append(f"{hashlib.sha256(name.encode()).hexdigest()}  {name}\n")
    lock = tmp_path / "jars.lock"
    lock.write_text("".join(lines))
    monkeypatch.setenv("COMPLAINTS_JARS", str(folder))
    monkeypatch.setattr(jars, "LOCK", lock)
    monkeypatch.setattr(jars, "_fetch", _no_fetch)
    return folder


def _no_fetch(folder: Path, target: Path, _: object, *, expected: int) -> None:
    pytest.fail(f"fetched {expected} jars into {target} for {folder}")


def _fetch_from(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def copy(folder: Path, target: Path, _: object, *, expected: int) -> None:
        assert expected == 4
        assert target.parent == folder
        shutil.copytree(source, target)

    monkeypatch.setattr(jars, "_fetch", copy)


def test_the_lock_lists_exactly_the_declared_jars() -> None:
    locked = jars._read_lock((*SETS, *OPTIONAL))
    for jar_set in (SPARK, *OPTIONAL):
        declared = {f"{jar_set.name}/{file}" for jar in jar_set.jars for file in jar.files}
        assert {name for name in locked if name.startswith(f"{jar_set.name}/")} == declared
    assert {f"broker/{file}" for jar in BROKER.jars for file in jar.files} < set(locked)


def test_the_jars_of_this_checkout_match_the_lock() -> None:
    assert jars._differences(jars.jars_folder(), jars._read_lock(SETS), SETS) == []


def test_jars_are_checked_once_and_then_trusted_by_size_and_time(
    fetched: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jars.ensure_jars()
    monkeypatch.setattr(jars, "_differences", lambda *_: pytest.fail("read them all again"))
    jars.ensure_jars()
    assert [jar.name for jar in jars.spark_jars()] == ["delta.jar", "kafka.jar"]
    assert jars.broker_classpath() == str(fetched / "broker" / "broker.jar")


@pytest.mark.parametrize("damage", ["missing", "different", "extra"])
def test_damaged_jars_are_fetched_again(fetched: Path, monkeypatch: pytest.MonkeyPatch, damage: str) -> None:
    jars.ensure_jars()
    good = fetched.parent / "good"
    shutil.copytree(fetched, good)
    if damage == "missing":
        (fetched / "spark" / "delta.jar").unlink()
    else:
        (fetched / "spark" / ("delta.jar" if damage == "different" else "more.jar")).write_bytes(b"damage")
    _fetch_from(good, monkeypatch)
    jars.ensure_jars()
    assert [jar.name for jar in jars.spark_jars()] == ["delta.jar", "kafka.jar"]
    assert jars.spark_jars()[0].read_bytes() == b"spark/delta.jar"


@pytest.mark.parametrize(
    ("name", "says"), [("spark/delta.jar", "another SHA-256"), ("spark/more.jar", "not in jars.lock")]
)
def test_fetched_jars_that_do_not_match_the_lock_are_not_used(
    fetched: Path, monkeypatch: pytest.MonkeyPatch, name: str, says: str
) -> None:
    bad = fetched.parent / "bad"
    shutil.copytree(fetched, bad)
    (bad / name).write_bytes(b"from a stranger")
    (fetched / "broker" / "broker.jar").unlink()
    _fetch_from(bad, monkeypatch)
    with pytest.raises(ComplaintsError, match=f"{name} .*{says}"):
        jars.ensure_jars()
    assert jars.spark_jars()[0].read_bytes() == b"spark/delta.jar"


def test_without_jars_the_error_names_the_fix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMPLAINTS_JARS", str(tmp_path))
    for ask in (jars.spark_jars, jars.broker_classpath):
        with pytest.raises(ComplaintsError, match="run `make setup`"):
            ask()


def test_an_optional_set_is_fetched_on_demand_and_then_on_sparks_class_path(
    fetched: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jars.ensure_jars()
    calls: list[object] = []

    def fetch(_: Path, target: Path, sets: object, *, expected: int) -> None:
        calls.append((sets, expected))
        (target / "sentiment").mkdir(parents=True)
        (target / "sentiment" / "tensorflow.jar").write_bytes(b"tensorflow")

    monkeypatch.setattr(jars, "_fetch", fetch)
    with jars.LOCK.open("a") as lock:
        lock.write(f"{hashlib.sha256(b'tensorflow').hexdigest()}  sentiment/tensorflow.jar\n")
    jars.ensure_jars()
    assert (calls, jars.check_jars(), len(jars.spark_jars())) == ([], 4, 2)
    for _ in range(2):
        jars.ensure_jars((SENTIMENT,))
    assert (calls, jars.check_jars(), len(jars.spark_jars())) == ([((SENTIMENT,), 1)], 5, 3)
    (fetched / "sentiment" / "tensorflow.jar").write_bytes(b"from a stranger")
    with pytest.raises(
        ComplaintsError, match=r"sentiment/tensorflow\.jar has another SHA-256.*run `complaints setup --with sentiment`"
    ):
        jars.check_jars()


def test_without_a_network_the_error_says_so_and_the_log_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COMPLAINTS_JARS", str(tmp_path))
    # A proxy on a port where nothing listens: Ivy's every connection is refused.
    monkeypatch.setenv("JAVA_TOOL_OPTIONS", "-DsocksProxyHost=127.0.0.1 -DsocksProxyPort=9")
    monkeypatch.setattr("sys.argv", ["lakehouse.setup.jars"])
    assert jars.main() == 1
    message = capsys.readouterr().err
    assert "check the network and run `make setup` again" in message
    assert "Traceback" not in message
    assert (tmp_path / "ivy.log").read_text()
    assert not list(tmp_path.glob("spark/*"))
