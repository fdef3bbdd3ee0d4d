"""The silver tables. Intake and outcome are separate, so nothing known later can reach the model."""

from lakehouse.tables.declaration import STATISTICS, SYNTHETIC, Column, Table, View
from silver.fields import INTAKE, OUTCOME

RECORD = Column("record_id", "string", "The row of bronze.complaints it was read from.", nullable=False)
ARRIVAL = (
    Column("kafka_timestamp", "timestamp", "When the message was stamped on Kafka; null for files."),
    Column("ingested_at", "timestamp", "When it landed in bronze."),
)

STANDARD = (
    Column("product_family", "string", "The product across the renamings of 2017 and 2023; 'Other' when unknown."),
    Column("zip3", "string", "First three digits of the ZIP code; null when redacted."),
    Column("is_servicemember", "boolean", "Tagged as servicemember (or veteran, or family)."),
    Column("is_older_american", "boolean", "Tagged as 62 or older."),
)

FEATURES = (
    Column("received_year", "int", "Year of date_received."),
    Column("received_month", "int", "Month of date_received, 1 to 12."),
    Column("received_weekday", "int", "Day of the week of date_received, 1 = Sunday to 7 = Saturday."),
    Column("is_weekend", "boolean", "Received on a Saturday or Sunday."),
    Column("has_narrative", "boolean", "Whether there is a narrative."),
    Column("narrative_chars", "int", "Characters of the narrative; 0 without one."),
    Column("narrative_words", "int", "Words of the narrative; 0 without one."),
    Column("redactions", "int", "Runs of XXXX in the narrative."),
    Column("redacted_share", "double", "Share of the narrative's characters that are redactions, 0 to 1."),
    Column("amounts", "int", "Amounts of money in the narrative, like {$100.00}."),
    Column("largest_amount", "double", "The largest of these amounts, in dollars; 0 without one."),
    Column("capitals_share", "double", "Share of letters that are capitals, without redactions, 0 to 1."),
    Column("exclamations", "int", "Exclamation marks in the narrative."),
    Column("questions", "int", "Question marks in the narrative."),
)

PLACE = (
    Column("file", "string", "The file it came in; null from Kafka."),
    Column("partition", "int", "Kafka partition."),
    Column("offset", "bigint", "Kafka offset, or place in the file."),
)

INTAKE_COLUMNS = tuple(Column(f.name, f.type, f.meaning, nullable=f.name != "complaint_id") for f in INTAKE)

COMPLAINTS = Table(
    name="silver.complaints",
    grain="one complaint, as it was first received",
    comment="Typed intake fields, standardized, with features. Only what is known when a complaint arrives.",
    columns=(
        *INTAKE_COLUMNS,
        *STANDARD,
        *FEATURES,
        Column("warnings", "array<string>", "Rules of severity warn that the row broke."),
        RECORD,
        *ARRIVAL,
        Column("refined_at", "timestamp", "Start of the batch that wrote the row."),
        SYNTHETIC,
    ),
    constraints={
        "id_positive": "complaint_id > 0",
        "date_plausible": "date_received >= DATE'2011-01-01'",
        "state_code": "state IS NULL OR length(state) = 2",
    },
    cluster_by=("complaint_id",),
    properties={"delta.appendOnly": "true", STATISTICS: "complaint_id,date_received,ingested_at,refined_at"},
)

REVISIONS = Table(
    name="silver.revisions",
    grain="one row of bronze that changed the intake of a known complaint",
    comment="Versions of a complaint's intake from the second on, as reported: a field that was not reported is null.",
    columns=(
        *COMPLAINTS.columns,
        Column("version", "int", "Version of the complaint's intake, from 2; the first is in silver.complaints."),
        Column("changed_fields", "array<string>", "Intake fields whose values differ from the version before."),
        Column("is_complete", "boolean", "Whether every intake field that was known is reported again."),
        Column("arrived_at", "timestamp", "When the row arrived, on Kafka or with its file."),
    ),
    cluster_by=("complaint_id",),
    properties={"delta.appendOnly": "true", STATISTICS: "complaint_id,refined_at"},
)

