-- What arrived each minute: what is summarised, and each decision of a later batch, so that it is as fresh as the
-- decisions. One row: minute of arrival, product, urgency, origin; or one decision that is not summarised yet.
WITH summarised AS (SELECT * FROM gold.complaints_by_minute),
counted AS (
    SELECT
        m.minute,
        m.product_family AS product,
        m.urgency,
        m.complaints,
        m.escalated,
        m.critical,
        m.high,
        m.without_text,
        m.probability_sum,
        m.latency_ms_sum,
        m.latency_ms_max,
        origin(m.is_synthetic) AS origin
    FROM summarised AS m
    UNION ALL
    SELECT
        date_trunc('minute', coalesce(d.kafka_timestamp, d.ingested_at)),
        d.product_family,
        d.urgency,
        1,
        CASE WHEN d.escalate THEN 1 ELSE 0 END,
        CASE WHEN d.urgency = 'critical' THEN 1 ELSE 0 END,
        CASE WHEN d.urgency = 'high' THEN 1 ELSE 0 END,
        CASE WHEN d.scored_with = 'structure' THEN 1 ELSE 0 END,
        d.probability,
        coalesce(latency_ms(d.scored_at, d.kafka_timestamp) * 1e0, 0e0),
        coalesce(latency_ms(d.scored_at, d.kafka_timestamp) * 1e0, 0e0),
        origin(d.is_synthetic)
    FROM gold.decisions AS d
    WHERE d.batch_id > (SELECT coalesce(max(s.scored_batch), -1) FROM summarised AS s)
)
SELECT
    c.*,
    c.minute <= now()
        AND c.minute > (SELECT max(l.minute) FROM counted AS l WHERE l.minute <= now()) - INTERVAL 1 HOUR
        AS in_latest_hour,
    c.minute < date_trunc('minute', now()) OR c.minute = (SELECT min(l.minute) FROM counted AS l) AS is_over
FROM counted AS c
