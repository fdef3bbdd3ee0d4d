"""The tables of bronze."""

from lakehouse.tables.declaration import STATISTICS, SYNTHETIC, Column, Table

COMPLAINTS = Table(
    name="bronze.complaints",
    grain="one Kafka message or one row of a file",
    comment="Every complaint exactly as received, with where it came from. Append-only; nothing is refused here.",
    columns=(
        Column(
            "record_id",
            "string",
            "Unique id: topic/partition/offset, with a part more for another topic of that name; or digest:file:place.",
            nullable=False,
        ),
        Column("payload", "string", "The message as received; a row of a CSV file as a JSON object of its cells."),
        Column("payload_bytes", "binary", "The message's bytes, kept when they are not UTF-8 text; otherwise null."),
        Column("source", "string", "kafka, csv, json or replay.", nullable=False),
        Column("topic", "string", "Kafka topic; null for files."),
        Column("partition", "int", "Kafka partition; null for files."),
        Column("offset", "bigint", "Kafka offset; for files the record's place in its file, from 1."),
        Column("kafka_timestamp", "timestamp", "When the broker or producer stamped the message; null for files."),
        Column("file", "string", "File name as given; inside an archive archive.zip/member. Null for Kafka."),
        Column("line", "bigint", "Line of the file on which the row begins, from 1; null for Kafka."),
        Column("replay_of", "string", "record_id of the quarantined row that this one mends; otherwise null."),
        Column("ingested_at", "timestamp", "Start of the batch that landed the row.", nullable=False),
        Column("first_arrived_at", "timestamp", "When the row that this one corrects arrived; otherwise null."),
        SYNTHETIC,
    ),
    properties={"delta.appendOnly": "true", STATISTICS: "record_id,partition,offset"},
)

FILES = Table(
    name="bronze.files",
    grain="one file that was loaded, and once more if it was loaded as a full export later",
    comment="Files whose rows are in bronze.complaints, by content: the same content is never landed twice.",
    columns=(
        Column("sha256", "string", "Digest of the file's bytes.", nullable=False),
        Column("file", "string", "Name under which it was loaded."),
        Column("bytes", "bigint", "Size of the file."),
        Column("rows", "bigint", "Rows in it; those that said nothing new gave none to bronze.complaints."),
        Column("loaded_at", "timestamp", "When its last row was landed."),
        Column(
            "unknown_columns",
            "array<string>",
            "Its columns or keys that are no known field, at most 50 of them: only the payload has their values.",
        ),
        Column("unchanged", "bigint", "Of a full export: rows that said nothing new and are not in bronze."),
    ),
)

ERASURES = Table(
    name="bronze.erasures",
    grain="one row of bronze.complaints that was erased",
    comment="Which rows are gone at a person's wish, and from where: numbers and places, nothing of what they said.",
    columns=(
        Column("record_id", "string", "The row that bronze.complaints had.", nullable=False),
        Column("complaint_id", "bigint", "The complaint's number.", nullable=False),
        Column("destination", "string", "Where the row had gone: silver, quarantine or duplicates.", nullable=False),
        Column("asked_at", "timestamp", "When the erasure began.", nullable=False),
        Column("erased_at", "timestamp", "When no file of the lake held it any more; null while that is under way."),
    ),
)

ARRIVALS = Table(
    name="bronze.arrivals",
    grain="one file of the landing folder, as one load found it",
    comment="What came of each file that arrived: what was not landed is tried again while it is there.",
    columns=(
        Column("path", "string", "The file.", nullable=False),
        Column("bytes", "bigint", "Its size."),
        Column("changed_us", "bigint", "When it was last changed, in microseconds since 1970."),
        Column("problem", "string", "Why it was not landed; null when it was."),
        Column("noted_at", "timestamp", "When it was found so; of several notes the latest counts.", nullable=False),
    ),
)

TABLES = (COMPLAINTS, FILES, ERASURES, ARRIVALS)