NARRATIVES = Table(
    name="silver.narratives",
    grain="one complaint whose narrative came later",
    comment="Narratives that arrived after their complaint (the CFPB's narrative archive), joined by complaint_id.",
    columns=(
        Column("complaint_id", "bigint", "The complaint.", nullable=False),
        Column("narrative", "string", "What happened, in the consumer's words."),
        *(c for c in FEATURES if not c.name.startswith(("received", "is_weekend"))),
        RECORD,
        Column("refined_at", "timestamp", "Start of the batch that wrote the row."),
    ),
    cluster_by=("complaint_id",),
    properties={STATISTICS: "complaint_id"},
)

# Complaint columns repeated in silver.outcomes: the name there, and the name in silver.complaints.
ABOUT = {
    "complaint_received": "date_received",
    "complaint_product": "product_family",
    "complaint_issue": "issue",
    "complaint_company": "company",
    "complaint_state": "state",
    "complaint_channel": "submitted_via",
    "complaint_is_synthetic": "is_synthetic",
}

OUTCOMES = Table(
    name="silver.outcomes",
    grain="one complaint with an outcome, as last reported",
    comment="What became known later: the company's answer and what follows from it. Labels and analysis only.",
    columns=(
        Column("complaint_id", "bigint", "The complaint.", nullable=False),
        *(Column(f.name, f.type, f.meaning) for f in OUTCOME),
        Column(
            "response_class",
            "string",
            "The answer in one word: explanation, monetary_relief, non_monetary_relief, "
            "relief, no_relief, closed, untimely, in_progress; null when unknown.",
        ),
        Column("is_final", "boolean", "Whether the answer is an outcome: neither in progress nor missing."),
        Column("is_relief", "boolean", "Whether relief of any kind was given; null while not final."),
        Column("is_monetary_relief", "boolean", "Whether money was given; null while not final."),
        Column("processing_days", "int", "Days from receipt to sending the complaint to the company."),
        Column("successful_resolution", "boolean", "Whether it ended well: the setting silver.successful_resolution."),
        Column(
            "complaint_received",
            "date",
            "Day the complaint was received; repeated here, as are the other columns that begin so, so "
            "that outcomes are counted by them without a join.",
        ),
        Column("complaint_product", "string", "Its product across the renamings."),
        Column("complaint_issue", "string", "Its issue."),
        Column("complaint_company", "string", "Its company."),
        Column("complaint_state", "string", "Its state or territory."),
        Column("complaint_channel", "string", "How it reached the CFPB."),
        RECORD,
        Column("observed_at", "timestamp", "Start of the batch that wrote this outcome."),
        Column("reported_at", "timestamp", "When the latest row that reported it arrived, on Kafka or with its file."),
        Column("complaint_is_synthetic", "boolean", "Whether the load generator made the complaint; else null."),
    ),
    cluster_by=("complaint_id",),
    # Merging marks replaced rows instead of rewriting files: outcomes come for complaints of any age.
    properties={STATISTICS: "complaint_id,observed_at", "delta.enableDeletionVectors": "true"},
)

OUTCOME_REPORTS = Table(
    name="silver.outcome_reports",
    grain="one row of bronze that reported an outcome that was new or had changed",
    comment="What was reported about outcomes, as it arrived. The merge query brings it together in silver.outcomes.",
    columns=(*OUTCOMES.columns, *PLACE),
    cluster_by=("complaint_id",),
    properties={"delta.appendOnly": "true", STATISTICS: "complaint_id,observed_at"},
)

_ABOUT_COLUMNS = tuple(c for c in OUTCOMES.columns if c.name in ABOUT and c.name != "complaint_is_synthetic")

