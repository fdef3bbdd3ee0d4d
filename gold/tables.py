"""The gold tables."""

from lakehouse.tables.declaration import STATISTICS, SYNTHETIC, Column, Table, View

REASON = "struct<rule:string,reason:string,basis:string>"
INFLUENCE = "struct<feature:string,contribution:double>"

# What a decision that replaces an earlier one keeps of it: enough to take it out of every sum.
REPLACED = {
    "record_id": "string",
    "version": "int",
    "date_received": "date",
    "product_family": "string",
    "issue": "string",
    "company": "string",
    "state": "string",
    "urgency": "string",
    "escalate": "boolean",
    "team": "string",
    "due_on": "date",
    "probability": "double",
    "scored_with": "string",
    "kafka_timestamp": "timestamp",
    "ingested_at": "timestamp",
    "scored_at": "timestamp",
    "is_synthetic": "boolean",
}

FIRST = "coalesce(version, 1) = 1"  # of DECISIONS: the decision on a complaint's first intake, one per complaint

DECISIONS = Table(
    name="gold.decisions",
    grain="one scored version of a complaint's intake",
    comment="What to do with each complaint: urgency, escalation, team, action, deadline, and why. When its intake was "
    "revised, a later decision replaces the earlier one.",
    columns=(
        Column("complaint_id", "bigint", "The complaint.", nullable=False),
        Column("date_received", "date", "Day it was received."),
        Column("product", "string", "Product in the words of its time."),
        Column("product_family", "string", "Product across the renamings."),
        Column("issue", "string", "Issue."),
        Column("sub_issue", "string", "Sub-issue."),
        Column("company", "string", "Company."),
        Column("state", "string", "State or territory."),
        Column("submitted_via", "string", "Channel."),
        Column("is_servicemember", "boolean", "Tagged as servicemember."),
        Column("is_older_american", "boolean", "Tagged as 62 or older."),
        Column("probability", "double", "Probability of a successful resolution, 0 to 1.", nullable=False),
        Column("scored_with", "string", "text (narrative and structure) or structure (no narrative).", nullable=False),
        Column("influences", f"array<{INFLUENCE}>", "What moved the score most, signed, in logits, strongest first."),
        Column("urgency", "string", "critical, high, medium or low: the highest that any rule set.", nullable=False),
        Column("escalate", "boolean", "Whether any rule asks a second reader.", nullable=False),
        Column("team", "string", "Team that handles it.", nullable=False),
        Column("recommended_action", "string", "What to do first.", nullable=False),
        Column(
            "due_on",
            "date",
            "Nearest deadline of the rules that fired, from date_received: a proxy, since clocks of "
            "a law run from the firm's own receipt. Never later than that of the decision it replaces.",
        ),
        Column("rules", "array<string>", "Every rule that fired, most urgent first."),
        Column("reasons", f"array<{REASON}>", "Why, a reason a rule, with the regulation it rests on."),
        Column("model_name", "string", "Model in the registry.", nullable=False),
        Column("model_version", "string", "Its version.", nullable=False),
        Column("record_id", "string", "The row of bronze.complaints.", nullable=False),
        Column("kafka_timestamp", "timestamp", "When the message was stamped on Kafka; null for files."),
        Column("ingested_at", "timestamp", "When it landed in bronze."),
        Column("refined_at", "timestamp", "When it was refined."),
        Column("scored_at", "timestamp", "Start of the batch that scored it."),
        Column("batch_id", "bigint", "Batch of the scoring query; null when it replaces an earlier decision."),
        Column(
            "shadow_probability", "double", "Probability by the challenger, which decides nothing; null without one."
        ),
        Column("shadow_version", "string", "Version of the challenger."),
        SYNTHETIC,
        Column(
            "version",
            "int",
            "Version of the complaint's intake that it rests on: 1 is the first, also where it is null.",
        ),
        Column(
            "replaces",
            f"struct<{','.join(f'{name}:{type_}' for name, type_ in REPLACED.items())}>",
            "The decision on an earlier version that this one replaces; null when there is none.",
        ),
    ),
    constraints={
        "probability_range": "probability BETWEEN 0 AND 1",
        "urgency_known": "urgency IN ('critical', 'high', 'medium', 'low')",
    },
    cluster_by=("date_received", "product_family"),
    properties={
        "delta.appendOnly": "true",
        STATISTICS: "complaint_id,date_received,kafka_timestamp,refined_at,scored_at,batch_id",
    },
    views=(
        View(
            name="gold.current_decisions",
            comment="The current decision on each complaint: those of gold.decisions that no later one replaces.",
            sql="SELECT d.* FROM {table} AS d WHERE d.record_id NOT IN "
            "(SELECT r.replaces.record_id FROM {table} AS r WHERE r.replaces.record_id IS NOT NULL)",
        ),
    ),
)

