"""Which Java archives are needed, by their Maven coordinates: Spark's connectors, the broker, Kafka's tools."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Jar:
    """One archive by its Maven coordinates."""

    organisation: str
    name: str
    version: str


@dataclass(frozen=True)
class JarSet:
    """The archives of one folder of ``.jars``; with ``transitive`` also everything that they depend on."""

    name: str
    jars: tuple[Jar, ...]
    transitive: bool


# Named one by one: what these depend on besides is either in pyspark already (Scala, Hadoop, Jackson, …) or belongs
# to parts of Spark NLP that are not used here (TensorFlow, ONNX, cloud stores: 280 MB).
SPARK = JarSet(
    "spark",
    (
        Jar("io.delta", "delta-spark_2.12", "3.3.2"),
        Jar("io.delta", "delta-storage", "3.3.2"),
        Jar("org.apache.spark", "spark-sql-kafka-0-10_2.12", "3.5.7"),
        Jar("org.apache.spark", "spark-token-provider-kafka-0-10_2.12", "3.5.7"),
        Jar("org.apache.kafka", "kafka-clients", "3.4.1"),
        Jar("org.apache.commons", "commons-pool2", "2.11.1"),
        Jar("com.johnsnowlabs.nlp", "spark-nlp_2.12", "5.5.3"),
        Jar("com.typesafe", "config", "1.4.2"),
        # Every saved Spark NLP stage names an exception class of this one.
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
# Kafka's own command-line tools, which run on the broker's archives; what else they name is for Kafka Connect.
TOOLS = JarSet("tools", (Jar("org.apache.kafka", "kafka-tools", "4.1.2"),), transitive=False)
SETS = (SPARK, BROKER, TOOLS)
