"""Each layer of settings overrides the one below; invalid settings are refused by name; secrets are never shown."""

import shutil
from pathlib import Path

import pytest

from lakehouse import settings as module
from lakehouse.errors import ComplaintsError
from lakehouse.settings import CONF, load_settings
from lakehouse.settings_sources import provenance


@pytest.fixture
def conf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the settings folder that the test may change."""
    folder = tmp_path / "conf"
    folder.mkdir()
    for path in CONF.glob("*.yaml"):
        shutil.copy(path, folder)
    monkeypatch.setattr(module, "CONF", folder)
    return folder


def sources() -> dict[str, tuple[str, str]]:
    return {key: (value, source) for key, value, source in provenance(load_settings())}


def test_each_layer_overrides_the_one_below(conf: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert load_settings().folder == Path(".lakehouse").resolve()
    (conf / "local.yaml").write_text("environment: local\nroot: from-file\nspark: {cores: 3}\n")
    settings = load_settings()
    assert (settings.root, settings.spark.cores, settings.spark.memory) == (Path("from-file"), 3, "3g")
    monkeypatch.setenv("COMPLAINTS_ROOT", "from-variable")
    monkeypatch.setenv("COMPLAINTS_SPARK__CORES", "4")
    settings = load_settings()
    assert (settings.root, settings.spark.cores, settings.spark.memory) == (Path("from-variable"), 4, "3g")
    assert load_settings(root=tmp_path, environment=None).root == tmp_path


def test_the_environment_comes_from_the_option_then_the_variable_and_chooses_the_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert load_settings().environment == "local"
    monkeypatch.setenv("COMPLAINTS_ENVIRONMENT", "prod")
    prod = load_settings()
    assert (prod.environment, prod.kafka.input.replication, prod.kafka.input.name) == ("prod", 3, "complaints-input")
    assert load_settings(environment="dev").lake.catalog == "complaints_dev"


def test_a_group_can_be_json_and_an_empty_variable_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMPLAINTS_KAFKA", '{"group": "mine", "input": {"partitions": 7}}')
    monkeypatch.setenv("COMPLAINTS_ROOT", "")
    settings = load_settings()
    assert (settings.kafka.group, settings.kafka.input.partitions, settings.kafka.input.replication) == ("mine", 7, 1)
    assert settings.root == Path(".lakehouse")


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("COMPLAINTS_SPARC__CORES", "4", "COMPLAINTS_SPARC__CORES is not a setting. Did you mean COMPLAINTS_SPARK?"),
        ("COMPLAINTS_SPARK__KORES", "4", "The setting spark.kores is unknown"),
        ("COMPLAINTS_SPARK__CORES", "many", "The setting spark.cores is 'many': input should be a valid integer"),
        ("COMPLAINTS_SPARK__CORES", "0", "The setting spark.cores is '0': input should be greater than or equal to 1"),
        ("COMPLAINTS_SPARK__MEMORY", "3 GB", "The setting spark.memory is '3 GB'"),
        ("COMPLAINTS_LAKE__LOG_RETENTION", "a week", "must read like 'interval 7 days'"),
        ("COMPLAINTS_KAFKA__SECURITY_PROTOCOL", "TLS", "'PLAINTEXT', 'SSL', 'SASL_PLAINTEXT' or 'SASL_SSL'"),
        ("COMPLAINTS_KAFKA__SASL_MECHANISM", "GSSAPI", "'PLAIN', 'SCRAM-SHA-256', 'SCRAM-SHA-512' or 'OAUTHBEARER'"),
        (
            "COMPLAINTS_KAFKA__OAUTH__TOKEN_URL",
            "http://id.example.org",
            "oauth.token_url is wrong (a str): must begin",
        ),
        ("COMPLAINTS_KAFKA__INPUT__NAME", "a topic", "The setting kafka.input.name is 'a topic'"),
        ("COMPLAINTS_ML__KEEP_FEATURES", "1.5", "ml.keep_features is '1.5': must be a share below 1, or a whole"),
        ("COMPLAINTS_ENVIRONMENT", "test", "environment is 'test', but only local, dev, staging, prod are known"),
        ("COMPLAINTS_KAFKA", '{"group', "COMPLAINTS_KAFKA can't be read"),
    ],
)
def test_an_invalid_variable_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ComplaintsError) as error:
        load_settings()
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_an_unknown_option_is_refused() -> None:
    with pytest.raises(ComplaintsError, match="The setting rot is unknown"):
        load_settings(rot="x")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("environment: local\nspark: {kores: 4}\n", r"The setting spark\.kores is unknown"),
        ("environment: local\nspark: {cores: four}\n", r"The setting spark\.cores is 'four'"),
        ("environment: local\nspark: {cores: [1]}\n", r"The setting spark\.cores is wrong \(a list\)"),
        ("environment: local\n  spark: [\n", r"conf/local\.yaml:2 can't be read as YAML"),
        ("- environment\n", r"conf/local\.yaml must hold keys and values, but holds list"),
        ("", r"conf/local\.yaml must hold keys and values, but holds NoneType"),
    ],
)
def test_an_invalid_file_is_refused_by_name(conf: Path, text: str, said: str) -> None:
    (conf / "local.yaml").write_text(text)
    with pytest.raises(ComplaintsError, match=said):
        load_settings()


def test_a_missing_setting_is_named_with_its_variable(conf: Path) -> None:
    text = (conf / "settings.yaml").read_text()
    (conf / "settings.yaml").write_text(text.replace("  cores: 2\n", ""))
    with pytest.raises(ComplaintsError, match=r"spark\.cores is missing.*COMPLAINTS_SPARK__CORES"):
        load_settings()


def test_provenance_names_the_layer_of_each_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMPLAINTS_ENVIRONMENT", "prod")
    monkeypatch.setenv("COMPLAINTS_SPARK__CORES", "5")
    monkeypatch.setenv("COMPLAINTS_KAFKA", '{"group": "mine"}')
    settings = load_settings(root="elsewhere")
    by_key = {key: (value, source) for key, value, source in provenance(settings, root="elsewhere", environment=None)}
    assert by_key["root"] == ("elsewhere", "option")
    assert by_key["environment"] == ("prod", "environment variable")
    assert by_key["spark.cores"] == ("5", "environment variable")
    assert by_key["kafka.group"] == ("mine", "environment variable")
    assert by_key["kafka.input.replication"] == ("3", "conf/prod.yaml")
    assert by_key["kafka.bootstrap_servers"] == ("null", "conf/settings.yaml")
    assert by_key.keys() == sources().keys()


@pytest.mark.parametrize(
    ("variable", "value", "key"),
    [
        ("COMPLAINTS_KAFKA__PASSWORD", "hunter2", "kafka.password"),
        ("COMPLAINTS_KAFKA", '{"password": "hunter2"}', "kafka.password"),
        ("COMPLAINTS_KAFKA__OAUTH__CLIENT_SECRET", "hunter2", "kafka.oauth.client_secret"),
        ("COMPLAINTS_KAFKA__OAUTH", '{"client_secret": "hunter2"}', "kafka.oauth.client_secret"),
    ],
)
def test_a_secret_is_masked_wherever_it_comes_from(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, key: str
) -> None:
    monkeypatch.setenv(variable, value)
    assert sources()[key] == ("**********", "environment variable")
    settings = load_settings()
    secrets = [settings.kafka.password, settings.kafka.oauth.client_secret]
    assert [secret.get_secret_value() for secret in secrets if secret] == ["hunter2"]
    assert "hunter2" not in f"{settings!r} {settings.model_dump_json()}"


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("COMPLAINTS_KAFKA__PASSWORD__X", "hunter2"),
        ("COMPLAINTS_KAFKA", '["hunter2"]'),
        ("COMPLAINTS_KAFKA__OAUTH__CLIENT_SECRET__X", "hunter2"),
        ("COMPLAINTS_KAFKA__OAUTH__TOKEN_URL", "https://me:" + "hunter2@id.example.org/token"),
    ],
)
def test_an_error_never_shows_a_secret(monkeypatch: pytest.MonkeyPatch, variable: str, value: str) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ComplaintsError, match="The setting kafka") as error:
        load_settings()
    assert "hunter2" not in str(error.value)


def test_a_password_of_another_type_in_a_file_is_not_shown(conf: Path) -> None:
    (conf / "local.yaml").write_text("environment: local\nkafka: {password: 424242}\n")
    with pytest.raises(ComplaintsError, match=r"kafka\.password is wrong") as error:
        load_settings()
    assert "424242" not in str(error.value)


def test_a_heap_too_small_for_the_largest_message_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMPLAINTS_SPARK__MEMORY", "1100m")
    with pytest.raises(ComplaintsError, match=r"^spark\.memory is 1100m, too small for messages of 8,388,608 bytes"):
        load_settings()
    monkeypatch.setenv("COMPLAINTS_KAFKA__INPUT__MAX_MESSAGE_BYTES", "1048576")
    assert load_settings().spark.memory == "1100m"