SHADOW = ("shadow_probability", "shadow_version")  # the challenger's columns in DECISIONS; they stay in the table

MEASURES = (
    Column("complaints", "bigint", "Complaints.", nullable=False),
    Column("escalated", "bigint", "Of these, escalated.", nullable=False),
    Column("critical", "bigint", "Of these, of urgency critical.", nullable=False),
    Column("high", "bigint", "Of these, of urgency high.", nullable=False),
    Column("without_text", "bigint", "Of these, scored on structure alone.", nullable=False),
    Column("probability_sum", "double", "Sum of their probabilities; divided by complaints, the mean.", nullable=False),
)

BY_MINUTE = Table(
    name="gold.complaints_by_minute",
    grain="some complaints of one minute of arrival, product family, urgency and is_synthetic: rows of the same add up",
    comment="What arrived each minute. Appended to as complaints are decided, put together by maintenance.",
    columns=(
        Column("minute", "timestamp", "Minute of the Kafka timestamp, or of landing for files.", nullable=False),
        Column("product_family", "string", "Product across the renamings.", nullable=False),
        Column("urgency", "string", "Urgency.", nullable=False),
        *MEASURES,
        Column(
            "latency_ms_sum", "double", "Sum of the milliseconds from Kafka to scoring; 0 for files.", nullable=False
        ),
        Column("latency_ms_max", "double", "Largest of these.", nullable=False),
        Column(
            "scored_batch",
            "bigint",
            "Latest batch of the scoring query that is counted here: decisions of later batches than the greatest in "
            "the table are not counted yet.",
        ),
        SYNTHETIC,
    ),
    cluster_by=("minute",),
)

BY_DAY = Table(
    name="gold.complaints_by_day",
    grain="some complaints of one day received, product family, issue, company, state and is_synthetic: rows of the "
    "same add up",
    comment="Complaints by day and what people ask by. Appended to as they are decided, put together by maintenance.",
    columns=(
        Column("date_received", "date", "Day received.", nullable=False),
        Column("product_family", "string", "Product across the renamings.", nullable=False),
        Column("issue", "string", "Issue; '' when missing.", nullable=False),
        Column("company", "string", "Company; '' when missing.", nullable=False),
        Column("state", "string", "State or territory; '' when missing.", nullable=False),
        *MEASURES,
        SYNTHETIC,
    ),
    cluster_by=("date_received",),
)

STREAM_HEALTH = Table(
    name="gold.stream_health",
    grain="one batch of one query",
    comment="How the streaming queries do: rows, time and its parts, lag. Written beside the stream, not in its way.",
    columns=(
        Column("query", "string", "ingest, refine, merge, score or summarise.", nullable=False),
        Column("query_id", "string", "Id in the query's checkpoint.", nullable=False),
        Column("run_id", "string", "Id of this start of the query.", nullable=False),
        Column("batch_id", "bigint", "The batch.", nullable=False),
        Column("started_at", "timestamp", "When the batch began."),
        Column("rows", "bigint", "Rows it took in."),
        Column("batch_ms", "bigint", "Milliseconds it took in all."),
        Column("offsets_ms", "bigint", "Of these, finding what is new and logging it."),
        Column("planning_ms", "bigint", "Of these, planning."),
        Column("execution_ms", "bigint", "Of these, executing and committing the tables."),
        Column("commit_ms", "bigint", "Of these, committing the checkpoint."),
        Column("lag_rows", "bigint", "Messages still waiting in Kafka at the end of the batch; ingest only."),
    ),
)

MODEL_QUALITY = Table(
    name="gold.model_quality",
    grain="model version, week received, measure, feature",
    comment="How good each version was on complaints it did not learn from, and whether they look as in training.",
    columns=(
        Column("model_name", "string", "Model in the registry.", nullable=False),
        Column("model_version", "string", "Its version.", nullable=False),
        Column("week", "date", "Monday of the week in which the complaints were received.", nullable=False),
        Column(
            "measure", "string", "auc_roc, ece, base_rate (of known outcomes), population_stability.", nullable=False
        ),
        Column("feature", "string", "Feature of a population_stability; '' otherwise.", nullable=False),
        Column("rows", "bigint", "Complaints it is of; of a large week a sample."),
        Column("value", "double", "The figure."),
        Column("is_alert", "boolean", "Whether somebody should look: stability above 0.2, ece above 0.1."),
        Column("assessed_at", "timestamp", "When it was computed."),
    ),
)

TABLES = (DECISIONS, BY_MINUTE, BY_DAY, STREAM_HEALTH, MODEL_QUALITY)