WITHDRAWALS = Table(
    name="silver.withdrawals",
    grain="one complaint that was missing from a full export for the first time, or was in one again",
    comment="Complaints that the CFPB no longer publishes: of several rows of a complaint the latest counts.",
    columns=(
        Column("complaint_id", "bigint", "The complaint.", nullable=False),
        Column("change", "string", "withdrawn or returned.", nullable=False),
        *_ABOUT_COLUMNS,
        Column("file", "string", "The full export that showed it."),
        Column("sha256", "string", "Digest of that file."),
        Column("observed_at", "timestamp", "When that export was loaded."),
    ),
    cluster_by=("complaint_id",),
    properties={"delta.appendOnly": "true", STATISTICS: "complaint_id,observed_at"},
    views=(
        View(
            name="gold.withdrawals_by_day",
            comment="Complaints that are withdrawn now, by the keys of gold.complaints_by_day in their first intake.",
            sql="SELECT w.complaint_received AS date_received, w.complaint_product AS product_family, "
            "coalesce(w.complaint_issue, '') AS issue, coalesce(w.complaint_company, '') AS company, "
            "coalesce(w.complaint_state, '') AS state, count(*) AS withdrawn FROM {table} AS w "
            "WHERE w.change = 'withdrawn' AND w.observed_at = "
            "(SELECT max(l.observed_at) FROM {table} AS l WHERE l.complaint_id = w.complaint_id) "
            "GROUP BY 1, 2, 3, 4, 5",
        ),
    ),
)

QUARANTINE = Table(
    name="silver.quarantine",
    grain="one refused row of bronze",
    comment="What could not be used, with every reason. A row can be replayed once it, or the rule, is mended.",
    columns=(
        RECORD,
        Column("payload", "string", "The payload as received, cut to its first 100,000 characters; whole in bronze."),
        Column("reasons", "array<string>", "Every rule of severity quarantine that the row broke."),
        Column("warnings", "array<string>", "Every rule of severity warn that it broke."),
        Column("source", "string", "kafka, csv, json or replay."),
        Column("topic", "string", "Kafka topic."),
        Column("partition", "int", "Kafka partition."),
        Column("offset", "bigint", "Kafka offset, or place in the file."),
        Column("file", "string", "File name."),
        Column("line", "bigint", "Line of the file."),
        Column("ingested_at", "timestamp", "When it landed in bronze."),
        Column("refined_at", "timestamp", "Start of the batch that refused it."),
        Column("replayed_at", "timestamp", "When it was sent through again; null while it waits."),
    ),
    properties={STATISTICS: "ingested_at,refined_at"},
)

DUPLICATES = Table(
    name="silver.duplicates",
    grain="one row of bronze that repeats a complaint already known",
    comment="Repeats: the same again, an outcome, a narrative, or a revised intake.",
    columns=(
        RECORD,
        Column("complaint_id", "bigint", "The complaint that it repeats.", nullable=False),
        Column("kind", "string", "unchanged, outcome, narrative, or revised (intake fields differ)."),
        Column("changed_fields", "array<string>", "Intake fields whose values differ from the known intake."),
        Column("ingested_at", "timestamp", "When it landed in bronze."),
        Column("refined_at", "timestamp", "Start of the batch that judged it."),
    ),
    properties={STATISTICS: "complaint_id,ingested_at,refined_at"},
)

EXPECTATIONS = Table(
    name="silver.expectations",
    grain="one rule broken in one batch",
    comment="How many rows broke each rule, by batch. A batch that broke no rule has no row.",
    columns=(
        Column("query_id", "string", "The refining query.", nullable=False),
        Column("batch_id", "bigint", "Its batch.", nullable=False),
        Column("rule", "string", "The rule in conf/expectations.yaml.", nullable=False),
        Column("field", "string", "The field that it is about."),
        Column("severity", "string", "quarantine or warn."),
        Column("checked", "bigint", "Rows in the batch."),
        Column("broken", "bigint", "Rows that broke the rule."),
        Column("refined_at", "timestamp", "Start of the batch."),
    ),
)

TABLES = (
    *(COMPLAINTS, REVISIONS, NARRATIVES, OUTCOME_REPORTS, OUTCOMES, WITHDRAWALS),
    *(QUARANTINE, DUPLICATES, EXPECTATIONS),
)
